"""LSTM on CUDA; see `recurrent`."""

from __future__ import annotations

from typing import Any

from ..registry import Recipe, are_floats
from . import halves
from .launches import Step
from .recurrent import Network, recipe, slots


def lstm(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, c0: Any, mask: Any, tracked: bool, reverse: bool
) -> Recipe | None:
    """Of `_lstm`: y, the last states and, as residuals, gates, h, c, tanh(c)."""
    net = Network.of(x, recurrent, reverse)
    if net is None or not are_floats(x, kernel, recurrent, bias, h0, c0):
        return None
    made = (
        *(net.by_row(1), net.once(1), net.once(1)),
        *(net.by_step(4) if tracked else None, net.states, net.states, net.by_step(1) if tracked else None),
        *(net.by_row(4), net.once(4), net.rounded(net.states)),
    )
    y, last_h, last_c, gates, h, c, tanh_c, projected, product, factors = slots(7, made)
    steps: list[Step] = [net.projection(0, 1, projected)]
    for t, of_h in enumerate(net.state_products(4, factors or h, 2, product, 4)):
        arrays = (projected, product, 3, 4, 5, 6, y, last_h, last_c, gates, h, c, tanh_c, factors)
        steps += [of_h, net.step("lstm_forward", arrays, t)]
    return recipe(made, 7 if tracked else 3, steps)


def lstm_gradient(
    g: Any, last_h: Any, last_c: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, gates: Any, h: Any, c: Any,
    tanh_c: Any, needs: Any, reverse: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_lstm_gradient`."""
    net = Network.of(x, recurrent, reverse)
    if net is None or not are_floats(g, last_h, last_c, x, kernel, recurrent, gates, h, c, tanh_c):
        return None
    between = (net.by_row(4), net.once(1), halves.factors(net.by_row(1)), net.first, net.rounded(net.by_row(4)))
    dx, dk, dr, db, dh, dc = range(11, 17)
    d, product, before, first, factors = slots(17, between)
    d_factors = factors or d
    steps: list[Step] = [] if mask is None else [net.first_steps(6, first)]
    for t, of_d in reversed(list(enumerate(net.cotangent_products(d_factors, 5, product, 4)))):
        arrays = (0, 1, 2, 6, first, 7, 8, 9, 10, product, dh, dc, d, before, factors)
        steps += [net.step("lstm_backward", arrays, t), of_d]
    steps += [net.added(dh, product), *net.input_gradients(d, d_factors, 3, 4, (dx, dk, db), needs)]
    steps += [net.kernel_gradient(before, d_factors, dr, 4)] if needs[2] else []
    state = (net.batch, net.units)
    outputs = net.gradients(needs, x, kernel, recurrent, (4 * net.units,), state, state)
    return Recipe(outputs, tuple(steps), tuple(filter(None, between)))
