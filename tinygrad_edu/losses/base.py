"""What all losses share: the checks of targets, predictions and weights, and the base class with its reductions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from operator import index
from typing import Any, SupportsIndex

from .. import ops
from ..autograd import Owner, Tensor, check_array, check_range, settled, tensor
from ..backend import array_module
from ..errors import ShapeError, check_cast, choice, message
from ..ops.shape import normalize_axis
from ..state import state

EPSILON = 1e-7
"""Probabilities that are given as such are kept this far from 0 and 1, as in Keras, before their logarithm is taken."""
ACTIVATION_OF = {"sigmoid": ops.sigmoid, "softmax": ops.softmax}
"""The activations by the names that losses have for them, in `logits_of`."""
REDUCTIONS = ("mean", "mean_with_sample_weight", "none", "sum", "sum_over_batch_size")


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
    elif shape[-1] > 1 and y_true.shape in (shape[:-1], (*shape[:-1], 1)) and len(shape) > 1 and _whole(y_true):
        hint = f"class ids become one-hot by tg.one_hot(ids, {shape[-1]}), or belong to a sparse_... loss or metric."
    elif len(y_true.shape) < len(shape) and y_true.shape[:1] == shape[:1]:
        hint = f"the model gives {shape[1:]} per row; y_true.reshape{(-1, *shape[1:])} if it holds as many numbers."
    raise ShapeError(message(where, f"targets of the shape {shape} of the predictions", f"shape {y_true.shape}", hint))


def _whole(y: Any) -> bool:
    """Whether these can be class ids; where they are not known yet, by their dtype."""
    return y.dtype.kind in "iu" or (y.dtype.kind == "f" and state.trace is None and bool((raw(y) % 1 == 0).all()))


def check_values(
    where: str, expected: str, y: Any, holds: Callable[[Any, Any], Any], hint: str = "", within: Any = ()
) -> None:
    """Raises ValueError, with the first offender, unless `holds(xp, y)` everywhere (NaN never does). `within` says
    between which two numbers that is, where it is all that counts."""

    def look(array: Any) -> None:
        right = holds(array_module(array), array)
        if not bool(right.all()):
            raise ValueError(message(where, expected, f"{array[~right].reshape(-1)[0].item()}", hint))

    if within:
        check_range(raw(y), within[0], within[1], look)
    else:
        check_array(raw(y), look)


def raw(y: Any) -> Any:
    """The array of a tensor; an array is one."""
    return y.data if isinstance(y, Tensor) else y


def class_ids(where: str, y_true: Any, shape: tuple[int, ...], ignore_class: int | None = None, axis: int = -1) -> Any:
    """`y_true` as int64 ids for predictions of that shape, checked: one id for the classes along the axis, whole, and
    below their number. Ids (n, 1) become (n,), as in Keras."""
    axis = normalize_axis(where, axis, len(shape))
    before, classes, after = shape[:axis], shape[axis], shape[axis + 1 :]
    if y_true.shape == (*before, 1, *after):
        y_true = y_true.reshape(*before, *after)
    if y_true.shape != (*before, *after):
        expected = f"class ids of shape {(*before, *after)} for predictions of shape {shape}"
        hint = ""
        if y_true.shape == shape:
            hint = "one-hot targets belong to categorical_crossentropy; y_true.argmax(axis=-1) gives ids."
        raise ShapeError(message(where, expected, f"shape {y_true.shape}", hint))
    if y_true.dtype.kind == "f":
        check_values(where, "whole class ids", y_true, lambda xp, y: xp.trunc(y) == y)
    allowed = f"class ids from 0 to {classes - 1}" + ("" if ignore_class is None else f", or {ignore_class} to ignore")
    low, high = (0, -1) if ignore_class is None else (ignore_class, ignore_class)
    check_values(
        where,
        allowed,
        y_true,
        lambda xp, y: (y >= 0) & (y < classes) | (y >= low) & (y <= high),
        within=(0, classes - 1) if ignore_class is None else (),
    )
    return y_true if y_true.dtype == "int64" else y_true.astype("int64")


def check_probabilities(where: str, y: Any, what: str, sums: bool, hint: str = "") -> None:
    """Raises ValueError unless all are in [0, 1] and, with `sums`, each row's sum is 1."""
    check_array(raw(y), lambda array: _check_probabilities(where, array, what, sums, hint))


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


