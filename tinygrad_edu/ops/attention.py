"""Scaled dot-product attention as one primitive."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..autograd import primitive, sum_to
from ..backend import Array
from ..errors import ShapeError, message
from ..kernels.matmul import matmul_of
from ..kernels.registry import compiled
from .linalg import _matmul, product_to, swap_last, unbroadcast
from .reductions import sum
from .shape import _transpose, check_arrays


def _scores(xp: Any, q: Array, k: Array, mask: Array | None, scale: float, causal: bool) -> Array:
    """q @ k.T * scale, and -inf where that is masked."""
    scores = matmul_of(xp, q, xp.swapaxes(k, -1, -2)) * scale
    if mask is not None:
        scores = xp.where(mask, scores, -numpy.inf) if mask.dtype.kind == "b" else scores + mask
    if causal:
        seen = xp.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2], dtype=bool)
        scores = xp.where(seen, scores, -numpy.inf)
    return scores


def _softmax(xp: Any, scores: Array) -> tuple[Array, Array]:
    """softmax over the last axis, with zeros in rows that are masked as a whole, and the logarithms of its sums, which
    are infinite there: the weights are exp(scores - logs)."""
    peak = scores.max(axis=-1, keepdims=True)
    peak = xp.where(xp.isfinite(peak), peak, 0.0).astype(scores.dtype)
    weights = xp.exp(scores - peak)
    total = weights.sum(axis=-1, keepdims=True)
    masked = total == 0
    total = xp.where(masked, 1.0, total).astype(scores.dtype)
    weights /= total
    return weights, xp.where(masked, numpy.inf, peak + xp.log(total)).astype(scores.dtype)[..., 0]


@primitive("composite", saves=("q", "k", "y"), label="scaled_dot_product_attention")
def _attention_weights(xp: Any, q: Array, k: Array, mask: Array | None, *, scale: float, causal: bool) -> Array:
    return _softmax(xp, _scores(xp, q, k, mask, scale, causal))[0]


def _scores_gradient(g: Any, p: Any) -> Any:
    return p * (g - sum(g * p, axis=-1, keepdims=True))


_attention_weights.defvjp(
    lambda g, y, q, k, mask, scale, causal: product_to(q.shape, _scores_gradient(g, y), k) * scale,
    lambda g, y, q, k, mask, scale, causal: product_to(k.shape, swap_last(_scores_gradient(g, y)), q) * scale,
    lambda g, y, q, k, mask, scale, causal: unbroadcast(_scores_gradient(g, y), mask.shape),
)


def _by_heads(time_first: bool, *arrays: Any) -> Any:
    """(batch, time, heads, depth) as (batch, heads, time, depth) and the other way round; others as they are."""
    return [_transpose(a, axes=(0, 2, 1, 3)) for a in arrays] if time_first else arrays


@primitive("composite", saves=("q", "k", "v", "mask", "y"), residuals=True, label="scaled_dot_product_attention")
@compiled("attention.forward", lambda y, logs: (y, (logs,)))
def _attention(
    xp: Any, q: Array, k: Array, v: Array, mask: Array | None, *, scale: float, causal: bool, time_first: bool
) -> tuple[Array, tuple[Array]]:
    if time_first:
        q, k, v = (xp.swapaxes(a, 1, 2) for a in (q, k, v))
    weights, logs = _softmax(xp, _scores(xp, q, k, mask, scale, causal))
    y = matmul_of(xp, weights, v)
    return xp.swapaxes(y, 1, 2) if time_first else y, (logs,)


@primitive("opaque", differentiable=False, label="gradient of scaled_dot_product_attention")
@compiled("attention.gradient")
def _attention_gradient(
    xp: Any,
    g: Array,
    y: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    logs: Array,
    *,
    needs: tuple[bool, ...],
    scale: float,
    causal: bool,
    time_first: bool,
) -> tuple[Array | None, ...]:
    """The gradients of q, k, v and mask that are needed, from the logarithms of the sums of softmax."""
    if time_first:
        g, y, q, k, v = (xp.swapaxes(a, 1, 2) for a in (g, y, q, k, v))
    weights = xp.exp(_scores(xp, q, k, mask, scale, causal) - logs[..., None])
    slopes = weights * (matmul_of(xp, g, xp.swapaxes(v, -1, -2)) - (g * y).sum(axis=-1, keepdims=True))
    parts = (
        lambda: (matmul_of(xp, slopes, k) * scale, q),
        lambda: (matmul_of(xp, xp.swapaxes(slopes, -1, -2), q) * scale, k),
        lambda: (matmul_of(xp, xp.swapaxes(weights, -1, -2), g), v),
        lambda: (slopes, mask),
    )
    found = [_summed(xp, *part()) if needed else None for part, needed in zip(parts, needs, strict=True)]
    if time_first:
        found[:3] = [a if a is None else xp.swapaxes(a, 1, 2) for a in found[:3]]
    return tuple(found)


def _summed(xp: Any, a: Array, like: Array) -> Array:
    return a if a.shape == like.shape else sum_to.forward(xp, a, shape=like.shape)


def _attention_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, **attributes: Any
) -> list[Any]:
    if residuals:
        return list(_attention_gradient(g, y, q, k, v, mask, *residuals, needs=tuple(needs), **attributes))
    return _differentiable_rule(needs, g, q, k, v, mask, **attributes)


def _differentiable_rule(
    needs: list[bool], g: Any, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, time_first: bool
) -> list[Any]:
    g, q, k, v = _by_heads(time_first, g, q, k, v)
    weights = _attention_weights(q, k, mask, scale=scale, causal=causal)
    found: list[Any] = [None, None, None, None]
    if needs[2]:
        found[2] = product_to(v.shape, swap_last(weights), g)
    if needs[0] or needs[1] or needs[3]:
        d = _scores_gradient(_matmul(g, swap_last(v)), weights)
        found[0] = product_to(q.shape, d, k) * scale if needs[0] else None
        found[1] = product_to(k.shape, swap_last(d), q) * scale if needs[1] else None
        found[3] = unbroadcast(d, mask.shape) if needs[3] else None
    return [*(a if a is None else _by_heads(time_first, a)[0] for a in found[:3]), found[3]]


_attention.defjoint(_attention_rule)


def attention_of_heads(query: Any, key: Any, value: Any, mask: Any, causal: bool) -> Any:
    """scaled_dot_product_attention of (batch, time, heads, depth), without copies in another order. The mask broadcasts
    to (batch, heads, queries, keys); shapes are not checked."""
    return _attention(query, key, value, mask, scale=query.shape[-1] ** -0.5, causal=causal, time_first=True)


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
    return _attention(query, key, value, mask, scale=scale, causal=causal, time_first=False)
