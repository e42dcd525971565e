"""The confusion matrix, and intersection over union, which follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import losses, ops
from ..autograd import check_array
from ..errors import ShapeError, check_bool, check_integer, check_integers, check_number, choice, message
from .accuracy import is_id
from .base import Metric, as_tensor, masked_weights, ratio, sums_by


class _Matrix(Metric):
    """The base class. Ids that cannot be are counted apart, and make `result()` raise ValueError."""

    def __init__(self, num_classes: int, name: str | None, least: int = 1):
        super().__init__(name)
        self.num_classes = check_integer(self.name, "num_classes", num_classes, least)
        self.counts = self.add_weight((self.num_classes**2 + 1,), name="counts")

    def add(self, y_true: Any, y_pred: Any, weights: Any, ignore_class: int | None = None) -> None:
        """Counts pairs of ids (target, prediction), arrays of one shape."""
        classes = self.num_classes
        self.to(y_pred.device)
        known = ops.logical_and(is_id(y_true, classes), is_id(y_pred, classes))
        cells = ops.where(known, y_true, 0).astype("int64") * classes + ops.where(known, y_pred, 0).astype("int64")
        cells = ops.where(known, cells, classes**2)
        weights = ops.ones_like(cells).astype("float64") if weights is None else weights
        if ignore_class is not None:
            weights = weights * (y_true != ignore_class).astype("float64")
        self.counts.assign_(self.counts + sums_by(cells.reshape(-1), weights.reshape(-1), self.counts.shape))

    def matrix(self) -> Any:
        """The counts: rows are targets, columns predictions."""
        check_array(self.counts[-1].data, self._check_others)
        return self.counts[:-1].reshape(self.num_classes, self.num_classes)

    def _check_others(self, others: Any) -> None:
        if others > 0.0:
            raise ValueError(message(self.name, f"class ids from 0 to {self.num_classes - 1}", "others"))


class ConfusionMatrix(_Matrix):
    """How often each class (rows) was taken for each class (columns): an array (num_classes, num_classes), in the order
    of scikit-learn's `confusion_matrix`.

    Targets are class ids (...), or one-hot (..., num_classes). Predictions are scores (..., num_classes), of which the
    highest counts; integers (...) are ids; for two classes other numbers (...) or (..., 1) are probabilities.

    Args:
        num_classes: from 2 on.
        normalize: None for counts (with weights, their sums), "true" for rows that sum to 1, "pred" for columns that
            do, "all" for shares of all. What would be divided by 0 is 0.
        threshold: for two classes and one output, above which it stands for class 1.

    `result()` raises ValueError if an id was none of a class.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.ConfusionMatrix(2)([0, 1, 1], [0, 0, 1])
    array([[1., 0.],
           [1., 1.]])
    """

    def __init__(self, num_classes: int, normalize: str | None = None, threshold: float = 0.5, name: str | None = None):
        super().__init__(num_classes, name, least=2)
        if normalize is not None and normalize not in ("true", "pred", "all"):
            raise choice(self.name, "normalize", normalize, ("true", "pred", "all", "None"))
        self.normalize = normalize
        self.threshold = check_number(self.name, "threshold", threshold, "that is finite", lambda _: True)

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        ids = self._ids(y_pred)
        if y_true.shape == y_pred.shape != ids.shape:
            y_true = y_true.argmax(axis=-1)
        if ids.shape == (*y_true.shape, 1):
            ids = ids.reshape(y_true.shape)
        if y_true.shape not in (ids.shape, (*ids.shape, 1)):
            expected = f"class ids of shape {ids.shape} for predictions of shape {y_pred.shape}"
            raise ShapeError(message(self.name, expected, f"shape {y_true.shape}"))
        self.add(y_true.reshape(ids.shape), ids, masked_weights(self.name, y_pred, ids.shape, weights))

    def _ids(self, y_pred: Any) -> Any:
        if y_pred.dtype.kind in "iub":
            return y_pred
        if y_pred.ndim > 1 and y_pred.shape[-1] == self.num_classes:
            return y_pred.argmax(axis=-1)
        if self.num_classes > 2:
            expected = f"scores of {self.num_classes} classes, or class ids"
            raise ShapeError(message(self.name, expected, f"{y_pred.dtype} of shape {y_pred.shape}"))
        return (y_pred > self.threshold).astype("int64")

    def compute(self) -> Any:
        matrix = self.matrix()
        if self.normalize is None:
            return matrix
        axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
        return ratio(matrix, ops.sum(matrix, axis=axis, keepdims=True))


class IoU(_Matrix):
    """Intersection over union, TP / (TP + FP + FN), the mean over some classes; those that are neither a target nor
    predicted are left out.

    Args:
        num_classes: of targets and predictions, which are class ids.
        target_class_ids: the classes of the mean.
        ignore_class: targets of this id do not count.
        sparse_y_true: False for one-hot targets.
        sparse_y_pred: False for scores of the classes, of which the highest counts.
        axis: of the classes, where there is one.

    Weights need not be whole, as Keras has it. Where Keras leaves out ids that are no classes, `result()` raises
    ValueError.

    >>> import tinygrad_edu as tg
    >>> tg.metrics.IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1])
    0.3333333333333333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(num_classes, name)
        self.target_class_ids = check_integers(self.name, "target_class_ids to be integers", target_class_ids)
        if not self.target_class_ids or not all(0 <= i < num_classes for i in self.target_class_ids):
            expected = f"target_class_ids from 0 to {num_classes - 1}"
            raise ValueError(message(self.name, expected, repr(list(self.target_class_ids))))
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true = check_bool(self.name, "sparse_y_true", sparse_y_true)
        self.sparse_y_pred = check_bool(self.name, "sparse_y_pred", sparse_y_pred)

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        if self.sparse_y_pred and self.num_classes > 1 and y_pred.shape == (*y_true.shape, self.num_classes):
            expected = f"class ids of shape {y_true.shape}, as the targets have it"
            hint = "sparse_y_pred=False takes scores, of which the highest counts."
            raise ShapeError(message(self.name, expected, f"predictions of shape {y_pred.shape}", hint))
        if not (self.sparse_y_true or self.sparse_y_pred):
            y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        ids = y_pred if self.sparse_y_pred else y_pred.argmax(axis=self.axis)
        targets = y_true if self.sparse_y_true else y_true.argmax(axis=self.axis)
        self.add(
            losses.match_shapes(self.name, targets, ids.shape),
            ids,
            masked_weights(self.name, y_pred, ids.shape, weights),
            self.ignore_class,
        )

    def compute(self) -> Any:
        matrix = self.matrix()
        both = ops.diagonal(matrix)
        either = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - both
        wanted = numpy.zeros(self.num_classes)
        wanted[list(self.target_class_ids)] = 1.0
        counted = (either > 0.0).astype("float64") * as_tensor(wanted, matrix)
        return ratio(ops.sum(ratio(both, either) * counted), ops.sum(counted))


class BinaryIoU(IoU):
    """`IoU` of the classes 0 and 1, or one of them, where a prediction of at least `threshold` is class 1."""

    def __init__(self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None):
        super().__init__(2, target_class_ids, name)
        self.threshold = check_number(self.name, "threshold", threshold, "that is finite", lambda _: True)

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        weights = masked_weights(self.name, y_pred, y_pred.shape, weights)
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        self.add(y_true, (y_pred >= self.threshold).astype("int64"), weights)


class MeanIoU(IoU):
    """The mean `IoU` of all classes."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        num_classes = check_integer(type(self).__name__, "num_classes", num_classes, 1)
        super().__init__(num_classes, range(num_classes), name, ignore_class, sparse_y_true, sparse_y_pred, axis)


class OneHotIoU(IoU):
    """`IoU` of one-hot targets and scores (with `sparse_y_pred` class ids)."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, target_class_ids, name, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """The mean `IoU` of all classes, of one-hot targets and scores (with `sparse_y_pred` class ids)."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, ignore_class, False, sparse_y_pred, axis)
