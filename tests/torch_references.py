"""PyTorch's function for each operation of the table that it has, with the arguments of ours."""

import math

import numpy
import torch
from torch.nn import functional as F


def _axes(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def _full(function):
    """A reduction that takes no axis as all of them."""
    return lambda x, axis=None, keepdims=False, **k: function(x, dim=_axes(x, axis), keepdim=keepdims, **k)


def _prod(x, axis=None, keepdims=False):
    for i in sorted(
        (_axes(x, axis) if axis is None or not isinstance(axis, int) else (axis,)), key=lambda i: -(i % x.ndim)
    ):
        x = torch.prod(x, dim=i, keepdim=keepdims)
    return x


def _norm(x, axis=None, keepdims=False, ord=2):
    return torch.linalg.vector_norm(x, ord=ord, dim=_axes(x, axis), keepdim=keepdims)


def _layer_norm(x, weight, bias, axis=-1, epsilon=1e-5):
    last, places = _last_axes(x, axis)
    return torch.movedim(F.layer_norm(last, weight.shape, weight, bias, epsilon), tuple(range(-len(places), 0)), places)


def _rms_norm(x, weight, axis=-1, epsilon=1e-6):
    last, places = _last_axes(x, axis)
    return torch.movedim(F.rms_norm(last, weight.shape, weight, epsilon), tuple(range(-len(places), 0)), places)


def _last_axes(x, axis):
    """`x` with these axes as the last ones, and where they were."""
    places = tuple(sorted(i % x.ndim for i in ((axis,) if isinstance(axis, int) else axis)))
    return torch.movedim(x, places, tuple(range(-len(places), 0))), places


def _group_norm(x, weight, bias, groups, epsilon=1e-3):
    return torch.movedim(F.group_norm(torch.movedim(x, -1, 1), groups, weight, bias, epsilon), 1, -1)


def _batch_norm(x, weight, bias, axis=-1, epsilon=1e-3):
    last = torch.movedim(x, axis, 1)
    y = F.batch_norm(last, None, None, weight, bias, training=True, eps=epsilon)
    others = [i for i in range(x.ndim) if i != axis % x.ndim]
    return torch.movedim(y, 1, axis), x.mean(dim=others), x.var(dim=others, correction=0)


def _batch_norm_inference(x, weight, bias, mean, variance, axis=-1, epsilon=1e-3):
    # not F.batch_norm, which has no gradient for the statistics
    y = (torch.movedim(x, axis, -1) - mean) / torch.sqrt(variance + epsilon) * weight + bias
    return torch.movedim(y, -1, axis)


def _cross_entropy(logits, targets, axis=-1, label_smoothing=0.0, ignore_index=None, reduction="mean"):
    logits = torch.movedim(logits, axis, 1) if logits.ndim > 1 else logits
    if targets.is_floating_point():
        targets = torch.movedim(targets, axis, 1)
    ignore = -100 if ignore_index is None else ignore_index
    kept = targets.numel() if targets.is_floating_point() else (targets != ignore).sum()
    if kept == 0:  # PyTorch gives NaN, ours 0
        return (0 * logits).sum()
    y = F.cross_entropy(logits, targets, label_smoothing=label_smoothing, ignore_index=ignore, reduction="none")
    if reduction == "mean":
        return y.mean() if targets.is_floating_point() else y.sum() / kept
    return y if reduction == "none" else y.sum()


def _binary_cross_entropy(logits, targets, reduction="mean"):
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction=reduction)


def _each(value, count):
    return tuple(value) if isinstance(value, tuple) else (value,) * count


def _borders(padding, size, kernel, strides, dilation):
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


def _bordered(x, borders, value=0.0):
    """PyTorch's F.pad takes the last axis first, and cuts where a width is below 0."""
    return F.pad(x, [width for border in reversed(borders) for width in border], value=value)


def _first(x):
    return torch.movedim(x, -1, 1)


def _last(x):
    return torch.movedim(x, 1, -1)


