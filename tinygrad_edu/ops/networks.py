"""What networks are made of: linear layers, softmax, losses on logits, dropout, embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor, cast, check_array, check_range, primitive, sum_to
from ..backend import Array, device_of
from ..backend.random import check_word
from ..errors import ShapeError, message
from ..kernels.matmul import matmul_of
from ..kernels.registry import compiled
from ..state import state
from .activations import sigmoid
from .creation import keep_mask
from .elementwise import divide, exp, maximum, not_equal, ones_like
from .indexing import _gather, beside, check_ids, check_indices
from .linalg import _matmul, matmul, swap_last
from .reductions import mean, sum
from .shape import _reshape, check_arrays, moveaxis, normalize_axis


@primitive("gemm", saves=("x", "weight"))
def _linear(xp: Any, x: Array, weight: Array, bias: Array, out: Any = None) -> Array:
    y = matmul_of(xp, x, weight, out=out)
    y += bias
    return y


_linear.defvjp(
    lambda g, y, x, weight, bias: _matmul(g, swap_last(weight)),
    lambda g, y, x, weight, bias: _matmul(swap_last(x), g),
    lambda g, y, x, weight, bias: sum_to(g, shape=bias.shape),
)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x @ weight + bias, for x (..., inputs), weight (inputs, outputs) and bias (outputs,): result (..., outputs).

    Raises ShapeError if these do not fit.

    >>> import tinygrad_edu as tg
    >>> tg.linear(tg.ones((1, 2)), tg.ones((2, 3)), tg.zeros((3,)))
    tensor([[2., 2., 2.]])
    """
    check_arrays("linear", x, weight, *(() if bias is None else (bias,)))
    fits = (
        x.ndim
        and weight.ndim == 2
        and x.shape[-1] == weight.shape[0]
        and (bias is None or bias.shape == weight.shape[1:])
    )
    if not fits:
        shapes = f"{x.shape}, {weight.shape} and {None if bias is None else bias.shape}"
        raise ShapeError(message("linear", "x (..., inputs), weight (inputs, outputs) and bias (outputs,)", shapes))
    if bias is None:
        return matmul(x, weight)
    if x.ndim == 2:
        return _linear(x, weight, bias)
    rows = _reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
    return _reshape(_linear(rows, weight, bias), shape=(*x.shape[:-1], weight.shape[1]))


# Softmax


@primitive("composite", saves=("y",))
def _softmax(xp: Any, a: Array, *, axis: int, out: Any = None) -> Array:
    y = xp.subtract(a, a.max(axis=axis, keepdims=True), out=out)
    y = xp.exp(y, out=y if y.dtype.kind == "f" else None)
    y /= y.sum(axis=axis, keepdims=True)
    return y


def _softmax_steps(loops: Any, a: Any) -> Any:
    """exp(a - max), and its sum."""
    y = loops.apply("exp", loops.apply("subtract", a, loops.reduce("row_max", a)))
    return y, loops.reduce("row_sum", y)


_softmax.deflower("a", lambda loops, a, axis: loops.apply("divide", *_softmax_steps(loops, a)))
_softmax.defvjp(lambda g, y, a, axis: y * (g - sum(g * y, axis=axis, keepdims=True)))


@primitive("composite", saves=("y",))
def _log_softmax(xp: Any, a: Array, *, axis: int, out: Any = None) -> Array:
    y = xp.subtract(a, a.max(axis=axis, keepdims=True), out=out)
    y = xp.subtract(y, xp.log(xp.exp(y).sum(axis=axis, keepdims=True)), out=y if y.dtype.kind == "f" else None)
    return y


def _log_softmax_steps(loops: Any, a: Any) -> Any:
    y = loops.apply("subtract", a, loops.reduce("row_max", a))
    return loops.apply("subtract", y, loops.apply("log", loops.reduce("row_sum", loops.apply("exp", y))))