def match_one_hot(where: str, y_true: Any, shape: tuple[int, ...], axis: int = -1) -> Any:
    """`y_true`, one-hot or another distribution over the classes along the axis, if it has that shape."""
    axis = normalize_axis(where, axis, len(shape))
    before, after = shape[:axis], shape[axis + 1 :]
    if y_true.shape in ((*before, *after), (*before, 1, *after)) and y_true.shape != shape:
        hint = "class ids belong to sparse_categorical_crossentropy; tg.one_hot(ids, classes) makes them one-hot."
        raise ShapeError(message(where, f"one-hot targets of shape {shape}", f"shape {y_true.shape}", hint))
    return match_shapes(where, y_true, shape)


def mean_of_rows(where: str, values: Any, axis: int = -1) -> Any:
    """The mean over that axis, which may not be that of the rows; values (n,) are a value a row already."""
    return ops.mean(values, axis=along(where, axis, values)) if values.ndim > 1 else values


def along(where: str, axis: Any, x: Any) -> int:
    """An axis of `x`, counted from the front. Raises ValueError for that of the rows, unless it is the only one."""
    number = normalize_axis(where, axis, x)
    if number == 0 and x.ndim > 1:
        raise ValueError(message(where, "an axis within the rows", f"axis {axis} of shape {x.shape}"))
    return number


def as_axis(where: str, axis: Any) -> int:
    """`axis` as an int; raises TypeError for what is none."""
    if isinstance(axis, bool) or not isinstance(axis, SupportsIndex):
        raise TypeError(message(where, "axis to be an integer", repr(axis)))
    return index(axis)


