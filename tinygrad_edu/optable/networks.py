"""What networks are made of. The references of convolution and pooling are plain loops."""

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


def _both(value: Any) -> tuple[Any, Any]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _borders(padding: Any, size: Any, kernel: Any, strides: Any, dilation: Any) -> list[tuple[int, int]]:
    """(before, after) for height and width."""
    if padding == "same":
        missing = [
            max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
            for n, k, s, d in zip(size, kernel, strides, dilation, strict=True)
        ]
        return [(m // 2, m - m // 2) for m in missing]
    return [_both(p) for p in _both(0 if padding == "valid" else padding)]


def _reaches(kernel: Any, dilation: Any, at: tuple[int, int], strides: Any) -> tuple[slice, slice]:
    """What the kernel covers of a padded image, laid on it at an output position."""
    rows, columns = (
        slice(i * s, i * s + (k - 1) * d + 1, d) for i, s, k, d in zip(at, strides, kernel, dilation, strict=True)
    )
    return rows, columns


def _conv2d(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    strides, dilation, window = _both(strides), _both(dilation), kernel.shape[:2]
    x = numpy.pad(x, [(0, 0), *_borders(padding, x.shape[1:3], window, strides, dilation), (0, 0)])
    height, width = (
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[1:3], window, strides, dilation, strict=True)
    )
    y = numpy.zeros((x.shape[0], height, width, kernel.shape[3]))
    inputs, filters = numpy.split(numpy.arange(x.shape[3]), groups), numpy.split(numpy.arange(y.shape[3]), groups)
    for i, j in numpy.ndindex(height, width):
        patch = x[:, *_reaches(window, dilation, (i, j), strides)]
        for ins, outs in zip(inputs, filters, strict=True):
            y[:, i, j, outs] = numpy.tensordot(patch[..., ins], kernel[..., outs], 3)
    return y


def _conv2d_transpose(
    x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1
) -> Any:
    strides, dilation, window, size = _both(strides), _both(dilation), kernel.shape[:2], x.shape[1:3]
    image = [n * s for n, s in zip(size, strides, strict=True)]
    borders = _borders(padding, image, window, strides, dilation)
    if padding != "same":
        image = [
            (n - 1) * s + (k - 1) * d + 1 - sum(border)
            for n, s, k, d, border in zip(size, strides, window, dilation, borders, strict=True)
        ]
    y = numpy.zeros((x.shape[0], *(n + sum(b) for n, b in zip(image, borders, strict=True)), kernel.shape[2] * groups))
    outputs, filters = numpy.split(numpy.arange(y.shape[3]), groups), numpy.split(numpy.arange(x.shape[3]), groups)
    for i, j in numpy.ndindex(*size):
        rows, columns = _reaches(window, dilation, (i, j), strides)
        for outs, ins in zip(outputs, filters, strict=True):
            part = y[:, rows, columns, outs[0] : outs[-1] + 1]
            part += numpy.einsum("nf,hwcf->nhwc", x[:, i, j, ins], kernel[..., ins])
    (top, _), (left, _) = borders
    return y[:, top : top + image[0], left : left + image[1]]


def _pool(reduce: Any, x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    window = _both(pool_size)
    strides = window if strides is None else _both(strides)
    borders = _borders(padding, x.shape[1:3], window, strides, (1, 1))
    x = numpy.pad(x.astype("float64"), [(0, 0), *borders, (0, 0)], constant_values=math.nan)
    height, width = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], window, strides, strict=True))
    y = numpy.zeros((x.shape[0], height, width, x.shape[3]))
    for i, j in numpy.ndindex(height, width):
        y[:, i, j] = reduce(x[:, *_reaches(window, (1, 1), (i, j), strides)], axis=(1, 2))
    return y


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
POOLING = (
    S(R(2, 4, 4, 2)),
    S(R(1, 5, 4, 2), 2, strides=1),
    S(R(1, 5, 5, 1), (2, 3), (2, 1)),
    S(R(1, 5, 5, 1), 2, padding="same"),
    S(R(1, 4, 5, 2), 3, strides=2, padding="same"),
    S(R(1, 4, 4, 1), 2, padding=1),
    S(R(1, 4, 4, 1), 3, padding=((1, 0), (0, 1))),
    S(R(1, 5, 5, 1), 2, strides=3),
    S(R(0, 4, 4, 2)),
    S(R(2, 4, 4, 2, layout="T"), 2),
    S(R(1, 2, 2, 1), (2, 2)),
    S(Z(1, 4, 4, 1)),
    S(Z(1, 3, 3, 2), 2, padding="same"),
)
SAME = "same"

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
        "conv2d",
        ops.conv2d,
        _conv2d,
        (
            S(R(1, 3, 3, 1), R(2, 2, 1, 1)),
            S(R(2, 4, 5, 3), R(3, 2, 3, 4)),
            S(R(1, 5, 6, 2), R(3, 3, 2, 2), strides=2),
            S(R(1, 6, 5, 2), R(2, 3, 2, 1), strides=(2, 1), padding=SAME),
            S(R(1, 5, 5, 1), R(3, 2, 1, 2), padding=1, dilation=2),
            S(R(1, 6, 4, 2), R(2, 2, 2, 1), padding=SAME, dilation=(2, 1), strides=3),
            S(R(1, 4, 4, 4), R(2, 2, 2, 6), groups=2),
            S(R(1, 3, 3, 2), R(3, 3, 1, 4), groups=2, padding=((1, 0), (0, 2)), strides=2),
            S(R(1, 3, 3, 3), R(1, 1, 3, 2)),
            S(R(1, 3, 4, 1), R(2, 2, 1, 1), padding=(0, 1)),
            S(R(0, 3, 3, 1), R(2, 2, 1, 1)),
            S(R(2, 5, 4, 2), R(2, 2, 2, 3), 4),
            S(R(2, 4, 3, 2, layout="T"), R(2, 2, 2, 2, layout="S")),
            S(Z(1, 3, 3, 1), R(2, 2, 1, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "conv2d_transpose",
        ops.conv2d_transpose,
        _conv2d_transpose,
        (
            S(R(1, 2, 2, 1), R(2, 2, 1, 1)),
            S(R(2, 2, 3, 3), R(2, 3, 2, 3), strides=2),
            S(R(1, 2, 3, 2), R(3, 3, 1, 2), strides=2, padding=SAME),
            S(R(1, 3, 2, 1), R(2, 3, 2, 1), strides=(3, 1), padding=SAME),
            S(R(1, 2, 2, 4), R(2, 2, 3, 4), groups=2),
            S(R(1, 3, 3, 2), R(3, 2, 1, 2), padding=1, dilation=2),
            S(R(1, 3, 3, 2), R(3, 3, 1, 2), padding=((1, 0), (0, 2)), strides=2),
            S(R(1, 2, 2, 1), R(1, 1, 1, 1), strides=3),
            S(R(1, 2, 2, 1), R(1, 1, 1, 1), strides=2, padding=SAME),
            S(R(0, 2, 2, 1), R(2, 2, 1, 1)),
            S(R(1, 3, 2, 2, layout="T"), R(2, 2, 1, 2)),
        ),
        slack=16.0,
    ),
    Row("max_pool2d", ops.max_pool2d, lambda x, *a, **k: _pool(numpy.nanmax, x, *a, **k).astype(x.dtype), POOLING),
    Row("average_pool2d", ops.average_pool2d, lambda *a, **k: _pool(numpy.nanmean, *a, **k), POOLING),
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
