"""Scaled dot-product attention as one primitive."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..autograd import primitive
from ..backend import Array
from ..errors import ShapeError, message
from ..kernels.registry import compiled
from .linalg import _matmul, product_to, swap_last, unbroadcast
from .reductions import sum
from .shape import check_arrays


def _masked_softmax(xp: Any, scores: Array, mask: Array | None, causal: bool) -> Array:
    """softmax over the last axis, in place, with no weight on what is masked; rows that are masked as a whole give
    zeros."""
    if mask is not None:
        scores = xp.where(mask, scores, -numpy.inf) if mask.dtype.kind == "b" else scores + mask
    if causal:
        seen = xp.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2], dtype=bool)
        scores = xp.where(seen, scores, -numpy.inf)
    peak = scores.max(axis=-1, keepdims=True)
    scores = xp.exp(scores - xp.where(xp.isfinite(peak), peak, 0.0).astype(scores.dtype))
    total = scores.sum(axis=-1, keepdims=True)
    scores /= xp.where(total == 0, 1.0, total).astype(scores.dtype)
    return scores


@primitive("composite", saves=("q", "k", "y"), label="scaled_dot_product_attention")
def _attention_weights(xp: Any, q: Array, k: Array, mask: Array | None, *, scale: float, causal: bool) -> Array:
    return _masked_softmax(xp, xp.matmul(q, xp.swapaxes(k, -1, -2)) * scale, mask, causal)


def _scores_gradient(g: Any, p: Any) -> Any:
    return p * (g - sum(g * p, axis=-1, keepdims=True))


_attention_weights.defvjp(
    lambda g, y, q, k, mask, scale, causal: product_to(q.shape, _scores_gradient(g, y), k) * scale,
    lambda g, y, q, k, mask, scale, causal: product_to(k.shape, swap_last(_scores_gradient(g, y)), q) * scale,
    lambda g, y, q, k, mask, scale, causal: unbroadcast(_scores_gradient(g, y), mask.shape),
)


@primitive("composite", saves=("q", "k", "v", "mask"), residuals=True, label="scaled_dot_product_attention")
@compiled("attention.forward", lambda y, weights: (y, (weights,)))
def _attention(
    xp: Any, q: Array, k: Array, v: Array, mask: Array | None, *, scale: float, causal: bool
) -> tuple[Array, tuple[Array]]:
    weights = _attention_weights.forward(xp, q, k, mask, scale=scale, causal=causal)
    return xp.matmul(weights, v), (weights,)


def _attention_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, *, scale: float, causal: bool
) -> list[Any]:
    weights = residuals[0] if residuals else _attention_weights(q, k, mask, scale=scale, causal=causal)
    found: list[Any] = [None, None, None, None]
    if needs[2]:
        found[2] = product_to(v.shape, swap_last(weights), g)
    if needs[0] or needs[1] or needs[3]:
        d = _scores_gradient(_matmul(g, swap_last(v)), weights)
        found[0] = product_to(q.shape, d, k) * scale if needs[0] else None
        found[1] = product_to(k.shape, swap_last(d), q) * scale if needs[1] else None
        found[3] = unbroadcast(d, mask.shape) if needs[3] else None
    return found


_attention.defjoint(_attention_rule)


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False, scale: float | None = None
) -> Any:
    """softmax(query @ key.T * scale) @ value over the last two axes (Vaswani et al., "Attention is all you need",
    2017).

    Args:
        query: (..., queries, depth); key: (..., keys, depth); value: (..., keys, features). Leading axes broadcast.
        mask: broadcasts to (..., queries, keys). Booleans: attend where True. Floats: added to the scores.
        causal: each query sees the keys up to its own position, the last query all of them.
        scale: 1 / sqrt(depth) by default.

    Returns (..., queries, features); zeros where a query sees no key. Raises ShapeError for shapes that do not fit.

    >>> import tinygrad_edu as tg
    >>> x = tg.ones((2, 3, 4))
    >>> tg.scaled_dot_product_attention(x, x, x, causal=True).shape
    (2, 3, 4)
    """
    where = "scaled_dot_product_attention"
    check_arrays(where, query, key, value, *(() if mask is None else (mask,)))
    fits = min(query.ndim, key.ndim, value.ndim) >= 2
    fits = fits and query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2]
    try:
        stack = numpy.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        numpy.broadcast_shapes(stack, value.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        expected = "query (..., queries, depth), key (..., keys, depth), value (..., keys, features)"
        raise ShapeError(message(where, expected, f"query {query.shape}, key {key.shape}, value {value.shape}"))
    if mask is not None:
        scores = (*stack, query.shape[-2], key.shape[-2])
        if mask.dtype.kind not in "bf":
            raise TypeError(message(where, "a mask of booleans or floats", str(mask.dtype), "use .astype(bool)."))
        pairs = zip(mask.shape[::-1], scores[::-1], strict=False)
        if mask.ndim > len(scores) or any(m not in (1, n) for m, n in pairs):
            raise ShapeError(message(where, f"a mask that broadcasts to {scores}", f"{mask.shape}"))
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    return _attention(query, key, value, mask, scale=scale, causal=causal)
