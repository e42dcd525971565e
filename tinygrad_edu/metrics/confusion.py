"""Counts of right and wrong decisions by thresholds: true and false positives and negatives, precision, recall.

A state holds how much of each label exceeds how many of the thresholds. All four counts, for every threshold, follow
from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import ops
from ..errors import ShapeError, check_integer, check_number, message
from ..ops.indexing import _one_hot
from ..ops.sorting import _searchsorted
from .base import BinaryMetric, as_tensor, ratio, sums_by


class ThresholdMetric(BinaryMetric):
    """The base class. A prediction above a threshold is positive, a target of 1 too; all elements of the predictions
    count alike.

    Args:
        thresholds: one, or several in any order.
        top_k: only the k highest scores of the last axis can be positive.
        class_id: only this index of the last axis counts.
    """

    extra_slots = 0

    def __init__(
        self,
        thresholds: Sequence[float],
        name: str | None,
        top_k: int | None = None,
        class_id: int | None = None,
    ):
        super().__init__(name)
        self.thresholds = tuple(thresholds)
        self.top_k = None if top_k is None else check_integer(self.name, "top_k", top_k, 1)
        self.class_id = None if class_id is None else check_integer(self.name, "class_id", class_id, 0)
        self._counts: Any = None
        self.make_counts(())

    def make_counts(self, labels: tuple[int, ...]) -> None:
        self._counts = self.add_weight((2, *labels, len(self.thresholds) + 1 + self.extra_slots), name="counts")

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        y_true, weights = self.labels(y_true, y_pred, weights)
        self.count_others(y_true, weights)
        if y_pred.dtype not in ("float32", "float64"):
            y_pred = y_pred.astype("float32")
        if self.top_k is not None:
            y_pred = _top_k(y_pred, self.top_k)
        self.add(ops.equal(y_true, 1), y_pred if self.class_id is None else y_pred[..., self.class_id], weights)

    def labels(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        y_true, weights = super().labels(y_true, y_pred, weights)
        if self.class_id is None:
            return y_true, weights
        if y_pred.ndim < 2 or self.class_id >= y_pred.shape[-1]:
            expected = f"predictions with a class {self.class_id} on their last axis"
            raise ShapeError(message(self.name, expected, f"shape {y_pred.shape}"))
        return y_true[..., self.class_id], None if weights is None else weights[..., self.class_id]

    def add(self, positive: Any, y_pred: Any, weights: Any) -> None:
        """Counts elements whose targets are positive or not."""
        self.to(y_pred.device)
        slots = self.slots(y_pred).astype("int64") + positive.astype("int64") * (self._counts.size // 2)
        weights = ops.ones_like(y_pred).astype("float64") if weights is None else weights
        self._counts.assign_(self._counts + sums_by(slots.reshape(-1), weights.reshape(-1), self._counts.shape))

    def slots(self, y_pred: Any) -> Any:
        """How many of the thresholds each prediction exceeds; NaN exceeds none."""
        if len(self.thresholds) == 1:
            return y_pred > self.thresholds[0]
        ascending = as_tensor(numpy.sort(numpy.asarray(self.thresholds, y_pred.dtype)), y_pred)
        return _searchsorted(ascending, ops.where(y_pred == y_pred, y_pred, -numpy.inf), side="left")

    def outcomes(self) -> tuple[Any, Any, Any, Any]:
        """True positives, false positives, true negatives, false negatives: each (..., thresholds)."""
        self.check_others()
        counts = self._counts[..., : len(self.thresholds) + 1]
        above = ops.flip(ops.cumsum(ops.flip(counts, axis=-1), axis=-1), axis=-1)[..., 1:]
        below = ops.cumsum(counts, axis=-1)[..., :-1]
        places = numpy.argsort(numpy.argsort(self.thresholds, kind="stable"), kind="stable")
        if (numpy.diff(places) < 0).any():
            above, below = (ops.take(a, as_tensor(places, a), axis=-1) for a in (above, below))
        return above[1], above[0], below[0], below[1]

    def one(self, values: Any) -> Any:
        """The value of the only threshold, or those of all."""
        return values[0] if len(self.thresholds) == 1 else values


def _top_k(scores: Any, k: int) -> Any:
    """The scores, with -inf for all but the k highest of the last axis."""
    _, indices = ops.topk(scores, k)
    chosen = ops.sum(_one_hot(indices, depth=scores.shape[-1], dtype=numpy.dtype("int64")), axis=-2)
    return ops.where(chosen > 0, scores, -numpy.inf)


def check_thresholds(where: str, thresholds: Any, default: float = 0.5) -> list[float]:
    """One threshold, or a list of them, as a list; each is in [0, 1]."""
    if thresholds is None:
        return [default]
    several = list(thresholds) if isinstance(thresholds, (list, tuple, numpy.ndarray)) else [thresholds]
    if not several:
        raise ValueError(message(where, "at least one threshold", "none"))
    return [check_number(where, "each threshold", t, "in [0, 1]", lambda t: 0 <= t <= 1) for t in several]


class _Count(ThresholdMetric):
    which = 0

    def __init__(self, thresholds: Any = None, name: str | None = None):
        super().__init__(check_thresholds(type(self).__name__, thresholds), name)

    def compute(self) -> Any:
        return self.one(self.outcomes()[self.which])


class TruePositives(_Count):
    """How many predictions above a threshold (0.5, or a list) have the target 1; with weights, their sum. For several
    thresholds an array.

    Raises ValueError for targets other than 0 and 1; in `fit` `result()` does.
    """


class FalsePositives(_Count):
    """How many predictions above a threshold have the target 0 (see `TruePositives`)."""

    which = 1


class TrueNegatives(_Count):
    """How many predictions up to a threshold have the target 0 (see `TruePositives`)."""

    which = 2


class FalseNegatives(_Count):
    """How many predictions up to a threshold have the target 1 (see `TruePositives`)."""

    which = 3


class _Share(ThresholdMetric):
    def __init__(
        self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None, name: str | None = None
    ):
        default = 0.5 if top_k is None else -numpy.inf
        super().__init__(check_thresholds(type(self).__name__, thresholds, default), name, top_k, class_id)


class Precision(_Share):
    """Which share of the positive predictions is right: TP / (TP + FP), 0 if there is none.

    Args:
        thresholds: above which a prediction is positive, 0.5 by default; for a list the result is an array.
        top_k: only the k highest scores of a row can be positive; without `thresholds` they all are.
        class_id: only this column of predictions (n, classes) counts.

    Raises ValueError for targets other than 0 and 1, also probabilities; in `fit` `result()` does. (Keras takes all
    that is not 0 as 1.)

    >>> import tinygrad_edu as tg
    >>> tg.metrics.Precision()([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.2])
    0.6666666666666666
    """

    def compute(self) -> Any:
        right, wrong, _, _ = self.outcomes()
        return self.one(ratio(right, right + wrong))


class Recall(_Share):
    """Which share of the positive targets is found: TP / (TP + FN), 0 if there is none. Arguments and targets
    are those of `Precision`.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.Recall(thresholds=[0.1, 0.75])([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.2])
    array([1.        , 0.33333333])
    """

    def compute(self) -> Any:
        found, _, _, missed = self.outcomes()
        return self.one(ratio(found, found + missed))
