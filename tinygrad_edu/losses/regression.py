"""Losses of numbers: distances, counts, directions."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import check_number
from .base import EPSILON, Loss, PlainLoss, along, as_axis, check_values, mean_of_rows


class MeanSquaredError(PlainLoss):
    """The mean of the squared differences."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_rows(self.name, ops.square(y_pred - y_true))


def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_pred - y_true)^2) over the last axis."""
    return MeanSquaredError("none")(y_true, y_pred)


class MeanAbsoluteError(PlainLoss):
    """The mean of the absolute differences."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_rows(self.name, ops.absolute(y_pred - y_true))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_pred - y_true|) over the last axis."""
    return MeanAbsoluteError("none")(y_true, y_pred)


class MeanAbsolutePercentageError(PlainLoss):
    """100 times the mean of |y_pred - y_true| / |y_true|, where |y_true| counts as no less than 1e-7, as in Keras: a
    target of 0 outweighs all others.

    >>> import tinygrad_edu as tg
    >>> tg.losses.MeanAbsolutePercentageError()(tg.tensor([[2.0, 4.0]]), tg.tensor([[1.0, 5.0]]))
    tensor(37.5)
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        shares = ops.absolute(y_pred - y_true) / ops.maximum(ops.absolute(y_true), EPSILON)
        return 100.0 * mean_of_rows(self.name, shares)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 * mean(|y_pred - y_true| / max(|y_true|, 1e-7)) over the last axis."""
    return MeanAbsolutePercentageError("none")(y_true, y_pred)


class MeanSquaredLogarithmicError(PlainLoss):
    """The mean of (log(1 + y_pred) - log(1 + y_true))^2, where predictions below 1e-7 count as that, as in Keras: they
    get no gradient. Raises ValueError for targets below 0.

    >>> import tinygrad_edu as tg
    >>> tg.losses.MeanSquaredLogarithmicError()(tg.tensor([[0.0, 3.0]]), tg.tensor([[1.0, 3.0]])).item()
    0.2402...
    """

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return check_counts(self.name, super().prepare(y_true, shape, dtype))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        predicted, wanted = (ops.log1p(ops.maximum(y, EPSILON)) for y in (y_pred, y_true))
        return mean_of_rows(self.name, ops.square(predicted - wanted))


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """mean((log(1 + y_pred) - log(1 + y_true))^2) over the last axis; numbers below 1e-7 count as that."""
    return MeanSquaredLogarithmicError("none")(y_true, y_pred)


def check_counts(where: str, y_true: Any) -> Any:
    """`y_true`, if it is finite and not negative."""
    check_values(where, "finite targets of at least 0", y_true, lambda xp, y: (y >= 0) & (y < math.inf))
    return y_true


class Huber(Loss):
    """The mean of e^2 / 2 for differences e of up to `delta`, and of delta * (|e| - delta / 2) for larger ones, which
    so pull no harder than `delta`. Huber, "Robust estimation of a location parameter", 1964.

    >>> import tinygrad_edu as tg
    >>> tg.losses.Huber(delta=2.0)(tg.tensor([[0.0, 0.0]]), tg.tensor([[1.0, 5.0]]))
    tensor(4.25)
    """

    def __init__(self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(name, reduction)
        self.delta = check_number(self.name, "delta", delta, "above 0", lambda v: v > 0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = y_pred - y_true
        inner = ops.clip(error, -self.delta, self.delta)
        return mean_of_rows(self.name, inner * (error - 0.5 * inner))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """mean(e^2 / 2 where |e| <= delta, else delta * |e| - delta^2 / 2) over the last axis, for e = y_pred - y_true."""
    return Huber(delta, "none")(y_true, y_pred)


class LogCosh(PlainLoss):
    """The mean of log(cosh(e)) for differences e: about e^2 / 2 for small ones, |e| - log(2) for large ones, without
    overflow.

    >>> import tinygrad_edu as tg
    >>> tg.losses.LogCosh()(tg.tensor([[0.0]]), tg.tensor([[1000.0]])).item()
    999.306...
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = y_pred - y_true
        return mean_of_rows(self.name, error + ops.softplus(-2.0 * error) - math.log(2.0))


def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """mean(log(cosh(y_pred - y_true))) over the last axis."""
    return LogCosh("none")(y_true, y_pred)


class Poisson(PlainLoss):
    """The mean of y_pred - y_true * log(y_pred): the negative log likelihood of counts for predicted rates, but for a
    term without the rates. As in Keras 1e-7 is added within the logarithm.

    Raises ValueError for targets or predictions below 0.

    >>> import tinygrad_edu as tg
    >>> tg.losses.Poisson()(tg.tensor([[0.0, 2.0]]), tg.tensor([[1.0, 2.0]])).item()  # (1 + 2 - 2 log(2)) / 2
    0.8068...
    """

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return check_counts(self.name, super().prepare(y_true, shape, dtype))

    def check_predictions(self, y_pred: Any) -> None:
        hint = "end in an exponential or a softplus."
        check_values(self.name, "predicted rates of at least 0", y_pred, lambda xp, y: y >= 0, hint)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_rows(self.name, y_pred - y_true * ops.log(y_pred + EPSILON))


def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(y_pred - y_true * log(y_pred + 1e-7)) over the last axis."""
    return Poisson("none")(y_true, y_pred)


class CosineSimilarity(Loss):
    """Minus the cosine of the angle between targets and predictions, vectors along `axis`: -1 where they point the same
    way, 1 where they are opposed, 0 where one of them is 0.

    >>> import tinygrad_edu as tg
    >>> tg.losses.CosineSimilarity()(tg.tensor([[2.0, 0.0]]), tg.tensor([[3.0, 4.0]])).item()
    -0.6000...
    """

    def __init__(self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = None):
        super().__init__(name, reduction)
        self.axis = as_axis(self.name, axis)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        axis = along(self.name, self.axis, y_pred)
        wanted, predicted = (y / ops.maximum(ops.norm(y, axis, keepdims=True), EPSILON) for y in (y_true, y_pred))
        return -ops.sum(wanted * predicted, axis=axis)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """-sum(y_true * y_pred) over the axis, of vectors scaled to the length 1."""
    return CosineSimilarity(axis, "none")(y_true, y_pred)
