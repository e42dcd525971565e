"""Losses of probabilities: cross-entropies, their focal variants, and the divergence of Kullback and Leibler.

They are computed from logits where these are at hand, without overflow; probabilities that are given as such are kept
1e-7 away from 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import ops
from ..autograd import tensor
from ..errors import ShapeError, check_bool, check_number, message
from ..ops.networks import _binary_cross_entropy, _cross_entropy_ids, _cross_entropy_probabilities
from .base import (
    EPSILON,
    Loss,
    PlainLoss,
    as_axis,
    cast_targets,
    check_probabilities,
    check_values,
    class_ids,
    match_one_hot,
    mean_of_rows,
)

TINY = 1e-18
"""What is missing from a probability of 1 counts as no less in a focal loss: its powers then have finite slopes."""


class _Crossentropy(Loss):
    """A subclass defines `cross_entropy(y_true, y_pred)`, for logits or probabilities as `from_logits` says. One that
    overrides `call` is taken at its word: it gets what the model gives, never logits in its place."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(name, reduction)
        self.from_logits = check_bool(self.name, "from_logits", from_logits)
        self.label_smoothing = check_number(
            self.name, "label_smoothing", label_smoothing, "in [0, 1]", lambda v: 0 <= v <= 1
        )
        self.axis = as_axis(self.name, axis)

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no cross_entropy(y_true, y_pred)")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.cross_entropy(y_true, y_pred)

    def can_take_logits(self) -> bool:
        # a last softmax is over the last axis
        return type(self).call is _Crossentropy.call and (self.logits_of != "softmax" or self.axis == -1)

    def check_predictions(self, y_pred: Any) -> None:
        if not self.from_logits:
            hint = f"end in a {self.logits_of}, or say from_logits=True."
            sums = self.logits_of == "softmax"
            check_probabilities(self.name, self._last(y_pred) if sums else y_pred, "probabilities", sums, hint)

    def _last(self, a: Any) -> Any:
        """`a` with the axis of the classes as its last."""
        return a if self.axis == -1 else ops.moveaxis(a, self.axis, -1)


# Independent probabilities


