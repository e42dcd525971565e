"""The kernels of an LSTM; see `recurrent`."""

from __future__ import annotations

import math
from typing import Any

from .language import barrier, kernel, tanh
from .native import Task
from .recurrent import (
    Part,
    copy_rows,
    copy_states,
    divided,
    first_steps,
    gradient,
    packed_weights,
    prepared,
    product,
    product_task,
    sigmoid,
    sizes,
    slots_of,
    state_product,
    stride,
    sums_task,
    tiling,
    transposed_weights,
)
from .registry import Recipe, are_floats, by_rows


@kernel(writes=("y", "last_h", "last_c", "gates", "h", "c", "tanh_c"), exchanges=("h",))
def lstm_forward(
    x, kernel, recurrent, bias, h0, c0, mask, y, last_h, last_c, gates, h, c, tanh_c,
    start, stop, scratch, batch, time, features, units, width, tall, rest, x_row, x_step, h0_row, c0_row,
    packed, wide, tracked, reverse, has_bias, has_mask,
):  # fmt: skip
    """Unless `tracked` the last states are those of the step before, at all times. If `wide`, threads divide the units,
    so many at a time, `gates` are the projections, and h is kept, too."""
    rows = batch if wide else stop - start
    head = 0 if wide else start
    begin = start if wide else 0
    end = stop if wide else units
    part = wide if wide else units
    first = scratch[4 * rows * units :]  # the first step that changes the state
    if has_mask:
        first_steps(first, mask, head, rows, time, reverse)
    copy_states(h0, h if tracked or wide else last_h, head, head + rows, begin, end, units, h0_row)
    copy_states(c0, c if tracked else last_c, head, head + rows, begin, end, units, c0_row)
    for t in range(time):
        at = time - 1 - t if reverse else t
        before = (t * batch + head) * units
        after = before + batch * units
        gate = gates[4 * before :] if tracked or wide else scratch
        old_h = h[before:] if tracked or wide else last_h[head * units :]
        old_c = c[before:] if tracked else last_c[head * units :]
        new_h = h[after:] if tracked or wide else last_h[head * units :]
        new_c = c[after:] if tracked else last_c[head * units :]
        if wide:
            barrier()
            state_product(old_h, recurrent, gate, start, stop, rows, 4, units, wide, packed, True)
        else:
            product(
                x[start * x_row + at * x_step :], kernel, gate, rows, 4 * units, features, x_row, 4 * units,
                width, packed, tall, rest,
            )  # fmt: skip
            product(old_h, recurrent, gate, rows, 4 * units, units, units, 4 * units, width, packed, tall, rest, True)
        for b in range(rows):
            keep = True
            seen = True
            if has_mask:
                keep = mask[(head + b) * time + at]
                seen = first[b] <= float(t)
            for p in range(begin, end, part):
                for j in range(part if units % part == 0 else min(part, units - p)):
                    u = p + j
                    i = gate[b * 4 * units + u]
                    f = gate[b * 4 * units + units + u]
                    candidate = gate[b * 4 * units + 2 * units + u]
                    o = gate[b * 4 * units + 3 * units + u]
                    if has_bias:
                        i += bias[u]
                        f += bias[units + u]
                        candidate += bias[2 * units + u]
                        o += bias[3 * units + u]
                    i = sigmoid(i)
                    f = sigmoid(f)
                    candidate = tanh(candidate)
                    o = sigmoid(o)
                    state = f * old_c[b * units + u] + i * candidate
                    state = state if keep else old_c[b * units + u]
                    bent = tanh(state)
                    output = o * bent if keep else old_h[b * units + u]
                    if tracked:
                        gate[b * 4 * units + u] = i
                        gate[b * 4 * units + units + u] = f
                        gate[b * 4 * units + 2 * units + u] = candidate
                        gate[b * 4 * units + 3 * units + u] = o
                        tanh_c[before + b * units + u] = bent
                    new_c[b * units + u] = state
                    new_h[b * units + u] = output
                    y[((head + b) * time + t) * units + u] = output if seen else 0.0
    if tracked or wide:
        copy_states(h[time * batch * units :], last_h, head, head + rows, begin, end, units, units)
    if tracked:
        copy_states(c[time * batch * units :], last_c, head, head + rows, begin, end, units, units)