class Loss(Owner):
    """The base class. A subclass defines `call(y_true, y_pred)`, a value per row, and may sharpen `prepare`, the
    checks.

    Args:
        name: shown in errors; by default that of the class.
        reduction: "sum_over_batch_size" or "mean" (the mean; with weights the weighted sum over the number of rows, as
            in Keras 3), "mean_with_sample_weight" (the weighted sum over the sum of the weights), "sum", or "none" or
            None for no reduction.

    >>> import tinygrad_edu as tg
    >>> tg.losses.MeanSquaredError()(tg.tensor([1.0, 2.0]), tg.tensor([[1.0], [4.0]]))
    tensor(2.)
    """

    logits_of: str | None = None
    """The activation that makes the loss's probabilities of logits, if there is one."""
    from_logits = False
    _user_made: Loss | None = None
    """For a copy that `on_logits` made, the loss itself."""

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size"):
        self.name = name or type(self).__name__
        self.reduction = "none" if reduction is None else reduction
        if self.reduction not in REDUCTIONS:
            raise choice(self.name, "reduction", reduction, REDUCTIONS)

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
        """The reduced loss of targets that `prepare` has seen; reads no value back from a device. It is in float32 for
        predictions in float16, as in Keras: float16 ends at 65504 and has no 1 - 1e-7.

        `mask` (batch, time) says which values of a loss of that shape, or with more axes, count; the mean is over
        these. Warns if it fits none.
        """
        settled(self._user_made or self)  # the copy for logits does not last
        if y_pred.dtype.char == "e":  # float16, whose sums overflow and whose probabilities round to 0 and 1
            y_true, y_pred, sample_weight = (_widened(a) for a in (y_true, y_pred, sample_weight))
        values = self.call(y_true, y_pred)
        if sample_weight is not None:
            if values.shape[:1] != sample_weight.shape:
                hint = f"say axis={tuple(range(1, y_pred.ndim))}." if hasattr(self, "axis") and y_pred.ndim > 1 else ""
                raise ShapeError(message(self.name, "a loss per row, to be weighted", f"shape {values.shape}", hint))
            sample_weight = sample_weight.reshape((-1, *(1,) * (values.ndim - 1)))
            values = values * sample_weight
        kept = self.kept(y_true, mask)
        kept = None if kept is None else spread(self.name, "loss", kept, values.shape)
        if kept is not None:
            kept = kept.astype(values.dtype)
            values = values * kept
        return self._reduce(values, sample_weight, kept)

    def _reduce(self, values: Any, weight: Any, kept: Any) -> Any:
        """What becomes of values that are weighted and masked; `weight` broadcasts to them, `kept` has their shape."""
        if self.reduction == "none":
            return values
        if self.reduction == "sum":
            return ops.sum(values)
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            weight = ops.broadcast_to(weight, values.shape) if kept is None else weight * kept
            total = ops.sum(weight)
            return ops.sum(values) / ops.where(ops.equal(total, 0.0), 1.0, total)
        return ops.mean(values) if kept is None else ops.sum(values) / ops.maximum(ops.sum(kept), 1.0)

    def kept(self, y_true: Any, mask: Any = None) -> Any:
        """Which values count, for targets and a mask of the predictions; None stands for all."""
        return mask

    def count(self, y_true: Any, mask: Any = None, sample_weight: Any = None) -> Any:
        """How much the loss of these targets weighs beside that of other batches: the number of its rows, or of its
        values that count, or their weights' sum where that is what it is divided by."""
        kept = None if self.reduction == "sum" else self.kept(y_true, mask)
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            weight = sample_weight.astype("float64")
            return ops.sum(weight if kept is None else weight.reshape((-1, *(1,) * (kept.ndim - 1))) * kept)
        return y_true.shape[0] if kept is None else ops.sum(kept.astype("float64"))

    def can_take_logits(self) -> bool:
        """Whether `on_logits` gives the same loss."""
        return False

    def on_logits(self) -> Loss:
        """The same loss, to be computed from what the sigmoid or softmax is applied to."""
        other = type(self).__new__(type(self))  # each batch makes one; copy.copy takes five times as long
        vars(other).update(vars(self), from_logits=True, _user_made=self)
        return other


class PlainLoss(Loss):
    """A loss whose only options are its reduction and its name, in Keras's order."""

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(name, reduction)


class FunctionLoss(Loss):
    """A loss made of a function of (y_true, y_pred) that returns a tensor: a value per row, or per element of the
    predictions, or one number.

    Targets with as many axes as the predictions must have their shape; others, such as class ids, are passed on.
    """

    def __init__(self, function: Callable[[Any, Any], Any]):
        super().__init__(getattr(function, "__name__", "loss"))
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
    check_array(raw(y_true), lambda array: check_cast(where, "targets", array, dtype))
    return y_true.astype(dtype)


def check_weights(where: str, weights: Any, count: int) -> Any:
    """Sample weights, one a row, none negative."""
    weights = weights.reshape(-1) if weights.shape == (count, 1) else weights
    if weights.shape != (count,):
        raise ShapeError(message(where, f"sample weights of shape {(count,)}", f"shape {weights.shape}"))
    check_values(where, "finite sample weights of at least 0", weights, lambda xp, w: (w >= 0) & (w < float("inf")))
    return weights


def _widened(a: Any) -> Any:
    return a.astype("float32") if a is not None and a.dtype == "float16" else a


def _as_tensor(value: Any, like: Any = None) -> Tensor:
    """`value` as a tensor; an array or list goes to the device of `like`."""
    if isinstance(value, Tensor):
        return value
    made = tensor(value)
    return made.to(like.device) if isinstance(like, Tensor) else made
