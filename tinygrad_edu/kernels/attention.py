"""Attention and stacks of matrix products: each thread takes some of the matrices, wherever their rows lie."""

from __future__ import annotations

import math
from typing import Any

from .gemm import rows_of
from .language import exp, gemm, kernel
from .native import Task
from .registry import Made, Recipe, are_floats, strided


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


@kernel(writes=("y", "weights"))
def attention(
    q, k, v, y, weights, start, stop, queries, keys, depth, features, inner, scale, causal,
    q_far, q_near, k_far, k_near, v_far, v_near, ldq, ldk, ldv,
):  # fmt: skip
    """softmax(q @ k.T * scale) @ v for stacks of matrices along two axes; the weights are kept."""
    for i in range(start, stop):
        far = i // inner
        near = i % inner
        w = weights[i * queries * keys :]
        gemm(
            q[far * q_far + near * q_near :],
            k[far * k_far + near * k_near :],
            w,
            queries,
            keys,
            depth,
            ldq,
            ldk,
            keys,
            False,
            True,
        )
        for row in range(queries):
            line = w[row * keys :]
            seen = max(0, min(keys, row + 1 + keys - queries)) if causal else keys
            largest = -math.inf
            for j in range(seen):
                largest = max(largest, line[j] * scale)
            total = 0.0
            for j in range(seen):
                weight = exp(line[j] * scale - largest)
                line[j] = weight
                total += weight
            share = 1.0 / total if total != 0.0 else 0.0
            for j in range(seen):
                line[j] *= share
            for j in range(seen, keys):
                line[j] = 0.0
        gemm(
            w, v[far * v_far + near * v_near :], y[i * queries * features :], queries, features, keys, keys, ldv,
            features,
        )  # fmt: skip


# Recipes


def _stack(a: Any, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """How many elements the matrices of `a` are apart along the axes `shape`, joined to two; None if they are not."""
    missing, size = len(shape) - (len(a.shape) - 2), a.dtype.itemsize
    lengths, strides = (1,) * missing + tuple(a.shape[:-2]), (0,) * missing + tuple(a.strides[:-2])
    if lengths != shape or any(step % size for step in strides):
        return None  # some are repeated
    near, far, so_far = strides[-1] // size, 0, 1
    for n, step in zip(shape[-2::-1], (step // size for step in strides[-2::-1]), strict=True):
        if n > 1:
            if so_far > 1 and step != far * so_far:
                return None
            far = far if so_far > 1 else step
            so_far *= n
    return far, near


@strided
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


@strided
def forward(q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool) -> Recipe | None:
    """Of `_attention`: y, the weights."""
    if mask is not None or not len(q.shape) == len(k.shape) == len(v.shape) >= 3 or not are_floats(q, k, v):
        return None
    shape = tuple(q.shape[:-2])
    numbers: dict[str, float] = {"inner": shape[-1], "scale": scale, "causal": causal}
    for name, x in (("q", q), ("k", k), ("v", v)):
        place, rows = _stack(x, shape), rows_of(x)
        if place is None or rows is None or rows[0]:
            return None
        numbers |= {f"{name}_far": place[0], f"{name}_near": place[1], f"ld{name}": rows[1]}
    (queries, depth), (keys, features) = q.shape[-2:], v.shape[-2:]
    numbers |= {"queries": queries, "keys": keys, "depth": depth, "features": features}
    count, dtype = math.prod(shape), q.dtype.name
    arrays = tuple((name, dtype, slot) for name, slot in (("q", 0), ("k", 1), ("v", 2), ("y", 4), ("weights", 5)))
    operations = count * queries * keys * (2 * depth + 2 * features + 50)
    traffic = 4 * count * (queries * (depth + features) + keys * (depth + features) + 4 * queries * keys)
    task = Task(attention, arrays, tuple(numbers.items()), count, operations, traffic)
    return Recipe((((*shape, queries, features), dtype), ((*shape, queries, keys), dtype)), (task,))