def _weight(kernel):
    """(filters, channels, ...), of (..., channels, filters)."""
    return torch.movedim(kernel, (-1, -2), (0, 1)).contiguous()


def _conv(x, kernel, strides=1, padding="valid", dilation=1, groups=1):
    axes = x.ndim - 2
    strides, dilation = _each(strides, axes), _each(dilation, axes)
    borders = _borders(padding, x.shape[1:-1], kernel.shape[:-2], strides, dilation)
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    padded = _bordered(_first(x), borders)
    return _last(function(padded, _weight(kernel), stride=strides, dilation=dilation, groups=groups))


def _conv_transpose(x, kernel, strides=1, padding="valid", dilation=1, groups=1, output_padding=None):
    """PyTorch's whole result, cut or lengthened to the length that the convolution's formula gives back."""
    axes = x.ndim - 2
    strides, dilation, more = _each(strides, axes), _each(dilation, axes), _each(output_padding, axes)
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    y = function(_first(x), _weight(kernel), stride=strides, dilation=dilation, groups=groups)
    borders = []
    for i, full in enumerate(y.shape[2:]):
        reach = (kernel.shape[i] - 1) * dilation[i] + 1
        if padding == "same":
            missing = full - (x.shape[i + 1] * strides[i] if more[i] is None else full - reach + reach % 2 + more[i])
            before = max(0, missing // 2)
            borders.append((-before, before - missing))
        else:
            least = strides[i] - reach if padding == "valid" else 0
            before, after = _borders(padding, x.shape[1:-1], kernel.shape[:-2], strides, dilation)[i]
            borders.append((-before, (max(0, least) if more[i] is None else more[i]) - after))
    return _last(_bordered(y, borders))


def _depthwise(x, kernel, *args, **keywords):
    *window, channels, multiplier = kernel.shape
    return _conv(x, kernel.reshape(*window, 1, channels * multiplier), *args, groups=channels, **keywords)


def _separable(x, kernel, pointwise, *args, **keywords):
    return torch.matmul(_depthwise(x, kernel, *args, **keywords), pointwise.reshape(pointwise.shape[-2:]))


def _pool(x, pool_size, strides, padding, fill):
    axes = x.ndim - 2
    window = _each(pool_size, axes)
    strides = window if strides is None else _each(strides, axes)
    borders = _borders(padding, x.shape[1:-1], window, strides, (1,) * axes)
    return _bordered(_first(x), borders, fill), window, strides


def _max_pool(x, pool_size=2, strides=None, padding="valid"):
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3]
    return _last(function(*_pool(x, pool_size, strides, padding, -math.inf)))


def _average_pool(x, pool_size=2, strides=None, padding="valid"):
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 3]
    ones = function(*_pool(torch.ones_like(x), pool_size, strides, padding, 0.0))
    return _last(function(*_pool(x, pool_size, strides, padding, 0.0)) / ones)


def _spatial(x):
    return tuple(range(1, x.ndim - 1))


def _adaptive(functions):
    return lambda x, size: _last(functions[x.ndim - 3](_first(x), _each(size, x.ndim - 2)))


def _resize(x, size, method="nearest"):
    mode = {"nearest": "nearest-exact", "bilinear": "bilinear"}[method]
    return _last(F.interpolate(_first(x), _each(size, 2), mode=mode))


def _attention(query, key, value, mask=None, causal=False, scale=None):
    if causal:
        queries, keys = query.shape[-2], key.shape[-2]
        seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        mask = seen if mask is None else seen & mask
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def _ctc_loss(logits, labels, logit_lengths=None, label_lengths=None, blank=0, zero_infinity=False):
    lengths = (
        torch.full((len(labels),), full) if given is None else given
        for given, full in ((logit_lengths, logits.shape[1]), (label_lengths, labels.shape[1]))
    )
    log_p = logits.log_softmax(2).transpose(0, 1)
    return F.ctc_loss(log_p, labels, *lengths, blank, reduction="none", zero_infinity=zero_infinity)


