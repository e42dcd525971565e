"""Connectionist temporal classification: the likelihood of labels under every alignment with a longer sequence.

Before, between and after its labels a row has blanks: L labels have 2 L + 1 places, through which an alignment goes
from step to step. It stays where it is, moves on by one place, or by two, past a blank between different labels. The
probabilities of all alignments are summed, as logarithms, forward (alpha) and backward (beta) in time, for all rows at
once. Each step is scaled, so that its largest is 1: then a thousand steps lose no more digits than one. An impossible
place has the logarithm -1e30, which unlike -inf may be subtracted from itself.

Under `create_graph` the forward sums run anew as differentiable operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..autograd import cast, check_array, check_range, primitive
from ..backend import Array
from ..errors import ShapeError, check_bool, message
from .elementwise import greater, maximum
from .elementwise import where as choose
from .indexing import check_indices, gather_along, raw
from .networks import _log_softmax, _softmax, log_softmax
from .recurrent import _pull_back
from .reductions import logsumexp
from .shape import broadcast_to, check_arrays, expand_dims, pad, stack

IMPOSSIBLE = -1e30
PADDING = -(1 << 62)


@primitive("opaque", differentiable=False, label="ctc_loss")
def _ctc_places(
    xp: Any, labels: Array, logit_lengths: Array, label_lengths: Array, *, time: int, blank: int
) -> tuple[Array, ...]:
    """The labels, PADDING where they do not count. For each place of each row, (batch, 2 * length + 1): its class,
    whether an alignment may come from two places before, and whether it may end there. And whether a step is within its
    row, (batch, time)."""
    batch, length = labels.shape
    if logit_lengths is None:
        logit_lengths = xp.full((batch,), time)
    label_lengths = xp.full((batch,), length) if label_lengths is None else label_lengths.astype("int64")
    labels = labels.astype("int64")
    inside = xp.arange(length) < label_lengths[:, None]
    classes = xp.full((batch, 2 * length + 1), blank, dtype="int64")
    classes[:, 1::2] = xp.where(inside, labels, blank)
    skips = xp.zeros(classes.shape, dtype=bool)
    skips[:, 2:] = (classes[:, 2:] != blank) & (classes[:, 2:] != classes[:, :-2])
    place, last = xp.arange(2 * length + 1), 2 * label_lengths[:, None]
    ends, running = (place <= last) & (place >= last - 1), xp.arange(time) < logit_lengths[:, None]
    return xp.where(inside, labels, PADDING), classes, skips, ends, running


def _cost(xp: Any, allowed: Array, dtype: Any) -> Array:
    """0 where it is allowed, else IMPOSSIBLE."""
    return xp.where(allowed, 0.0, IMPOSSIBLE).astype(dtype)


def _scores(xp: Any, log_p: Array, classes: Array) -> Array:
    """The logarithms of the probabilities of the places at each step: (time, batch, places), none below IMPOSSIBLE."""
    found = xp.take_along_axis(log_p, xp.broadcast_to(classes[:, None], (*log_p.shape[:2], classes.shape[1])), axis=2)
    return xp.ascontiguousarray(xp.maximum(found, IMPOSSIBLE).swapaxes(0, 1))


def _log_sum(xp: Any, a: Array, b: Array, c: Array) -> Array:
    largest = xp.maximum(xp.maximum(a, b), c)
    return largest + xp.log(xp.exp(a - largest) + xp.exp(b - largest) + xp.exp(c - largest))


@primitive(
    "composite",
    saves=("logits", "classes", "skips", "ends", "running"),
    residuals=True,
    promotes=False,
    label="ctc_loss",
)
def _ctc_loss(
    xp: Any, logits: Array, classes: Array, skips: Array, ends: Array, running: Array, *, infinite: float
) -> Any:
    dtype, (batch, places) = logits.dtype, classes.shape
    log_p = _log_softmax.forward(xp, logits, axis=2)
    scores, skip, running = _scores(xp, log_p, classes), _cost(xp, skips, dtype), running.T[..., None]
    alpha, scale = xp.empty_like(scores), xp.zeros((batch, 1))  # the logarithm of what the steps were divided by
    before = xp.full((batch, places + 2), IMPOSSIBLE, dtype=dtype)  # with two impossible places before the first
    now = scores[0] + _cost(xp, xp.arange(places) < 2, dtype)
    for t in range(len(alpha)):
        if t:
            before[:, 2:] = alpha[t - 1]
            now = _log_sum(xp, before[:, 2:], before[:, 1:-1], before[:, :-2] + skip) + scores[t]
            now = xp.where(running[t], now, alpha[t - 1])
        largest = now.max(axis=1, keepdims=True)
        xp.subtract(now, largest, out=alpha[t])
        scale += largest
    last = alpha[-1] + _cost(xp, ends, dtype)
    largest = last.max(axis=1, keepdims=True)
    total = (scale + largest + xp.log(xp.exp(last - largest).sum(axis=1, keepdims=True)))[:, 0]
    aligns = total > 0.1 * IMPOSSIBLE
    return xp.where(aligns, -total, infinite).astype(dtype), (log_p, alpha, aligns)


@primitive("opaque", differentiable=False, label="gradient of ctc_loss")
def _ctc_loss_gradient(
    xp: Any,
    g: Array,
    classes: Array,
    skips: Array,
    ends: Array,
    running: Array,
    log_p: Array,
    alpha: Array,
    aligns: Array,
) -> Array:
    """g * (softmax(logits) - the probability that an alignment is at a place of the class). `ctc_loss` cuts off what
    follows the end of a row."""
    dtype, (batch, places) = alpha.dtype, classes.shape
    scores, last, steps = _scores(xp, log_p, classes), _cost(xp, ends, dtype), running.T[..., None]
    skip = xp.full_like(last, IMPOSSIBLE)
    skip[:, :-2] = _cost(xp, skips[:, 2:], dtype)
    after = xp.full((batch, places + 2), IMPOSSIBLE, dtype=dtype)  # with two impossible places after the last
    beta, at_place = last, xp.empty_like(alpha)
    at_place[-1] = alpha[-1] + beta
    for t in reversed(range(len(alpha) - 1)):
        after[:, :-2] = beta + scores[t + 1]
        moved = _log_sum(xp, after[:, :-2], after[:, 1:-1], after[:, 2:] + skip)
        beta = xp.where(steps[t + 1], moved - moved.max(axis=1, keepdims=True), last)
        at_place[t] = alpha[t] + beta
    at_place = _softmax.forward(xp, at_place, axis=2)
    y = xp.exp(log_p)
    rows, times = xp.arange(batch)[:, None], xp.arange(len(alpha))[:, None, None]
    xp.add.at(y, (rows, times, classes), -at_place)  # CuPy has no subtract.at for floats
    y *= xp.where(aligns, g, xp.zeros_like(g))[:, None, None]
    return y


def _ctc_loss_steps(logits: Any, given: tuple[Any, ...], infinite: float) -> Any:
    classes, skips, ends, running = given
    (batch, time, _), places = logits.shape, classes.shape[1]
    at = broadcast_to(classes[:, None], (batch, time, places))
    scores = maximum(gather_along(log_softmax(logits), at, 2), IMPOSSIBLE)
    skip, start = choose(skips, 0.0, IMPOSSIBLE), min(2, places)
    alpha = pad(scores[:, 0, :start], ((0, 0), (0, places - start)), value=IMPOSSIBLE)
    for t in range(1, time):
        before = pad(alpha, ((0, 0), (2, 0)), value=IMPOSSIBLE)
        moved = logsumexp(stack([before[:, 2:], before[:, 1:-1], before[:, :-2] + skip]), axis=0)
        alpha = choose(running[:, t, None], moved + scores[:, t], alpha)
    total = logsumexp(alpha + choose(ends, 0.0, IMPOSSIBLE), axis=1)
    return choose(greater(total, 0.1 * IMPOSSIBLE), -total, infinite)


def _ctc_loss_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, logits: Any, *places: Any, infinite: float
) -> list[Any]:
    if residuals is None:
        found = _pull_back(lambda x: (_ctc_loss_steps(x, places, infinite),), [True], (g,), (logits,))[0]
    else:
        found = _ctc_loss_gradient(g, *places, *residuals)
    return [found, None, None, None, None]


_ctc_loss.defjoint(_ctc_loss_rule)


def ctc_loss(
    logits: Any,
    labels: Any,
    logit_lengths: Any = None,
    label_lengths: Any = None,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Any:
    """Minus the logarithm of the probability of the labels, summed over all their alignments with the steps: those
    sequences of a class a step that give the labels once repetitions are merged and then blanks are left out.

    Args:
        logits: (batch, time, classes), of at least one step; their softmax is the probability of a class at a step.
        labels: integers (batch, length), none of them `blank`.
        logit_lengths: how many steps of each row count, from 1 on; all by default.
        label_lengths: how many labels of each row count; all by default. What follows these is not looked at.
        blank: the class that stands for no label.
        zero_infinity: gives 0, not inf, for rows whose labels fit in no alignment: they need a step for each label, and
            one more between two equal ones.

    Returns a number for each row. The gradient of a row without an alignment is 0. Raises ShapeError for shapes that do
    not fit, TypeError for logits that are not floating or labels and lengths that are not integers, IndexError for
    labels that are no class, ValueError for lengths that are too long, and for labels that are blank. Graves et al.,
    "Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural networks", 2006.

    >>> import tinygrad_edu as tg
    >>> tg.ctc_loss(tg.zeros((1, 2, 2)), tg.tensor([[1]]))  # 3 of 4 sequences give it: -log(3 / 4)
    tensor([0.2876821])
    """
    lengths = {"logit_lengths": logit_lengths, "label_lengths": label_lengths}
    _check(logits, labels, lengths, blank)
    infinite = 0.0 if check_bool("ctc_loss", "zero_infinity", zero_infinity) else math.inf
    found, *places = _ctc_places(labels, logit_lengths, label_lengths, time=logits.shape[1], blank=blank)
    check_array(raw(found), lambda a: _check_labels(a[a != PADDING], logits.shape[2], blank))
    if logit_lengths is not None:  # so that a NaN after the end reaches nothing
        logits = choose(expand_dims(places[-1], 2), logits, 0.0)
    return of_places(logits, places, infinite)


def of_places(logits: Any, places: Sequence[Any], infinite: float) -> Any:
    """The losses for the last four results of `_ctc_places`; `infinite` where there is no alignment."""
    wide = logits if logits.dtype.itemsize > 2 else cast(logits, "float32")  # which IMPOSSIBLE needs
    losses = _ctc_loss(wide, *places, infinite=infinite)
    return losses if wide is logits else cast(losses, logits.dtype)


def _check(logits: Any, labels: Any, lengths: dict[str, Any], blank: int) -> None:
    check_arrays("ctc_loss", logits, labels, *(a for a in lengths.values() if a is not None))
    if logits.dtype.kind != "f":
        raise TypeError(message("ctc_loss", "floating logits", str(logits.dtype), "use .astype('float32')."))
    if logits.ndim != 3 or not logits.shape[1]:
        expected = "logits (batch, time, classes) of at least one step"
        raise ShapeError(message("ctc_loss", expected, f"shape {logits.shape}"))
    batch, time, classes = logits.shape
    if labels.ndim != 2 or labels.shape[0] != batch:
        raise ShapeError(message("ctc_loss", f"labels of shape ({batch}, length)", f"shape {labels.shape}"))
    if not 0 <= blank < classes:
        raise ValueError(message("ctc_loss", f"blank from 0 to {classes - 1}", f"{blank}"))
    for name, a in {"labels": labels, **lengths}.items():
        if a is not None and a.dtype.kind not in "iu":
            raise TypeError(message("ctc_loss", f"{name} of an integer dtype", str(a.dtype)))
    for (name, a), low, high in zip(lengths.items(), (1, 0), (time, labels.shape[1]), strict=True):
        if a is not None and a.shape != (batch,):
            raise ShapeError(message("ctc_loss", f"{name} of shape {(batch,)}", f"shape {a.shape}"))
        if a is not None:
            check_range(raw(a), low, high, partial(_check_range, name, low, high))


def _check_range(name: str, low: int, high: int, lengths: Array) -> None:
    wrong = (lengths < low) | (lengths > high)
    if bool(wrong.any()):
        raise ValueError(message("ctc_loss", f"{name} from {low} to {high}", f"{lengths[wrong][0]}"))


def _check_labels(labels: Array, classes: int, blank: int) -> None:
    check_indices("ctc_loss", labels, classes)
    if bool((labels == blank).any()):
        hint = "give label_lengths, if labels are padded with it."
        raise ValueError(message("ctc_loss", f"labels other than the blank {blank}", f"{blank}", hint))