_log_softmax.deflower("a", lambda loops, a, axis: _log_softmax_steps(loops, a))
_log_softmax.defvjp(lambda g, y, a, axis: g - exp(y) * sum(g, axis=axis, keepdims=True))


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis, without overflow.

    >>> import tinygrad_edu as tg
    >>> tg.softmax(tg.tensor([1000.0, 1000.0]))
    tensor([0.5, 0.5])
    """
    return _softmax(x, axis=normalize_axis("softmax", axis, x))


def log_softmax(x: Any, axis: int = -1) -> Any:
    """The logarithm of `softmax`, accurate where that is close to 0."""
    return _log_softmax(x, axis=normalize_axis("log_softmax", axis, x))


# Cross-entropy from logits. Targets are a distribution: (1 - smoothing) * one_hot(ids) + smoothing / classes, or given


@primitive("composite", saves=("logits", "ids"), promotes=False, residuals=True, label="cross_entropy")
@compiled("losses.forward", lambda y, *kept: (y, kept))
def _cross_entropy_ids(
    xp: Any, logits: Array, ids: Array, *, smoothing: float, ignore: int | None
) -> tuple[Array, tuple[Array, Array]]:
    """The losses; the largest logits, and the sums of the exponentials of the logits less those."""
    largest = logits.max(axis=-1, keepdims=True)
    rows = logits - largest
    total = xp.exp(rows).sum(axis=-1)
    kept = None if ignore is None else ids != ignore
    chosen = ids if kept is None else xp.where(kept, ids, 0)
    y = xp.log(total) - (1.0 - smoothing) * xp.take_along_axis(rows, chosen[..., None], axis=-1)[..., 0]
    if smoothing:
        y -= smoothing * rows.mean(axis=-1)
    return y if kept is None else xp.where(kept, y, y.dtype.type(0)), (largest[..., 0], total)


@primitive("composite", saves=("g", "logits", "ids"), promotes=False, label="cross_entropy")
@compiled("losses.gradient")
def _cross_entropy_ids_gradient(
    xp: Any,
    g: Array,
    logits: Array,
    ids: Array,
    largest: Array | None,
    total: Array | None,
    *,
    smoothing: float,
    ignore: int | None,
) -> Array:
    """g * (softmax(logits) - targets), from what `_cross_entropy_ids` has left if that is given."""
    if largest is None or total is None:
        y = _softmax.forward(xp, logits, axis=logits.ndim - 1)
    else:
        y = xp.exp(logits - largest[..., None])
        y /= total[..., None]
    y = xp.ascontiguousarray(y)  # so that `rows` is a view
    if smoothing:
        y -= smoothing / logits.shape[-1]
    rows, n = y.reshape(-1, y.shape[-1]), ids.size
    flat = ids.reshape(-1)
    if ignore is not None:
        g = g * (ids != ignore)
        flat = xp.where(flat == ignore, 0, flat)
    rows[xp.arange(n), flat] -= 1.0 - smoothing
    y *= g[..., None]
    return y


def _is_chosen(loops: Any, ids: Any, ignore: int | None) -> tuple[Any, Any]:
    """Whether a position is the id's (the first one's for an id to ignore), and the id's weight."""
    ids = loops.cast(ids, "int64")
    if ignore is None:
        return loops.apply("equal", loops.index(-1), ids), None
    kept = loops.apply("not_equal", ids, ignore)
    return loops.apply("equal", loops.index(-1), loops.apply("where", kept, ids, 0)), kept


def _cross_entropy_ids_steps(loops: Any, logits: Any, ids: Any, smoothing: float, ignore: int | None) -> Any:
    largest = loops.reduce("row_max", logits)
    rows = loops.apply("subtract", logits, largest)
    chosen, kept = _is_chosen(loops, ids, ignore)
    at_id = loops.reduce("row_sum", loops.apply("where", chosen, rows, 0.0))
    total = loops.reduce("row_sum", loops.apply("exp", rows))
    y = loops.apply("subtract", loops.apply("log", total), loops.apply("multiply", at_id, 1.0 - smoothing))
    if smoothing:
        average = loops.apply("divide", loops.reduce("row_sum", rows), loops.shape[-1])
        y = loops.apply("subtract", y, loops.apply("multiply", average, smoothing))
    return y if kept is None else loops.apply("where", kept, y, 0.0), largest, total


def _cross_entropy_ids_gradient_steps(
    loops: Any, g: Any, logits: Any, ids: Any, largest: Any, total: Any, smoothing: float, ignore: int | None
) -> Any:
    y = None if largest is None else loops.apply("exp", loops.apply("subtract", logits, largest))
    y = loops.apply("divide", *(_softmax_steps(loops, logits) if y is None else (y, total)))
    chosen, kept = _is_chosen(loops, ids, ignore)
    if smoothing:
        y = loops.apply("subtract", y, smoothing / loops.shape[-1])
    y = loops.apply("subtract", y, loops.apply("where", chosen, 1.0 - smoothing, 0.0))
    return loops.apply("multiply", y, g if kept is None else loops.apply("where", kept, g, 0.0))


_cross_entropy_ids.deflower("logits", _cross_entropy_ids_steps)
_cross_entropy_ids_gradient.deflower("logits", _cross_entropy_ids_gradient_steps)


def _cross_entropy_ids_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, logits: Any, ids: Any, *, smoothing: float, ignore: int | None
) -> list[Any]:
    kept = residuals or (None, None)
    return [_cross_entropy_ids_gradient(g, logits, ids, *kept, smoothing=smoothing, ignore=ignore), None]


