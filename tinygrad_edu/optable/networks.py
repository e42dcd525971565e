"""What networks are made of, but for convolution and pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy
from scipy import special

from .. import ops
from .sample import S0, B, R, Row, S, V, Z

INF = math.inf


def _cross_entropy(
    logits: Any,
    targets: Any,
    axis: int = -1,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    logits = numpy.moveaxis(logits, axis, -1)
    classes = logits.shape[-1]
    if targets.dtype.kind == "f":
        targets, kept = numpy.moveaxis(targets, axis, -1), numpy.ones(logits.shape[:-1])
    else:
        kept = numpy.ones(targets.shape) if ignore_index is None else targets != ignore_index
        targets = numpy.eye(classes)[numpy.where(kept, targets, 0)]
    targets = (1 - label_smoothing) * targets + label_smoothing / classes
    losses = -(targets * special.log_softmax(logits.astype("float64"), axis=-1)).sum(axis=-1) * kept
    if reduction == "none":
        return losses
    return losses.sum() / (max(1, kept.sum()) if reduction == "mean" else 1)


def _binary_cross_entropy(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    losses = -(targets * special.log_expit(logits) + (1 - targets) * special.log_expit(-logits))
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def _layer_norm(x: Any, weight: Any, bias: Any, axis: Any = -1, epsilon: float = 1e-5) -> Any:
    axis, shape = _along(x, axis)
    scale = numpy.sqrt(x.var(axis=axis, keepdims=True) + epsilon)
    return (x - x.mean(axis=axis, keepdims=True)) / scale * weight.reshape(shape) + bias.reshape(shape)


def _rms_norm(x: Any, weight: Any, axis: Any = -1, epsilon: float = 1e-6) -> Any:
    axis, shape = _along(x, axis)
    return x / numpy.sqrt((x**2).mean(axis=axis, keepdims=True) + epsilon) * weight.reshape(shape)


def _along(x: Any, axis: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes as a tuple, and the shape of `x` with length 1 along the others."""
    axes = tuple(i % x.ndim for i in ((axis,) if isinstance(axis, int) else axis))
    return axes, tuple(n if i in axes else 1 for i, n in enumerate(x.shape))


def _group_norm(x: Any, weight: Any, bias: Any, groups: int, epsilon: float = 1e-3) -> Any:
    parts = []
    for part in numpy.split(x, groups, axis=-1):
        axes = tuple(range(1, x.ndim))
        centred = part - part.mean(axis=axes, keepdims=True)
        parts.append(centred / numpy.sqrt(part.var(axis=axes, keepdims=True) + epsilon))
    return numpy.concatenate(parts, axis=-1) * weight + bias


def _batch_norm(x: Any, weight: Any, bias: Any, axis: int = -1, epsilon: float = 1e-3) -> Any:
    last = numpy.moveaxis(x, axis, -1)
    rows = last.reshape(-1, last.shape[-1])
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    return _batch_norm_inference(x, weight, bias, mean, variance, axis, epsilon), mean, variance


