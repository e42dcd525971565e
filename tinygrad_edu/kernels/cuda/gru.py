"""GRU on CUDA; see `recurrent`."""

from __future__ import annotations

from typing import Any

from ..registry import Recipe, are_floats
from . import halves
from .launches import Step
from .recurrent import Network, recipe, slots


def gru(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, tracked: bool, reverse: bool,
    reset_after: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_gru`: y, the last state and, as residuals, gates, h and inner: the state's projection that r multiplies or,
    without `reset_after`, r * h."""
    net = Network.of(x, recurrent, reverse)
    if net is None or not are_floats(x, kernel, recurrent, bias, h0):
        return None
    made = (
        *(net.by_row(1), net.once(1)),
        *(net.by_step(3) if tracked else None, net.states, net.by_step(1) if tracked or not reset_after else None),
        *(net.by_row(3), net.once(3 if reset_after else 2), None if reset_after else net.once(1)),
        *(net.rounded(net.states), None if reset_after else net.rounded(net.by_step(1))),
    )
    y, last, gates, h, inner, projected, product, within, factors, inner_factors = slots(6, made)
    steps: list[Step] = [net.projection(0, 1, projected)]
    if reset_after:
        for t, of_h in enumerate(net.state_products(4, factors or h, 2, product, 3)):
            arrays = (projected, product, 3, 4, 5, y, last, gates, h, inner, factors)
            steps += [of_h, net.step("gru_forward", arrays, t)]
    else:
        of_states = net.state_products(4, factors or h, 2, product, 2)
        of_inner = net.state_products(inner_factors or inner, inner_factors or inner, 2, within, 1, 2)
        before = (projected, product, 3, 4, h, gates, inner, inner_factors)
        behind = (projected, product, within, 3, 4, 5, y, last, gates, h, factors)
        for t in range(net.time):
            steps += [of_states[t], net.step("gru_gates", before, t), of_inner[t], net.step("gru_candidate", behind, t)]
    return recipe(made, 5 if tracked else 2, steps)


def gru_gradient(
    g: Any, last: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, gates: Any, h: Any, inner: Any,
    needs: Any, reverse: bool, reset_after: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_gru_gradient`."""
    net = Network.of(x, recurrent, reverse)
    if net is None or not are_floats(g, last, x, kernel, recurrent, gates, h, inner):
        return None
    states, wide = halves.factors(net.by_row(1)), net.by_row(3)
    between = (
        *(wide, net.once(1), states, net.first, wide if reset_after else states),
        *(net.rounded(wide), net.rounded(wide) if reset_after else None),
    )
    dx, dk, dr, db, dh = range(9, 14)
    d, product, before, first, other, factors, other_factors = slots(14, between)
    d_factors = factors or d
    steps: list[Step] = [] if mask is None else [net.first_steps(5, first)]
    if reset_after:  # other: the cotangents of the products with the recurrent kernel
        of_d = net.cotangent_products(other_factors or other, 4, product, 3)
        for t in reversed(range(net.time)):
            arrays = (0, 1, 5, first, 6, 7, 8, product, dh, d, before, other, factors, other_factors)
            steps += [net.step("gru_backward", arrays, t), of_d[t]]
        weights: list[Step] = [net.kernel_gradient(before, other_factors or other, dr, 3)] if needs[2] else []
        weights += [net.sums(other, db, 1)] if needs[3] else []
    else:  # other: r * h
        of_d, of_candidate = (net.cotangent_products(d_factors, 4, product, *blocks) for blocks in ((2, 0), (1, 2)))
        for t in reversed(range(net.time)):
            without = (0, 1, 5, first, 6, 7, None, product, dh, d, before, None, factors, None)
            steps += [net.step("gru_backward", without, t), of_candidate[t]]
            steps += [net.step("gru_reset_backward", (product, 5, 6, 7, 8, dh, d, other, factors), t), of_d[t]]
        parts = (net.kernel_gradient(before, d_factors, dr, 2), net.kernel_gradient(other, d_factors, dr, 1, 2))
        weights = [*parts] if needs[2] else []
    steps += [net.added(dh, product), *net.input_gradients(d, d_factors, 2, 3, (dx, dk, db), needs), *weights]
    bias = (2, 3 * net.units) if reset_after else (3 * net.units,)
    outputs = net.gradients(needs, x, kernel, recurrent, bias, (net.batch, net.units))
    return Recipe(outputs, tuple(steps), tuple(filter(None, between)))
