"""Losses, with Keras's names and arguments: `loss(y_true, y_pred, sample_weight=None)`.

Predictions and targets never broadcast: their shapes are equal, except that targets (n,) fit predictions (n, 1).
Targets are checked before they are used. Each loss is a class (options, checks, formula and the reduction to one
number) and a function, which gives a value per row.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from . import ops
from .autograd import Tensor, check_array, settled, tensor
from .backend import array_module
from .errors import ShapeError, check_cast, check_number, choice, message
from .ops.networks import _binary_cross_entropy, _cross_entropy_ids, _cross_entropy_probabilities
from .state import state

EPSILON = 1e-7
"""Probabilities that are given as such are kept this far from 0 and 1, as in Keras, before their logarithm is taken."""
ACTIVATION_OF = {"sigmoid": ops.sigmoid, "softmax": ops.softmax}
"""The activations by the names that losses have for them, in `logits_of`."""


# As functions: a value per row, with the checks of the classes below


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_pred - y_true)^2) over the last axis."""
    return MeanSquaredError("none")(y_true, y_pred)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_pred - y_true|) over the last axis."""
    return MeanAbsoluteError("none")(y_true, y_pred)


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0) -> Any:
    """-mean(y log p + (1 - y) log(1 - p)) over the last axis, for p = `y_pred`, or its sigmoid if that is logits."""
    return BinaryCrossentropy(from_logits, label_smoothing, "none")(y_true, y_pred)


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0) -> Any:
    """-sum(y log p) over the last axis, for p = `y_pred` scaled to the sum 1, or its softmax if that is logits."""
    return CategoricalCrossentropy(from_logits, label_smoothing, "none")(y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None
) -> Any:
    """-log p[y] for class ids y, and p as in `categorical_crossentropy`; 0 where y is `ignore_class`."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, "none")(y_true, y_pred)


def _log_probabilities(p: Any) -> Any:
    return ops.log(ops.clip(p / ops.sum(p, axis=-1, keepdims=True), EPSILON, 1.0 - EPSILON))


def _per_row(values: Any) -> Any:
    return ops.mean(values, axis=-1) if values.ndim > 1 else values


# Checks of shapes and values


def match_shapes(where: str, y_true: Any, shape: tuple[int, ...]) -> Any:
    """`y_true` in the shape of the predictions: (n,) becomes (n, 1), any other difference raises ShapeError."""
    if y_true.shape == shape:
        return y_true
    if shape == (*y_true.shape, 1) and len(shape) == 2:
        return y_true.reshape(shape)
    hint = ""
    if y_true.shape == (*shape, 1):
        hint = "use y_true.reshape(-1)." if len(shape) == 1 else "use y_true[..., 0]."
    elif len(y_true.shape) < len(shape) and y_true.shape[:1] == shape[:1]:
        hint = f"the model gives {shape[1:]} per row; y_true.reshape{(-1, *shape[1:])} if it holds as many numbers."
    raise ShapeError(message(where, f"targets of the shape {shape} of the predictions", f"shape {y_true.shape}", hint))


def check_values(where: str, expected: str, y: Any, holds: Callable[[Any, Any], Any]) -> None:
    """Raises ValueError, with the first offender, unless `holds(xp, y)` everywhere (NaN never does)."""

    def look(array: Any) -> None:
        right = holds(array_module(array), array)
        if not bool(right.all()):
            raise ValueError(message(where, expected, f"{array[~right].reshape(-1)[0].item()}"))

    check_array(_raw(y), look)


def _raw(y: Any) -> Any:
    return y.data if isinstance(y, Tensor) else y


def class_ids(where: str, y_true: Any, shape: tuple[int, ...], ignore_class: int | None = None) -> Any:
    """`y_true` as int64 ids for predictions of that shape, checked: one id a row, whole, and below the number of
    classes. Ids (n, 1) become (n,), as in Keras."""
    classes = shape[-1]
    if y_true.shape == (*shape[:-1], 1):
        y_true = y_true.reshape(shape[:-1])
    if y_true.shape != shape[:-1]:
        expected = f"class ids of shape {shape[:-1]} for predictions of shape {shape}"
        hint = ""
        if y_true.shape == shape:
            hint = "one-hot targets belong to categorical_crossentropy; y_true.argmax(axis=-1) gives ids."
        raise ShapeError(message(where, expected, f"shape {y_true.shape}", hint))
    check_values(where, "whole class ids", y_true, lambda xp, y: xp.trunc(y) == y)
    allowed = f"class ids from 0 to {classes - 1}" + ("" if ignore_class is None else f", or {ignore_class} to ignore")
    low, high = (0, -1) if ignore_class is None else (ignore_class, ignore_class)
    check_values(where, allowed, y_true, lambda xp, y: (y >= 0) & (y < classes) | (y >= low) & (y <= high))
    return y_true if y_true.dtype == "int64" else y_true.astype("int64")


