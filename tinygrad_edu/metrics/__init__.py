"""Metrics, with Keras's names and arguments: numbers that tell how good predictions are, gathered over any number of
batches.

A metric keeps its states on the device, so that uneven batches are weighted right and nothing waits for the device
before `result()`. All that it computes are operations on tensors, so that it can be part of a jitted step.
"""

from __future__ import annotations

from typing import Any

from .. import losses
from ..errors import choice, message
from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SignAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .auc import AUC, PrecisionAtRecall, RecallAtPrecision, SensitivityAtSpecificity, SpecificityAtSensitivity
from .base import MeanMetric, Metric, as_result, snake_case
from .confusion import FalseNegatives, FalsePositives, Precision, Recall, TrueNegatives, TruePositives
from .fscore import F1Score, FBetaScore
from .overlap import BinaryIoU, ConfusionMatrix, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from .probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    LossMetric,
    Perplexity,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from .reduction import Mean, MeanMetricWrapper, Sum
from .regression import (
    CosineSimilarity,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    R2Score,
    RootMeanSquaredError,
)

__all__ = [
    "AUC", "METRICS", "Accuracy", "BinaryAccuracy", "BinaryCrossentropy", "BinaryIoU", "CategoricalAccuracy",
    "CategoricalCrossentropy", "CategoricalHinge",
    "ConfusionMatrix", "CosineSimilarity", "F1Score", "FBetaScore", "FalseNegatives",
    "FalsePositives", "Hinge",
    "IoU", "KLDivergence", "LogCoshError", "LossMetric", "Mean", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanIoU", "MeanMetric", "MeanMetricWrapper", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Metric", "OneHotIoU", "OneHotMeanIoU", "Perplexity", "Poisson",
    "Precision",
    "PrecisionAtRecall", "R2Score", "Recall", "RecallAtPrecision", "RootMeanSquaredError",
    "SensitivityAtSpecificity", "SignAccuracy", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy", "SpecificityAtSensitivity",
    "SquaredHinge", "Sum", "TopKCategoricalAccuracy",
    "TrueNegatives", "TruePositives", "as_result", "get",
]  # fmt: skip

_OF_BITS = (BinaryAccuracy, BinaryIoU, FalseNegatives, FalsePositives, Precision, Recall, TrueNegatives, TruePositives)
_OF_SIGMOID = (AUC, BinaryCrossentropy)
_OF_SOFTMAX = (CategoricalCrossentropy, SparseCategoricalCrossentropy, Perplexity)
_OF_PROBABILITIES = (KLDivergence,)
_OF_ANY = (
    CategoricalHinge, Hinge, Poisson, SquaredHinge,
    CategoricalAccuracy, ConfusionMatrix, CosineSimilarity, F1Score, FBetaScore, LogCoshError,
    MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError, MeanSquaredLogarithmicError, R2Score,
    RootMeanSquaredError, SparseCategoricalAccuracy, SparseTopKCategoricalAccuracy, TopKCategoricalAccuracy,
)  # fmt: skip

_OF_IDS: dict[Any, str] = {
    SparseCategoricalAccuracy: "ignore_class", SparseCategoricalCrossentropy: "ignore_class",
    Perplexity: "mask_token_id",
}  # fmt: skip
"""Metrics that can leave out a class, and the argument for it."""

METRICS: dict[str, type[Metric]] = {
    **{
        snake_case(kind.__name__): kind
        for kind in (*_OF_BITS, *_OF_SIGMOID, *_OF_SOFTMAX, *_OF_PROBABILITIES, *_OF_ANY)
    },
    "bce": BinaryCrossentropy,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}
"""The metrics that a name stands for in `compile`; names of classes, and the short ones in capitals, do too."""

_BY_LOSS = ("accuracy", "acc", "crossentropy", "ce")


def is_own(metric: Metric) -> bool:
    """Whether the metric is one of this package, without Python code of a user's."""
    return type(metric).__module__.startswith(__name__) and type(metric) not in (MeanMetricWrapper, LossMetric)


