"""The kernels of a simple recurrent network; see `recurrent`."""

from __future__ import annotations

import math
from typing import Any

from .language import kernel, tanh
from .native import Task
from .recurrent import (
    Part,
    copy_rows,
    first_steps,
    gradient,
    packed_weights,
    product,
    product_task,
    sigmoid,
    sizes,
    slots_of,
    stride,
    sums_task,
    tiling,
    transposed_weights,
)
from .registry import Recipe, are_floats, by_rows

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
    start, stop, scratch, batch, time, features, units, width, tall, rest, x_row, x_step, h0_row, packed, tracked,
    reverse, activation, has_bias, has_mask,
):  # fmt: skip
    """Unless `tracked` the last state is that of the step before, at all times."""
    rows = stop - start
    first = scratch[rows * units :]  # the first step that changes the state
    if has_mask:
        first_steps(first, mask, start, rows, time, reverse)
    copy_rows(h0, h if tracked else last, start, stop, units, h0_row)
    for t in range(time):
        at = time - 1 - t if reverse else t
        before = (t * batch + start) * units
        old = h[before:] if tracked else last[start * units :]
        new = h[before + batch * units :] if tracked else last[start * units :]
        a = new if tracked else scratch
        product(
            x[start * x_row + at * x_step :], kernel, a, rows, units, features, x_row, units, width, packed, tall, rest
        )
        product(old, recurrent, a, rows, units, units, units, units, width, packed, tall, rest, True)
        for b in range(rows):
            keep = True
            seen = True
            if has_mask:
                keep = mask[(start + b) * time + at]
                seen = first[b] <= float(t)
            for u in range(units):
                projected = a[b * units + u]
                if has_bias:
                    projected += bias[u]
                state = activated(projected, activation) if keep else old[b * units + u]
                new[b * units + u] = state
                y[((start + b) * time + t) * units + u] = state if seen else 0.0
    if tracked:
        for k in range(start * units, stop * units):
            last[k] = h[time * batch * units + k]


@kernel(writes=("dx", "dh0", "d", "inputs"))
def rnn_backward(
    g, g_last, x, kernel, recurrent, mask, h, dx, dh0, d, inputs,
    start, stop, scratch, batch, time, features, units, width, tall, rest,
    x_row, x_step, g_row, g_step, last_row, reverse, activation, has_mask, has_g, has_last, needs_x, needs_kernel,
):  # fmt: skip
    """`d` are the cotangents before activation, `inputs` is x as they lie."""
    rows = stop - start
    dh = scratch
    first = scratch[rows * units :]  # the first step that changes the state
    for b in range(rows):
        for u in range(units):
            dh[b * units + u] = g_last[(start + b) * last_row + u] if has_last else 0.0
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
            for u in range(units):
                from_h = dh[b * units + u]
                if has_g:
                    given = g[(start + b) * g_row + t * g_step + u]
                    from_h += given if seen else 0.0
                change = from_h * slope(h[before + (batch + b) * units + u], activation)
                d[before + b * units + u] = change if keep else 0.0
                dh[b * units + u] = 0.0 if keep else from_h
        product(d[before:], recurrent, dh, rows, units, units, units, units, width, True, tall, rest, True)
        if needs_x:
            product(
                d[before:], kernel, dx[(start * time + at) * features :], rows, features, units, units,
                time * features, width, True, tall, rest,
            )  # fmt: skip
        if needs_kernel:
            copy_rows(x[at * x_step :], inputs[t * batch * features :], start, stop, features, x_row)
    for k in range(rows * units):
        dh0[start * units + k] = dh[k]


# Recipes


@by_rows(0, 4)
def simple_rnn(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, tracked: bool, reverse: bool, activation: str
) -> Recipe | None:
    """Of `_simple_rnn`: y, the last state and, as a residual, h."""
    if not are_floats(x, kernel, recurrent, bias, h0):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    shapes = [(batch, time, units), (batch, units), (time + 1, batch, units)]
    shapes = shapes if tracked else shapes[:2]
    before, slots, between = packed_weights(x, kernel, recurrent, (1, 2), 6 + len(shapes))
    flags: dict[str, int] = {"packed": bool(before), "tracked": tracked, "reverse": reverse}
    flags |= {"h0_row": stride(h0, 0)}
    flags |= {"activation": ACTIVATIONS[activation], "has_bias": bias is not None, "has_mask": mask is not None}
    names = ("x", "kernel", "recurrent", "bias", "h0", "mask", "y", "last", "h")
    places = dict.fromkeys(names) | dict(zip(names, range(6 + len(shapes)), strict=False)) | slots
    task = Task(
        rnn_forward,
        slots_of(dtype, **places),
        sizes(x, recurrent, **flags),
        batch,
        2 * batch * time * units * (features + units),
        4 * sum(map(math.prod, shapes)),
        tiling(dtype, batch).tall,
        batch * (units + 1),
    )
    return Recipe(tuple((shape, dtype) for shape in shapes), (*before, task), between)


@by_rows(0, 1, 2)
def simple_rnn_gradient(
    g: Any, last: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, h: Any, needs: Any, reverse: bool,
    activation: str,
) -> Recipe | None:  # fmt: skip
    """Of `_simple_rnn_gradient`."""
    if not are_floats(g, last, x, kernel, recurrent, h):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    made = [x.shape, kernel.shape, recurrent.shape, (units,), (batch, units)]
    dx, dk, dr, db, dh0, d, inputs = range(7, 14)
    before, packed, more = transposed_weights(x, kernel, recurrent, (3, 4), 14, needs[0])
    between = [((time, batch, units), dtype), ((time, batch, features), dtype), *more]
    flags: dict[str, int] = {"reverse": reverse, "activation": ACTIVATIONS[activation]}
    flags |= {"has_mask": mask is not None, "has_g": g is not None, "has_last": last is not None}
    flags |= {"needs_x": needs[0], "needs_kernel": needs[1]}
    flags |= {"g_row": stride(g, 0), "g_step": stride(g, 1), "last_row": stride(last, 0)}
    slots = {"g": 0, "g_last": 1, "x": 2, "mask": 5, "h": 6}
    slots |= {"dx": dx, "dh0": dh0, "d": d, "inputs": inputs} | packed
    count = batch * time
    back = Task(
        rnn_backward,
        slots_of(dtype, **slots),
        sizes(x, recurrent, **flags),
        batch,
        2 * count * units * (features * needs[0] + units),
        4 * count * units * 4,
        tiling(dtype, batch).tall,
        batch * (units + 1),
    )
    whole = Part(units, 0, units, 0, units)
    weights = [
        [product_task(dtype, (inputs, d, dk), count, features, whole)],
        [product_task(dtype, (6, d, dr), count, units, whole)],
        [sums_task(dtype, (d, db), count, whole)],
    ]
    return gradient(dtype, (*before, back), weights, needs, made, between)
