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
    return F.layer_norm(x, weight.shape, weight, bias, epsilon)


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


def _both(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _borders(padding, size, kernel, strides, dilation):
    """PyTorch's F.pad takes (left, right, top, bottom)."""
    if padding == "same":
        missing = [
            max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
            for n, k, s, d in zip(size, kernel, strides, dilation, strict=True)
        ]
        rows, columns = ((m // 2, m - m // 2) for m in missing)
    else:
        rows, columns = map(_both, _both(0 if padding == "valid" else padding))
    return (*columns, *rows)


def _first(x):
    return torch.permute(x, (0, 3, 1, 2))


def _last(x):
    return torch.permute(x, (0, 2, 3, 1))


def _conv2d(x, kernel, strides=1, padding="valid", dilation=1, groups=1):
    strides, dilation = _both(strides), _both(dilation)
    borders = _borders(padding, x.shape[1:3], kernel.shape[:2], strides, dilation)
    kernel = torch.permute(kernel, (3, 2, 0, 1)).contiguous()
    return _last(F.conv2d(F.pad(_first(x), borders), kernel, stride=strides, dilation=dilation, groups=groups))


def _conv2d_transpose(x, kernel, strides=1, padding="valid", dilation=1, groups=1):
    strides, dilation = _both(strides), _both(dilation)
    image = [n * s for n, s in zip(x.shape[1:3], strides, strict=True)]
    left, right, top, bottom = _borders(padding, image, kernel.shape[:2], strides, dilation)
    weight = torch.permute(kernel, (3, 2, 0, 1)).contiguous()
    y = F.conv_transpose2d(_first(x), weight, stride=strides, dilation=dilation, groups=groups)
    if padding == "same":
        y = F.pad(y, (0, max(0, left + image[1] - y.shape[3]), 0, max(0, top + image[0] - y.shape[2])))
        return _last(y[:, :, top : top + image[0], left : left + image[1]])
    return _last(y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right])


def _pool(x, pool_size, strides, padding, fill):
    window = _both(pool_size)
    strides = window if strides is None else _both(strides)
    borders = _borders(padding, x.shape[1:3], window, strides, (1, 1))
    return F.pad(_first(x), borders, value=fill), window, strides


def _max_pool(x, pool_size=2, strides=None, padding="valid"):
    padded, window, strides = _pool(x, pool_size, strides, padding, -math.inf)
    return _last(F.max_pool2d(padded, window, strides))


def _average_pool(x, pool_size=2, strides=None, padding="valid"):
    padded, window, strides = _pool(x, pool_size, strides, padding, 0.0)
    ones = _pool(torch.ones_like(x), pool_size, strides, padding, 0.0)[0]
    return _last(F.avg_pool2d(padded, window, strides) / F.avg_pool2d(ones, window, strides))


def _attention(query, key, value, mask=None, causal=False, scale=None):
    if causal:
        queries, keys = query.shape[-2], key.shape[-2]
        seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        mask = seen if mask is None else seen & mask
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


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


def _pad(x, widths, value=0.0):
    before_after = numpy.broadcast_to(numpy.asarray(widths), (x.ndim, 2))
    return F.pad(x, before_after[::-1].ravel().tolist(), value=value) if x.ndim else x


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
    "tile": lambda x, repetitions: torch.tile(
        x, _both(repetitions)[:1] if isinstance(repetitions, int) else repetitions
    ),
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
    "linear": lambda x, weight, bias=None: F.linear(x, weight.T, bias),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy,
    "embedding": lambda weight, ids: F.embedding(ids, weight),
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "batch_norm_inference": _batch_norm_inference,
    "conv2d": _conv2d,
    "conv2d_transpose": _conv2d_transpose,
    "max_pool2d": _max_pool,
    "average_pool2d": _average_pool,
    "scaled_dot_product_attention": _attention,
    "simple_rnn": _simple_rnn,
    "lstm": _lstm,
    "gru": _gru,
}
