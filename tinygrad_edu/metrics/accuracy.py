"""Accuracies: how often a prediction is right."""

from __future__ import annotations

from typing import Any

from .. import losses, ops
from ..errors import ShapeError, check_bool, check_integer, check_number, message
from ..ops.indexing import gather_along
from .base import MeanMetric


class Accuracy(MeanMetric):
    """How often predictions equal the targets."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred == losses.match_shapes(self.name, y_true, y_pred.shape)


class BinaryAccuracy(MeanMetric):
    """How often a prediction above `threshold` meets a target of 1, or one below it a target of 0."""

    def __init__(self, name: str | None = None, threshold: float = 0.5):
        super().__init__(name)
        self.threshold = check_number(self.name, "threshold", threshold, "that is finite", lambda _: True)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        return (y_pred > self.threshold) == y_true


class SignAccuracy(BinaryAccuracy):
    """How often a score above 0 meets a target of 1, or one below it a target of -1 or 0."""

    def __init__(self, name: str | None = None):
        super().__init__(name, threshold=0.0)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return super().values(ops.maximum(y_true, 0), y_pred)


class CategoricalAccuracy(MeanMetric):
    """How often the highest score belongs to the class of a one-hot target."""

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        return y_true.argmax(axis=-1) == y_pred.argmax(axis=-1)


class SparseCategoricalAccuracy(MeanMetric):
    """How often the highest score belongs to the target, a class id. Rows whose id is `ignore_class` do not count."""

    def __init__(self, name: str | None = None, ignore_class: int | None = None):
        super().__init__(name)
        self.ignore_class = ignore_class

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred.argmax(axis=-1) == ids_of(self.name, y_true, y_pred.shape)

    def kept(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        return None if self.ignore_class is None else ids_of(self.name, y_true, shape) != self.ignore_class


class TopKCategoricalAccuracy(MeanMetric):
    """How often the class of a one-hot target is among the `k` highest scores.

    It is if fewer than `k` scores are higher than its own, as in Keras: equal scores share a place. A score that is not
    finite never is.
    """

    def __init__(self, k: int = 5, name: str | None = None):
        super().__init__(name)
        self.k = check_integer(self.name, "k", k, 1)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        return _in_top_k(y_true.argmax(axis=-1), y_pred, self.k)


class SparseTopKCategoricalAccuracy(MeanMetric):
    """How often the target, a class id, is among the `k` highest scores (see `TopKCategoricalAccuracy`).

    Args:
        from_sorted_ids: the predictions are no scores but class ids, the best ones first, of which `k` are looked at.
    """

    def __init__(self, k: int = 5, name: str | None = None, from_sorted_ids: bool = False):
        super().__init__(name)
        self.k = check_integer(self.name, "k", k, 1)
        self.from_sorted_ids = check_bool(self.name, "from_sorted_ids", from_sorted_ids)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        ids = ids_of(self.name, y_true, y_pred.shape)
        if self.from_sorted_ids:
            return ops.any(y_pred[..., : self.k] == ops.expand_dims(ids, -1), axis=-1)
        return _in_top_k(ids, y_pred, self.k)


def _in_top_k(ids: Any, scores: Any, k: int) -> Any:
    known = is_id(ids, scores.shape[-1])
    places = ops.expand_dims(ops.where(known, ids, 0).astype("int64"), -1)
    own = gather_along(scores, places, scores.ndim - 1)
    higher = ops.sum((scores > own).astype("int64"), axis=-1)
    return ops.logical_and(higher < k, ops.logical_and(known, ops.isfinite(own[..., 0])))


def ids_of(where: str, y_true: Any, shape: tuple[int, ...]) -> Any:
    """The ids in the shape of the predictions without its last axis; reads no value back from a device."""
    if y_true.shape not in (shape[:-1], (*shape[:-1], 1)):
        expected = f"class ids of shape {shape[:-1]} for predictions of shape {shape}"
        raise ShapeError(message(where, expected, f"shape {y_true.shape}"))
    return y_true.reshape(shape[:-1])


def is_id(ids: Any, classes: int) -> Any:
    """Where these are whole numbers from 0 to below the number of classes."""
    known = ops.logical_and(ids >= 0, ids < classes)
    return known if ids.dtype.kind in "iub" else ops.logical_and(known, ops.floor(ids) == ids)