def get(metric: Any, loss: losses.Loss | None, outputs: int) -> Metric:
    """The metric of that name, for a model with that loss, or one of its own, and number of outputs per row; an object
    is given back as it is.

    "accuracy" and "crossentropy" are those that fit: binary for a binary cross-entropy or a single output (with a hinge
    loss the accuracy of the sign), else sparse categorical for class ids, else categorical. A metric by name knows when
    the outputs are logits, and which class the loss ignores.

    Raises ValueError for an unknown name, for one that needs other probabilities than the loss makes of logits, and for
    "accuracy" or "crossentropy" without a loss.
    """
    if isinstance(metric, str):
        return _named(metric, loss, outputs)
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) or not callable(metric):
        hint = f"write {metric.__name__}()." if isinstance(metric, type) else ""
        raise TypeError(message("compile", "a metric, its name or a function of (y_true, y_pred)", repr(metric), hint))
    return MeanMetricWrapper(metric, snake_case(metric.name) if isinstance(metric, losses.Loss) else None)


def _named(name: str, loss: losses.Loss | None, outputs: int) -> Metric:
    by_loss = name.lower() in _BY_LOSS
    if by_loss:
        if loss is None:
            hint = "name a certain one, as 'sparse_categorical_accuracy'."
            raise ValueError(message("compile", f"a loss, by which the metric {name!r} is chosen", "none", hint))
        kind = _by_loss(name.lower() in ("accuracy", "acc"), loss, outputs)
    else:
        classes = {kind.__name__: kind for kind in METRICS.values()}
        found = METRICS.get(name) or classes.get(name) or METRICS.get(name.lower() if name.isupper() else "")
        if found is None:
            raise choice("compile", "metric", name, [*METRICS, *_BY_LOSS])
        kind = found
    options: dict[str, Any] = {}
    if loss is not None and loss.from_logits and loss.logits_of:
        if not by_loss:
            _check_logits(name, kind, loss)
        options = _for_logits(kind, outputs)
    elif kind in (F1Score, FBetaScore) and outputs == 1:
        options = {"threshold": 0.5}
    ignored = getattr(loss, "ignore_class", None)
    if ignored is not None and kind in _OF_IDS:
        options[_OF_IDS[kind]] = ignored
    if kind is ConfusionMatrix:
        options["num_classes"] = max(outputs, 2)
    return kind(name=name, **options)


def _by_loss(accuracy: bool, loss: losses.Loss, outputs: int) -> type[Metric]:
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy if accuracy else SparseCategoricalCrossentropy
    if accuracy and outputs == 1 and isinstance(loss, losses.Hinge):
        return SignAccuracy
    if outputs == 1 or loss.logits_of == "sigmoid":
        return BinaryAccuracy if accuracy else BinaryCrossentropy
    return CategoricalAccuracy if accuracy else CategoricalCrossentropy


def _check_logits(name: str, kind: type[Metric], loss: losses.Loss) -> None:
    binary = loss.logits_of == "sigmoid"
    others = (*_OF_PROBABILITIES, *(_OF_SOFTMAX if binary else (*_OF_SIGMOID, *_OF_BITS)))
    if kind in others:
        hint = f"end the model in a {loss.logits_of}, without from_logits."
        found = f"the logits of a {loss.logits_of}"
        raise ValueError(message("compile", f"probabilities for the metric {name!r}", found, hint))


def _for_logits(kind: type[Metric], outputs: int) -> dict[str, Any]:
    """The arguments of a metric whose predictions are logits: of a sigmoid, 0 is the threshold of 0.5."""
    if kind in (*_OF_SIGMOID, *_OF_SOFTMAX):
        return {"from_logits": True}
    if kind in (BinaryAccuracy, BinaryIoU, ConfusionMatrix) or (kind in (F1Score, FBetaScore) and outputs == 1):
        return {"threshold": 0.0}
    return {"thresholds": 0.0} if kind in _OF_BITS else {}
