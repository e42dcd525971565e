"""How much two regions overlap: losses of segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import check_number
from .base import EPSILON, Loss, as_axis, check_probabilities, check_values


class _Overlap(Loss):
    """Of targets and probabilities in [0, 1]; a subclass defines `overlap(y_true, y_pred, shared)`, of sums."""

    def __init__(self, reduction: str | None, name: str | None, axis: int | Sequence[int] | None):
        super().__init__(name, reduction)
        axes: Any = axis if isinstance(axis, Sequence) else () if axis is None else (axis,)
        self.axis = tuple(as_axis(self.name, one) for one in axes)

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        y_true = super().prepare(y_true, shape, dtype)
        check_values(self.name, "targets in [0, 1]", y_true, lambda xp, y: (y >= 0) & (y <= 1))
        return y_true

    def check_predictions(self, y_pred: Any) -> None:
        check_probabilities(self.name, y_pred, "probabilities", sums=False, hint="end in a sigmoid or a softmax.")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 1.0 - self.overlap(
            *(ops.sum(part, axis=self.axis or None) for part in (y_true, y_pred, y_true * y_pred))
        )

    def overlap(self, wanted: Any, predicted: Any, shared: Any) -> Any:
        raise NotImplementedError


class Dice(_Overlap):
    """1 - 2 s / (a + b), for a, b and s the sums of `y_true`, of `y_pred`, and of their product. Dice, "Measures of the
    amount of ecologic association between species", 1945.

    Args:
        axis: an axis, or several in a tuple, to sum over; None for all of them, with one number for all rows.

    Raises ValueError for targets or predictions outside of [0, 1].

    >>> import tinygrad_edu as tg
    >>> tg.losses.Dice(axis=-1)(tg.tensor([[1.0, 1.0, 0.0]]), tg.tensor([[1.0, 0.0, 0.0]])).item()
    0.3333...
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
    ):
        super().__init__(reduction, name, axis)

    def overlap(self, wanted: Any, predicted: Any, shared: Any) -> Any:
        return 2.0 * shared / (wanted + predicted + EPSILON)


def dice(y_true: Any, y_pred: Any, axis: int | Sequence[int] | None = None) -> Any:
    """1 - 2 * sum(y_true * y_pred) / (sum(y_true) + sum(y_pred)), over the axes."""
    return Dice("none", axis=axis)(y_true, y_pred)


class Tversky(_Overlap):
    """1 - s / (s + alpha * m + beta * e), for s the sum of y_true * y_pred, m of what the prediction misses,
    y_true * (1 - y_pred), and e of what it has in excess, (1 - y_true) * y_pred. Salehi et al., "Tversky loss function
    for image segmentation using 3D fully convolutional deep networks", 2017.

    Args:
        alpha, beta: the weights of m and e, as Keras computes it; the paper has them the other way round.
        axis: as in `Dice`.

    Raises ValueError for targets or predictions outside of [0, 1].

    >>> import tinygrad_edu as tg
    >>> tg.losses.Tversky(alpha=1.0, axis=-1)(tg.tensor([[1.0, 1.0, 0.0]]), tg.tensor([[1.0, 0.0, 0.0]])).item()
    0.5...
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
    ):
        super().__init__(reduction, name, axis)
        self.alpha = check_number(self.name, "alpha", alpha, "of at least 0", lambda v: v >= 0)
        self.beta = check_number(self.name, "beta", beta, "of at least 0", lambda v: v >= 0)

    def overlap(self, wanted: Any, predicted: Any, shared: Any) -> Any:
        return shared / (shared + (wanted - shared) * self.alpha + (predicted - shared) * self.beta + EPSILON)


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: int | Sequence[int] | None = None
) -> Any:
    """1 - s / (s + alpha * sum(y_true * (1 - y_pred)) + beta * sum((1 - y_true) * y_pred)), for
    s = sum(y_true * y_pred), over the axes."""
    return Tversky(alpha, beta, "none", axis=axis)(y_true, y_pred)
