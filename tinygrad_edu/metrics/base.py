"""Metric, the base class, and MeanMetric, for metrics that are a mean over the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from .. import losses, ops
from ..autograd import Owner, Tensor, check_array, no_grad, settled
from ..backend import array_module, to_device, to_host
from ..errors import ShapeError, choice, message
from ..ops.indexing import _scatter
from ..state import Switch, state


class Metric(Owner):
    """The base class: states, which are tensors in float64 that `fit` sets to zero when an epoch begins.

    A metric of your own makes its states with `add_weight`, adds a batch to them in `update_state`, in operations on
    tensors, and computes from them in `result`:

    >>> import tinygrad_edu as tg
    >>> class Largest(tg.metrics.Metric):
    ...     def __init__(self, name="largest"):
    ...         super().__init__(name)
    ...         self.value = self.add_weight(name="value")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.value.assign_(tg.maximum(self.value, tg.max(y_pred)))
    ...     def result(self):
    ...         return self.value
    >>> metric = Largest()
    >>> metric.update_state(None, tg.tensor([1.0, 3.0])); metric.update_state(None, tg.tensor([2.0]))
    >>> metric.result()
    tensor(3., dtype=float64)

    The metrics here define `update(y_true, y_pred, weights)` and `compute()` instead, and leave the checks, the
    conversions, and the way to the host to this class. Their `result()` is a number, or an array on the host.
    """

    _states: Sequence[Tensor] = ()

    def __init__(self, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)

    def add_weight(self, shape: Any = (), initializer: str = "zeros", name: str | None = None) -> Tensor:
        """A new state of that shape, of zeros or "ones"; as an attribute it is read, and written by `assign_`."""
        if not isinstance(shape, (tuple, list)):
            expected = "the shape of a state as a tuple"
            raise TypeError(message(f"{type(self).__name__}.add_weight", expected, repr(shape), "say name=..."))
        if initializer not in ("zeros", "ones"):
            raise choice(f"{type(self).__name__}.add_weight", "initializer", initializer, ("zeros", "ones"))
        with Switch("trace", None):  # it outlasts the step that it may be made in
            made = Tensor(numpy.full(tuple(shape), float(initializer == "ones")))
        self._states = [*self._states, made]
        return made

    def make_states(self, shape: tuple[int, ...]) -> None:
        """Makes the states that depend on the shape of a row of predictions, if they are not made. `fit` knows that
        before the first batch."""

    @property
    def variables(self) -> list[Tensor]:
        """The states."""
        return list(self._states)

    def reset_state(self) -> None:
        """Forgets all batches: every state becomes zero."""
        for t in self._states:
            t.assign_(0.0)

    def to(self, device: Any) -> Metric:
        """Moves the states to a device; returns the metric."""
        for t in self._states:
            t.data = to_device(t.data, device)
        return self

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of targets and predictions (tensors, arrays or lists), weighted row by row if weights are given.
        Where the predictions have a mask, only what it keeps counts.

        Raises ShapeError for shapes that do not match, ValueError for weights or predictions that cannot be.
        """
        y_pred = with_rows(as_tensor(y_pred))
        y_true = with_rows(as_tensor(y_true, y_pred))
        if sample_weight is not None:
            sample_weight = with_rows(as_tensor(sample_weight, y_pred))
            sample_weight = losses.check_weights(self.name, sample_weight, y_pred.shape[0])
        self.check(y_true, y_pred, sample_weight)
        self._add(y_true, y_pred, sample_weight)

    def add_batch(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """What `fit` calls, with what it has checked: `update_state`, but without a wait for the device."""
        y_pred = as_tensor(y_pred)
        y_true, sample_weight = (None if a is None else as_tensor(a, y_pred) for a in (y_true, sample_weight))
        if type(self).update_state is Metric.update_state:
            self._add(y_true, y_pred, sample_weight)
        elif sample_weight is None:
            self.update_state(y_true, y_pred)
        else:
            self.update_state(y_true, y_pred, sample_weight)

    def _add(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        settled(self)
        with no_grad():
            self.update(y_true, y_pred, weights)

    def check(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        """Raises for values of a batch that cannot be; called outside of `fit`, for it waits for the device."""

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        """Adds a batch of tensors; `weights` are None or those of the rows (n,). Reads no value back."""
        raise NotImplementedError(f"{type(self).__name__} defines no update_state(y_true, y_pred, sample_weight)")

    def compute(self) -> Any:
        """The result as a tensor, from the states as they are."""
        raise NotImplementedError(f"{type(self).__name__} defines no result()")

    def result(self) -> Any:
        """The result of all batches so far. Waits for the device; inside a jitted step it is a tensor."""
        return self.compute() if state.trace is not None else self.later()()

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Adds a batch and returns the result so far."""
        self.update_state(*args, **keywords)
        return self.result()

    def later(self) -> Callable[[], Any]:
        """A function that gives the result as it is now, and waits for the device only when it is called."""
        arrays = [t.data.reshape(-1) for t in self._states]
        now = array_module(arrays[0]).concatenate(arrays) if arrays else numpy.zeros(0)  # all are read as one
        compute = self.compute if type(self).result is Metric.result else self.result
        return lambda: self._computed(compute, to_host(now))

    def _computed(self, compute: Callable[[], Any], values: Any) -> Any:
        """What `compute` makes of these values of the states, on the host."""
        states = list(zip(self._states, [t.data for t in self._states], strict=True))
        first = 0
        try:
            for t, array in states:
                t.data = values[first : first + array.size].reshape(array.shape)
                first += array.size
            with no_grad():
                return as_result(self.name, compute())
        finally:
            for t, array in states:
                t.data = array

    def __repr__(self) -> str:
        value = self.result()
        shown = f"{value:.6g}" if isinstance(value, float) else numpy.array2string(numpy.asarray(value), precision=6)
        return f"<{type(self).__name__} {self.name!r}: {shown}>"


class MeanMetric(Metric):
    """The base class of means. A subclass defines `values(y_true, y_pred)`: for tensors, a tensor with a number per
    row.

    Its states are a sum and a count, so that uneven batches are weighted right. The result is 0.0 before the first
    batch.

    >>> import tinygrad_edu as tg
    >>> metric = tg.metrics.MeanAbsoluteError()
    >>> metric.update_state([1.0, 2.0], [1.0, 4.0]); metric.update_state([0.0], [0.0])
    >>> round(metric.result(), 4)
    0.6667
    """

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.total, self.count = self.add_weight(name="total"), self.add_weight(name="count")

    def values(self, y_true: Any, y_pred: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no values(y_true, y_pred)")

    def kept(self, y_true: Any, shape: tuple[int, ...]) -> Any:
        """Which values count, for predictions of that shape; None stands for all."""
        return None

    def update(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        kept, values = self.kept(y_true, y_pred.shape), self.values(y_true, y_pred)
        mask = getattr(y_pred, "mask", None)
        mask = None if mask is None else losses.spread(self.name, "values", mask, values.shape)
        if mask is not None:
            kept = mask if kept is None else ops.logical_and(kept, mask)
        self.add(values, weights, kept)

    def add(self, values: Any, weights: Any = None, kept: Any = None) -> None:
        """Adds a tensor of values, weighted along its first axis if weights are given, and element by element by
        `kept`."""
        values = values.astype("float64")
        weights = element_weights(values.shape, weights, kept)
        if weights is None:
            self.accumulate(ops.sum(values), values.size)
        else:
            self.accumulate(ops.sum(values * weights), ops.sum(weights))

    def accumulate(self, total: Any, count: Any) -> None:
        """Adds a sum of values (a tensor without axes) and how many they were (such a tensor, or a number)."""
        self.to(total.device)  # the states go where the values are
        self.total.assign_(self.total + total.astype("float64"))
        self.count.assign_(self.count + (count.astype("float64") if isinstance(count, Tensor) else count))

    def compute(self) -> Any:
        return ratio(self.total, self.count)

    def later(self) -> Callable[[], Any]:
        if type(self).compute is not MeanMetric.compute or type(self).result is not Metric.result:
            return super().later()
        both = array_module(self.total.data).stack([self.total.data, self.count.data])

        def mean() -> float:
            total, count = both.tolist()
            return total / count if count else 0.0

        return mean


class BinaryMetric(Metric):
    """The base class of metrics whose labels are 0 and 1, or False and True.

    `update_state` raises ValueError for others, also between 0 and 1, unless their weight is 0. In `fit`, which waits
    for no check, they are counted, and make `result()` raise. (Keras takes all that is not 0 as 1, a -1 or 0.05 too.)
    """

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.others = self.add_weight(name="others")

    def labels(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        """The labels that count, and the weight of each or None."""
        y_true = losses.match_shapes(self.name, y_true, y_pred.shape)
        return y_true, masked_weights(self.name, y_pred, y_pred.shape, weights)

    def check(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        y_true, weights = self.labels(y_true, y_pred, weights)
        counted = y_true if weights is None else ops.where(ops.equal(weights, 0.0), 0, y_true)
        losses.check_values(self.name, LABELS, counted, lambda xp, y: (y == 0) | (y == 1), TO_LABELS)

    def count_others(self, y_true: Any, weights: Any) -> None:
        """Adds the weights of the labels that are neither 0 nor 1, or their number."""
        self.to(y_true.device)
        wrong = ops.logical_and(ops.not_equal(y_true, 0), ops.not_equal(y_true, 1)).astype("float64")
        self.others.assign_(self.others + ops.sum(wrong if weights is None else wrong * weights))

    def check_others(self) -> None:
        """Raises ValueError if there were other labels."""
        check_array(self.others.data, self._look_at_others)

    def _look_at_others(self, others: Any) -> None:
        if others > 0.0:
            raise ValueError(message(self.name, LABELS, "others", TO_LABELS))


LABELS, TO_LABELS = "labels 0 and 1", "(y_true + 1) / 2 makes them of -1 and 1, y_true > 0.5 of probabilities."


def element_weights(shape: tuple[int, ...], rows: Any = None, kept: Any = None) -> Any:
    """How much each element of an array of that shape counts, in float64, by the weights of its rows (n,) and by
    booleans of that shape; None where neither is given."""
    if rows is None and kept is None:
        return None
    weights = None if kept is None else ops.broadcast_to(kept.astype("float64"), shape)
    if rows is None:
        return weights
    rows = ops.broadcast_to(rows.astype("float64").reshape(-1, *(1,) * (len(shape) - 1)), shape)
    return rows if weights is None else weights * rows


def masked_weights(where: str, y_pred: Any, shape: tuple[int, ...], rows: Any) -> Any:
    """`element_weights` by the mask of the predictions, if they have one."""
    mask = getattr(y_pred, "mask", None)
    mask = None if mask is None else losses.spread(where, "predictions", mask, shape)
    return element_weights(shape, rows, mask)


def sums_by(slots: Any, values: Any, shape: tuple[int, ...]) -> Any:
    """An array of that shape with the sums of the values (n,) by the number of the slot (n,) that each belongs to,
    which is known to be within bounds."""
    size = numpy.prod(shape, dtype=int).item()
    return _scatter(values, slots, key=(("array",),), shape=(size,)).reshape(shape)


def ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    empty = ops.equal(b, 0.0)
    return ops.where(empty, 0.0, a / ops.where(empty, 1.0, b))


def as_tensor(value: Any, like: Any = None) -> Any:
    """A tensor as it is; a list or an array becomes one, beside `like`."""
    if isinstance(value, Tensor):
        return value
    array = array_module(value).asarray(value)
    if array_module(array) is numpy and like is not None:
        array = to_device(array, like.device)
    return Tensor(array)


def with_rows(x: Any) -> Any:
    """A single number as a row."""
    return x.reshape(1) if x.ndim == 0 else x


def as_result(where: str, value: Any) -> Any:
    """A tensor, an array or a number as a float, or as an array on the host if it has axes."""
    array = to_host(value.data) if isinstance(value, Tensor) else value
    if isinstance(array, (bool, int, float, numpy.generic)) or getattr(array, "shape", None) == ():
        return float(array)
    if not hasattr(array, "dtype"):
        raise TypeError(message(where, "a number or an array as the result", type(value).__name__))
    return to_host(array)


def snake_case(name: str) -> str:
    """`TopKCategoricalAccuracy` -> `top_k_categorical_accuracy`; as in Keras `MeanIoU` -> `mean_io_u`."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def check_outputs(where: str, sums: Any, outputs: int) -> None:
    """Raises ShapeError if a state was made for another number of outputs."""
    if sums.shape[-1] != outputs:
        hint = "a metric that has seen a batch stays with its number of outputs; make a new one."
        expected = f"predictions of {sums.shape[-1]} outputs, as before"
        raise ShapeError(message(where, expected, f"{outputs}", hint))
