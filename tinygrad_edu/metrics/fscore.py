"""F scores: precision and recall in one number, for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import ops
from ..errors import ShapeError, check_number, choice, message
from .base import BinaryMetric, check_outputs, ratio

AVERAGES = ("micro", "macro", "weighted")


class FBetaScore(BinaryMetric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) for each class of targets and predictions (...,
    classes); 0 for a class that is neither there nor predicted.

    It is computed from the counts, as (1 + beta^2) TP / ((1 + beta^2) TP + FP + beta^2 FN), where Keras adds 1e-7 to
    each divisor.

    Args:
        average: None gives an array with the score of each class, "macro" their mean, "weighted" their mean by the
            number of targets, "micro" the score of all counts together.
        beta: how much more recall matters than precision.
        threshold: above which a prediction is positive; None for the highest score of a row, which must not be 0.

    Raises ShapeError for a single output without a threshold, which would always be the highest, and ValueError for
    targets other than 0 and 1; in `fit` `result()` does.
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
    ):
        super().__init__(name)
        if average is not None and average not in AVERAGES:
            raise choice(self.name, "average", average, (*AVERAGES, "None"))
        self.average = average
        self.beta = check_number(self.name, "beta", beta, "above 0", lambda v: v > 0)
        if threshold is not None:
            threshold = check_number(self.name, "threshold", threshold, "in [0, 1]", lambda v: 0 <= v <= 1)
        self.threshold = threshold
        self._counts: Sequence[Any] = ()

    def make_states(self, shape: tuple[int, ...]) -> None:
        if not shape or (shape[-1] == 1 and self.threshold is None):
            hint = "say threshold=0.5 for one output."
            raise ShapeError(message(self.name, "predictions (..., classes)", f"rows of shape {shape}", hint))
        if not self._counts:
            self._counts = [self.add_weight((shape[-1],)) for _ in range(3)]
        check_outputs(self.name, self._counts[0], shape[-1])

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        self.make_states(y_pred.shape[1:])
        y_true, weights = self.labels(y_true, y_pred, weights)
        self.count_others(y_true, weights)
        if self.threshold is None:
            highest = y_pred >= ops.max(y_pred, axis=-1, keepdims=True)
            positive = ops.logical_and(highest, abs(y_pred) > 1e-9)
        else:
            positive = y_pred > self.threshold
        y, p = y_true.astype("float64"), positive.astype("float64")
        axes = tuple(range(y.ndim - 1))
        for t, found in zip(self._counts, (y * p, p * (1.0 - y), y * (1.0 - p)), strict=True):
            t.assign_(t + ops.sum(found if weights is None else found * weights, axis=axes))

    def compute(self) -> Any:
        if not self._counts:
            return numpy.zeros(0) if self.average is None else 0.0
        self.check_others()
        right, wrong, missed = self._counts
        targets = right + missed
        if self.average == "micro":
            right, wrong, missed = (ops.sum(count) for count in (right, wrong, missed))
        square = self.beta**2
        scores = ratio((1.0 + square) * right, (1.0 + square) * right + wrong + square * missed)
        if self.average == "weighted":
            return ratio(ops.sum(scores * targets), ops.sum(targets))
        return ops.mean(scores) if self.average == "macro" else scores


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall: `FBetaScore` with beta 1.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.F1Score()([[1, 0], [1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    array([0.66666667, 0.66666667])
    """

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str | None = "f1_score"):
        super().__init__(average, 1.0, threshold, name)