def check_probabilities(where: str, y: Any, what: str, sums: bool, hint: str = "") -> None:
    """Raises ValueError unless all are in [0, 1] and, with `sums`, each row's sum is 1."""
    check_array(_raw(y), lambda array: _check_probabilities(where, array, what, sums, hint))


def _check_probabilities(where: str, array: Any, what: str, sums: bool, hint: str) -> None:
    slack = 1e-3
    if not bool(((array >= -EPSILON) & (array <= 1 + EPSILON)).all()):
        raise ValueError(
            message(
                where, f"{what} in [0, 1]", f"values from {array.min().item():.6g} to {array.max().item():.6g}", hint
            )
        )
    if sums and array.size:
        total = array.sum(axis=-1)
        wrong = abs(total - 1) > slack
        if bool(wrong.any()):
            raise ValueError(
                message(
                    where,
                    f"{what} whose rows sum to 1",
                    f"a row with the sum {total[wrong].reshape(-1)[0].item():.6g}",
                    hint,
                )
            )


def spread(where: str, what: str, kept: Any, shape: tuple[int, ...]) -> Any:
    """`kept`, for all values of that shape, whose first axes are its own; None, with a warning, if they are not."""
    if kept.shape == shape:
        return kept
    if kept.shape != shape[: kept.ndim]:
        warnings.warn(
            f"{where}: the mask of shape {kept.shape} fits no {what} of shape {shape}: all of it counts.", stacklevel=3
        )
        return None
    return ops.broadcast_to(kept.reshape(*kept.shape, *(1,) * (len(shape) - kept.ndim)), shape)


# The classes