_cross_entropy_ids.defjoint(_cross_entropy_ids_rule)


def _curvature(v: Any, g: Any, logits: Any) -> Any:
    """The product of v with the derivative of g * softmax(logits)."""
    p = softmax(logits)
    return _last(g) * (p * (v - sum(v * p, axis=-1, keepdims=True)))


def _last(g: Any) -> Any:
    return _reshape(g, shape=(*g.shape, 1))


def _kept(g: Any, ids: Any, ignore: int | None) -> Any:
    return g if ignore is None else g * (ids != ignore)


_cross_entropy_ids_gradient.defvjp(
    lambda v, y, g, logits, ids, largest, total, smoothing, ignore: sum(
        v * _cross_entropy_ids_gradient(ones_like(g), logits, ids, None, None, smoothing=smoothing, ignore=ignore),
        axis=-1,
    ),
    lambda v, y, g, logits, ids, largest, total, smoothing, ignore: _curvature(v, _kept(g, ids, ignore), logits),
    *(None, None, None),
)


@primitive("composite", saves=("logits", "targets"), label="cross_entropy")
def _cross_entropy_probabilities(xp: Any, logits: Array, targets: Array) -> Array:
    return -(targets * _log_softmax.forward(xp, logits, axis=logits.ndim - 1)).sum(axis=-1)


def _cross_entropy_probabilities_steps(loops: Any, logits: Any, targets: Any) -> Any:
    products = loops.apply("multiply", targets, _log_softmax_steps(loops, logits))
    return loops.apply("negative", loops.reduce("row_sum", products))


_cross_entropy_probabilities.deflower("logits", _cross_entropy_probabilities_steps)
_cross_entropy_probabilities.defvjp(
    lambda g, y, logits, targets: _last(g) * (softmax(logits) * sum(targets, axis=-1, keepdims=True) - targets),
    lambda g, y, logits, targets: -_last(g) * log_softmax(logits),
)


def reduce_losses(where_: str, losses: Any, reduction: str) -> Any:
    """The mean, the sum, or the losses themselves."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    if reduction != "mean":
        raise ValueError(message(where_, "reduction 'mean', 'sum' or 'none'", repr(reduction)))
    return mean(losses)


def cross_entropy(
    logits: Any,
    targets: Any,
    axis: int = -1,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """The cross-entropy between targets and softmax(logits), in nats.

    Args:
        logits: scores, with the classes along `axis`.
        targets: integer ids, shaped like the logits without `axis`; or probabilities, shaped like the logits.
        label_smoothing: the share of the target that is spread evenly over all classes (Szegedy et al., 2016).
        ignore_index: an id whose elements count neither in the loss nor in the mean.
        reduction: "mean", "sum", or "none".

    Raises ShapeError for shapes that differ, IndexError for ids out of range, ValueError for a smoothing outside [0,
    1].

    >>> import tinygrad_edu as tg
    >>> tg.cross_entropy(tg.tensor([[2.0, 2.0]]), tg.tensor([1]))
    tensor(0.6931472)
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(message("cross_entropy", "label_smoothing from 0 to 1", f"{label_smoothing}"))
    check_arrays("cross_entropy", logits, targets)
    axis = normalize_axis("cross_entropy", axis, logits)
    if axis != logits.ndim - 1:
        logits = moveaxis(logits, axis, -1)
        targets = moveaxis(targets, axis, -1) if targets.ndim == logits.ndim else targets
    logits = logits if logits.dtype.kind == "f" else cast(logits, state.dtype)
    classes = logits.shape[-1]
    if targets.dtype.kind == "f":
        if targets.shape != logits.shape:
            hint = "class ids must be integers." if targets.shape == logits.shape[:-1] else ""
            raise ShapeError(
                message("cross_entropy", f"probabilities of shape {logits.shape}", f"{targets.shape}", hint)
            )
        if ignore_index is not None:
            raise ValueError(message("cross_entropy", "ignore_index with integer ids only", "probabilities"))
        if label_smoothing:
            targets = targets * (1.0 - label_smoothing) + label_smoothing / classes
        return reduce_losses("cross_entropy", _cross_entropy_probabilities(logits, targets), reduction)
    if targets.dtype.kind == "b":
        raise TypeError(message("cross_entropy", "integer ids or floating probabilities", "booleans", "use .astype()."))
    if targets.shape != logits.shape[:-1]:
        expected = f"integer ids of shape {logits.shape[:-1]}"
        hint = "one-hot targets must be floating." if targets.shape == logits.shape else ""
        raise ShapeError(message("cross_entropy", expected, f"{targets.dtype} of shape {targets.shape}", hint))
    if ignore_index is None:
        check_indices("cross_entropy", targets, classes)
    else:
        ids = targets.data if isinstance(targets, Tensor) else targets
        check_array(ids, lambda a: check_indices("cross_entropy", a[a != ignore_index], classes))
    losses = _cross_entropy_ids(logits, targets, smoothing=float(label_smoothing), ignore=ignore_index)
    if reduction != "mean" or ignore_index is None:
        return reduce_losses("cross_entropy", losses, reduction)
    kept = sum(not_equal(targets, ignore_index))
    return divide(sum(losses), cast(maximum(kept, 1), losses.dtype))


