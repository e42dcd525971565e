"""The kernels of a GRU whose reset gate multiplies the projected state (`reset_after`); see `recurrent`."""

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


@kernel(writes=("y", "last", "gates", "h", "inner"), exchanges=("h",))
def gru_forward(
    x, kernel, recurrent, bias, h0, mask, y, last, gates, h, inner,
    start, stop, scratch, batch, time, features, units, width, tall, rest, x_row, x_step, h0_row, packed, wide,
    tracked, reverse, has_bias, has_mask,
):  # fmt: skip
    """Unless `tracked` the last state is that of the step before, at all times. If `wide`, threads divide the units, so
    many at a time, `gates` are the projections, and h is kept, too."""
    rows = batch if wide else stop - start
    head = 0 if wide else start
    begin = start if wide else 0
    end = stop if wide else units
    part = wide if wide else units
    projected = scratch  # the state's projection
    first = scratch[6 * rows * units :]  # the first step that changes the state
    if has_mask:
        first_steps(first, mask, head, rows, time, reverse)
    copy_states(h0, h if tracked or wide else last, head, head + rows, begin, end, units, h0_row)
    for t in range(time):
        at = time - 1 - t if reverse else t
        before = (t * batch + head) * units
        gate = gates[3 * before :] if tracked or wide else scratch[3 * rows * units :]
        old = h[before:] if tracked or wide else last[head * units :]
        new = h[before + batch * units :] if tracked or wide else last[head * units :]
        if wide:
            barrier()
            state_product(old, recurrent, projected, start, stop, rows, 3, units, wide, packed, False)
        else:
            product(
                x[start * x_row + at * x_step :], kernel, gate, rows, 3 * units, features, x_row, 3 * units,
                width, packed, tall, rest,
            )  # fmt: skip
            product(old, recurrent, projected, rows, 3 * units, units, units, 3 * units, width, packed, tall, rest)
        for b in range(rows):
            keep = True
            seen = True
            if has_mask:
                keep = mask[(head + b) * time + at]
                seen = first[b] <= float(t)
            for p in range(begin, end, part):
                for j in range(part if units % part == 0 else min(part, units - p)):
                    u = p + j
                    z = gate[b * 3 * units + u] + projected[b * 3 * units + u]
                    r = gate[b * 3 * units + units + u] + projected[b * 3 * units + units + u]
                    candidate = gate[b * 3 * units + 2 * units + u]
                    within = projected[b * 3 * units + 2 * units + u]
                    if has_bias:
                        z += bias[u] + bias[3 * units + u]
                        r += bias[units + u] + bias[4 * units + u]
                        candidate += bias[2 * units + u]
                        within += bias[5 * units + u]
                    z = sigmoid(z)
                    r = sigmoid(r)
                    candidate = tanh(candidate + r * within)
                    state = old[b * units + u]
                    state = (state - candidate) * z + candidate if keep else state
                    if tracked:
                        gate[b * 3 * units + u] = z
                        gate[b * 3 * units + units + u] = r
                        gate[b * 3 * units + 2 * units + u] = candidate
                        inner[before + b * units + u] = within
                    new[b * units + u] = state
                    y[((head + b) * time + t) * units + u] = state if seen else 0.0
    if tracked or wide:
        copy_states(h[time * batch * units :], last, head, head + rows, begin, end, units, units)


@kernel(writes=("dx", "dh0", "d", "inputs"))
def gru_backward(
    g, g_last, x, kernel, recurrent, mask, gates, h, inner, dx, dh0, d, inputs,
    start, stop, scratch, batch, time, features, units, width, tall, rest,
    x_row, x_step, g_row, g_step, last_row, reverse, has_mask, has_g, has_last, needs_x, needs_kernel,
):  # fmt: skip
    """`d` are the cotangents of the state's projection that r multiplies and of the gates before activation, `inputs`
    is x as they lie. `recurrent` begins with the third gate."""
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
            gate = gates[(t * batch + start + b) * 3 * units :]
            to = d[(t * batch + start + b) * 4 * units :]
            for u in range(units):
                z = gate[u]
                r = gate[units + u]
                candidate = gate[2 * units + u]
                old = h[before + b * units + u]
                from_h = dh[b * units + u]
                if has_g:
                    given = g[(start + b) * g_row + t * g_step + u]
                    from_h += given if seen else 0.0
                by_candidate = from_h * (1.0 - z) * (1.0 - candidate * candidate) if keep else 0.0
                by_r = by_candidate * inner[before + b * units + u] * r * (1.0 - r) if keep else 0.0
                to[u] = by_candidate * r if keep else 0.0
                to[units + u] = from_h * (old - candidate) * z * (1.0 - z) if keep else 0.0
                to[2 * units + u] = by_r
                to[3 * units + u] = by_candidate
                dh[b * units + u] = from_h * z if keep else from_h
        now = d[(t * batch + start) * 4 * units :]
        product(now, recurrent, dh, rows, units, 3 * units, 4 * units, units, width, True, tall, rest, True)
        if needs_x:
            product(
                now[units:], kernel, dx[(start * time + at) * features :], rows, features, 3 * units, 4 * units,
                time * features, width, True, tall, rest,
            )  # fmt: skip
        if needs_kernel:
            copy_rows(x[at * x_step :], inputs[t * batch * features :], start, stop, features, x_row)
    for k in range(rows * units):
        dh0[start * units + k] = dh[k]


