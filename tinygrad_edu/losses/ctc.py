"""The loss of labels whose places in a longer sequence are not known."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..autograd import check_array
from ..backend import Array, array_module
from ..errors import ShapeError, message
from ..ops.ctc import _ctc_places, of_places
from .base import PlainLoss, check_values, raw


class CTC(PlainLoss):
    """Connectionist temporal classification: minus the logarithm of the probability of the labels, by all their
    alignments with the time steps; see `tg.ctc_loss`.

    Predictions are logits (batch, time, classes), never probabilities: the model ends without a softmax. Class 0 is the
    blank. Targets are labels (batch, length) from 1 on, padded with 0 at the end. All time steps count; where rows have
    lengths of their own, a function that calls `tg.ctc_loss` with them is a loss as well.

    Raises ShapeError for other shapes; ValueError for labels that are no class, that follow padding, or that do not
    fit into the time steps, of which they need one each, and one more between two equal ones.

    >>> import tinygrad_edu as tg
    >>> tg.losses.CTC()(tg.tensor([[1]]), tg.zeros((1, 2, 2)))  # 3 of 4 sequences give the label: -log(3 / 4)
    tensor(0.2876821)
    """

    logits_of = "softmax"
    from_logits = True

    def prepare(self, y_true: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        if len(shape) != 3:
            raise ShapeError(message(self.name, "predictions of shape (batch, time, classes)", f"shape {shape}"))
        batch, time, classes = shape
        if y_true.ndim != 2 or y_true.shape[0] != batch:
            raise ShapeError(message(self.name, f"labels of shape ({batch}, length)", f"shape {y_true.shape}"))
        check_values(self.name, "whole labels", y_true, lambda xp, y: xp.trunc(y) == y)
        allowed = f"labels from 1 to {classes - 1}, padded with 0"
        check_values(self.name, allowed, y_true, lambda xp, y: (y >= 0) & (y < classes))
        check_array(raw(y_true), lambda labels: self._check_alignment(labels, time))
        return y_true if y_true.dtype == "int64" else y_true.astype("int64")

    def _check_alignment(self, labels: Array, time: int) -> None:
        wrong = (labels[:, :-1] == 0) & (labels[:, 1:] != 0)
        if bool(wrong.any()):
            found = f"the label {labels[:, 1:][wrong][0].item():g} after a 0"
            raise ValueError(message(self.name, "labels that are padded with 0 at the end only", found))
        twice = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)
        steps = array_module(labels).concatenate([labels != 0, twice], axis=1).sum(axis=1)
        if bool((steps > time).any()):
            found = f"a row that needs {steps.max().item()}"
            hint = "a label needs a step, and one more after an equal label."
            raise ValueError(message(self.name, f"labels that fit into {time} time steps", found, hint))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        lengths = ops.sum(ops.not_equal(y_true, 0), axis=1)
        _, *places = _ctc_places(y_true, None, lengths, time=y_pred.shape[1], blank=0)
        return of_places(y_pred, places, math.inf)


def ctc(y_true: Any, y_pred: Any) -> Any:
    """Minus the logarithm of the probability of the labels, for logits (batch, time, classes); a number a row."""
    return CTC("none")(y_true, y_pred)
