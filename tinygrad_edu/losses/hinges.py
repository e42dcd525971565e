"""Hinge losses: nothing to pay once a prediction is on the right side by a margin."""

from __future__ import annotations

from typing import Any

from .. import ops
from .base import PlainLoss, cast_targets, check_probabilities, check_values, match_one_hot, mean_of_rows


class Hinge(PlainLoss):
    """The mean of max(1 - y_true * y_pred, 0), for targets -1 and 1. Targets 0 and 1 are taken as -1 and 1, as in
    Keras.

    Raises ValueError for other targets, and for -1 and 0 together.

    >>> import tinygrad_edu as tg
    >>> tg.losses.Hinge()(tg.tensor([[0.0, 1.0]]), tg.tensor([[-3.0, 0.5]]))
    tensor(0.25)
    """

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = super().prepare(y_true, shape, dtype)
        expected = "targets -1 and 1, or else 0 and 1"
        check_values(self.name, expected, y_true, lambda xp, y: (y == 1) | (y == -1) | (y == 0) & ~(y == -1).any())
        return y_true

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_rows(self.name, self._shortfall(y_true, y_pred))

    def _shortfall(self, y_true: Any, y_pred: Any) -> Any:
        side = ops.where(ops.equal(y_true, 0.0), -1.0, y_true)
        return ops.maximum(1.0 - side * y_pred, 0.0)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true * y_pred, 0)) over the last axis, for targets -1 and 1, or 0 and 1."""
    return Hinge("none")(y_true, y_pred)


class SquaredHinge(Hinge):
    """The mean of max(1 - y_true * y_pred, 0)^2, for the targets of `Hinge`.

    >>> import tinygrad_edu as tg
    >>> tg.losses.SquaredHinge()(tg.tensor([[-1.0, 1.0]]), tg.tensor([[0.0, 2.0]]))
    tensor(0.5)
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_of_rows(self.name, ops.square(self._shortfall(y_true, y_pred)))


def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true * y_pred, 0)^2) over the last axis, for targets -1 and 1, or 0 and 1."""
    return SquaredHinge("none")(y_true, y_pred)


class CategoricalHinge(PlainLoss):
    """max(1 + n - p, 0), for p the score of the right class and n the largest of the others, or 0 if that is larger, as
    in Keras. Targets are one-hot.

    Raises ValueError for other targets.

    >>> import tinygrad_edu as tg
    >>> tg.losses.CategoricalHinge()(tg.tensor([[0.0, 1.0, 0.0]]), tg.tensor([[1.0, 1.5, -2.0]]))
    tensor(0.5)
    """

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = cast_targets(self.name, match_one_hot(self.name, y_true, shape), dtype)
        check_values(self.name, "one-hot targets, of 0 and 1", y_true, lambda xp, y: (y == 0) | (y == 1))
        check_probabilities(self.name, y_true, "one-hot targets", sums=True)
        return y_true

    def call(self, y_true: Any, y_pred: Any) -> Any:
        right = ops.sum(y_true * y_pred, axis=-1)
        others = ops.max((1.0 - y_true) * y_pred, axis=-1)
        return ops.maximum(others - right + 1.0, 0.0)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + max((1 - y_true) * y_pred) - sum(y_true * y_pred), 0) over the last axis, for one-hot targets."""
    return CategoricalHinge("none")(y_true, y_pred)
