"""Steps: what a model does with one batch, in training and in evaluation, and how its results are gathered."""

from __future__ import annotations

import functools
import operator
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from .. import metrics as metrics_
from ..autograd import Tensor, check_range
from ..data import as_rows
from ..errors import GradientError, ShapeError, TraceError, message
from ..jit import MODES, NOT_RECORDED, Jit, jit, weakly
from ..layers.penalties import Penalties
from ..state import Switch, state
from ..tree import leaves, mapped
from .heads import results_of
from .preparation import Prepared, as_input


class Stepping(Prepared):
    """What trains on a batch, or evaluates one."""

    _jit: str | bool = "auto"
    _steps: dict[Any, Callable[..., Any]] = {}  # noqa: RUF012
    _casts: dict[Any, Any] = {}  # noqa: RUF012
    """The dtypes of inputs to predict from, and the floats that they became."""
    _count_up: Any = None
    _mean_loss: metrics_.Mean | None = None
    _logs: Callable[[], dict[str, float]] | None = None
    """Gives what a `train_step` or `test_step` of one's own returned last. A function, for tensors that are attributes
    would be buffers of the model."""

    def _has_own(self, *names: str) -> bool:
        """Whether one of these methods is defined by a subclass, or was given to the model itself."""
        return any(getattr(getattr(self, name), "__func__", None) is not STEPS[name] for name in names)

    def _has_own_step(self, step: str) -> bool:
        return self._has_own(f"{step}_step", "compute_loss", "compute_metrics")

    @property
    def metrics(self) -> list[metrics_.Metric]:
        """The mean of the loss, the metrics of `compile`, and those held by attributes: what each epoch starts anew."""
        compiled = list(self._compiled_metrics().values())
        held = [value for value in leaves(vars(self)) if isinstance(value, metrics_.Metric)]
        return list({id(metric): metric for metric in (*compiled, *held)}.values())

    def _forget_steps(self) -> None:
        """Makes the model ready anew, after it was changed."""
        self._ready, self._steps, self._casts, self._count_up = {}, {}, {}, None

    def _step(self, name: str) -> Callable[..., Any]:
        """What runs a batch (inputs, targets, weights), for a model with a step of its own or without; recorded and
        replayed if `compile` says so."""
        own = name != "predict" and self._has_own_step(name)
        step = getattr(self, f"_{name}_own_batch" if own else f"_{name}_batch")
        searches = name == "train" and getattr(self.optimizer, "takes_function", False)  # which depends on the values
        if self._jit is False or searches:
            return step
        key = (name, *(vars(self).get(part) for part in STEPS)) if name != "predict" else name
        if key not in self._steps:
            self._steps = _Steps({**self._steps, key: _Recording(self, name, weakly(step))})
        return self._steps[key]

    def _recheck(self) -> None:
        """Lets the next batch of each step be checked on CUDA as well, where a look at values waits for the device."""
        for step in self._steps.values():
            if isinstance(step, Jit):
                step.recheck()

    def _predict_batch(self, x: Any) -> Any:
        """The outputs for one batch, as arrays. A recording looks for NaN and inf itself; see `_replayed`."""
        with Switch("grad_enabled", False):
            for a in leaves(x) if state.trace is not None else ():
                if a.dtype.kind == "f":
                    largest = float(numpy.finfo(a.dtype).max)
                    check_range(a, -largest, largest, functools.partial(as_rows, "predict_on_batch", "x"))
            return mapped(lambda y: y.detach().data, self(mapped(as_input, x), training=False))

    def _replayed(self, x: Any) -> Any:
        """The outputs for one batch by the recording of an earlier one; None if there is none. Inputs that such a
        recording takes as they are need no check beside its own: all others have other forms."""
        step = self._steps.get("predict")
        if not isinstance(step, Jit) or type(x) is not numpy.ndarray or self.input_dtype == "object":
            return None
        if state.trace is not None:  # in which its outputs would be constants
            return None
        outputs = step.replayed((x,), {})
        if outputs is NOT_RECORDED and x.dtype in self._casts:
            with numpy.errstate(over="ignore"):  # the recording refuses inf
                outputs = step.replayed((x.astype(self._casts[x.dtype]),), {})
        return None if outputs is NOT_RECORDED else outputs

    def _note_cast(self, x: Any, inputs: Any) -> None:
        """Notes what floats the inputs became, so that a later call finds their recording."""
        if type(x) is type(inputs) is numpy.ndarray and inputs.dtype.kind == "f" and inputs.dtype != x.dtype:
            self._casts = {**self._casts, x.dtype: inputs.dtype}

    def _train_batch(self, x: Any, y: Any, weight: Any) -> Any:
        assert self.optimizer is not None
        self.optimizer.zero_grad()  # an interrupted step may have left gradients
        if self.optimizer.takes_function:
            rest, *parts = self._searched(x, y, weight)
        else:
            total, rest, *parts = self._forward(x, y, weight, training=True)
            self._check_depends(total)
            self.optimizer.minimize(total)
        self._track(rest, y, weight, *parts)
        return None

    def _train_own_batch(self, x: Any, y: Any, weight: Any) -> Any:
        for p in self.trainable_weights:  # of which another optimizer's step may have left gradients
            p.grad = None
        self._noted = Penalties()  # the losses are those added from now on
        return self._checked("train_step", self.train_step(_as_data(x, y, weight)))

    def _searched(self, x: Any, y: Any, weight: Any) -> Any:
        """A step of an optimizer that asks for the loss several times; what is to be tracked of the first time."""
        first: list[Any] = []

        def loss() -> Tensor:
            total, *rest = self._forward(x, y, weight, training=True)
            self._check_depends(total)
            first[:] = first or rest
            return total

        assert self.optimizer is not None
        self.optimizer.minimize(loss)  # type: ignore[arg-type]
        return first

    def _check_depends(self, loss: Any) -> None:
        if not loss.requires_grad:
            hint = "compute it from y_pred by operations on tensors, without detach() and NumPy."
            expected = "a loss that depends on the weights to train"
            raise GradientError(message(f"{self.where} fit", expected, "one that does not", hint))

    def _test_batch(self, x: Any, y: Any, weight: Any) -> Any:
        with Switch("grad_enabled", False):
            _, rest, *parts = self._forward(x, y, weight, training=False)
            self._track(rest, y, weight, *parts)
        return None

    def _test_own_batch(self, x: Any, y: Any, weight: Any) -> Any:
        with Switch("grad_enabled", False):
            self._noted = Penalties()
            return self._checked("test_step", self.test_step(_as_data(x, y, weight)))

    def _checked(self, step: str, logs: Any) -> Any:
        if not isinstance(logs, Mapping):
            expected = f"{step} to return a dict of results"
            raise TypeError(message(self.where, expected, type(logs).__name__))
        return dict(logs)

    def _forward(self, x: Any, y: Any, weight: Any, training: bool) -> Any:
        """The loss of a batch; what of it counts in the mean "loss" (see `_count_losses`); then for each output its own
        loss, how much that weighs, and the output itself: logits where the loss is computed from them."""
        x = mapped(as_input, x)
        shapes = self._make_ready(x)
        logits = frozenset([i for i, head in enumerate(self._heads) if head.takes_logits(*self._last_of(i))])
        function, args = (self.preactivation, (logits,)) if logits else (self.call, ())
        added = state.penalties = Penalties()
        try:
            outputs = list(leaves(self.run(function, x, *args, training=training)))
        finally:
            state.penalties = None
        rows = next(leaves(x)).shape[0]
        values: list[Any] = []
        counts: list[Any] = []
        parts: list[Any] = []
        for i, (head, output) in enumerate(zip(self._heads, outputs, strict=True)):
            if output.shape != (rows, *shapes[i]):
                expected = f"an output of shape {(rows, *shapes[i])}"
                raise ShapeError(message(self.where, expected, f"shape {output.shape}"))
            value = count = None
            if head.loss is not None:
                value, count = head.compute(self._part(y, i), output, self._part(weight, i), i in logits)
                parts.append(value if head.weight == 1.0 else value * head.weight)
            values.append(value)
            counts.append(count)
        penalties = added.taken() if added.added else []
        if self._has_penalties:
            penalties += self._weight_penalties()
        if not parts and not penalties:
            raise RuntimeError(message(self.where, "a loss, given to compile or added by a layer", "none"))
        total = functools.reduce(operator.add, [*parts, *penalties])
        rest = total if len(parts) == 1 else functools.reduce(operator.add, penalties) if penalties else None
        return total, rest, values, counts, outputs

    def _part(self, tree: Any, number: int) -> Any:
        """What belongs to one output among targets or weights."""
        return tree if len(self._heads) == 1 or tree is None else tree[number]

    def _track(self, rest: Tensor | None, y: Any, weight: Any, values: Any, counts: Any, outputs: Any) -> None:
        """Adds a batch to the mean losses and the metrics."""
        if weight is not None and not any(head.weighted for head in self._heads):
            weight = None
        masks = [getattr(output, "mask", None) for output in outputs]
        several = self._has_several_losses
        values = [value.detach() if several and value is not None else None for value in values]
        rest = None if rest is None else rest.detach()
        given = rest, values, counts, y, weight, [output.detach() for output in outputs], masks
        if state.trace is not None:
            self._counted(*given)
            return
        shapes = [output.shape for output in outputs]
        if self._count_up is None:
            # recorded for the usual shape also in a step without jit: it costs a tenth; a user's own metric runs as is
            known = all(metrics_.is_own(metric) for head in self._heads for metric in (*head.metrics, *head.weighted))
            self._count_up = shapes, jit(weakly(self._counted)) if known else self._counted
        usual, count_up = self._count_up
        (count_up if shapes == usual else self._counted)(*given)

    def _counted(
        self, rest: Tensor | None, values: Any, counts: Any, y: Any, weight: Any, outputs: Any, masks: Any
    ) -> None:
        self._count_losses(rest, values, counts, outputs[0].shape[0])
        for i, head in enumerate(self._heads):
            if not head.metrics and not head.weighted:
                continue
            split, activation = self._last_of(i)
            output = outputs[i]
            if activation is not None and head.takes_logits(split, activation):
                output = activation(output)
            if masks[i] is not None:
                output.mask = masks[i]
            own = self._part(weight, i)
            head.update_metrics(Tensor(self._part(y, i)), output, None if own is None else Tensor(own))

    def _count_losses(self, rest: Tensor | None, values: Any, counts: Any, rows: int) -> None:
        """Adds a batch to the mean losses: one loss, with the penalties, counts in "loss". Several count each in a mean
        of its own, for they may count different steps; in "loss" only the rest, the penalties."""
        several = self._has_several_losses
        for head, value, count in zip(self._heads, values, counts, strict=True):
            if several and head.loss is not None:
                head.mean.accumulate(value.astype("float64") * count, count)
            elif head.loss is not None:
                rows = count
        if rest is not None:
            assert self._mean_loss is not None
            self._mean_loss.accumulate(rest.astype("float64") * rows, rows)

    @property
    def _has_several_losses(self) -> bool:
        return len(self._heads) > 1 and sum(head.loss is not None for head in self._heads) > 1

    def _reset(self) -> None:
        self._logs = None
        for metric in self.metrics:
            if not metrics_.is_own(metric):  # those go where the values are
                metric.to(self.device)
            metric.reset_state()

    def _take(self, logs: Mapping[str, Any] | None) -> None:
        """Keeps what a step returned: None, or the results by name where it is one's own."""
        self._logs = (
            None if logs is None else lambda: {name: metrics_.as_result(name, value) for name, value in logs.items()}
        )

    def _results(self) -> dict[str, float]:
        return self._results_later()()

    def _results_later(self) -> Callable[[], dict[str, float]]:
        """A function that gives the results as they are now, and waits for the device only when it is called."""
        if self._logs is not None:
            return self._logs
        compiled = self._compiled_metrics()
        now = {name: metric.later() for name, metric in compiled.items()}
        weights = {
            name: head.weight for name, metric in compiled.items() for head in self._heads if metric is head.mean
        }

        def results() -> dict[str, float]:
            found = {name: result() for name, result in now.items()}
            return found | {"loss": found["loss"] + sum(found[name] * weight for name, weight in weights.items())}

        return results

    def _compiled_metrics(self) -> dict[str, Any]:
        if self._mean_loss is None:
            self._mean_loss = metrics_.Mean("loss")
        return {"loss": self._mean_loss, **results_of(self._heads)}

    # What a subclass may define

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains on one batch, and returns its results by name, as numbers or tensors; `fit` reports the last ones.

        A subclass that defines it computes the loss, calls `self.optimizer.minimize(loss)`, and updates its metrics,
        which `fit` starts anew in each epoch where they are attributes or given to `compile`. It runs under jit, as
        other steps do. `data` is x, (x, y) or (x, y, sample_weight), in tensors; a list of inputs alone is (x,).

        >>> import tinygrad_edu as tg
        >>> class Halved(tg.models.Sequential):
        ...     def train_step(self, data):
        ...         x, y = data
        ...         loss = 0.5 * self.compute_loss(x, y, self(x, training=True))
        ...         self.optimizer.minimize(loss)
        ...         return {"loss": loss}
        >>> model = Halved([tg.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> model.fit([[0.0], [1.0]], [1.0, 3.0], verbose=0).history["loss"]
        [2.5]
        """
        x, y, weight = _parts_of(data)
        assert self.optimizer is not None
        outputs = self(x, training=True)
        loss = self.compute_loss(x, y, outputs, weight)
        self.optimizer.minimize(loss)
        return self._mean_so_far(loss, x, y, outputs, weight) | self.compute_metrics(x, y, outputs, weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluates one batch, as `train_step` trains on one."""
        x, y, weight = _parts_of(data)
        outputs = self(x, training=False)
        loss = self.compute_loss(x, y, outputs, weight, training=False)
        return self._mean_so_far(loss, x, y, outputs, weight) | self.compute_metrics(x, y, outputs, weight)

    def _mean_so_far(self, loss: Any, x: Any, y: Any, outputs: Any, weight: Any) -> dict[str, Any]:
        """Adds what `compute_loss` returned to the mean loss."""
        mean, count = self._compiled_metrics()["loss"], next(leaves(x)).shape[0]
        heads = [head for head in self._heads if head.loss is not None]
        apart = heads if self._has_several_losses and not self._has_own("compute_loss") else []
        if apart:
            loss = functools.reduce(operator.add, self.losses, 0.0)
        elif len(heads) == 1 and y is not None:
            i, output = next(pair for pair in enumerate(leaves(outputs)) if self._heads[pair[0]].loss is not None)
            mask = getattr(output, "mask", None)
            count = heads[0].loss.count(self._part(y, i), mask, self._part(weight, i))  # type: ignore[union-attr]
        if isinstance(loss, Tensor):
            mean.accumulate(loss.detach().astype("float64") * count, count)
        return {"loss": sum((head.mean.result() * head.weight for head in apart), start=mean.result())}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The weighted sum of the losses of `compile` for these outputs, and of the penalties of the layers.

        Raises ValueError if there is neither.
        """
        self._know_outputs(y_pred)
        parts = []
        for i, (head, output) in enumerate(zip(self._heads, leaves(y_pred), strict=True)):
            if head.loss is not None:
                weight = self._part(sample_weight, i)
                value = head.loss(self._part(y, i), output, weight)
                count = head.loss.count(self._part(y, i), getattr(output, "mask", None), weight)
                head.mean.accumulate(value.detach().astype("float64") * count, count)
                parts.append(value * head.weight)
        penalties = self.losses
        if not parts and not penalties:
            raise ValueError(message(f"{self.where} compute_loss", "a loss, given to compile", "none"))
        return functools.reduce(operator.add, [*parts, *penalties])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates the metrics of `compile`, and returns their results so far by name."""
        for i, (head, output) in enumerate(zip(self._heads, leaves(y_pred), strict=True)):
            head.update_metrics(self._part(y, i), output, self._part(sample_weight, i))
        return {name: metric.result() for name, metric in results_of(self._heads).items()}


STEPS = {name: getattr(Stepping, name) for name in ("train_step", "test_step", "compute_loss", "compute_metrics")}
"""What a subclass may define in its own way."""


class _Steps(dict[Any, Any]):
    """A model's steps under jit, by name. A copied model records its own."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Steps:
        return _Steps()


class _Recording(Jit):
    """A step of a model under jit; one that cannot be recorded runs without if `compile(jit="auto")` was asked for.

    Once batches of more shapes came than recordings are kept, those of other shapes run without; every 32nd is recorded
    after all, so that shapes that nobody uses any more make room.
    """

    misses = 0
    is_off = False

    def __init__(self, model: Stepping, name: str, batch: Callable[..., Any]):
        # what predicts sets the modes itself
        super().__init__(batch, cache_size=8, fuse=True, modes=() if name == "predict" else MODES)
        self.name = f"{model.where} {'predict' if name == 'predict' else 'fit'}"
        self._model = weakref.ref(model)

    def __call__(self, *rows: Any) -> Any:
        if self.is_off:
            return self.function(*rows)
        try:
            return super().__call__(*rows)
        except TraceError as error:
            model = self._model()
            assert model is not None
            if model._jit is True:
                raise
            self.is_off, model._jit = True, False
            warnings.warn(f"{model.where} runs without jit: {error}", stacklevel=4)
            return self.function(*rows)

    def _trace(self, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        if len([plan for plan in self.plans if not plan.is_stale()]) < self.cache_size:
            return super()._trace(args, static)
        self.misses += 1
        if self.misses % 32 == 0:
            return super()._trace(args, static)
        if self.misses == 1:
            self._warn()
        return self.function(*args)

    def _warn(self) -> None:
        if not self.misses:
            super()._warn()
        elif self.misses == 1:
            text = f"{self.name}: batches of more than {self.cache_size} shapes; most of the others run without jit"
            warnings.warn(f"{text}. Pad sequences to a few lengths, and drop or pad short batches.", stacklevel=6)


def _as_data(x: Any, y: Any, weight: Any) -> Any:
    """What a step of one's own is given: x, (x, y) or (x, y, sample_weight); (x,) where x is a list or dict."""
    alone = x if hasattr(x, "dtype") else (x,)
    data = (x, y, weight) if weight is not None else alone if y is None else (x, y)
    return mapped(lambda a: None if a is None else as_input(a), data)


def _parts_of(data: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and weights of what `_as_data` made."""
    return (*data, None, None)[:3] if isinstance(data, tuple) else (data, None, None)