def _batch_norm_inference(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    y = (numpy.moveaxis(x, axis, -1) - mean) / numpy.sqrt(variance + epsilon) * weight + bias
    return numpy.moveaxis(y, -1, axis)


def _attention(query: Any, key: Any, value: Any, mask: Any = None, causal: bool = False, scale: Any = None) -> Any:
    scores = query @ numpy.swapaxes(key, -1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if mask is not None:
        scores = numpy.where(mask, scores, -INF) if mask.dtype == bool else scores + mask
    if causal:
        queries, keys = scores.shape[-2:]
        scores = numpy.where(numpy.tri(queries, keys, keys - queries, dtype=bool), scores, -INF)
    return numpy.nan_to_num(special.softmax(scores, axis=-1)) @ value


SOFTMAX = (
    S(R(2, 3)),
    S(R(2, 3), axis=0),
    S(R(2, 3, 2), axis=-2),
    S(R(3)),
    S(R(0, 3)),
    S(R(4, 3, layout="T")),
    S(R(2, 5, layout="S")),
    S(R(2, 1)),
    S(Z(2, 3)),
    S(V([[1000.0, 999.0, -1000.0]])),
    S0(V([[0.0, -INF, 1.0]])),
)
ROWS = (
    Row(
        "linear",
        ops.linear,
        lambda x, weight, bias=None: numpy.matmul(x, weight) + (0 if bias is None else bias),
        (
            S(R(4, 3), R(3, 2), R(2)),
            S(R(4, 3), R(3, 2)),
            S(R(2, 2, 3), R(3, 2), R(2)),
            S(R(3), R(3, 2), R(2)),
            S(R(3), R(3, 2)),
            S(R(0, 3), R(3, 2), R(2)),
            S(R(2, 0, 3), R(3, 2), R(2)),
            S(R(3, 4, layout="T"), R(4, 5, layout="T"), R(5, layout="S")),
            S(R(2, 3, 4, layout="T"), R(4, 2), R(2)),
            S(Z(2, 3), R(3, 2), R(2)),
            S(Z(2, 3), Z(3, 2), Z(2)),
        ),
    ),
    Row("softmax", ops.softmax, lambda x, axis=-1: special.softmax(x, axis=axis), SOFTMAX),
    Row("log_softmax", ops.log_softmax, lambda x, axis=-1: special.log_softmax(x, axis=axis), SOFTMAX[:-1]),
    Row(
        "cross_entropy",
        ops.cross_entropy,
        _cross_entropy,
        (
            S(R(4, 3), V([0, 2, 1, 2])),
            S(R(4, 3), V([0, 2, 1, 2]), reduction="none"),
            S(R(4, 3), V([0, 2, 1, 2]), reduction="sum", label_smoothing=0.2),
            S(R(4, 3), V([0, -1, 1, -1]), ignore_index=-1),
            S(R(4, 3), V([0, 9, 1, 2]), ignore_index=9, label_smoothing=0.1),
            S(R(4, 3), V([1, 2, 1, 2]), ignore_index=1, label_smoothing=0.1, reduction="none"),
            S(R(2, 3), V([1, 1]), ignore_index=1),
            S(R(2, 3, 4), Z(2, 4, low=0, high=2), axis=1),
            S(R(3), V(1)),
            S(R(0, 3), Z(0, low=0, high=2), reduction="sum"),
            S(R(3, 4, layout="T"), V([0, 3, 1])),
            S(R(4, 3), R(4, 3, low=0.1, high=1.0)),
            S(R(4, 3), R(4, 3, low=0.1, high=1.0), label_smoothing=0.2, reduction="sum"),
            S(R(2, 3, 4), R(2, 3, 4, low=0.1, high=1.0), axis=1, reduction="none"),
            S(V([[1000.0, 0.0, -1000.0]]), V([2])),
            S(Z(2, 3), V([0, 1])),
        ),
    ),
    Row(
        "binary_cross_entropy_with_logits",
        ops.binary_cross_entropy_with_logits,
        _binary_cross_entropy,
        (
            S(R(2, 3), R(2, 3, low=0.2, high=0.8)),
            S(R(3), R(3, low=0.2, high=0.8), reduction="none"),
            S(R(3), R(3, low=0.2, high=0.8), reduction="sum"),
            S(R(), R(low=0.2, high=0.8)),
            S(R(0, 2), R(0, 2), reduction="sum"),
            S(R(4, 3, layout="T"), R(4, 3, low=0.2, high=0.8, layout="T")),
            S(R(2, 3), Z(2, 3, low=0, high=1)),
            S(R(2, 3), B(2, 3)),
            S(V([1000.0, -1000.0]), V([0, 1])),
        ),
    ),
    Row(
        "embedding",
        ops.embedding,
        lambda weight, ids: weight[ids],
        (
            S(R(5, 3), V([0, 4, 0])),
            S(R(5, 3), V([[0, 4], [1, 1]])),
            S(R(5, 3), V(2)),
            S(R(5, 2), Z(0, low=0, high=1)),
            S(R(4, 3, layout="T"), V([0, 2])),
        ),
    ),
    Row(
        "layer_norm",
        ops.layer_norm,
        _layer_norm,
        (
            S(R(2, 3), R(3), R(3)),
            S(R(2, 3, 2), R(3, 2), R(3, 2), axis=(1, 2)),
            S(R(2, 3, 2), R(3, 2), R(3, 2), axis=[-1, -2]),
            S(R(2, 3, 2), R(2), R(2), epsilon=0.1),
            S(R(4), R(4), R(4)),
            S(R(0, 3), R(3), R(3)),
            S(R(4, 5, layout="T"), R(5, layout="S"), R(5)),
            S(Z(2, 3), R(3), R(3)),
            S(R(2, 3, 2, 2), R(3, 2), R(3, 2), axis=[1, 2]),
            S(R(3, 2), R(3), R(3), axis=0),
        ),
        slack=64.0,
    ),
    Row(
        "rms_norm",
        ops.rms_norm,
        _rms_norm,
        (
            S(R(2, 3), R(3)),
            S(R(2, 3, 2), R(3, 2), axis=(1, 2)),
            S(R(2, 3, 2, 2), R(3, 2), axis=[1, 2], epsilon=0.1),
            S(R(3, 2), R(3), axis=0),
            S(R(4), R(4)),
            S(R(0, 3), R(3)),
            S(R(4, 5, layout="T"), R(5, layout="S")),
            S(Z(2, 3, low=1, high=3), R(3)),
        ),
        slack=64.0,
    ),
    Row(
        "group_norm",
        ops.group_norm,
        _group_norm,
        (
            S(R(2, 3, 4), R(4), R(4), groups=2),
            S(R(2, 2, 3, 4), R(4), R(4), groups=1, epsilon=0.1),
            S(R(1, 3, 2), R(2), R(2), groups=2),
            S(R(2, 6), R(6), R(6), groups=2),
            S(R(0, 3, 2), R(2), R(2), groups=1),
            S(R(6, 2, layout="T"), R(2, layout="S"), R(2), groups=1),
            S(Z(2, 3, 4), R(4), R(4), groups=2),
        ),
        slack=64.0,
    ),
    Row(
        "batch_norm",
        ops.batch_norm,
        _batch_norm,
        (
            S(R(4, 3), R(3), R(3)),
            S(R(2, 3, 2), R(3), R(3), axis=1),
            S(R(2, 2, 2, 3), R(3), R(3), axis=-1, epsilon=0.1),
            S(R(3, 4), R(3), R(3), axis=0),
            S(R(5, 4, layout="T"), R(4, layout="S"), R(4)),
        ),
        slack=64.0,
    ),
    Row(
        "batch_norm_inference",
        ops.batch_norm_inference,
        _batch_norm_inference,
        (
            S(R(4, 3), R(3), R(3), R(3), R(3, low=0.5, high=2.0)),
            S(R(2, 3, 2), R(3), R(3), R(3), R(3, low=0.5, high=2.0), axis=1, epsilon=0.1),
            S(R(0, 3), R(3), R(3), R(3), R(3, low=0.5, high=2.0)),
        ),
        slack=16.0,
    ),
    Row(
        "scaled_dot_product_attention",
        ops.scaled_dot_product_attention,
        _attention,
        (
            S(R(2, 3), R(4, 3), R(4, 2)),
            S(R(2, 2, 3), R(2, 4, 3), R(2, 4, 2), causal=True),
            S(R(3, 2), R(2, 2), R(2, 2), causal=True),
            S(R(2, 3), R(4, 3), R(4, 2), scale=0.5),
            S(R(2, 3), R(3, 3), R(3, 2), V([[True, False, True], [False, False, False]])),
            S(R(2, 2, 3), R(3, 3), R(3, 2), V([True, True, False]), causal=True),
            S(R(2, 3), R(4, 3), R(4, 2), R(2, 4)),
            S(R(2, 1, 2, 3), R(3, 4, 3), R(2, 3, 4, 2), R(4)),
            S(R(2, 3), R(2, 4, 3), R(4, 2)),
            S(R(2, 3), R(4, 3), R(2, 4, 2)),
            S(R(0, 2, 3), R(0, 3, 3), R(0, 3, 2)),
            S(R(3, 2, layout="T"), R(4, 2, layout="T"), R(4, 3, layout="T")),
        ),
        slack=16.0,
    ),
)
