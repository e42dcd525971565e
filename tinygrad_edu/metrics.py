"""Metrics, with Keras's names: numbers that tell how good predictions are, gathered over any number of batches.

A metric keeps a sum and a count on the device, so that uneven batches are weighted right and nothing waits for the
device before `result()`. All that it computes are operations on tensors, so that it can be part of a jitted step.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy

from . import losses, ops
from .autograd import Tensor, no_grad, settled
from .backend import array_module, to_device
from .errors import ShapeError, check_number, choice, message
from .state import state


class Metric:
    """The base class. A subclass defines `values(y_true, y_pred)`: for tensors, a tensor with a number per row.

    `update_state` adds a batch, `result` gives the mean over all rows since `reset_state`.

    >>> import tinygrad_edu as tg
    >>> metric = tg.metrics.MeanAbsoluteError()
    >>> metric.update_state([1.0, 2.0], [1.0, 4.0]); metric.update_state([0.0], [0.0])
    >>> round(metric.result(), 4)
    0.6667
    """

    def __init__(self, name: str | None = None):
        self.name = name or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        self.reset_state()

    def reset_state(self) -> None:
        """Forgets all batches."""
        if not hasattr(self, "total"):
            self.total, self.count = (Tensor(numpy.zeros(())) for _ in range(2))
        self.total.assign_(0.0)
        self.count.assign_(0.0)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of targets and predictions (tensors, arrays or lists), weighted row by row if weights are given.

        Raises ShapeError for shapes that do not match.
        """
        settled(self)
        with no_grad():
            y_pred = as_tensor(y_pred)
            y_true = as_tensor(y_true, y_pred)
            kept, values = self.kept(y_true, y_pred.shape), self.values(y_true, y_pred)
            mask = getattr(y_pred, "mask", None)
            mask = None if mask is None else losses.spread(self.name, "values", mask, values.shape)
            if mask is not None:
                kept = mask if kept is None else ops.logical_and(kept, mask)
            self.add(values, sample_weight, kept)

    def add(self, values: Any, sample_weight: Any = None, kept: Any = None) -> None:
        """Adds a tensor of values, weighted along its first axis if weights are given, and element by element by
        `kept`."""
        values = values.astype("float64")
        if sample_weight is None and kept is None:
            self.accumulate(ops.sum(values), values.size)
            return
        weights = ops.ones_like(values) if kept is None else ops.broadcast_to(kept.astype("float64"), values.shape)
        if sample_weight is not None:
            rows = losses.check_weights(self.name, as_tensor(sample_weight, values), values.shape[0])
            weights = weights * rows.astype("float64").reshape(-1, *(1,) * (values.ndim - 1))
        self.accumulate(ops.sum(values * weights), ops.sum(weights))

    def accumulate(self, total: Any, count: Any) -> None:
        """Adds a sum of values (a tensor without axes) and how many they were (such a tensor, or a number)."""
        for t in (self.total, self.count):  # they go where the values are
            t.data = to_device(t.data, total.device)
        self.total.assign_(self.total + total.astype("float64"))
        self.count.assign_(self.count + (count.astype("float64") if isinstance(count, Tensor) else count))

    def later(self) -> Callable[[], float]:
        """A function that gives the result as it is now, and waits for the device only when it is called."""
        both = array_module(self.total.data).stack([self.total.data, self.count.data])  # which are read as one

        def ratio() -> float:
            total, count = both.tolist()
            return total / count if count else 0.0

        return ratio

    def kept(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        """Which values count, for predictions of that shape; None stands for all."""
        return None

    def values(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no values(y_true, y_pred)")

    def result(self) -> Any:
        """The mean so far; 0.0 before the first batch. Waits for the device; inside a jitted step it is a tensor."""
        if state.trace is not None:
            return self.total / ops.maximum(self.count, ops.equal(self.count, 0.0).astype("float64"))
        return self.later()()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.result():.6g}>"


class Mean(Metric):
    """The mean of numbers, one or an array: `update_state(values, sample_weight=None)`, a weight for each row."""

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        rows = _with_rows(as_tensor(values))
        self.add(rows, None if sample_weight is None else _with_rows(as_tensor(sample_weight, rows)))


class MeanSquaredError(Metric):
    """The mean of the squared differences."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        difference = _difference(self.name, y_true, y_pred)
        return _per_row(difference * difference)


class MeanAbsoluteError(Metric):
    """The mean of the absolute differences."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return _per_row(abs(_difference(self.name, y_true, y_pred)))


class BinaryAccuracy(Metric):
    """How often a prediction above `threshold` meets a target of 1, or one below it a target of 0."""

    def __init__(self, name: str | None = None, threshold: float = 0.5):
        super().__init__(name)
        self.threshold = check_number(self.name, "threshold", threshold, "that is finite", lambda _: True)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        return _per_row((y_pred > self.threshold) == y_true)


class CategoricalAccuracy(Metric):
    """How often the highest score belongs to the class of a one-hot target."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        return y_true.argmax(axis=-1) == y_pred.argmax(axis=-1)


class SparseCategoricalAccuracy(Metric):
    """How often the highest score belongs to the target, a class id. Rows whose id is `ignore_class` do not count."""

    def __init__(self, name: str | None = None, ignore_class: int | None = None):
        super().__init__(name)
        self.ignore_class = ignore_class

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred.argmax(axis=-1) == self._ids(y_true, y_pred.shape)

    def kept(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        return None if self.ignore_class is None else self._ids(y_true, shape) != self.ignore_class

    def _ids(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        """The ids in the shape of the predictions without its last axis; reads no value back from a device."""
        if y_true.shape not in (shape[:-1], (*shape[:-1], 1)):
            expected = f"class ids of shape {shape[:-1]} for predictions of shape {shape}"
            raise ShapeError(message(self.name, expected, f"shape {y_true.shape}"))
        return y_true.reshape(shape[:-1])


class FunctionMetric(Metric):
    """The mean of what a function of (y_true, y_pred) returns for two tensors, as in `losses.FunctionLoss`."""

    def __init__(self, function: Callable[[Any, Any], Any]):
        super().__init__(getattr(function, "__name__", "metric"))
        self.function = function

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_own(self.name, y_true, y_pred.shape)
        values = as_tensor(self.function(y_true, y_pred), y_pred)
        if values.dtype.kind not in "fiub":
            raise TypeError(message(self.name, "numbers from the function", f"dtype {values.dtype}"))
        losses.check_result(self.name, values, y_pred.shape)
        return values if values.ndim else ops.broadcast_to(values, y_pred.shape[:1])


def as_tensor(value: Any, like: Any = None) -> Any:
    """A tensor as it is; a list or an array becomes one, beside `like`."""
    if isinstance(value, Tensor):
        return value
    array = array_module(value).asarray(value)
    if array_module(array) is numpy and like is not None:
        array = to_device(array, like.device)
    return Tensor(array)


def _with_rows(x: Any) -> Any:
    return x.reshape(1) if x.ndim == 0 else x


def _difference(where: str, y_true: Any, y_pred: Any) -> Any:
    """In float64, in which unsigned integers do not wrap."""
    return y_pred.astype("float64") - losses.match_shapes(where, y_true, y_pred.shape)


def _per_row(values: Any) -> Any:
    return ops.mean(values.astype("float64"), axis=-1) if values.ndim > 1 else values


METRICS: dict[str, type[Metric]] = {
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
}


def get(metric: Any, loss: losses.Loss, outputs: int) -> Metric:
    """The metric of that name, for a model with that loss and number of outputs per row; an object is given back as
    it is.

    "accuracy" is the one that fits: binary for a binary cross-entropy or a single output, else sparse categorical for
    class ids, else categorical. It knows when the outputs are logits. Raises ValueError for an unknown name.
    """
    if isinstance(metric, str):
        if metric in ("accuracy", "acc"):
            return accuracy(metric, loss, outputs)
        if metric not in METRICS:
            raise choice("compile", "metric", metric, [*METRICS, "accuracy", "acc"])
        return METRICS[metric](name=metric)
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) or not callable(metric):
        raise TypeError(message("compile", "a metric, its name or a function of (y_true, y_pred)", repr(metric)))
    return FunctionMetric(metric)


def accuracy(name: str, loss: losses.Loss, outputs: int) -> Metric:
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy(name, loss.ignore_class)
    if outputs == 1 or isinstance(loss, losses.BinaryCrossentropy):
        return BinaryAccuracy(name, threshold=0.0 if loss.from_logits else 0.5)
    return CategoricalAccuracy(name)