@primitive(
    "elementwise",
    label="binary_cross_entropy_with_logits",
    saves=("logits", "targets"),
    expression="maximum(logits, 0) - logits * targets + log1p(exp(-absolute(logits)))",
)
def _binary_cross_entropy(xp: Any, logits: Array, targets: Array, out: Any = None) -> Array:
    y = xp.log1p(xp.exp(-xp.absolute(logits)))
    return xp.add(y, xp.maximum(logits, 0) - logits * targets, out=out)


_binary_cross_entropy.defvjp(
    lambda g, y, logits, targets: g * (sigmoid(logits) - targets),
    lambda g, y, logits, targets: -g * logits,
)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """The cross-entropy between targets in [0, 1] and sigmoid(logits), element by element, then reduced.

    Raises ShapeError if the shapes differ (nothing is broadcast), ValueError for a target outside [0, 1].

    >>> import tinygrad_edu as tg
    >>> tg.binary_cross_entropy_with_logits(tg.tensor([1000.0]), tg.tensor([0.0]))
    tensor(1000.)
    """
    where_ = "binary_cross_entropy_with_logits"
    check_arrays(where_, logits, targets)
    if logits.shape != targets.shape:
        raise ShapeError(message(where_, f"targets of shape {logits.shape}", f"{targets.shape}", "use .reshape()."))
    check_range(targets.data if isinstance(targets, Tensor) else targets, 0, 1, _check_targets)
    return reduce_losses(where_, _binary_cross_entropy(logits, targets), reduction)


def _check_targets(values: Array) -> None:
    if values.size and not 0 <= float(values.min()) <= float(values.max()) <= 1:
        found = f"values from {values.min().item():.6g} to {values.max().item():.6g}"
        raise ValueError(message("binary_cross_entropy_with_logits", "targets from 0 to 1", found))


# Dropout and embedding


def dropout(x: Any, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None) -> Any:
    """`x` with each element set to 0 with probability `rate`, the others divided by 1 - rate (Srivastava et al., 2014).

    `noise_shape` has the axes of `x`: along one of length 1 all elements share their fate, None is the length of `x`.
    With a `seed` the draws depend on it instead of on that of `tg.seed`.
    Raises ValueError for a rate outside [0, 1) or a seed that is no integer from 0 to 2**64 - 1, TypeError if `x` is
    not floating or noise_shape no sequence, ShapeError for another noise_shape.
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(message("dropout", "a rate from 0 to below 1", f"{rate}"))
    if rate == 0.0:
        return x
    return x * keep_factors("dropout", x, rate, noise_shape, seed)


def keep_factors(where: str, x: Any, rate: float, noise_shape: Sequence[int | None] | None, seed: int | None) -> Any:
    """The factors with which `dropout` multiplies `x`; its checks."""
    data = x.data if isinstance(x, Tensor) else x
    if data.dtype.kind != "f":
        raise TypeError(message(where, "a floating dtype", str(data.dtype)))
    shape, seed = x.shape, None if seed is None else check_word(where, "seed", seed)
    if noise_shape is not None:
        if not isinstance(noise_shape, Sequence):
            raise TypeError(message(where, "a noise_shape that is a tuple", repr(noise_shape)))
        if len(noise_shape) != x.ndim or any(n not in (None, 1, m) for n, m in zip(noise_shape, shape, strict=True)):
            raise ShapeError(message(where, f"a noise_shape that broadcasts to {shape}", f"{noise_shape}"))
        shape = tuple(m if n is None else n for n, m in zip(noise_shape, shape, strict=True))
    return keep_mask(shape=shape, rate=rate, dtype=x.dtype, device=device_of(data), seed=seed)


def embedding(weight: Any, ids: Any) -> Any:
    """The rows of `weight` (vocabulary, features) at `ids` (integers, any shape): result ids.shape + (features,).

    Raises IndexError for an id that is negative or not below the vocabulary's size, TypeError for ids that are not
    integers.
    """
    if weight.ndim != 2:
        raise ShapeError(message("embedding", "a weight of shape (vocabulary, features)", f"{weight.shape}"))
    check_ids("embedding", ids, weight.shape[0])
    return _gather(weight, beside("embedding", weight, ids), key=(("array",),))
