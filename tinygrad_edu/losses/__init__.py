"""Losses, with Keras's names and arguments: `loss(y_true, y_pred, sample_weight=None)`.

Predictions and targets never broadcast: their shapes are equal, except that targets (n,) fit predictions (n, 1).
Targets are checked before they are used. Each loss is a class (options, checks, formula and the reduction to one
number) and a function, which gives a value per row.
"""

from __future__ import annotations

from typing import Any

from ..errors import choice, message
from .base import (
    ACTIVATION_OF, EPSILON, FunctionLoss, Loss, cast_targets, check_probabilities, check_result, check_values,
    check_weights, class_ids, match_one_hot, match_own, match_shapes, spread,
)
from .classification import (
    BinaryCrossentropy, BinaryFocalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy, KLDivergence,
    SparseCategoricalCrossentropy, binary_crossentropy, binary_focal_crossentropy, categorical_crossentropy,
    categorical_focal_crossentropy, kl_divergence, sparse_categorical_crossentropy,
)
from .ctc import CTC, ctc
from .hinges import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from .overlaps import Dice, Tversky, dice, tversky
from .regression import (
    CosineSimilarity, Huber, LogCosh, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError,
    MeanSquaredLogarithmicError, Poisson, cosine_similarity, huber, log_cosh, mean_absolute_error,
    mean_absolute_percentage_error, mean_squared_error, mean_squared_logarithmic_error, poisson,
)

__all__ = [
    "ACTIVATION_OF", "CTC", "EPSILON", "FUNCTIONS", "LOSSES", "BinaryCrossentropy", "BinaryFocalCrossentropy",
    "CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Dice",
    "FunctionLoss", "Hinge", "Huber", "KLDivergence", "LogCosh", "Loss", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson",
    "SparseCategoricalCrossentropy", "SquaredHinge", "Tversky", "binary_crossentropy", "binary_focal_crossentropy",
    "cast_targets", "categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge",
    "check_probabilities", "check_result", "check_values", "check_weights", "class_ids", "cosine_similarity", "ctc",
    "dice", "get", "hinge", "huber", "kl_divergence", "log_cosh", "match_one_hot", "match_own", "match_shapes",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error",
    "poisson", "sparse_categorical_crossentropy", "spread", "squared_hinge", "tversky",
]

FUNCTIONS = {
    binary_crossentropy: BinaryCrossentropy,
    binary_focal_crossentropy: BinaryFocalCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    categorical_focal_crossentropy: CategoricalFocalCrossentropy,
    categorical_hinge: CategoricalHinge,
    cosine_similarity: CosineSimilarity,
    ctc: CTC,
    dice: Dice,
    hinge: Hinge,
    huber: Huber,
    kl_divergence: KLDivergence,
    log_cosh: LogCosh,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_error: MeanSquaredError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    poisson: Poisson,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    squared_hinge: SquaredHinge,
    tversky: Tversky,
}
"""The class of each function."""

_SHORT = {
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}

LOSSES: dict[str, type[Loss]] = {function.__name__: kind for function, kind in FUNCTIONS.items()} | _SHORT
_SPELLINGS = {kind.__name__: kind for kind in FUNCTIONS.values()} | {name.upper(): _SHORT[name] for name in _SHORT}


def get(loss: Any) -> Loss:
    """The loss of that name: a function's or class's, or a short one ("mse"). An object is given back as it is, a
    function of (y_true, y_pred) becomes a loss.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    if isinstance(loss, str):
        kind = LOSSES.get(loss) or _SPELLINGS.get(loss)
        if kind is None:
            raise choice("compile", "loss", loss, LOSSES)
        return kind()
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) or not callable(loss):
        hint = f"write {loss.__name__}()." if isinstance(loss, type) else ""
        raise TypeError(message("compile", "a loss, its name or a function of (y_true, y_pred)", repr(loss), hint))
    if loss in FUNCTIONS:
        return FUNCTIONS[loss]()  # for the logits of its class
    return FunctionLoss(loss)
