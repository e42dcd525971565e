"""Convolution, pooling and resizing. The references are plain loops over the elements of the result."""

from __future__ import annotations

import math
from typing import Any

import numpy

from .. import ops
from .sample import S0, B, R, Row, S, V, Z

INF = math.inf
SAME = "same"


def _each(value: Any, count: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * count


def _borders(padding: Any, size: Any, kernel: Any, strides: Any, dilation: Any) -> list[tuple[int, int]]:
    """(before, after) for each axis."""
    if padding == "causal":
        return [((kernel[0] - 1) * dilation[0], 0)]
    if padding == "same":
        missing = [
            max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
            for n, k, s, d in zip(size, kernel, strides, dilation, strict=True)
        ]
        return [(m // 2, m - m // 2) for m in missing]
    return [(p, p) if isinstance(p, int) else p for p in _each(0 if padding == "valid" else padding, len(size))]


def _patch(kernel: Any, dilation: Any, at: Any, strides: Any) -> tuple[slice, ...]:
    """What the kernel covers of a padded batch, laid on it at an output position."""
    reaches = zip(at, strides, kernel, dilation, strict=True)
    return slice(None), *(slice(i * s, i * s + (k - 1) * d + 1, d) for i, s, k, d in reaches)


def _conv(x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Any:
    axes, window = x.ndim - 2, kernel.shape[:-2]
    strides, dilation = _each(strides, axes), _each(dilation, axes)
    x = numpy.pad(x, [(0, 0), *_borders(padding, x.shape[1:-1], window, strides, dilation), (0, 0)])
    size = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[1:-1], window, strides, dilation, strict=True)]
    y = numpy.zeros((x.shape[0], *size, kernel.shape[-1]))
    inputs, filters = numpy.split(numpy.arange(x.shape[-1]), groups), numpy.split(numpy.arange(y.shape[-1]), groups)
    for at in numpy.ndindex(*size):
        patch = x[_patch(window, dilation, at, strides)]
        for ins, outs in zip(inputs, filters, strict=True):
            y[(slice(None), *at, outs)] = numpy.tensordot(patch[..., ins], kernel[..., outs], axes + 1)
    return y


def _conv_transpose(
    x: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = None,
) -> Any:
    """Everything the elements spread, then cut or lengthened to the result: first its length, as Keras has it."""
    axes, window, size = x.ndim - 2, kernel.shape[:-2], x.shape[1:-1]
    strides, dilation, more = _each(strides, axes), _each(dilation, axes), _each(output_padding, axes)
    full, cuts = [], []
    for i in range(axes):
        n, s, reach = size[i], strides[i], (window[i] - 1) * dilation[i] + 1
        full.append((n - 1) * s + reach)
        if padding == "same":
            length = n * s if more[i] is None else (n - 1) * s + reach % 2 + more[i]
            before = max(0, full[i] - length) // 2
        elif padding == "valid":
            length, before = (n - 1) * s + (max(reach, s) if more[i] is None else reach + more[i]), 0
        else:
            before, after = _borders(padding, size, window, strides, dilation)[i]
            length = full[i] - before - after + (more[i] or 0)
        cuts.append(slice(before, before + length))
    y = numpy.zeros(
        (x.shape[0], *(max(n, cut.stop) for n, cut in zip(full, cuts, strict=True)), kernel.shape[-2] * groups)
    )
    outputs, filters = numpy.split(numpy.arange(y.shape[-1]), groups), numpy.split(numpy.arange(x.shape[-1]), groups)
    for at in numpy.ndindex(*size):
        patch = y[_patch(window, dilation, at, strides)]
        for outs, ins in zip(outputs, filters, strict=True):
            spread = numpy.tensordot(x[(slice(None), *at, ins)], kernel[..., ins], (1, -1))
            patch[..., outs[0] : outs[-1] + 1] += spread
    return y[(slice(None), *cuts)]


def _depthwise(x: Any, kernel: Any, *args: Any, **keywords: Any) -> Any:
    filters = [_conv(x[..., c : c + 1], kernel[..., c : c + 1, :], *args, **keywords) for c in range(x.shape[-1])]
    return numpy.concatenate(filters, axis=-1)


def _separable(x: Any, kernel: Any, pointwise_kernel: Any, *args: Any, **keywords: Any) -> Any:
    y = _depthwise(x, kernel, *args, **keywords)
    return y @ pointwise_kernel.reshape(pointwise_kernel.shape[-2:])


def _pool(reduce: Any, x: Any, pool_size: Any = 2, strides: Any = None, padding: Any = "valid") -> Any:
    axes = x.ndim - 2
    window, ones = _each(pool_size, axes), (1,) * axes
    strides = window if strides is None else _each(strides, axes)
    borders = _borders(padding, x.shape[1:-1], window, strides, ones)
    x = numpy.pad(x.astype("float64"), [(0, 0), *borders, (0, 0)], constant_values=math.nan)
    size = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, strides, strict=True)]
    y = numpy.zeros((x.shape[0], *size, x.shape[-1]))
    for at in numpy.ndindex(*size):
        y[(slice(None), *at)] = reduce(x[_patch(window, ones, at, strides)], axis=tuple(range(1, axes + 1)))
    return y


