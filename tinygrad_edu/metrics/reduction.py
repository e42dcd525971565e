"""Sum and mean of numbers, and the mean of what a function returns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import losses, ops
from ..autograd import no_grad
from ..errors import message
from .base import MeanMetric, Metric, as_tensor, element_weights, with_rows


class Mean(MeanMetric):
    """The mean of numbers, one or an array: `update_state(values, sample_weight=None)`, a weight for each row.

    >>> import tinygrad_edu as tg
    >>> mean = tg.metrics.Mean()
    >>> mean.update_state([1.0, 2.0, 3.0]); mean.update_state(6.0)
    >>> mean.result()
    3.0
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        with no_grad():
            self.add(*_weighted(self.name, values, sample_weight))


class Sum(Metric):
    """The sum of numbers, one or an array: `update_state(values, sample_weight=None)`, a weight for each row."""

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.total = self.add_weight(name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        with no_grad():
            values, rows = _weighted(self.name, values, sample_weight)
            weights = element_weights(values.shape, rows)
            values = values.astype("float64")
            self.to(values.device)
            self.total.assign_(self.total + ops.sum(values if weights is None else values * weights))

    def compute(self) -> Any:
        return self.total


def _weighted(where: str, values: Any, sample_weight: Any) -> tuple[Any, Any]:
    values = with_rows(as_tensor(values))
    if sample_weight is None:
        return values, None
    return values, losses.check_weights(where, with_rows(as_tensor(sample_weight, values)), values.shape[0])


class MeanMetricWrapper(MeanMetric):
    """The mean of what a function of (y_true, y_pred) returns for two tensors, as in `losses.FunctionLoss`: a value per
    row, or per element, or one number.

    Args:
        fn: the function.
        name: the name of the metric; that of the function by default.
        keywords: more arguments for each call of `fn`.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, **keywords: Any):
        super().__init__(name or getattr(fn, "__name__", "metric"))
        self.function = functools.partial(fn, **keywords) if keywords else fn

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_own(self.name, y_true, y_pred.shape)
        values = as_tensor(self.function(y_true, y_pred), y_pred)
        if values.dtype.kind not in "fiub":
            raise TypeError(message(self.name, "numbers from the function", f"dtype {values.dtype}"))
        losses.check_result(self.name, values, y_pred.shape)
        return values if values.ndim else ops.broadcast_to(values, y_pred.shape[:1])