class BinaryCrossentropy(_Crossentropy):
    """The cross-entropy of targets in [0, 1] and as many independent probabilities.

    Args:
        from_logits: the predictions are logits, not probabilities. In a model that ends in a sigmoid leave it False:
            the loss is computed from the logits all the same.
        label_smoothing: moves the targets this share of the way to 0.5.
        axis: over which the mean is taken.

    >>> import tinygrad_edu as tg
    >>> tg.losses.BinaryCrossentropy(from_logits=True)(tg.tensor([0.0]), tg.tensor([[1000.0]]))
    tensor(1000.)
    """

    logits_of = "sigmoid"

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = super().prepare(y_true, shape, dtype)
        check_values(self.name, "targets in [0, 1]", y_true, lambda xp, y: (y >= 0) & (y <= 1), within=(0, 1))
        return y_true

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_rows(self.name, self._terms(self._smoothed(y_true), y_pred), self.axis)

    def _smoothed(self, y_true: Any) -> Any:
        share = self.label_smoothing
        return y_true * (1.0 - share) + 0.5 * share if share else y_true

    def _terms(self, y_true: Any, y_pred: Any) -> Any:
        if self.from_logits:
            return _binary_cross_entropy(y_pred, y_true)
        p = ops.clip(y_pred, EPSILON, 1.0 - EPSILON)
        return -(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p))


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-mean(y log p + (1 - y) log(1 - p)) over the axis, for p = `y_pred`, or its sigmoid if that is logits."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis, "none")(y_true, y_pred)


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """`BinaryCrossentropy` whose terms are multiplied by (1 - q)^gamma, for q the probability of the target: what is
    predicted well counts less. Lin et al., "Focal loss for dense object detection", 2017.

    Args:
        apply_class_balancing: multiplies by `alpha` where the target is 1, and by 1 - alpha where it is 0.
        alpha: in [0, 1].
        gamma: at least 0; 0 gives the cross-entropy itself.
        from_logits, label_smoothing, axis: as in `BinaryCrossentropy`.

    >>> import tinygrad_edu as tg
    >>> loss = tg.losses.BinaryFocalCrossentropy(from_logits=True)
    >>> loss(tg.tensor([[1.0], [1.0]]), tg.tensor([[0.0], [100.0]])).item()  # 0.5^2 * log(2) / 2
    0.0866...
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(from_logits, label_smoothing, axis, reduction, name)
        self.apply_class_balancing = check_bool(self.name, "apply_class_balancing", apply_class_balancing)
        self.alpha = check_number(self.name, "alpha", alpha, "in [0, 1]", lambda v: 0 <= v <= 1)
        self.gamma = check_number(self.name, "gamma", gamma, "of at least 0", lambda v: v >= 0)

    def _terms(self, y_true: Any, y_pred: Any) -> Any:
        terms = super()._terms(y_true, y_pred)
        yes, no = (ops.sigmoid(y_pred), ops.sigmoid(-y_pred)) if self.from_logits else (y_pred, 1.0 - y_pred)
        terms = terms * _modulation(y_true * no + (1.0 - y_true) * yes, self.gamma)
        if self.apply_class_balancing:
            terms = terms * (y_true * self.alpha + (1.0 - y_true) * (1.0 - self.alpha))
        return terms


def _modulation(missing: Any, gamma: float) -> Any:
    return ops.power(ops.maximum(missing, TINY), gamma)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """`binary_crossentropy` with each term times (1 - q)^gamma, for q = y p + (1 - y)(1 - p), and with
    `apply_class_balancing` times alpha y + (1 - alpha)(1 - y)."""
    loss = BinaryFocalCrossentropy(apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis, "none")
    return loss(y_true, y_pred)


# Probabilities of classes


class CategoricalCrossentropy(_Crossentropy):
    """The cross-entropy of one-hot targets, or other distributions, and probabilities over the classes along `axis`.

    `from_logits` as in `BinaryCrossentropy`, with a softmax; `label_smoothing` spreads this share evenly over the
    classes.
    """

    logits_of = "softmax"

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = cast_targets(self.name, match_one_hot(self.name, y_true, shape, self.axis), dtype)
        hint = "for several labels a row use a sigmoid and binary_crossentropy."
        check_probabilities(self.name, self._last(y_true), "targets", sums=True, hint=hint)
        return y_true

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred, share = self._last(y_true), self._last(y_pred), self.label_smoothing
        return self._rows(y_true * (1.0 - share) + share / y_pred.shape[-1] if share else y_true, y_pred)

    def _rows(self, y_true: Any, y_pred: Any) -> Any:
        if self.from_logits:
            return _cross_entropy_probabilities(y_pred, y_true)
        return -ops.sum(y_true * _log_probabilities(y_pred), axis=-1)


def _log_probabilities(p: Any) -> Any:
    return ops.log(ops.clip(p / ops.sum(p, axis=-1, keepdims=True), EPSILON, 1.0 - EPSILON))


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-sum(y log p) over the axis, for p = `y_pred` scaled to the sum 1, or its softmax if that is logits."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis, "none")(y_true, y_pred)


class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """`CategoricalCrossentropy` whose terms are multiplied by alpha * (1 - p)^gamma, for p the predicted probability of
    the class. Lin et al., "Focal loss for dense object detection", 2017.

    Args:
        alpha: a factor of at least 0, or one for each class.
        gamma: at least 0; 0, with an alpha of 1, gives the cross-entropy itself.
        from_logits, label_smoothing, axis: as in `CategoricalCrossentropy`.

    >>> import tinygrad_edu as tg
    >>> loss = tg.losses.CategoricalFocalCrossentropy(from_logits=True)
    >>> loss(tg.tensor([[1.0, 0.0]]), tg.tensor([[0.0, 0.0]])).item()  # 0.25 * 0.5^2 * log(2)
    0.0433...
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(from_logits, label_smoothing, axis, reduction, name)
        factors: Any = alpha.tolist() if isinstance(alpha, numpy.ndarray) else alpha
        several = isinstance(factors, (list, tuple))
        factors = factors if several else [factors]
        checked = [self._at_least_0("alpha", factor) for factor in factors]
        self.alpha = checked if several else checked[0]
        self.gamma = self._at_least_0("gamma", gamma)

    def _at_least_0(self, name: str, value: Any) -> float:
        return check_number(self.name, name, value, "of at least 0", lambda v: v >= 0)

    def _rows(self, y_true: Any, y_pred: Any) -> Any:
        alpha: Any = self.alpha
        if isinstance(alpha, list):
            if len(alpha) != y_pred.shape[-1]:
                raise ShapeError(message(self.name, f"alpha for {y_pred.shape[-1]} classes", f"{len(alpha)}"))
            alpha = tensor(alpha, dtype=y_pred.dtype, device=y_pred.device)
        log_p = ops.log_softmax(y_pred) if self.from_logits else _log_probabilities(y_pred)
        factors = alpha * _modulation(-ops.expm1(log_p), self.gamma)
        return -ops.sum(factors * y_true * log_p, axis=-1)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-sum(alpha (1 - p)^gamma y log p) over the axis, for p as in `categorical_crossentropy`."""
    loss = CategoricalFocalCrossentropy(alpha, gamma, from_logits, label_smoothing, axis, "none")
    return loss(y_true, y_pred)


class SparseCategoricalCrossentropy(_Crossentropy):
    """The cross-entropy of class ids (...) and probabilities over classes (..., classes).

    Args:
        from_logits: as in `BinaryCrossentropy`, with a softmax.
        ignore_class: an id whose rows count neither in the sum nor in the number it is divided by.
        axis: that of the classes.

    Raises ShapeError for one-hot targets, ValueError for ids that are not whole or not below the number of classes.
    """

    logits_of = "softmax"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
    ):
        super().__init__(from_logits, 0.0, axis, reduction, name)
        self.ignore_class = ignore_class

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return class_ids(self.name, y_true, shape, self.ignore_class, self.axis)

    def cross_entropy(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = self._last(y_pred)
        if self.from_logits:
            return _cross_entropy_ids(y_pred, y_true, smoothing=0.0, ignore=self.ignore_class)
        kept = None if self.ignore_class is None else ops.not_equal(y_true, self.ignore_class)
        ids = y_true if kept is None else ops.where(kept, y_true, 0)
        chosen = -ops.take_along_axis(_log_probabilities(y_pred), ops.expand_dims(ids, -1), axis=-1)[..., 0]
        return chosen if kept is None else ops.where(kept, chosen, 0.0)

    def kept(self, y_true: Any, mask: Any = None) -> Any:
        if self.ignore_class is None:
            return mask
        kept = ops.not_equal(y_true, self.ignore_class)
        return kept if mask is None or mask.shape != kept.shape else ops.logical_and(kept, mask)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """-log p[y] for class ids y, and p as in `categorical_crossentropy`; 0 where y is `ignore_class`."""
    return SparseCategoricalCrossentropy(from_logits, ignore_class, "none", axis)(y_true, y_pred)


class KLDivergence(PlainLoss):
    """sum(y_true * log(y_true / y_pred)) over the last axis: how far predicted probabilities are from the target's.
    Both are kept above 1e-7, as in Keras. Kullback and Leibler, "On information and sufficiency", 1951.

    Raises ValueError for targets or predictions outside of [0, 1].

    >>> import tinygrad_edu as tg
    >>> tg.losses.KLDivergence()(tg.tensor([[0.5, 0.5]]), tg.tensor([[0.25, 0.75]])).item()
    0.1438...
    """

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = cast_targets(self.name, match_one_hot(self.name, y_true, shape), dtype)
        check_probabilities(self.name, y_true, "targets", sums=False)
        return y_true

    def check_predictions(self, y_pred: Any) -> None:
        check_probabilities(self.name, y_pred, "probabilities", sums=False, hint="end in a softmax.")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        wanted, predicted = (ops.clip(p, EPSILON, 1.0) for p in (y_true, y_pred))
        return ops.sum(wanted * ops.log(wanted / predicted), axis=-1)


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(y_true * log(y_true / y_pred)) over the last axis; probabilities below 1e-7 count as that."""
    return KLDivergence("none")(y_true, y_pred)