def _adaptive(reduce: Any, x: Any, size: Any) -> Any:
    axes = x.ndim - 2
    size = _each(size, axes)
    y = numpy.zeros((x.shape[0], *size, x.shape[-1]))
    for at in numpy.ndindex(*size):
        parts = (
            slice(math.floor(i * n / s), math.ceil((i + 1) * n / s))
            for i, n, s in zip(at, x.shape[1:-1], size, strict=True)
        )
        y[(slice(None), *at)] = reduce(x[(slice(None), *parts)], axis=tuple(range(1, axes + 1)))
    return y


def _max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return numpy.nanmax(x, axis=axis, keepdims=keepdims)


def _resize(x: Any, size: Any, method: str = "nearest") -> Any:
    size = _each(size, 2)
    y = numpy.zeros((x.shape[0], *size, x.shape[-1]))
    for at in numpy.ndindex(*size):
        centres = [(i + 0.5) * n / s for i, n, s in zip(at, x.shape[1:-1], size, strict=True)]
        if method == "nearest":
            row, column = map(math.floor, centres)
            y[(slice(None), *at)] = x[:, row, column]
            continue
        for row, column in numpy.ndindex(*x.shape[1:-1]):
            # each pixel weighs 1 - its distance; a centre outside of the outermost ones lies on them
            distances = [
                abs(min(max(c - 0.5, 0), n - 1) - i)
                for c, n, i in zip(centres, x.shape[1:-1], (row, column), strict=True)
            ]
            y[(slice(None), *at)] += math.prod(max(0.0, 1 - d) for d in distances) * x[:, row, column]
    return y.astype(x.dtype) if method == "nearest" else y


def _spatial(reduce: Any) -> Any:
    return lambda x, keepdims=False: reduce(x, axis=tuple(range(1, x.ndim - 1)), keepdims=keepdims)


BYTES = numpy.arange(193, 201, dtype="uint8")