def _recurrent(cell, x, kernel, recurrent_kernel, biases, states, mask, reverse):
    """The outputs and the last states by one of PyTorch's cells, whose gates are in rows."""
    weights, output, outputs = (kernel.T, recurrent_kernel.T, *biases), torch.zeros_like(states[0]), []
    for t in range(x.shape[1])[:: -1 if reverse else 1]:
        new = cell(x[:, t], states if len(states) > 1 else states[0], *weights)
        new = new if len(states) > 1 else (new,)
        keep = torch.ones(len(x), 1, dtype=torch.bool) if mask is None else mask[:, t : t + 1]
        output = torch.where(keep, new[0], output)
        states = tuple(torch.where(keep, a, b) for a, b in zip(new, states, strict=True))
        outputs.append(output)
    return (torch.stack(outputs, dim=1), *states)


def _simple_rnn(x, kernel, recurrent_kernel, bias, state, mask=None, reverse=False, activation="tanh"):
    if activation not in ("tanh", "relu"):
        raise NotImplementedError(activation)
    cell = torch.rnn_tanh_cell if activation == "tanh" else torch.rnn_relu_cell
    biases = () if bias is None else (bias, torch.zeros_like(bias))
    return _recurrent(cell, x, kernel, recurrent_kernel, biases, (state,), mask, reverse)


def _lstm(x, kernel, recurrent_kernel, bias, h, c, mask=None, reverse=False):
    biases = () if bias is None else (bias, torch.zeros_like(bias))
    return _recurrent(torch.lstm_cell, x, kernel, recurrent_kernel, biases, (h, c), mask, reverse)


def _gru(x, kernel, recurrent_kernel, bias, state, mask=None, reverse=False, reset_after=True):
    if not reset_after:
        raise NotImplementedError("r before the product")

    def reordered(a):  # PyTorch's gates are r, z, n
        z, r, n = torch.chunk(a, 3, dim=-1)
        return torch.cat([r, z, n], dim=-1)

    biases = () if bias is None else tuple(reordered(bias))
    weights = reordered(kernel), reordered(recurrent_kernel)
    return _recurrent(torch.gru_cell, x, *weights, biases, (state,), mask, reverse)


def _expand_dims(x, axis):
    places = (axis,) if isinstance(axis, int) else axis
    for place in sorted(place % (x.ndim + len(places)) for place in places):
        x = torch.unsqueeze(x, place)
    return x


def _pad(x, widths, value=0.0, mode="constant"):
    before_after = numpy.broadcast_to(numpy.asarray(widths), (x.ndim, 2))
    borders = before_after[::-1].ravel().tolist()
    if mode == "constant":
        return F.pad(x, borders, value=value) if x.ndim else x
    return F.pad(x[None, None], borders, mode={"edge": "replicate"}.get(mode, mode))[0, 0]


def _take(x, indices, axis=None):
    return torch.ravel(x)[indices] if axis is None else x[(slice(None),) * (axis % x.ndim) + (indices,)]


def _places(x, key, values):
    """Where `x[key]` is in the flattened `x`, and a value for each place."""
    places = torch.arange(x.numel()).reshape(x.shape)[key]
    return places.ravel(), torch.broadcast_to(torch.as_tensor(values, dtype=x.dtype), places.shape).ravel()


def _scatter_add(x, key, values):
    return torch.index_add(x.ravel(), 0, *_places(x, key, values)).reshape(x.shape)


def _index_put(x, key, values):
    return torch.index_copy(x.ravel(), 0, *_places(x, key, values)).reshape(x.shape)


def _symmetric(x):
    return 0.5 * (x + torch.swapaxes(x, -1, -2))


def _eigh(x):
    w, v = torch.linalg.eigh(_symmetric(x))
    return w, v * v  # the signs are arbitrary


def _svd(x):
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    return u * u, s, vh * vh