class Loss:
    """The base class. A subclass defines `call(y_true, y_pred)`, a value per row, and may sharpen `prepare`, the
    checks.

    Args:
        reduction: "sum_over_batch_size" (the mean; with weights the weighted sum over the number of rows, as in Keras
            3), "sum", or "none".
        name: shown in errors.

    >>> import tinygrad_edu as tg
    >>> tg.losses.MeanSquaredError()(tg.tensor([1.0, 2.0]), tg.tensor([[1.0], [4.0]]))
    tensor(2.)
    """

    logits_of: str | None = None
    """The activation that makes the loss's probabilities of logits, if there is one."""
    from_logits = False
    _user_made: Loss | None = None
    """For a copy that `on_logits` made, the loss itself."""

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None):
        self.name = name or type(self).__name__
        if reduction not in ("sum_over_batch_size", "sum", "none"):
            raise choice(self.name, "reduction", reduction, ("sum_over_batch_size", "sum", "none"))
        self.reduction = reduction

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of predictions (a tensor) for targets (a tensor, an array or a list), both checked.

        Raises ShapeError for shapes that do not match, ValueError for targets that cannot be.
        """
        y_pred = _as_tensor(y_pred)
        if y_pred.dtype.kind != "f":
            y_pred = y_pred.astype(state.dtype)
        y_true = _as_tensor(y_true, y_pred)
        y_true = self.prepare(y_true, y_pred.shape, y_pred.dtype)
        self.check_predictions(y_pred)
        if sample_weight is not None:
            sample_weight = check_weights(self.name, _as_tensor(sample_weight, y_pred), y_pred.shape[0]).astype(
                y_pred.dtype
            )
        return self.compute(y_true, y_pred, sample_weight, getattr(y_pred, "mask", None))

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """Targets checked and in the shape and dtype that `call` needs, for predictions of that shape and dtype."""
        return cast_targets(self.name, match_shapes(self.name, y_true, shape), dtype)

    def check_predictions(self, y_pred: Any) -> None:
        """Raises ValueError for predictions that cannot be, such as probabilities above 1."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no call(y_true, y_pred)")

    def compute(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Any:
        """The reduced loss of targets that `prepare` has seen; reads no value back from a device.

        `mask` (batch, time) says which values of a loss of that shape, or with more axes, count; the mean is over
        these. Warns if it fits none.
        """
        settled(self._user_made or self)  # the copy for logits does not last
        values = self.call(y_true, y_pred)
        if sample_weight is not None:
            if values.shape[:1] != sample_weight.shape:
                raise ShapeError(message(self.name, "a loss per row, to be weighted", f"shape {values.shape}"))
            values = values * sample_weight.reshape((-1, *(1,) * (values.ndim - 1)))
        kept = self.kept(y_true, mask)
        kept = None if kept is None else spread(self.name, "loss", kept, values.shape)
        if kept is not None:
            kept = kept.astype(values.dtype)
            values = values * kept
            if self.reduction == "sum_over_batch_size":
                return ops.sum(values) / ops.maximum(ops.sum(kept), 1.0)
        if self.reduction == "none":
            return values
        return ops.sum(values) if self.reduction == "sum" else ops.mean(values)

    def kept(self, y_true: Any, mask: Any = None) -> Any:
        """Which values count, for targets and a mask of the predictions; None stands for all."""
        return mask

    def count(self, y_true: Any, mask: Any = None) -> Any:
        """How much the loss of these targets weighs beside that of other batches: the number of its rows, or of its
        values that count."""
        kept = None if self.reduction == "sum" else self.kept(y_true, mask)
        return y_true.shape[0] if kept is None else ops.sum(kept.astype("float64"))

    def can_take_logits(self) -> bool:
        """Whether `on_logits` gives the same loss."""
        return False

    def on_logits(self) -> Loss:
        """The same loss, to be computed from what the sigmoid or softmax is applied to."""
        other = copy.copy(self)
        other.from_logits, other._user_made = True, self
        return other


class MeanSquaredError(Loss):
    """The mean of the squared differences."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return _per_row(ops.square(y_pred - y_true))


class MeanAbsoluteError(Loss):
    """The mean of the absolute differences."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return _per_row(ops.absolute(y_pred - y_true))


class _Crossentropy(Loss):
    """A subclass defines `cross_entropy(y_true, y_pred)`, for logits or probabilities as `from_logits` says. One that
    overrides `call` is taken at its word: it gets what the model gives, never logits in its place."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(reduction, name)
        self.from_logits = from_logits
        wanted = "in [0, 1]"
        self.label_smoothing = check_number(
            self.name, "label_smoothing", label_smoothing, wanted, lambda v: 0 <= v <= 1
        )

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no cross_entropy(y_true, y_pred)")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.cross_entropy(y_true, y_pred)

    def can_take_logits(self) -> bool:
        return type(self).call is _Crossentropy.call

    def check_predictions(self, y_pred: Any) -> None:
        if not self.from_logits:
            hint = f"end in a {self.logits_of}, or say from_logits=True."
            check_probabilities(self.name, y_pred, "probabilities", self.logits_of == "softmax", hint)


class BinaryCrossentropy(_Crossentropy):
    """The cross-entropy of targets in [0, 1] and as many independent probabilities.

    Args:
        from_logits: the predictions are logits, not probabilities. In a model that ends in a sigmoid leave it False:
            the loss is computed from the logits all the same.
        label_smoothing: moves the targets this share of the way to 0.5.

    >>> import tinygrad_edu as tg
    >>> tg.losses.BinaryCrossentropy(from_logits=True)(tg.tensor([0.0]), tg.tensor([[1000.0]]))
    tensor(1000.)
    """

    logits_of = "sigmoid"

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = super().prepare(y_true, shape, dtype)
        check_values(self.name, "targets in [0, 1]", y_true, lambda xp, y: (y >= 0) & (y <= 1))
        return y_true

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        if self.label_smoothing:
            y_true = y_true * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            return _per_row(_binary_cross_entropy(y_pred, y_true))
        p = ops.clip(y_pred, EPSILON, 1.0 - EPSILON)
        return _per_row(-(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p)))


class CategoricalCrossentropy(_Crossentropy):
    """The cross-entropy of one-hot targets, or other distributions, and probabilities over classes, both (...,
    classes).

    `from_logits` as in `BinaryCrossentropy`, with a softmax; `label_smoothing` spreads this share evenly over the
    classes.
    """

    logits_of = "softmax"

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        if y_true.shape in (shape[:-1], (*shape[:-1], 1)) and y_true.shape != shape:
            expected = f"one-hot targets of shape {shape}"
            hint = "class ids belong to sparse_categorical_crossentropy; tg.one_hot(ids, classes) makes them one-hot."
            raise ShapeError(message(self.name, expected, f"shape {y_true.shape}", hint))
        y_true = super().prepare(y_true, shape, dtype)
        hint = "for several labels a row use a sigmoid and binary_crossentropy."
        check_probabilities(self.name, y_true, "targets", sums=True, hint=hint)
        return y_true

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        if self.label_smoothing:
            y_true = y_true * (1.0 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        if self.from_logits:
            return _cross_entropy_probabilities(y_pred, y_true)
        return -ops.sum(y_true * _log_probabilities(y_pred), axis=-1)


class SparseCategoricalCrossentropy(_Crossentropy):
    """The cross-entropy of class ids (...) and probabilities over classes (..., classes).

    Args:
        from_logits: as in `BinaryCrossentropy`, with a softmax.
        ignore_class: an id whose rows count neither in the sum nor in the number it is divided by.

    Raises ShapeError for one-hot targets, ValueError for ids that are not whole or not below the number of classes.
    """

    logits_of = "softmax"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(from_logits, 0.0, reduction, name)
        self.ignore_class = ignore_class

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return class_ids(self.name, y_true, shape, self.ignore_class)

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        if self.from_logits:
            return _cross_entropy_ids(y_pred, y_true, smoothing=0.0, ignore=self.ignore_class)
        kept = None if self.ignore_class is None else ops.not_equal(y_true, self.ignore_class)
        ids = y_true if kept is None else ops.where(kept, y_true, 0)
        chosen = -ops.take_along_axis(_log_probabilities(y_pred), ops.expand_dims(ids, -1), axis=-1)[..., 0]
        return chosen if kept is None else ops.where(kept, chosen, 0.0)

    def kept(self, y_true: Any, mask: Any = None) -> Any:
        if self.ignore_class is None:
            return mask
        kept = ops.not_equal(y_true, self.ignore_class)
        return kept if mask is None or mask.shape != kept.shape else ops.logical_and(kept, mask)


class FunctionLoss(Loss):
    """A loss made of a function of (y_true, y_pred) that returns a tensor: a value per row, or per element of the
    predictions, or one number.

    Targets with as many axes as the predictions must have their shape; others, such as class ids, are passed on.
    """

    def __init__(self, function: Callable[[Any, Any], Any]):
        super().__init__(name=getattr(function, "__name__", "loss"))
        self.function = function

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = match_own(self.name, y_true, shape)
        return cast_targets(self.name, y_true, dtype) if y_true.dtype.kind == "f" else y_true

    def call(self, y_true: Any, y_pred: Any) -> Any:
        values = self.function(y_true, y_pred)
        if not isinstance(values, Tensor):
            raise TypeError(message(self.name, "a tensor from the function", type(values).__name__))
        return check_result(self.name, values, y_pred.shape)


def match_own(where: str, y_true: Any, shape: tuple[int, ...]) -> Any:
    """`y_true` for a function of one's own: as `match_shapes` has it if it has as many axes as the predictions, or one
    for a column; else unchanged."""
    column = shape == (*y_true.shape, 1) and len(shape) == 2
    return match_shapes(where, y_true, shape) if column or y_true.ndim == len(shape) else y_true


def check_result(where: str, values: Any, shape: tuple[int, ...]) -> Any:
    """`values`, if they are one number, or a value for each row (or step, or element) of predictions of that shape."""
    if values.shape != shape[: values.ndim]:
        expected = f"one number, or a value a row, for predictions of shape {shape}"
        raise ShapeError(message(where, f"the function to return {expected}", f"shape {values.shape}"))
    return values


def cast_targets(where: str, y_true: Any, dtype: Any) -> Any:
    """`y_true` (a tensor or an array) in that dtype; raises ValueError for numbers outside of its range."""
    if y_true.dtype == dtype:
        return y_true
    check_array(_raw(y_true), lambda array: check_cast(where, "targets", array, dtype))
    return y_true.astype(dtype)


def check_weights(where: str, weights: Any, count: int) -> Any:
    """Sample weights, one a row, none negative."""
    weights = weights.reshape(-1) if weights.shape == (count, 1) else weights
    if weights.shape != (count,):
        raise ShapeError(message(where, f"sample weights of shape {(count,)}", f"shape {weights.shape}"))
    check_values(where, "finite sample weights of at least 0", weights, lambda xp, w: (w >= 0) & (w < float("inf")))
    return weights


def _as_tensor(value: Any, like: Any = None) -> Tensor:
    """`value` as a tensor; an array or list goes to the device of `like`."""
    if isinstance(value, Tensor):
        return value
    made = tensor(value)
    return made.to(like.device) if isinstance(like, Tensor) else made


LOSSES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}

FUNCTIONS = {globals()[name]: kind for name, kind in LOSSES.items() if name in globals()}


def get(loss: Any) -> Loss:
    """The loss of that name; an object is given back as it is, a function of (y_true, y_pred) becomes a loss.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise choice("compile", "loss", loss, LOSSES)
        return LOSSES[loss]()
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(message("compile", "a loss, its name or a function of (y_true, y_pred)", repr(loss)))
    if loss in FUNCTIONS:
        return FUNCTIONS[loss]()  # for the logits of its class
    return FunctionLoss(loss)
