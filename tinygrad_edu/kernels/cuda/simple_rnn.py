"""The simple RNN on CUDA; see `recurrent`."""

from __future__ import annotations

from typing import Any

from ..registry import Recipe, are_floats
from . import halves
from .launches import Step
from .recurrent import Network, recipe, slots

ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh")
"""By their numbers in `recurrent.cu`."""


def simple_rnn(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, tracked: bool, reverse: bool, activation: str
) -> Recipe | None:
    """Of `_simple_rnn`: y, the last state and, as a residual, h."""
    net = Network.of(x, recurrent, reverse)
    if net is None or not are_floats(x, kernel, recurrent, bias, h0):
        return None
    made = (net.by_row(1), net.once(1), net.states, net.by_row(1), net.once(1), net.rounded(net.states))
    y, last, h, projected, product, factors = slots(6, made)
    steps: list[Step] = [net.projection(0, 1, projected)]
    for t, of_h in enumerate(net.state_products(4, factors or h, 2, product, 1)):
        arrays = (projected, product, 3, 4, 5, y, last, h, factors)
        steps += [of_h, net.step("simple_rnn_forward", arrays, t, ACTIVATIONS.index(activation))]
    return recipe(made, 3 if tracked else 2, steps)


def simple_rnn_gradient(
    g: Any, last: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, h: Any, needs: Any, reverse: bool,
    activation: str,
) -> Recipe | None:  # fmt: skip
    """Of `_simple_rnn_gradient`."""
    net = Network.of(x, recurrent, reverse)
    if net is None or not are_floats(g, last, x, kernel, recurrent, h):
        return None
    between = (net.by_row(1), net.once(1), halves.factors(net.by_row(1)), net.first, net.rounded(net.by_row(1)))
    dx, dk, dr, db, dh = range(7, 12)
    d, product, before, first, factors = slots(12, between)
    d_factors = factors or d
    steps: list[Step] = [] if mask is None else [net.first_steps(5, first)]
    for t, of_d in reversed(list(enumerate(net.cotangent_products(d_factors, 4, product, 1)))):
        arrays = (0, 1, 5, first, 6, product, dh, d, before, factors)
        steps += [net.step("simple_rnn_backward", arrays, t, ACTIVATIONS.index(activation)), of_d]
    steps += [net.added(dh, product), *net.input_gradients(d, d_factors, 2, 3, (dx, dk, db), needs)]
    steps += [net.kernel_gradient(before, d_factors, dr, 1)] if needs[2] else []
    outputs = net.gradients(needs, x, kernel, recurrent, (net.units,), (net.batch, net.units))
    return Recipe(outputs, tuple(steps), tuple(filter(None, between)))