def _same(*names):
    return {name: getattr(torch, name) for name in names}


TORCH = {
    **_same("add", "subtract", "multiply", "divide", "negative", "absolute", "sign", "square", "sqrt", "reciprocal"),
    **_same("exp", "expm1", "log", "log1p", "log2", "logaddexp", "sin", "cos", "tan", "arcsin", "arccos", "arctan"),
    **_same("arctan2", "sinh", "cosh", "tanh", "erf", "maximum", "minimum", "floor", "ceil", "round"),
    **_same("where", "zeros_like", "ones_like", "isfinite", "isnan", "isinf", "matmul", "outer", "einsum"),
    **_same(
        "logical_and", "logical_or", "logical_xor", "logical_not", "less", "less_equal", "greater", "greater_equal"
    ),
    "power": torch.pow,
    "heaviside": lambda a, b: torch.where(a == 0, b, torch.heaviside(a, b).detach()),  # it has no derivative
    "equal": torch.eq,
    "not_equal": torch.ne,
    "clip": torch.clamp,
    "astype": lambda x, dtype: x.to(getattr(torch, dtype)),
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "softplus": lambda x: F.softplus(x, threshold=100),
    "relu": torch.relu,
    "leaky_relu": lambda x, negative_slope=0.2: F.leaky_relu(x, negative_slope),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": lambda x, approximate=False: F.gelu(x, approximate="tanh" if approximate else "none"),
    "silu": F.silu,
    "mish": F.mish,
    "softsign": F.softsign,
    "relu6": F.relu6,
    "hard_tanh": F.hardtanh,
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,  # the rule of F.hardsigmoid has 1 / 6 in float32
    "hard_swish": F.hardswish,
    "tanh_shrink": F.tanhshrink,
    "soft_shrink": F.softshrink,
    "hard_shrink": F.hardshrink,
    "threshold": F.threshold,
    "celu": F.celu,
    "prelu": lambda x, alpha: torch.where(x > 0, x, alpha * x),  # F.prelu takes one slope a channel only
    "glu": lambda x, axis=-1: F.glu(x, axis),
    "sum": _full(torch.sum),
    "mean": _full(torch.mean),
    "prod": _prod,
    "max": _full(torch.amax),
    "min": _full(torch.amin),
    "var": lambda x, axis=None, keepdims=False, ddof=0: torch.var(x, _axes(x, axis), correction=ddof, keepdim=keepdims),
    "std": lambda x, axis=None, keepdims=False, ddof=0: torch.std(x, _axes(x, axis), correction=ddof, keepdim=keepdims),
    "logsumexp": _full(torch.logsumexp),
    "norm": _norm,
    "argmax": lambda x, axis=None, keepdims=False: torch.argmax(x, dim=axis, keepdim=keepdims),
    "argmin": lambda x, axis=None, keepdims=False: torch.argmin(x, dim=axis, keepdim=keepdims),
    "cumsum": lambda x, axis=None: torch.cumsum(x.ravel() if axis is None else x, 0 if axis is None else axis),
    "cumprod": lambda x, axis=None: torch.cumprod(x.ravel() if axis is None else x, 0 if axis is None else axis),
    "sort": lambda x, axis=-1, descending=False: torch.sort(x, dim=axis, descending=descending, stable=True)[0],
    "argsort": lambda x, axis=-1, descending=False: torch.argsort(x, dim=axis, descending=descending, stable=True),
    "topk": lambda x, k, axis=-1: tuple(
        torch.narrow(t, axis, 0, k) for t in torch.sort(x, dim=axis, descending=True, stable=True)
    ),  # torch.topk takes any of equal elements
    "searchsorted": lambda a, v, side="left": torch.searchsorted(a, v, side=side),
    "reshape": lambda x, *shape: x.reshape(*shape),
    "ravel": torch.ravel,
    "transpose": lambda x, axes=None: torch.permute(x, tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)),
    "swapaxes": torch.swapaxes,
    "moveaxis": torch.movedim,
    "broadcast_to": torch.broadcast_to,
    "concatenate": lambda arrays, axis=0: torch.cat(arrays, axis),
    "stack": lambda arrays, axis=0: torch.stack(arrays, axis),
    "split": lambda x, sections, axis=0: torch.tensor_split(x, sections, axis),
    "flip": lambda x, axis=None: torch.flip(x, _axes(x, axis) if not isinstance(axis, int) else (axis,)),
    "roll": lambda x, shift, axis=None: torch.roll(x, shift, axis),
    "tile": lambda x, repetitions: torch.tile(x, (repetitions,) if isinstance(repetitions, int) else repetitions),
    "repeat": lambda x, repeats, axis=None: torch.repeat_interleave(x, repeats, dim=axis),
    "tril": lambda x, k=0: torch.tril(x, k),
    "triu": lambda x, k=0: torch.triu(x, k),
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: torch.diagonal(x, offset, axis1, axis2),
    "trace": lambda x, offset=0, axis1=0, axis2=1: torch.diagonal(x, offset, axis1, axis2).sum(-1),
    "getitem": lambda x, key: x[key],
    "take": _take,
    "scatter_add": _scatter_add,
    "index_put": _index_put,
    "pad": _pad,
    "squeeze": lambda x, axis=None: torch.squeeze(x, _axes(x, axis)),
    "expand_dims": _expand_dims,
    "take_along_axis": lambda x, indices, axis: torch.take_along_dim(x, indices % x.shape[axis], axis),
    "one_hot": lambda ids, depth, dtype="float32": F.one_hot(ids, depth).to(getattr(torch, dtype)),
    "dot": lambda a, b: torch.matmul(a, b) if a.ndim and b.ndim and b.ndim < 3 else torch.tensordot(a, b, ([-1], [-2])),
    "tensordot": lambda a, b, axes=2: torch.tensordot(
        a, b, axes if isinstance(axes, int) else [[x] if isinstance(x, int) else x for x in axes]
    ),
    "inv": torch.linalg.inv,
    "solve": lambda a, b: torch.linalg.solve(a, b) if b.ndim != 1 else torch.linalg.solve(a, b[:, None])[..., 0],
    "det": torch.linalg.det,
    "slogdet": lambda x: tuple(torch.linalg.slogdet(x)),
    "cholesky": lambda x: torch.linalg.cholesky(_symmetric(x)),
    "eigh": _eigh,
    "svd": _svd,
    "linear": lambda x, weight, bias=None: F.linear(x, weight.T, bias),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy,
    "embedding": lambda weight, ids: F.embedding(ids, weight),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "batch_norm_inference": _batch_norm_inference,
    **{f"conv{axes}d": _conv for axes in (1, 2, 3)},
    **{f"conv{axes}d_transpose": _conv_transpose for axes in (1, 2, 3)},
    **{f"depthwise_conv{axes}d": _depthwise for axes in (1, 2)},
    **{f"separable_conv{axes}d": _separable for axes in (1, 2)},
    **{f"max_pool{axes}d": _max_pool for axes in (1, 2, 3)},
    **{f"average_pool{axes}d": _average_pool for axes in (1, 2, 3)},
    "global_max_pool": lambda x, keepdims=False: torch.amax(x, _spatial(x), keepdim=keepdims),
    "global_average_pool": lambda x, keepdims=False: torch.mean(x, _spatial(x), keepdim=keepdims),
    **{
        f"adaptive_max_pool{axes}d": _adaptive((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d))
        for axes in (1, 2, 3)
    },
    **{
        f"adaptive_average_pool{axes}d": _adaptive(
            (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
        )
        for axes in (1, 2, 3)
    },
    "resize": _resize,
    "scaled_dot_product_attention": _attention,
    "ctc_loss": _ctc_loss,
    "simple_rnn": _simple_rnn,
    "lstm": _lstm,
    "gru": _gru,
}
