"""Attention and stacks of matrix products: each thread takes some of the matrices, wherever their rows lie.

The weights of attention are made block by block and never kept, however many steps there are: some queries by some
keys, which stay in the processor's cache (Dao et al., "FlashAttention", 2022). While the sums over the keys grow they
are scaled by the largest score so far (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018); of
each query the logarithm of the sum is kept, from which the gradient makes its weights again.

A block of scores lies transposed, a row for each key: its product with the transposed queries then is one of plain
matrices, for which BLAS is fastest, and what is done for each query runs in vectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .gemm import rows_of
from .language import exp, gemm, kernel, local, log
from .native import Task
from .registry import Form, Made, Recipe, are_floats, is_contiguous, strided

_QUERIES, _KEYS = 64, 128
"""Of a block, at most. What no query of a block sees is skipped."""


@kernel(writes=("c",))
def products(
    a, b, c, start, stop, m, n, k, inner, a_far, a_near, b_far, b_near, lda, ldb, transpose_a, transpose_b,
):  # fmt: skip
    """c = a @ b for stacks of matrices along two axes, of which `inner` is the length of the second; the matrices of a
    and b are so many elements apart."""
    for i in range(start, stop):
        far = i // inner
        near = i % inner
        gemm(
            a[far * a_far + near * a_near :], b[far * b_far + near * b_near :], c[i * m * n :], m, n, k, lda, ldb, n,
            transpose_a, transpose_b,
        )  # fmt: skip


@kernel()
def turn(x, to, rows, columns, ldx, ldt, factor):
    """to = x.T * factor."""
    for j in range(columns):
        for i in range(rows):
            to[j * ldt + i] = x[i * ldx + j] * factor


@kernel()
def hide(scores, mask, rows, columns, ld, masked, m_row, m_column, last):
    """Applies the mask to a block of scores, a row for each key; query i sees the keys up to `last + i`."""
    for j in range(rows):
        line = scores[j * ld :]
        if masked == 1:
            for i in range(columns):
                line[i] = line[i] if mask[i * m_row + j * m_column] else -math.inf
        if masked == 2:
            for i in range(columns):
                line[i] += mask[i * m_row + j * m_column]
        for i in range(max(0, min(columns, j - last))):
            line[i] = -math.inf


@kernel(writes=("y", "logs"))
def attention(
    q, k, v, mask, y, logs, start, stop, scratch, queries, keys, depth, features, inner, scale, causal, rows, columns,
    q_far, q_near, k_far, k_near, v_far, v_near, y_far, y_near, m_far, m_near, ldq, ldk, ldv, ldy, masked, m_row,
    m_column,
):  # fmt: skip
    """softmax(q @ k.T * scale) @ v for stacks of matrices along two axes, and the logarithms of the sums of softmax,
    infinite where a query sees no key."""
    largest = local(rows)
    total = local(rows)
    before = local(rows)
    blocks = (queries + rows - 1) // rows
    turned = scratch
    scores = scratch[depth * rows :]
    for number in range(start, stop):
        far = number // blocks // inner
        near = number // blocks % inner
        place = number % blocks  # of the first and the last in turn: causal ones have less to do in the first
        first = (place // 2 if place % 2 == 0 else blocks - 1 - place // 2) * rows
        count = min(rows, queries - first)
        to = y[far * y_far + near * y_near + first * ldy :]
        last = first + keys - queries if causal else keys
        seen = max(0, min(keys, last + count))
        turn(q[far * q_far + near * q_near + first * ldq :], turned, count, depth, ldq, rows, scale)
        for i in range(count):
            largest[i] = -math.inf
            total[i] = 0.0
        for j in range(0, seen, columns):
            size = min(columns, seen - j)
            key = far * k_far + near * k_near + j * ldk
            gemm(k[key:], turned, scores, size, count, depth, ldk, rows, rows)
            if masked or j + size - 1 > last:
                there = mask[far * m_far + near * m_near + first * m_row + j * m_column :]
                hide(scores, there, size, count, rows, masked, m_row, m_column, last - j)
            for i in range(count):
                before[i] = largest[i]
            for c in range(size):
                line = scores[c * rows :]
                for i in range(count):
                    largest[i] = max(largest[i], line[i])
            for i in range(count):
                peak = largest[i] if abs(largest[i]) < math.inf else 0.0
                before[i] = exp(before[i] - peak)
                total[i] *= before[i]
            for c in range(size):
                line = scores[c * rows :]
                for i in range(count):
                    weight = exp(line[i] - (largest[i] if abs(largest[i]) < math.inf else 0.0))
                    line[i] = weight
                    total[i] += weight
            value = v[far * v_far + near * v_near + j * ldv :]
            if j == 0:
                gemm(scores, value, to, count, features, size, rows, ldv, ldy, True)
            else:
                for i in range(count):
                    for c in range(features):
                        to[i * ldy + c] *= before[i]
                gemm(scores, value, to, count, features, size, rows, ldv, ldy, True, False, 1.0)
        for i in range(count):
            peak = largest[i] if abs(largest[i]) < math.inf else 0.0
            logs[number // blocks * queries + first + i] = peak + log(total[i]) if total[i] != 0.0 else math.inf
            share = 1.0 / total[i] if total[i] != 0.0 else 0.0
            for c in range(features):
                to[i * ldy + c] = to[i * ldy + c] * share if seen > 0 else 0.0


@kernel()
def clear(x, rows, columns, ldx):
    for i in range(rows):
        for j in range(columns):
            x[i * ldx + j] = 0.0


@kernel(writes=("dq", "dk", "dv"))
def attention_gradient(
    g, y, q, k, v, mask, logs, dq, dk, dv, start, stop, scratch, queries, keys, depth, features, inner, scale, causal,
    rows, columns, q_far, q_near, k_far, k_near, v_far, v_near, g_far, g_near, y_far, y_near, dq_far, dq_near, dk_far,
    dk_near, dv_far, dv_near, m_far, m_near, ldq, ldk, ldv, ldg, ldy, lddq, lddk, lddv, masked, m_row, m_column,
):  # fmt: skip
    """The gradients of q, k and v: with the weights p and their gradients d = p * (g @ v.T - sum(g * y)), those are
    d @ k, d.T @ q and p.T @ g."""
    shared = local(rows)
    logarithm = local(rows)
    turned = scratch
    turned_g = scratch[depth * rows :]
    weights = scratch[(depth + features) * rows :]
    slopes = scratch[(depth + features + columns) * rows :]
    for number in range(start, stop):
        far = number // inner
        near = number % inner
        to_key = dk[far * dk_far + near * dk_near :]
        to_value = dv[far * dv_far + near * dv_near :]
        clear(to_key, keys, depth, lddk)
        clear(to_value, keys, features, lddv)
        for first in range(0, queries, rows):
            count = min(rows, queries - first)
            last = first + keys - queries if causal else keys
            seen = max(0, min(keys, last + count))
            query = q[far * q_far + near * q_near + first * ldq :]
            slope = g[far * g_far + near * g_near + first * ldg :]
            output = y[far * y_far + near * y_near + first * ldy :]
            to = dq[far * dq_far + near * dq_near + first * lddq :]
            turn(query, turned, count, depth, ldq, rows, scale)
            turn(slope, turned_g, count, features, ldg, rows, 1.0)
            for i in range(count):
                sum = 0.0
                for c in range(features):
                    sum += slope[i * ldg + c] * output[i * ldy + c]
                shared[i] = sum
                logarithm[i] = logs[number * queries + first + i]
            if seen == 0:
                clear(to, count, depth, lddq)
            for j in range(0, seen, columns):
                size = min(columns, seen - j)
                key = k[far * k_far + near * k_near + j * ldk :]
                value = v[far * v_far + near * v_near + j * ldv :]
                gemm(key, turned, weights, size, count, depth, ldk, rows, rows)
                if masked or j + size - 1 > last:
                    there = mask[far * m_far + near * m_near + first * m_row + j * m_column :]
                    hide(weights, there, size, count, rows, masked, m_row, m_column, last - j)
                gemm(value, turned_g, slopes, size, count, features, ldv, rows, rows)
                for c in range(size):
                    weight = weights[c * rows :]
                    line = slopes[c * rows :]
                    for i in range(count):
                        share = exp(weight[i] - logarithm[i])
                        weight[i] = share
                        line[i] = (line[i] - shared[i]) * share * scale
                gemm(weights, slope, to_value[j * lddv :], size, features, count, rows, ldg, lddv, False, False, 1.0)
                gemm(slopes, query, to_key[j * lddk :], size, depth, count, rows, ldq, lddk, False, False, 1.0)
                if j == 0:
                    gemm(slopes, key, to, count, depth, size, rows, ldk, lddq, True)
                else:
                    gemm(slopes, key, to, count, depth, size, rows, ldk, lddq, True, False, 1.0)


# Recipes


def _apart(steps: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """How many elements the matrices of a stack are apart along the axes `shape`, joined to two: of the others but the
    last, and of the last; None if those cannot be joined. `steps` are the strides, in elements."""
    near, far, so_far = steps[-1], 0, 1
    for n, step in zip(shape[-2::-1], steps[-2::-1], strict=True):
        if n > 1:
            if so_far > 1 and step != far * so_far:
                return None
            far = far if so_far > 1 else step
            so_far *= n
    return far, near


def _stack(a: Any, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """How many elements the matrices of `a` are apart along the axes `shape`, joined to two; None if they are not."""
    missing, size = len(shape) - (len(a.shape) - 2), a.dtype.itemsize
    lengths, strides = (1,) * missing + tuple(a.shape[:-2]), (0,) * missing + tuple(a.strides[:-2])
    if lengths != shape or any(step % size for step in strides):
        return None  # some are repeated
    return _apart(tuple(step // size for step in strides), shape)


def stacked(a: Any, b: Any) -> Recipe | None:
    """Of `_matmul`, for stacks."""
    if max(len(a.shape), len(b.shape)) < 3 or min(len(a.shape), len(b.shape)) < 2 or not are_floats(a, b):
        return None
    shape = tuple(a.shape[:-2]) if len(a.shape) >= len(b.shape) else tuple(b.shape[:-2])
    (m, k), n = a.shape[-2:], b.shape[-1]
    numbers = {"m": m, "n": n, "k": k, "inner": shape[-1]}
    for name, x in (("a", a), ("b", b)):
        place, rows = _stack(x, shape), rows_of(x)
        if place is None or rows is None:
            return None
        numbers |= {
            f"{name}_far": place[0],
            f"{name}_near": place[1],
            f"transpose_{name}": rows[0],
            f"ld{name}": rows[1],
        }
    count, dtype = math.prod(shape), a.dtype.name
    made: Made = ((*shape, m, n), dtype)
    arrays = (("a", dtype, 0), ("b", dtype, 1), ("c", dtype, 2))
    traffic = 4 * count * (m * k + k * n + m * n)
    return Recipe((made,), (Task(products, arrays, tuple(numbers.items()), count, 2 * count * m * n * k, traffic),))


def in_order(shape: tuple[int, ...], dtype: Any) -> Form:
    """An array that is to be made, its elements in their order."""
    return Form(shape, dtype, tuple(dtype.itemsize * math.prod(shape[i + 1 :]) for i in range(len(shape))))


def by_heads(a: Any, time_first: bool) -> Form:
    """(batch, time, heads, depth) as (batch, heads, time, depth), where it lies; others as they are."""
    order = [0, 2, 1, 3] if time_first else range(len(a.shape))
    return Form(tuple(a.shape[i] for i in order), a.dtype, tuple(a.strides[i] for i in order))


def numbers_of(mask: Any, scale: float, causal: bool, **stacks: Any) -> dict[str, float] | None:
    """What the kernels of attention must know, for q, k, v and others."""
    q, v = stacks["q"], stacks["v"]
    shape = tuple(q.shape[:-2])
    if not shape or not are_floats(*stacks.values()):
        return None
    (queries, depth), (keys, features) = q.shape[-2:], v.shape[-2:]
    sizes = {"queries": queries, "keys": keys, "depth": depth, "features": features, "inner": shape[-1]}
    numbers: dict[str, float] = {**sizes, "scale": scale, "causal": causal}
    numbers |= dict.fromkeys(("masked", "m_far", "m_near", "m_row", "m_column"), 0)
    for name, x in stacks.items():
        place, rows = _stack(x, shape), rows_of(x)
        if place is None or rows is None or rows[0]:
            return None
        numbers |= {f"{name}_far": place[0], f"{name}_near": place[1], f"ld{name}": rows[1]}
    if mask is not None:
        whole, size = (*shape, queries, keys), mask.dtype.itemsize
        missing = len(whole) - len(mask.shape)
        steps = [0] * missing
        steps += [step // size if n > 1 else 0 for n, step in zip(mask.shape, mask.strides, strict=True)]
        place = _apart(tuple(steps[:-2]), shape)
        if place is None or any(step % size for step in mask.strides) or mask.dtype.name not in ("bool", q.dtype.name):
            return None
        numbers |= {"masked": 1 if mask.dtype.name == "bool" else 2}
        numbers |= zip(("m_far", "m_near", "m_row", "m_column"), (*place, *steps[-2:]), strict=True)
    return numbers


@strided
def forward(q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, time_first: bool) -> Recipe | None:
    """Of `_attention`: y, the logarithms of the sums."""
    y = in_order((*q.shape[:-1], v.shape[-1]), q.dtype)
    forms = {name: by_heads(a, time_first) for name, a in (("q", q), ("k", k), ("v", v), ("y", y))}
    numbers = numbers_of(mask, scale, causal, **forms)
    if numbers is None:
        return None
    shape, dtype = forms["q"].shape[:-1], q.dtype.name
    queries, keys, depth, features = (int(numbers[name]) for name in ("queries", "keys", "depth", "features"))
    rows, columns = min(_QUERIES, queries), min(_KEYS, keys)
    count = math.prod(shape[:-1])
    task = Task(
        attention,
        tuple(_slots(mask, dtype, "q k v mask y logs")),
        (*numbers.items(), ("rows", rows), ("columns", columns)),
        length=count * -(-queries // rows),
        operations=_operations(numbers, 2 * depth + 2 * features + 50) * count,
        traffic=4 * count * (queries + keys) * (depth + features),
        scratch=(depth + columns) * rows,
    )
    return Recipe(((y.shape, dtype), (shape, dtype)), (task,))


@strided
def gradient(
    g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, logs: Any,
    needs: tuple[bool, ...], scale: float, causal: bool, time_first: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_attention_gradient`: the gradients of q, k and v; there is none for that of a mask."""
    new = {name: in_order(tuple(a.shape), a.dtype) for name, a in (("dq", q), ("dk", k), ("dv", v))}
    given = {"g": g, "y": y, "q": q, "k": k, "v": v}
    forms = {name: by_heads(a, time_first) for name, a in (given | new).items()}
    numbers = numbers_of(mask, scale, causal, **forms)
    if numbers is None or needs[3] or not is_contiguous(logs) or not are_floats(q, logs):
        return None
    dtype, count = q.dtype.name, math.prod(forms["q"].shape[:-2])
    queries, keys, depth, features = (int(numbers[name]) for name in ("queries", "keys", "depth", "features"))
    rows, columns = min(_QUERIES // (1 + causal), queries), min(_KEYS, keys)
    task = Task(
        attention_gradient,
        tuple(_slots(mask, dtype, "g y q k v mask logs dq dk dv")),
        (*numbers.items(), ("rows", rows), ("columns", columns)),
        length=count,
        operations=_operations(numbers, 6 * depth + 4 * features + 50) * count,
        traffic=8 * count * (queries + keys) * (depth + features),
        scratch=(depth + features + 2 * columns) * rows,
    )
    return Recipe((*((form.shape, dtype) for form in new.values()), None), (task,))


def _slots(mask: Any, dtype: str, names: str) -> Iterator[tuple[str, str, int | None]]:
    for slot, name in enumerate(names.split()):
        is_mask = name == "mask" and mask is not None
        yield name, mask.dtype.name if is_mask else dtype, None if name == "mask" and not is_mask else slot


def _operations(numbers: dict[str, float], each: int) -> int:
    """Of one stack, with so many for a query and a key."""
    return int(numbers["queries"] * numbers["keys"] * each / (2 if numbers["causal"] else 1))
