"""Metrics of probabilities at many thresholds: the area under a curve, and the best value where another is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import losses, ops
from ..autograd import check_array
from ..errors import ShapeError, check_bool, check_integer, check_number, choice, message
from .base import as_tensor, check_outputs, ratio
from .confusion import ThresholdMetric, check_thresholds

SLACK = 1e-6
"""How far a probability may be outside of [0, 1], by rounding."""


class ProbabilityMetric(ThresholdMetric):
    """The base class. Predictions outside of [0, 1] are counted in a slot of their own and make `result()` raise; NaN
    makes it NaN."""

    extra_slots = 1

    def add(self, positive: Any, y_pred: Any, weights: Any) -> None:
        weights = ops.ones_like(y_pred).astype("float64") if weights is None else weights
        super().add(positive, y_pred, ops.where(y_pred == y_pred, weights, weights * numpy.nan))

    def slots(self, y_pred: Any) -> Any:
        inside = ops.clip(y_pred, 0.0, 1.0)
        return ops.where(abs(inside - y_pred) <= SLACK, self.slots_inside(inside), float(len(self.thresholds) + 1))

    def slots_inside(self, y_pred: Any) -> Any:
        raise NotImplementedError

    def even_slots(self, y_pred: Any) -> Any:
        """For thresholds that divide [0, 1] evenly; computed as Keras does."""
        return ops.ceil(y_pred * float(len(self.thresholds) - 1))

    def outcomes(self) -> tuple[Any, Any, Any, Any]:
        outside = ops.sum(self._counts[..., -1])
        check_array(outside.data, self._check_outside)
        tp, fp, tn, fn = (a + 0.0 * outside for a in super().outcomes())  # of NaN all is NaN
        return tp, fp, tn, fn

    def _check_outside(self, outside: Any) -> None:
        if outside > 0.0:
            hint = "end in a sigmoid or softmax" + (", or say from_logits=True." if hasattr(self, "curve") else ".")
            raise ValueError(message(self.name, "predictions in [0, 1]", "some outside", hint))


CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "minoring", "majoring")


class AUC(ProbabilityMetric):
    """The area under the ROC or the precision-recall curve, approximated by thresholds, as in Keras.

    It equals that of all distinct scores where the thresholds separate them. Predictions are probabilities; ones
    outside of [0, 1] make `result()` raise ValueError, where Keras moves them inside.

    Args:
        num_thresholds: how many, evenly from 0 to 1.
        curve: "ROC", "PR", or "PRGAIN" (Flach and Kull, "Precision-recall-gain curves", NeurIPS 2015).
        summation_method: "interpolation" (for PR of the true positives, by Davis and Goadrich, "The relationship
            between precision-recall and ROC curves", ICML 2006), "minoring" or "majoring".
        thresholds: a list of them in [0, 1] in place of `num_thresholds`; 0 and 1 are added.
        multi_label: predictions (n, labels) have an area for each label, and the result is their mean; else all
            elements are counted together.
        num_labels: for `multi_label`, if known.
        label_weights: one for each label: in the mean of `multi_label`, else for each column of the predictions.
        from_logits: the sigmoid of the predictions is taken.

    Targets are 0 and 1, as in `Precision`.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.AUC()([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        if str(curve).upper() not in CURVES:
            raise choice("AUC", "curve", curve, CURVES)
        if str(summation_method).lower() not in SUMMATIONS:
            raise choice("AUC", "summation_method", summation_method, SUMMATIONS)
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        if thresholds is None:
            inner = _evenly(check_integer("AUC", "num_thresholds", num_thresholds, 2))[1:-1]
        else:
            inner = sorted(check_thresholds("AUC", thresholds))
        self.evenly = bool(numpy.allclose([0.0, *inner, 1.0], _evenly(len(inner) + 2), rtol=1e-5, atol=1e-7))
        self.multi_label = check_bool("AUC", "multi_label", multi_label)
        self.num_labels, self.from_logits = num_labels, check_bool("AUC", "from_logits", from_logits)
        self.label_weights = _check_label_weights(label_weights)
        if num_labels is not None and not multi_label:
            raise ValueError(message("AUC", "num_labels only with multi_label=True", repr(num_labels)))
        super().__init__([-losses.EPSILON, *inner, 1.0 + losses.EPSILON], name)

    def make_counts(self, labels: tuple[int, ...]) -> None:
        if not self.multi_label:
            super().make_counts(())
        elif self.num_labels is not None:
            super().make_counts((check_integer("AUC", "num_labels", self.num_labels, 1),))

    def make_states(self, shape: tuple[int, ...]) -> None:
        if not self.multi_label:
            return
        if len(shape) != 1:
            raise ShapeError(message(self.name, "predictions (n, labels)", f"rows of shape {shape}"))
        if self._counts is None:
            super().make_counts(shape)
        check_outputs(self.name, self._counts[0, :, 0], shape[0])

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        if self.label_weights is not None and y_pred.shape[-1:] != (len(self.label_weights),):
            expected = f"predictions of {len(self.label_weights)} labels, as label_weights has them"
            raise ShapeError(message(self.name, expected, f"shape {y_pred.shape}"))
        self.make_states(y_pred.shape[1:])
        super().update(y_true, y_pred, weights)

    def add(self, positive: Any, y_pred: Any, weights: Any) -> None:
        if self.from_logits:
            y_pred = ops.sigmoid(y_pred)
        if self.label_weights is not None and not self.multi_label:
            factors = as_tensor(numpy.asarray(self.label_weights), y_pred)
            weights = ops.broadcast_to(factors, y_pred.shape) if weights is None else weights * factors
        super().add(positive, y_pred, weights)

    def slots(self, y_pred: Any) -> Any:
        """As above; for several labels counted on from label to label, and from one kind of target to the other."""
        found = super().slots(y_pred)
        if not self.multi_label:
            return found
        labels, slots = self._counts.shape[1:]
        return found + as_tensor(slots * numpy.arange(labels), y_pred)

    def slots_inside(self, y_pred: Any) -> Any:
        if self.evenly:
            return ops.maximum(self.even_slots(y_pred), 1.0)
        return ThresholdMetric.slots(self, y_pred)

    def compute(self) -> Any:
        if self._counts is None:
            return as_tensor(0.0)
        tp, fp, tn, fn = self.outcomes()
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.mean_of_labels(_interpolated_pr(tp, fp, fn))
        x, y = {"ROC": _roc, "PR": _pr, "PRGAIN": _pr_gain}[self.curve](tp, fp, tn, fn)
        left, right = y[..., :-1], y[..., 1:]
        if self.summation_method == "interpolation":
            heights = (left + right) / 2.0
        else:
            heights = (ops.minimum if self.summation_method == "minoring" else ops.maximum)(left, right)
        return self.mean_of_labels(ops.sum((x[..., :-1] - x[..., 1:]) * heights, axis=-1))

    def mean_of_labels(self, areas: Any) -> Any:
        if self.label_weights is None or not self.multi_label:
            return ops.mean(areas)
        weights = as_tensor(numpy.asarray(self.label_weights), areas)
        return ratio(ops.sum(areas * weights), ops.sum(weights))


def _roc(tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
    return ratio(fp, fp + tn), ratio(tp, tp + fn)


def _pr(tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
    return ratio(tp, tp + fn), ratio(tp, tp + fp)


def _pr_gain(tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
    odds, none = ratio(tp + fn, tn + fp), ops.equal(tp, 0.0)
    recall = ops.where(none, 0.0, 1.0 - odds * ratio(fn, tp))
    return ops.maximum(recall, 0.0), ops.where(none, 1.0, 1.0 - odds * ratio(fp, tp))


def _interpolated_pr(tp: Any, fp: Any, fn: Any) -> Any:
    """Between two thresholds true positives grow in proportion to all positives, and precision is their ratio."""
    p = tp + fp
    steps, more = tp[..., :-1] - tp[..., 1:], p[..., :-1] - p[..., 1:]
    slope = ratio(steps, more)
    intercept = tp[..., 1:] - slope * p[..., 1:]
    both = ops.logical_and(p[..., :-1] > 0.0, p[..., 1:] > 0.0)
    growth = ops.where(both, ratio(p[..., :-1], p[..., 1:]), 1.0)
    return ops.sum(ratio(slope * (steps + intercept * ops.log(growth)), tp[..., 1:] + fn[..., 1:]), axis=-1)


def _evenly(count: int) -> list[float]:
    return [i / (count - 1) for i in range(count)]


def _check_label_weights(weights: Any) -> tuple[float, ...] | None:
    if weights is None:
        return None
    accepted = [check_number("AUC", "each of label_weights", w, "of at least 0", lambda w: w >= 0) for w in weights]
    return tuple(accepted)


class _BestAt(ProbabilityMetric):
    """The highest `sought` at the thresholds where `given` is at least `value`; 0 if it is at none."""

    def __init__(
        self, argument: str, value: float, num_thresholds: int, class_id: int | None, name: str | None
    ) -> None:
        where = type(self).__name__
        self.value = check_number(where, argument, value, "in [0, 1]", lambda v: 0 <= v <= 1)
        count = check_integer(where, "num_thresholds", num_thresholds, 1)
        super().__init__(_evenly(count) if count > 1 else [0.5], name, class_id=class_id)

    def slots_inside(self, y_pred: Any) -> Any:
        if len(self.thresholds) == 1:
            return (y_pred > self.thresholds[0]).astype(y_pred.dtype)
        return self.even_slots(y_pred)

    def compute(self) -> Any:
        given, sought = self.shares(*self.outcomes())
        return ops.max(ops.where(given < self.value, 0.0, sought))  # NaN stays NaN

    def shares(self, tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
        """What is given and what is sought, for each threshold."""
        raise NotImplementedError


class SensitivityAtSpecificity(_BestAt):
    """The highest sensitivity TP / (TP + FN) at the thresholds with a specificity TN / (TN + FP) of at least
    `specificity`.

    Args:
        specificity: in [0, 1].
        num_thresholds: how many are tried, evenly from 0 to 1.
        class_id: only this column of predictions (n, classes) counts.
    """

    def __init__(
        self, specificity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ):
        super().__init__("specificity", specificity, num_thresholds, class_id, name)

    def shares(self, tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
        return ratio(tn, tn + fp), ratio(tp, tp + fn)


class SpecificityAtSensitivity(_BestAt):
    """The highest specificity at the thresholds with a sensitivity of at least `sensitivity` (see
    `SensitivityAtSpecificity`)."""

    def __init__(
        self, sensitivity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ):
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name)

    def shares(self, tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
        return ratio(tp, tp + fn), ratio(tn, tn + fp)


class PrecisionAtRecall(_BestAt):
    """The highest precision TP / (TP + FP) at the thresholds with a recall TP / (TP + FN) of at least `recall` (see
    `SensitivityAtSpecificity`)."""

    def __init__(self, recall: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None):
        super().__init__("recall", recall, num_thresholds, class_id, name)

    def shares(self, tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
        return ratio(tp, tp + fn), ratio(tp, tp + fp)


class RecallAtPrecision(_BestAt):
    """The highest recall at the thresholds with a precision of at least `precision` (see
    `SensitivityAtSpecificity`)."""

    def __init__(
        self, precision: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None
    ):
        super().__init__("precision", precision, num_thresholds, class_id, name)

    def shares(self, tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
        return ratio(tp, tp + fp), ratio(tp, tp + fn)