POOLING = (
    S(R(2, 4, 4, 2)),
    S(R(1, 5, 4, 2), 2, strides=1),
    S(R(1, 5, 5, 1), (2, 3), (2, 1)),
    S(R(1, 5, 5, 1), 2, padding=SAME),
    S(R(1, 4, 5, 2), 3, strides=2, padding=SAME),
    S(R(1, 4, 4, 1), 2, padding=1),
    S(R(1, 4, 4, 1), 3, padding=((1, 0), (0, 1))),
    S(R(1, 5, 5, 1), 2, strides=3),
    S(R(0, 4, 4, 2)),
    S(R(2, 4, 4, 2, layout="T"), 2),
    S(R(1, 2, 2, 1), (2, 2)),
    S(Z(1, 4, 4, 1)),
    S(Z(1, 3, 3, 2), 2, padding=SAME),
    S(V(BYTES.reshape(1, 2, 4, 1)), 2),
    S(V(BYTES.reshape(1, 4, 2, 1)), 3, padding=SAME),
)
POOLING_1D = (
    S(R(2, 5, 2)),
    S(R(1, 5, 1), 3, strides=2, padding=SAME),
    S(R(1, 4, 2), 2, 1, ((1, 0),)),
    S(R(1, 4, 3, layout="T"), (2,)),
    S(R(0, 4, 2)),
    S(Z(1, 4, 1)),
)
POOLING_3D = (
    S(R(1, 2, 3, 2, 2), strides=1),
    S(R(1, 2, 3, 3, 1), (1, 2, 3), strides=2, padding=SAME),
    S(R(1, 2, 1, 2, 1), 2, padding=(0, 1, (1, 0))),
    S(R(1, 2, 2, 2, 2, layout="T")),
    S(R(0, 2, 2, 2, 1)),
    S(Z(1, 2, 2, 2, 1)),
)
GLOBAL = (
    S(R(2, 3, 2)),
    S(R(2, 2, 3, 2), keepdims=True),
    S(R(1, 2, 2, 2, 1)),
    S(R(2, 3, 3, layout="T")),
    S(R(0, 2, 2, 2)),
    S(Z(1, 3, 2)),
)
ADAPTIVE_1D = (S(R(2, 5, 2), 3), S(R(1, 4, 1), 2), S(R(1, 2, 2), 3), S(R(2, 5, 4, layout="T"), (1,)), S(Z(1, 5, 1), 2))
ADAPTIVE_2D = (
    S(R(1, 5, 4, 2), 3),
    S(R(2, 4, 3, 1), (2, 3)),
    S(R(1, 3, 2, 1), (1, 3)),
    S(R(1, 4, 3, 2, layout="T"), (2, 2)),
    S(R(0, 3, 4, 2), 2),
    S(Z(1, 5, 3, 1), 2),
    S(V(BYTES.reshape(1, 4, 2, 1)), 3),
)
ADAPTIVE_3D = (
    S(R(1, 3, 2, 4, 1), (2, 1, 3)),
    S(R(1, 2, 3, 2, 2, layout="T"), 2),
    S(R(0, 2, 2, 3, 1), 1),
    S(Z(1, 3, 2, 2, 1), 2),
)