@kernel(writes=("dx", "dh0", "dc0", "d", "inputs"))
def lstm_backward(
    g, g_h, g_c, x, kernel, recurrent, mask, gates, c, tanh_c, dx, dh0, dc0, d, inputs,
    start, stop, scratch, batch, time, features, units, width, tall, rest,
    x_row, x_step, g_row, g_step, h_row, c_row, reverse, has_mask, has_g, has_h, has_c, needs_x, needs_kernel,
):  # fmt: skip
    """`d` are the cotangents of the gates before activation, `inputs` is x as they lie."""
    rows = stop - start
    dh = scratch
    dc = scratch[rows * units :]
    first = scratch[2 * rows * units :]  # the first step that changes the state
    for b in range(rows):
        for u in range(units):
            dh[b * units + u] = g_h[(start + b) * h_row + u] if has_h else 0.0
            dc[b * units + u] = g_c[(start + b) * c_row + u] if has_c else 0.0
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
            gate = gates[(t * batch + start + b) * 4 * units :]
            to = d[(t * batch + start + b) * 4 * units :]
            for u in range(units):
                i = gate[u]
                f = gate[units + u]
                candidate = gate[2 * units + u]
                o = gate[3 * units + u]
                bent = tanh_c[before + b * units + u]
                from_h = dh[b * units + u]
                if has_g:
                    given = g[(start + b) * g_row + t * g_step + u]
                    from_h += given if seen else 0.0
                from_c = dc[b * units + u] + from_h * o * (1.0 - bent * bent)
                to[u] = from_c * candidate * i * (1.0 - i) if keep else 0.0
                to[units + u] = from_c * c[before + b * units + u] * f * (1.0 - f) if keep else 0.0
                to[2 * units + u] = from_c * i * (1.0 - candidate * candidate) if keep else 0.0
                to[3 * units + u] = from_h * bent * o * (1.0 - o) if keep else 0.0
                dc[b * units + u] = from_c * f if keep else dc[b * units + u]
                dh[b * units + u] = 0.0 if keep else from_h
        now = d[(t * batch + start) * 4 * units :]
        product(now, recurrent, dh, rows, units, 4 * units, 4 * units, units, width, True, tall, rest, True)
        if needs_x:
            product(
                now, kernel, dx[(start * time + at) * features :], rows, features, 4 * units, 4 * units,
                time * features, width, True, tall, rest,
            )  # fmt: skip
        if needs_kernel:
            copy_rows(x[at * x_step :], inputs[t * batch * features :], start, stop, features, x_row)
    for k in range(rows * units):
        dh0[start * units + k] = dh[k]
        dc0[start * units + k] = dc[k]


# Recipes


@by_rows(0, 4, 5)
def lstm(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, c0: Any, mask: Any, tracked: bool, reverse: bool
) -> Recipe | None:
    """Of `_lstm`: y, the last states and, as residuals, gates, h, c, tanh(c)."""
    if not are_floats(x, kernel, recurrent, bias, h0, c0):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    states, steps = (time + 1, batch, units), (time, batch, units)
    shapes = [(batch, time, units), (batch, units), (batch, units), (time, batch, 4 * units), states, states, steps]
    shapes = shapes if tracked else shapes[:3]
    wide, granularity = divided(x, recurrent)
    if wide:
        before, slots, between = prepared(x, kernel, recurrent, wide, reverse, 10, 7 + len(shapes))
    else:
        before, slots, between = packed_weights(x, kernel, recurrent, (1, 2), 7 + len(shapes))
    flags: dict[str, int] = {"wide": wide, "packed": "recurrent" in slots, "tracked": tracked, "reverse": reverse}
    flags |= {"h0_row": stride(h0, 0), "c0_row": stride(c0, 0)}
    flags |= {"has_bias": bias is not None, "has_mask": mask is not None}
    names = (
        "x",
        "kernel",
        "recurrent",
        "bias",
        "h0",
        "c0",
        "mask",
        "y",
        "last_h",
        "last_c",
        "gates",
        "h",
        "c",
        "tanh_c",
    )
    places = dict.fromkeys(names) | dict(zip(names, range(7 + len(shapes)), strict=False)) | slots
    task = Task(
        lstm_forward,
        slots_of(dtype, **places),
        sizes(x, recurrent, **flags),
        units if wide else batch,
        8 * batch * time * units * ((0 if wide else features) + units),
        4 * sum(map(math.prod, shapes)),
        granularity,
        batch * (4 * units + 1),
    )
    return Recipe(tuple((shape, dtype) for shape in shapes), (*before, task), between)


@by_rows(0, 1, 2, 3)
def lstm_gradient(
    g: Any, last_h: Any, last_c: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, gates: Any, h: Any, c: Any,
    tanh_c: Any, needs: Any, reverse: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_lstm_gradient`."""
    if not are_floats(g, last_h, last_c, x, kernel, recurrent, gates, h, c, tanh_c):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    made = [x.shape, kernel.shape, recurrent.shape, (4 * units,), (batch, units), (batch, units)]
    dx, dk, dr, db, dh0, dc0, d, inputs = range(11, 19)
    before, packed, more = transposed_weights(x, kernel, recurrent, (4, 5), 19, needs[0])
    between = [((time, batch, 4 * units), dtype), ((time, batch, features), dtype), *more]
    flags: dict[str, int] = {
        "reverse": reverse,
        "has_mask": mask is not None,
        "has_g": g is not None,
        "has_h": last_h is not None,
    }
    flags |= {"has_c": last_c is not None, "needs_x": needs[0], "needs_kernel": needs[1]}
    flags |= {"g_row": stride(g, 0), "g_step": stride(g, 1), "h_row": stride(last_h, 0), "c_row": stride(last_c, 0)}
    slots = {"g": 0, "g_h": 1, "g_c": 2, "x": 3, "mask": 6, "gates": 7, "c": 9, "tanh_c": 10}
    slots |= {"dx": dx, "dh0": dh0, "dc0": dc0, "d": d, "inputs": inputs} | packed
    count = batch * time
    back = Task(
        lstm_backward,
        slots_of(dtype, **slots),
        sizes(x, recurrent, **flags),
        batch,
        8 * count * units * (features * needs[0] + units),
        4 * count * units * 13,
        tiling(dtype, batch).tall,
        batch * (2 * units + 1),
    )
    whole = Part(4 * units, 0, 4 * units, 0, 4 * units)
    weights = [
        [product_task(dtype, (inputs, d, dk), count, features, whole)],
        [product_task(dtype, (8, d, dr), count, units, whole)],
        [sums_task(dtype, (d, db), count, whole)],
    ]
    return gradient(dtype, (*before, back), weights, needs, made, between)
