"""The kernels of a simple recurrent network; see `recurrent`."""

from __future__ import annotations

import math
from typing import Any

from .language import gemm, kernel, tanh
from .native import Task
from .recurrent import first_steps, gradient, input_gradient, product, sigmoid, sizes, slots_of, sums
from .registry import Recipe, are_floats

LINEAR, RELU, SIGMOID, TANH = range(4)
ACTIVATIONS = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}


@kernel()
def activated(a, activation):
    y = a
    if activation == RELU:
        y = max(a, 0.0)
    if activation == SIGMOID:
        y = sigmoid(a)
    if activation == TANH:
        y = tanh(a)
    return y


@kernel()
def slope(y, activation):
    """Of the activation, by what it gave."""
    found = 1.0
    if activation == RELU:
        found = 1.0 if y > 0.0 else 0.0
    if activation == SIGMOID:
        found = y * (1.0 - y)
    if activation == TANH:
        found = 1.0 - y * y
    return found


@kernel(writes=("y", "last", "h"))
def rnn_forward(
    x, kernel, recurrent, bias, h0, mask, y, last, h,
    start, stop, scratch, batch, time, features, units, reverse, activation, has_bias, has_mask,
):  # fmt: skip
    rows = stop - start
    first = scratch  # the first step that changes the state
    for k in range(start * units, stop * units):
        h[k] = h0[k]
    if has_mask:
        first_steps(first, mask, start, rows, time, reverse)
    for t in range(time):
        at = time - 1 - t if reverse else t
        before = (t * batch + start) * units
        new = h[before + batch * units :]
        gemm(
            x[(start * time + at) * features :], kernel, new, rows, units, features, time * features, units, units,
        )  # fmt: skip
        gemm(h[before:], recurrent, new, rows, units, units, units, units, units, beta=1.0)
        for b in range(rows):
            keep = True
            seen = True
            if has_mask:
                keep = mask[(start + b) * time + at]
                seen = first[b] <= float(t)
            for u in range(units):
                a = new[b * units + u]
                if has_bias:
                    a += bias[u]
                state = activated(a, activation) if keep else h[before + b * units + u]
                new[b * units + u] = state
                y[((start + b) * time + t) * units + u] = state if seen else 0.0
    for k in range(start * units, stop * units):
        last[k] = h[time * batch * units + k]


@kernel(writes=("dx", "dh0", "d", "earlier"))
def rnn_backward(
    g, g_last, kernel, recurrent, mask, h, dx, dh0, d, earlier,
    start, stop, scratch, batch, time, features, units, reverse, activation, has_mask, has_g, has_last, needs_x,
):  # fmt: skip
    """`d` are the cotangents before activation, `earlier` the states before each step, both as x lies."""
    rows = stop - start
    dh = scratch
    first = scratch[rows * units :]  # the first step that changes the state
    for k in range(rows * units):
        dh[k] = g_last[start * units + k] if has_last else 0.0
    if has_mask:
        first_steps(first, mask, start, rows, time, reverse)
    for turn in range(time):
        t = time - 1 - turn
        at = turn if reverse else t
        before = (t * batch + start) * units
        for b in range(rows):
            keep = True
            seen = True
            if has_mask:
                keep = mask[(start + b) * time + at]
                seen = first[b] <= float(t)
            to = d[((start + b) * time + at) * units :]
            state = earlier[((start + b) * time + at) * units :]
            for u in range(units):
                from_h = dh[b * units + u]
                if has_g:
                    given = g[((start + b) * time + t) * units + u]
                    from_h += given if seen else 0.0
                to[u] = from_h * slope(h[before + (batch + b) * units + u], activation) if keep else 0.0
                state[u] = h[before + b * units + u]
                dh[b * units + u] = 0.0 if keep else from_h
        gemm(
            d[(start * time + at) * units :], recurrent, dh, rows, units, units, time * units, units, units, False,
            True, 1.0,
        )  # fmt: skip
    if needs_x:
        input_gradient(d, kernel, dx, start, rows, time, features, units)
    for k in range(rows * units):
        dh0[start * units + k] = dh[k]


# Recipes


def simple_rnn(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, reverse: bool, activation: str
) -> Recipe | None:
    """Of `_simple_rnn`: y, the last state, h."""
    if not are_floats(x, kernel, recurrent, bias, h0):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    shapes = [(batch, time, units), (batch, units), (time + 1, batch, units)]
    flags: dict[str, int] = {"reverse": reverse, "activation": ACTIVATIONS[activation]}
    flags |= {"has_bias": bias is not None, "has_mask": mask is not None}
    names = "x kernel recurrent bias h0 mask y last h"
    task = Task(
        rnn_forward,
        slots_of(dtype, **{name: slot for slot, name in enumerate(names.split())}),
        sizes(x, recurrent, **flags),
        batch,
        2 * batch * time * units * (features + units),
        4 * sum(map(math.prod, shapes)),
        scratch=batch,
    )
    return Recipe(tuple((shape, dtype) for shape in shapes), (task,))


def simple_rnn_gradient(
    g: Any, last: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, h: Any, needs: Any, reverse: bool,
    activation: str,
) -> Recipe | None:  # fmt: skip
    """Of `_simple_rnn_gradient`."""
    if not are_floats(g, last, x, kernel, recurrent, h):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    made = [x.shape, kernel.shape, recurrent.shape, (units,), (batch, units)]
    between = [(batch, time, units), (batch, time, units)]
    dx, dk, dr, db, dh0, d, earlier = range(7, 14)
    flags: dict[str, int] = {"reverse": reverse, "activation": ACTIVATIONS[activation]}
    flags |= {"has_mask": mask is not None, "has_g": g is not None}
    flags |= {"has_last": last is not None, "needs_x": needs[0]}
    slots = {"g": 0, "g_last": 1, "kernel": 3, "recurrent": 4, "mask": 5, "h": 6}
    slots |= {"dx": dx, "dh0": dh0, "d": d, "earlier": earlier}
    count = batch * time
    back = Task(
        rnn_backward,
        slots_of(dtype, **slots),
        sizes(x, recurrent, **flags),
        batch,
        2 * count * units * (features * needs[0] + units),
        4 * count * units * 6,
        scratch=batch * (units + 1),
    )
    weights = [
        [product(dtype, (2, d, dk), count, features, units)],
        [product(dtype, (earlier, d, dr), count, units, units)],
        [sums(dtype, (d, db), count, units)],
    ]
    return gradient(dtype, back, weights, needs, made, between)