ROWS = (
    Row(
        "conv1d",
        ops.conv1d,
        _conv,
        (
            S(R(1, 3, 1), R(2, 1, 1)),
            S(R(2, 5, 3), R(3, 3, 2), strides=2, padding=SAME),
            S(R(1, 4, 2), R(3, 2, 2), padding="causal"),
            S(R(1, 6, 2), R(3, 1, 2), padding="causal", dilation=(2,), groups=2),
            S(R(1, 5, 2), R(2, 1, 4), strides=(2,), padding=((1, 2),), groups=2),
            S(R(1, 5, 1), R(2, 1, 2), padding=1, dilation=3),
            S(R(0, 3, 2), R(2, 2, 1)),
            S(R(2, 3, 2, layout="T"), R(2, 2, 2, layout="S")),
            S(Z(1, 3, 1), R(2, 1, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "conv2d",
        ops.conv2d,
        _conv,
        (
            S(R(1, 3, 3, 1), R(2, 2, 1, 1)),
            S(R(2, 4, 5, 3), R(3, 2, 3, 4)),
            S(R(1, 5, 6, 2), R(3, 3, 2, 2), strides=2),
            S(R(1, 6, 5, 2), R(2, 3, 2, 1), strides=(2, 1), padding=SAME),
            S(R(1, 5, 5, 1), R(3, 2, 1, 2), padding=1, dilation=2),
            S(R(1, 6, 4, 2), R(2, 2, 2, 1), padding=SAME, dilation=(2, 1), strides=3),
            S(R(1, 4, 4, 4), R(2, 2, 2, 6), groups=2),
            S(R(1, 3, 3, 2), R(3, 3, 1, 4), groups=2, padding=((1, 0), (0, 2)), strides=2),
            S(R(1, 4, 3, 3), R(2, 2, 1, 3), groups=3, padding=((1, 0), (0, 2)), strides=(1, 2)),
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
        "conv3d",
        ops.conv3d,
        _conv,
        (
            S(R(1, 2, 3, 2, 1), R(2, 2, 1, 1, 2)),
            S(R(1, 3, 2, 3, 2), R(2, 1, 2, 1, 2), strides=(2, 1, 2), padding=SAME, groups=2),
            S(R(1, 3, 2, 2, 2), R(2, 2, 1, 2, 1), padding=(0, (1, 0), 1), dilation=(2, 1, 1)),
            S(R(0, 2, 2, 2, 1), R(1, 2, 2, 1, 1)),
            S(R(1, 2, 2, 3, 2, layout="T"), R(1, 2, 2, 2, 1)),
            S(Z(1, 2, 2, 2, 1), R(2, 1, 2, 1, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "conv1d_transpose",
        ops.conv1d_transpose,
        _conv_transpose,
        (
            S(R(1, 2, 1), R(2, 1, 1)),
            S(R(2, 3, 3), R(2, 2, 3), strides=3),
            S(R(1, 3, 2), R(4, 1, 2), strides=2, padding=SAME, groups=2),
            S(R(1, 3, 2), R(4, 1, 2), strides=2, padding=SAME, output_padding=1),
            S(R(1, 3, 1), R(3, 1, 1), padding=((1, 0),), dilation=2, output_padding=1),
            S(R(1, 3, 2, layout="T"), R(2, 2, 2)),
            S(R(0, 2, 1), R(2, 1, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "conv2d_transpose",
        ops.conv2d_transpose,
        _conv_transpose,
        (
            S(R(1, 2, 2, 1), R(2, 2, 1, 1)),
            S(R(2, 2, 3, 3), R(2, 3, 2, 3), strides=2),
            S(R(1, 2, 3, 2), R(3, 3, 1, 2), strides=2, padding=SAME),
            S(R(1, 3, 2, 1), R(2, 3, 2, 1), strides=(3, 1), padding=SAME),
            S(R(1, 2, 2, 4), R(2, 2, 3, 4), groups=2),
            S(R(1, 3, 3, 2), R(3, 2, 1, 2), padding=1, dilation=2),
            S(R(1, 3, 3, 2), R(3, 3, 1, 2), padding=((1, 0), (0, 2)), strides=2),
            S(R(1, 2, 2, 1), R(1, 1, 1, 1), strides=3),
            S(R(1, 2, 2, 1), R(1, 1, 1, 1), strides=3, padding=0),
            S(R(1, 2, 2, 1), R(1, 1, 1, 1), strides=2, padding=SAME),
            S(R(1, 2, 2, 1), R(3, 2, 2, 1), strides=2, output_padding=(0, 1)),
            S(R(1, 2, 3, 1), R(3, 2, 1, 1), strides=3, padding=SAME, output_padding=(2, 1)),
            S(R(1, 3, 2, 1), R(2, 3, 1, 1), padding=SAME, dilation=2, output_padding=0),
            S(R(0, 2, 2, 1), R(2, 2, 1, 1)),
            S(R(1, 3, 2, 2, layout="T"), R(2, 2, 1, 2)),
        ),
        slack=16.0,
    ),
    Row(
        "conv3d_transpose",
        ops.conv3d_transpose,
        _conv_transpose,
        (
            S(R(1, 1, 2, 2, 1), R(2, 1, 2, 2, 1)),
            S(R(1, 2, 1, 2, 2), R(1, 2, 2, 1, 2), strides=(1, 2, 2), padding=SAME, groups=2),
            S(R(1, 1, 2, 1, 2), R(2, 2, 3, 1, 2), strides=2, padding=(0, (1, 0), 1), output_padding=1),
            S(R(1, 2, 1, 2, 2, layout="T"), R(1, 2, 2, 1, 2)),
            S(R(0, 1, 1, 2, 1), R(1, 2, 2, 1, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "depthwise_conv1d",
        ops.depthwise_conv1d,
        _depthwise,
        (
            S(R(1, 4, 2), R(2, 2, 1)),
            S(R(2, 5, 2), R(3, 2, 2), strides=2, padding=SAME),
            S(R(1, 5, 1), R(2, 1, 2), padding=((2, 1),), dilation=2),
            S(R(2, 3, 2, layout="T"), R(2, 2, 2, layout="S")),
            S(R(0, 3, 2), R(2, 2, 1)),
            S(Z(1, 3, 2), R(2, 2, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "depthwise_conv2d",
        ops.depthwise_conv2d,
        _depthwise,
        (
            S(R(1, 3, 4, 2), R(2, 2, 2, 1)),
            S(R(2, 3, 3, 2), R(2, 3, 2, 3)),
            S(R(1, 5, 4, 3), R(2, 3, 3, 1), strides=(2, 1), padding=SAME),
            S(R(1, 4, 4, 1), R(2, 2, 1, 2), padding=(1, (0, 2)), dilation=2, strides=2),
            S(R(1, 3, 3, 2, layout="T"), R(2, 2, 2, 2, layout="S")),
            S(R(0, 3, 3, 2), R(2, 2, 2, 1)),
            S(Z(1, 3, 3, 2), R(2, 2, 2, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "separable_conv1d",
        ops.separable_conv1d,
        _separable,
        (
            S(R(1, 4, 2), R(2, 2, 1), R(1, 2, 3)),
            S(R(2, 5, 1), R(3, 1, 2), R(1, 2, 2), strides=2, padding=SAME),
            S(R(1, 5, 2, layout="T"), R(2, 2, 2), R(1, 4, 1), dilation=2),
            S(R(0, 3, 2), R(2, 2, 1), R(1, 2, 1)),
        ),
        slack=16.0,
    ),
    Row(
        "separable_conv2d",
        ops.separable_conv2d,
        _separable,
        (
            S(R(1, 3, 3, 2), R(2, 2, 2, 1), R(1, 1, 2, 3)),
            S(R(2, 3, 4, 1), R(2, 3, 1, 2), R(1, 1, 2, 2), strides=(2, 1), padding=SAME),
            S(R(1, 4, 3, 2, layout="T"), R(2, 2, 2, 2), R(1, 1, 4, 1), padding=1, dilation=2),
            S(R(0, 3, 3, 2), R(2, 2, 2, 1), R(1, 1, 2, 1)),
        ),
        slack=16.0,
    ),
    *(
        Row(f"max_pool{axes}d", op, lambda x, *a, **k: _pool(_max, x, *a, **k).astype(x.dtype), samples)
        for axes, op, samples in (
            (1, ops.max_pool1d, POOLING_1D),
            (2, ops.max_pool2d, POOLING),
            (3, ops.max_pool3d, POOLING_3D),
        )
    ),
    *(
        Row(f"average_pool{axes}d", op, lambda *a, **k: _pool(numpy.nanmean, *a, **k), samples)
        for axes, op, samples in (
            (1, ops.average_pool1d, POOLING_1D),
            (2, ops.average_pool2d, POOLING),
            (3, ops.average_pool3d, POOLING_3D),
        )
    ),
    Row("global_max_pool", ops.global_max_pool, _spatial(numpy.max), GLOBAL),
    Row("global_average_pool", ops.global_average_pool, _spatial(numpy.mean), GLOBAL),
    *(
        Row(f"adaptive_max_pool{axes}d", op, lambda x, size: _adaptive(_max, x, size).astype(x.dtype), samples)
        for axes, op, samples in (
            (1, ops.adaptive_max_pool1d, ADAPTIVE_1D),
            (2, ops.adaptive_max_pool2d, ADAPTIVE_2D),
            (3, ops.adaptive_max_pool3d, ADAPTIVE_3D),
        )
    ),
    *(
        Row(f"adaptive_average_pool{axes}d", op, lambda x, size: _adaptive(numpy.mean, x, size), samples)
        for axes, op, samples in (
            (1, ops.adaptive_average_pool1d, ADAPTIVE_1D),
            (2, ops.adaptive_average_pool2d, ADAPTIVE_2D),
            (3, ops.adaptive_average_pool3d, ADAPTIVE_3D),
        )
    ),
    Row(
        "resize",
        ops.resize,
        _resize,
        (
            S(R(2, 2, 3, 2), (3, 5), "bilinear"),
            S(R(1, 4, 5, 1), (2, 3), "bilinear"),
            S(R(1, 1, 3, 2), 4, "bilinear"),
            S(R(2, 2, 3, 2), (3, 5)),
            S(R(1, 5, 4, 1), (2, 3)),
            S(R(2, 3, 2, 2, layout="T"), (2, 3), method="bilinear"),
            S(R(0, 2, 2, 1), 3, "bilinear"),
            S(Z(1, 3, 2, 1), 4, "bilinear"),
            S(Z(1, 3, 2, 1), 4),
            S(B(1, 2, 2, 1), 3),
            S0(V([[[[INF], [1.0]]]]), (1, 4)),
        ),
    ),
)