# Recipes


@by_rows(0, 4)
def gru(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, tracked: bool, reverse: bool,
    reset_after: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_gru`: y, the last state and, as residuals, gates, h, the state's projection that r multiplies."""
    if not reset_after or not are_floats(x, kernel, recurrent, bias, h0):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    shapes = [(batch, time, units), (batch, units), (time, batch, 3 * units)]
    shapes += [(time + 1, batch, units), (time, batch, units)]
    shapes = shapes if tracked else shapes[:2]
    wide, granularity = divided(x, recurrent)
    if wide:
        before, slots, between = prepared(x, kernel, recurrent, wide, reverse, 8, 6 + len(shapes))
    else:
        before, slots, between = packed_weights(x, kernel, recurrent, (1, 2), 6 + len(shapes))
    flags: dict[str, int] = {
        "wide": wide,
        "packed": "recurrent" in slots,
        "tracked": tracked,
        "reverse": reverse,
        "h0_row": stride(h0, 0),
    }
    flags |= {"has_bias": bias is not None, "has_mask": mask is not None}
    names = ("x", "kernel", "recurrent", "bias", "h0", "mask", "y", "last", "gates", "h", "inner")
    places = dict.fromkeys(names) | dict(zip(names, range(6 + len(shapes)), strict=False)) | slots
    task = Task(
        gru_forward,
        slots_of(dtype, **places),
        sizes(x, recurrent, **flags),
        units if wide else batch,
        6 * batch * time * units * ((0 if wide else features) + units),
        4 * sum(map(math.prod, shapes)),
        granularity,
        batch * (6 * units + 1),
    )
    return Recipe(tuple((shape, dtype) for shape in shapes), (*before, task), between)


@by_rows(0, 1, 2)
def gru_gradient(
    g: Any, last: Any, x: Any, kernel: Any, recurrent: Any, mask: Any, gates: Any, h: Any, inner: Any,
    needs: Any, reverse: bool, reset_after: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_gru_gradient`."""
    if not reset_after or not are_floats(g, last, x, kernel, recurrent, gates, h, inner):
        return None
    dtype, (batch, time, features), units = x.dtype.name, x.shape, recurrent.shape[0]
    made = [x.shape, kernel.shape, recurrent.shape, (2, 3 * units), (batch, units)]
    dx, dk, dr, db, dh0, d, inputs = range(9, 16)
    before, packed, more = transposed_weights(x, kernel, recurrent, (3, 4), 16, needs[0], 2 * units)
    between = [((time, batch, 4 * units), dtype), ((time, batch, features), dtype), *more]
    flags: dict[str, int] = {
        "reverse": reverse,
        "has_mask": mask is not None,
        "has_g": g is not None,
        "has_last": last is not None,
    }
    flags |= {"needs_x": needs[0], "needs_kernel": needs[1]}
    flags |= {"g_row": stride(g, 0), "g_step": stride(g, 1), "last_row": stride(last, 0)}
    slots = {"g": 0, "g_last": 1, "x": 2, "mask": 5, "gates": 6, "h": 7, "inner": 8}
    slots |= {"dx": dx, "dh0": dh0, "d": d, "inputs": inputs} | packed
    count = batch * time
    back = Task(
        gru_backward,
        slots_of(dtype, **slots),
        sizes(x, recurrent, **flags),
        batch,
        6 * count * units * (features * needs[0] + units),
        4 * count * units * 11,
        tiling(dtype, batch).tall,
        batch * (units + 1),
    )
    gates_of_x = Part(3 * units, units, 4 * units, 0, 3 * units)
    both, third = Part(2 * units, units, 4 * units, 0, 3 * units), Part(units, 0, 4 * units, 2 * units, 3 * units)
    behind = [part._replace(to=part.to + 3 * units) for part in (both, third)]
    weights = [
        [product_task(dtype, (inputs, d, dk), count, features, gates_of_x)],
        [product_task(dtype, (7, d, dr), count, units, part) for part in (both, third)],
        [sums_task(dtype, (d, db), count, part) for part in (gates_of_x, *behind)],
    ]
    return gradient(dtype, (*before, back), weights, needs, made, between)
