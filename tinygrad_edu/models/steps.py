"""Steps: what a model does with one batch, in training and in evaluation, and how its results are gathered."""

from __future__ import annotations

import functools
import operator
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from .. import metrics as metrics_
from ..autograd import Tensor
from ..errors import ShapeError, TraceError, message
from ..jit import jit, weakly
from ..state import Switch, state
from ..tree import leaves, mapped
from .classes import Rows
from .heads import results_of
from .preparation import Prepared, as_input


class Stepping(Prepared):
    """What trains on a batch, or evaluates one."""

    _forms: dict[str, Any] = {}  # noqa: RUF012
    """By step, the form of its data: trees of the places at which `_train_batch` finds them."""
    _jit: str | bool = "auto"
    _steps: dict[str, Callable[..., Any]] = {}  # noqa: RUF012
    _count_up: Any = None
    _mean_loss: metrics_.Mean | None = None
    _logs: Callable[[], dict[str, float]] | None = None
    """Gives what a `train_step` or `test_step` of one's own returned last. A function, for tensors that are attributes
    would be buffers of the model."""

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        own = {name for name, function in STEPS.items() if getattr(cls, name) is not function}
        parts = {"compute_loss", "compute_metrics"}
        cls._has_own_step = {name: bool(own & {f"{name}_step", *parts}) for name in ("train", "test")}

    @property
    def metrics(self) -> list[metrics_.Metric]:
        """The mean of the loss, the metrics of `compile`, and those held by attributes: what each epoch starts anew."""
        compiled = list(self._compiled_metrics().values())
        own = [value for value in vars(self).values() if isinstance(value, metrics_.Metric)]
        return [*compiled, *(metric for metric in own if all(metric is not known for known in compiled))]

    def _forget_steps(self) -> None:
        """Makes the model ready anew, after it was changed."""
        self._ready, self._steps, self._forms, self._count_up = {}, {}, {}, None

    def _take_form(self, name: str, rows: Rows) -> None:
        """Notes the form of the data of a step, which is recorded anew for another one."""
        places = iter(range(len(list(leaves(rows)))))
        form = mapped(lambda leaf: next(places), rows)
        if self._forms.get(name) != form:
            self._forms = {**self._forms, name: form}
            self._steps = {other: step for other, step in self._steps.items() if other != name}

    def _step(self, name: str) -> Callable[..., Any]:
        """What runs one batch: `_train_batch` or `_test_batch`, recorded and replayed if `compile` says so."""
        if self._jit is False:
            return getattr(self, f"_{name}_batch")
        if name not in self._steps:
            self._steps = _Steps({**self._steps, name: _recorded(self, weakly(getattr(self, f"_{name}_batch")))})
        return self._steps[name]

    def _train_batch(self, *arrays: Any) -> Any:
        assert self.optimizer is not None
        self.optimizer.zero_grad()  # an interrupted step may have left gradients
        x, y, weight = mapped(lambda place: arrays[place], self._forms["train"])
        if self._has_own_step["train"]:
            return self._checked("train_step", self.train_step(_as_data(x, y, weight)))
        total, *parts = self._forward(x, y, weight, training=True)
        self.optimizer.minimize(total)
        self._track(total, y, *parts)
        return None

    def _test_batch(self, *arrays: Any) -> Any:
        x, y, weight = mapped(lambda place: arrays[place], self._forms["test"])
        with Switch("grad_enabled", False):
            if self._has_own_step["test"]:
                return self._checked("test_step", self.test_step(_as_data(x, y, weight)))
            total, *parts = self._forward(x, y, weight, training=False)
            self._track(total, y, *parts)
        return None

    def _checked(self, step: str, logs: Any) -> Any:
        if not isinstance(logs, Mapping):
            expected = f"{step} to return a dict of results"
            raise TypeError(message(self.where, expected, type(logs).__name__))
        return dict(logs)

    def _forward(self, x: Any, y: Any, weight: Any, training: bool) -> Any:
        """The loss of a batch; then for each output its own loss, how much that weighs, and the output itself: logits
        where the loss is computed from them."""
        x = mapped(as_input, x)
        shapes = self._make_ready(x)
        logits = frozenset(i for i, head in enumerate(self._heads) if head.takes_logits(*self._last_of(i)))
        function, args = (self.preactivation, (logits,)) if logits else (self.call, ())
        outputs = list(leaves(self.run(function, x, *args, training=training)))
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
            values.append(value.detach() if len(self._heads) > 1 and value is not None else None)
            counts.append(count)
        return self._sum(parts), values, counts, outputs

    def _sum(self, parts: list[Any]) -> Any:
        """The sum of the weighted losses and of the penalties of the layers."""
        return functools.reduce(operator.add, [*parts, *(self.losses if self._has_penalties else ())])

    def _part(self, tree: Any, number: int) -> Any:
        """What belongs to one output among targets or weights."""
        return tree if len(self._heads) == 1 or tree is None else tree[number]

    def _track(self, total: Tensor, y: Any, values: Any, counts: Any, outputs: Any) -> None:
        """Adds a batch to the mean losses and the metrics."""
        masks = [getattr(output, "mask", None) for output in outputs]
        given = total.detach(), values, counts, y, [output.detach() for output in outputs], masks
        if state.trace is not None:
            self._counted(*given)
            return
        shapes = [output.shape for output in outputs]
        if self._count_up is None:
            # recorded for the usual shape also in a step without jit: it costs a tenth; a user's own metric runs as is
            used = {type(metric) for head in self._heads for metric in head.metrics}
            known = used <= set(metrics_.METRICS.values())
            self._count_up = shapes, jit(weakly(self._counted)) if known else self._counted
        usual, count_up = self._count_up
        (count_up if shapes == usual else self._counted)(*given)

    def _counted(self, total: Tensor, values: Any, counts: Any, y: Any, outputs: Any, masks: Any) -> None:
        several = len(self._heads) > 1
        rows = outputs[0].shape[0] if several else counts[0]
        assert self._mean_loss is not None
        self._mean_loss.accumulate(total.astype("float64") * rows, rows)
        for i, head in enumerate(self._heads):
            if several and head.loss is not None:
                head.mean.accumulate(values[i].astype("float64") * counts[i], counts[i])
            if not head.metrics:
                continue
            split, activation = self._last_of(i)
            output = outputs[i]
            if activation is not None and head.takes_logits(split, activation):
                output = activation(output)
            if masks[i] is not None:
                output.mask = masks[i]
            for metric in head.metrics:
                metric.update_state(Tensor(self._part(y, i)), output)

    def _reset(self) -> None:
        self._logs = None
        for metric in self.metrics:
            metric.reset_state()

    def _take(self, logs: Mapping[str, Any] | None) -> None:
        """Keeps what a step returned: None, or the results by name where it is one's own."""
        self._logs = None if logs is None else lambda: {name: float(value) for name, value in logs.items()}

    def _results(self) -> dict[str, float]:
        return self._results_later()()

    def _results_later(self) -> Callable[[], dict[str, float]]:
        """A function that gives the results as they are now, and waits for the device only when it is called."""
        if self._logs is not None:
            return self._logs
        now = {name: metric.later() for name, metric in self._compiled_metrics().items()}
        return lambda: {name: result() for name, result in now.items()}

    def _compiled_metrics(self) -> dict[str, metrics_.Metric]:
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
        return self._counted_in(loss, x) | self.compute_metrics(x, y, outputs, weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluates one batch, as `train_step` trains on one."""
        x, y, weight = _parts_of(data)
        outputs = self(x, training=False)
        loss = self.compute_loss(x, y, outputs, weight, training=False)
        return self._counted_in(loss, x) | self.compute_metrics(x, y, outputs, weight)

    def _counted_in(self, loss: Any, x: Any) -> dict[str, Any]:
        mean, rows = self._compiled_metrics()["loss"], next(leaves(x)).shape[0]
        mean.accumulate(loss.detach().astype("float64") * rows, rows)
        return {"loss": mean.result()}

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
                value = head.loss(self._part(y, i), output, self._part(sample_weight, i))
                head.mean.accumulate(value.detach().astype("float64") * output.shape[0], output.shape[0])
                parts.append(value * head.weight)
        if not parts and not self.losses:
            raise ValueError(message(f"{self.where} compute_loss", "a loss, given to compile", "none"))
        return self._sum(parts)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates the metrics of `compile`, and returns their results so far by name."""
        for i, (head, output) in enumerate(zip(self._heads, leaves(y_pred), strict=True)):
            for metric in head.metrics:
                metric.update_state(self._part(y, i), output)
        return {name: metric.result() for name, metric in results_of(self._heads).items()}


STEPS = {name: getattr(Stepping, name) for name in ("train_step", "test_step", "compute_loss", "compute_metrics")}
"""What a subclass may define in its own way."""


class _Steps(dict[str, Any]):
    """A model's steps under jit, by name. A copied model records its own."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Steps:
        return _Steps()


def _recorded(model: Stepping, batch: Callable[..., Any]) -> Callable[..., Any]:
    """The step under jit; one that cannot be recorded runs without if `compile(jit="auto")` was asked for."""
    step = jit(batch, cache_size=8)
    step.name = f"{model.where} fit"
    if model._jit is True:
        return step
    weak = weakref.ref(model)

    def run(*arrays: Any) -> Any:
        model = weak()
        assert model is not None
        if model._jit is False:
            return batch(*arrays)
        try:
            return step(*arrays)
        except TraceError as error:
            model._jit = False
            warnings.warn(f"{model.where} runs without jit: {error}", stacklevel=4)
            return batch(*arrays)

    return run


def _as_data(x: Any, y: Any, weight: Any) -> Any:
    """What a step of one's own is given: x, (x, y) or (x, y, sample_weight); (x,) where x is a list or dict."""
    alone = x if hasattr(x, "dtype") else (x,)
    data = (x, y, weight) if weight is not None else alone if y is None else (x, y)
    return mapped(lambda a: None if a is None else as_input(a), data)


def _parts_of(data: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and weights of what `_as_data` made."""
    return (*data, None, None)[:3] if isinstance(data, tuple) else (data, None, None)
