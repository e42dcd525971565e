"""Losses as metrics: means over all rows, without the penalties that are in the loss of `fit`."""

from __future__ import annotations

from typing import Any

from .. import losses, ops
from ..autograd import settled
from ..errors import check_bool
from ..ops.indexing import gather_along
from .accuracy import ids_of, is_id
from .base import MeanMetric


class LossMetric(MeanMetric):
    """The mean of what a loss gives for each row, in float64."""

    def __init__(self, loss: losses.Loss, name: str | None = None):
        super().__init__(name)
        self.loss, loss.name = loss, self.name

    def check(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        self.loss.prepare(y_true, y_pred.shape, y_pred.dtype)
        self.loss.check_predictions(y_pred)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        settled(self.loss)
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape).astype("float64")
        return self.loss.call(y_true, y_pred.astype("float64"))


class BinaryCrossentropy(LossMetric):
    """`losses.BinaryCrossentropy` as a metric."""

    def __init__(self, name: str | None = None, from_logits: bool = False, label_smoothing: float = 0.0):
        super().__init__(losses.BinaryCrossentropy(from_logits, label_smoothing), name)


class CategoricalCrossentropy(LossMetric):
    """`losses.CategoricalCrossentropy` as a metric."""

    def __init__(
        self, name: str | None = None, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
    ):
        super().__init__(losses.CategoricalCrossentropy(from_logits, label_smoothing, axis=axis), name)


class KLDivergence(LossMetric):
    """`losses.KLDivergence` as a metric."""

    def __init__(self, name: str | None = None):
        super().__init__(losses.KLDivergence(), name)


class Poisson(LossMetric):
    """`losses.Poisson` as a metric."""

    def __init__(self, name: str | None = None):
        super().__init__(losses.Poisson(), name)


class Hinge(LossMetric):
    """`losses.Hinge` as a metric."""

    def __init__(self, name: str | None = None):
        super().__init__(losses.Hinge(), name)


class SquaredHinge(LossMetric):
    """`losses.SquaredHinge` as a metric."""

    def __init__(self, name: str | None = None):
        super().__init__(losses.SquaredHinge(), name)


class CategoricalHinge(LossMetric):
    """`losses.CategoricalHinge` as a metric."""

    def __init__(self, name: str | None = None):
        super().__init__(losses.CategoricalHinge(), name)


class SparseCategoricalCrossentropy(MeanMetric):
    """`losses.SparseCategoricalCrossentropy` as a metric. In a step of `fit` with another loss, ids that cannot be make
    it NaN."""

    def __init__(
        self,
        name: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(name)
        self.from_logits = check_bool(self.name, "from_logits", from_logits)
        self.ignore_class, self.axis = ignore_class, axis

    def check(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        options: Any = {"axis": self.axis, "name": self.name}
        loss = losses.SparseCategoricalCrossentropy(self.from_logits, self.ignore_class, **options)
        loss.prepare(y_true, y_pred.shape, y_pred.dtype)
        loss.check_predictions(y_pred)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        ids, y_pred = self._ids(y_true, y_pred.shape), ops.moveaxis(y_pred.astype("float64"), self.axis, -1)
        if self.from_logits:
            logs = ops.log_softmax(y_pred)
        else:
            shares = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
            logs = ops.log(ops.clip(shares, losses.EPSILON, 1.0 - losses.EPSILON))
        known = is_id(ids, y_pred.shape[-1])
        places = ops.expand_dims(ops.where(known, ids, 0).astype("int64"), -1)
        values = ops.where(known, -gather_along(logs, places, logs.ndim - 1)[..., 0], float("nan"))
        return values if self.ignore_class is None else ops.where(ops.equal(ids, self.ignore_class), 0.0, values)

    def kept(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        return None if self.ignore_class is None else self._ids(y_true, shape) != self.ignore_class

    def _ids(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        """The ids for predictions of that shape."""
        axis = self.axis % len(shape)
        if y_true.ndim == len(shape):  # an axis of length 1 stands for the classes
            y_true = ops.moveaxis(y_true, axis, -1)
        return ids_of(self.name, y_true, (*shape[:axis], *shape[axis + 1 :], shape[axis]))


class Perplexity(SparseCategoricalCrossentropy):
    """exp(mean cross-entropy) of the next token, as in KerasHub: among how many equally likely tokens the model seems
    to choose. 1.0 before the first batch.

    Args:
        from_logits: whether the predictions (batch, time, tokens) are logits.
        mask_token_id: an id whose steps do not count.

    >>> import tinygrad_edu as tg
    >>> round(tg.metrics.Perplexity()([[0, 1]], [[[0.5, 0.5], [0.5, 0.5]]]), 6)
    2.0
    """

    def __init__(self, from_logits: bool = False, mask_token_id: int | None = None, name: str | None = None):
        super().__init__(name, from_logits, mask_token_id)

    def compute(self) -> Any:
        return ops.exp(super().compute())
