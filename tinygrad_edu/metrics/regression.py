"""Metrics of predicted numbers: mean errors, R2, cosine similarity. All is computed in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import losses, ops
from ..errors import check_integer, choice
from .base import MeanMetric, Metric, check_outputs, element_weights, masked_weights, ratio


class MeanSquaredError(MeanMetric):
    """The mean of the squared differences."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        difference = _difference(self.name, y_true, y_pred)
        return _per_row(difference * difference)


class RootMeanSquaredError(MeanSquaredError):
    """The square root of the mean of the squared differences.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.RootMeanSquaredError()([1.0, 2.0], [4.0, 6.0])
    3.5355339059327378
    """

    def compute(self) -> Any:
        return ops.sqrt(super().compute())


class MeanAbsoluteError(MeanMetric):
    """The mean of the absolute differences."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return _per_row(abs(_difference(self.name, y_true, y_pred)))


class MeanAbsolutePercentageError(MeanMetric):
    """The mean of 100 |y_pred - y_true| / |y_true|, with 1e-7 for a smaller |y_true|."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        error = abs(_difference(self.name, y_true, y_pred))
        size = ops.maximum(abs(_as_floats(self.name, y_true, y_pred)), losses.EPSILON)
        return 100.0 * _per_row(error / size)


class MeanSquaredLogarithmicError(MeanMetric):
    """The mean of (log(1 + y_pred) - log(1 + y_true))^2, with 1e-7 for what is below."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        pair = y_pred.astype("float64"), _as_floats(self.name, y_true, y_pred)
        p, y = (ops.log(ops.maximum(a, losses.EPSILON) + 1.0) for a in pair)
        return _per_row(ops.square(p - y))


class LogCoshError(MeanMetric):
    """The mean of log(cosh(y_pred - y_true)): half the square of a small difference, the size of a large one."""

    def __init__(self, name: str | None = "logcosh"):
        super().__init__(name)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        difference = _difference(self.name, y_true, y_pred)
        return _per_row(difference + ops.softplus(-2.0 * difference) - math.log(2.0))


class CosineSimilarity(MeanMetric):
    """The mean of the cosine of the angle between prediction and target, along `axis`; 0 where one of them is zero.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.CosineSimilarity()([[0.0, 1.0], [3.0, 4.0]], [[1.0, 0.0], [6.0, 8.0]])
    0.5
    """

    def __init__(self, name: str | None = None, axis: int = -1):
        super().__init__(name)
        self.axis = axis

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y, p = _as_floats(self.name, y_true, y_pred), y_pred.astype("float64")
        sizes = [ops.maximum(ops.sum(a * a, axis=self.axis), losses.EPSILON**2) for a in (y, p)]
        return ops.sum(y * p, axis=self.axis) / ops.sqrt(sizes[0]) / ops.sqrt(sizes[1])


AGGREGATIONS = ("uniform_average", "variance_weighted_average")


class R2Score(Metric):
    """The coefficient of determination: 1 - (sum of squared errors) / (sum of squared deviations from the mean).

    Predictions are (n,) or (..., outputs), with a score for each output. Where all targets of an output are equal, its
    score is 1 if the predictions are too, else 0, as in scikit-learn (in Keras NaN and 0). Mean and deviations of
    batches are put together without loss of digits (Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979).

    Args:
        class_aggregation: how the scores of several outputs become one: "uniform_average",
            "variance_weighted_average" (by the variance of their targets), or None for an array of them.
        num_regressors: of a linear model, for the adjusted score 1 - (1 - R2) (n - 1) / (n - num_regressors - 1), where
            n, the number of rows, is large enough for it. (Keras takes n times the number of outputs.)

    >>> import tinygrad_edu as tg
    >>> tg.metrics.R2Score()([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
    ):
        super().__init__(name)
        if class_aggregation is not None and class_aggregation not in AGGREGATIONS:
            raise choice(self.name, "class_aggregation", class_aggregation, (*AGGREGATIONS, "None"))
        self.class_aggregation = class_aggregation
        self.num_regressors = check_integer(self.name, "num_regressors", num_regressors, 0)
        self.samples, self.count = self.add_weight(name="samples"), self.add_weight(name="count")
        self._sums: Sequence[Any] = ()

    def make_states(self, shape: tuple[int, ...]) -> None:
        outputs = shape[-1] if shape else 1
        if not self._sums:
            self._sums = [self.add_weight((outputs,)) for _ in range(3)]
        check_outputs(self.name, self._sums[0], outputs)

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        y = _as_floats(self.name, y_true, y_pred)
        error = ops.square(y_pred.astype("float64") - y)
        rows = y.shape[:-1] or y.shape
        w = masked_weights(self.name, y_pred, rows, weights)
        counted = masked_weights(self.name, y_pred, rows, None)
        self.make_states(y.shape[1:])
        outputs = self._sums[0].size
        y, error = y.reshape(-1, outputs), error.reshape(-1, outputs)
        w = element_weights((y.shape[0], 1), ops.ones_like(y[:, 0]) if w is None else w.reshape(-1))
        self.to(y.device)
        mean, squares, residual = self._sums
        added = ops.sum(w)
        count = self.count + added
        own_mean = ratio(ops.sum(w * y, axis=0), added)
        away = own_mean - mean
        squares.assign_(
            squares + ops.sum(w * ops.square(y - own_mean), axis=0) + away * away * ratio(self.count * added, count)
        )
        mean.assign_(mean + away * ratio(added, count))
        residual.assign_(residual + ops.sum(w * error, axis=0))
        self.count.assign_(count)
        self.samples.assign_(self.samples + (y.shape[0] if counted is None else ops.sum(counted)))

    def compute(self) -> Any:
        if not self._sums:
            return self.count
        _, squares, residual = self._sums
        constant = ops.equal(squares, 0.0)
        perfect = ops.equal(residual, 0.0).astype("float64")
        scores = ops.where(constant, perfect, 1.0 - ratio(residual, squares))
        if self.class_aggregation == "variance_weighted_average":
            total = ops.sum(squares)
            scores = ops.where(ops.equal(total, 0.0), ops.mean(scores), ratio(ops.sum(scores * squares), total))
        elif self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
        if self.num_regressors:
            free = self.samples - float(self.num_regressors + 1)
            adjusted = 1.0 - (1.0 - scores) * (self.samples - 1.0) / ops.maximum(free, 1.0)
            scores = ops.where(free > 0.0, adjusted, scores)
        return ops.where(ops.equal(self.count, 0.0), 0.0, scores)


def _as_floats(where: str, y_true: Any, y_pred: Any) -> Any:
    return losses.match_shapes(where, y_true, y_pred.shape).astype("float64")


def _difference(where: str, y_true: Any, y_pred: Any) -> Any:
    """In float64, in which unsigned integers do not wrap."""
    return y_pred.astype("float64") - losses.match_shapes(where, y_true, y_pred.shape)


def _per_row(values: Any) -> Any:
    return ops.mean(values, axis=-1) if values.ndim > 1 else values
