"""Trainer: compile, fit, evaluate and predict, for everything that is called as a layer."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from .. import metrics as metrics_
from .. import optimizers
from ..autograd import Tensor
from ..backend import Device, to_host
from ..callbacks import Callback, CallbackList, History, LazyLogs, ProgressBar
from ..data import Batches
from ..errors import ShapeError, TraceError, check_integer, choice, message
from ..jit import jit, weakly
from ..state import Switch, state
from ..tree import leaves, mapped, rebuild
from .classes import Rows
from .heads import make_heads, results_of
from .preparation import Prepared


class Trainer(Prepared):
    """What a model is besides a layer: `compile` once, then `fit`, `evaluate` and `predict`."""

    loss: Any = None
    """The loss that `compile` chose; for several outputs what it was given."""
    stop_training = False
    history: History | None = None
    _forms: dict[str, Any] = {}  # noqa: RUF012
    """By step, the form of its data: trees of the places at which `_train_batch` finds them."""
    _jit: str | bool = "auto"
    _steps: dict[str, Callable[..., Any]] = {}  # noqa: RUF012
    _count_up: Any = None
    _mean_loss: metrics_.Mean | None = None
    _logs: Callable[[], dict[str, float]] | None = None
    """Gives what a `train_step` or `test_step` of one's own returned last. A function, for tensors that are attributes
    would be buffers of the model."""

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        jit: str | bool = "auto",
    ) -> None:
        """Chooses how to train.

        Args:
            optimizer: a name ("adam", "sgd", "adamw") or an optimizer.
            loss: a name ("mse", "sparse_categorical_crossentropy", ...), a loss, or a function of (y_true, y_pred). A
                model of several outputs takes a list, or a dict by the names of its last layers; one loss is for all.
            loss_weights: the factors of the losses of several outputs in their sum; a list or dict, 1 by default.
            metrics: a list of names ("accuracy", "mae", ...), metrics, or functions of (y_true, y_pred); for several
                outputs a list or dict of such lists.
            jit: whether steps are recorded and replayed (see `tinygrad_edu.jit`); "auto" does so where it can, and
                else warns once, with the reason. Python code of your own layers, losses and metrics then runs only
                when a step is recorded. Tensors, learning rates and attributes of layers are looked at in each batch,
                global variables are not.

        Raises ValueError for an unknown name. A cross-entropy of the probabilities of a last sigmoid or softmax is
        computed from its logits, so that it cannot overflow.
        """
        if jit not in ("auto", True, False):
            raise choice("compile", "jit", jit, ("auto", "True", "False"))
        chosen = optimizers.get(optimizer)
        metrics = [metrics] if isinstance(metrics, str) else metrics
        given = (loss, loss_weights, metrics)
        several = isinstance(loss, (dict, list, tuple)) and len(loss) > 1
        names = self.output_names or ([] if several else [""])
        heads = make_heads(names, *given) if names else []
        # all is found to be right: now the model changes
        if self.optimizer is not None:
            self.optimizer.release()
        self.optimizer, self._given, self._heads, self._jit = chosen, given, heads, jit
        self.loss = heads[0].loss if len(heads) == 1 else loss
        self._forget_steps()

    @property
    def metrics(self) -> list[metrics_.Metric]:
        """The mean of the loss, the metrics of `compile`, and those held by attributes: what each epoch starts anew."""
        compiled = list(self._compiled_metrics().values())
        own = [value for value in vars(self).values() if isinstance(value, metrics_.Metric)]
        return [*compiled, *(metric for metric in own if all(metric is not known for known in compiled))]

    def _forget_steps(self) -> None:
        """Makes the model ready anew, after it was changed."""
        self._ready, self._steps, self._forms, self._count_up = {}, {}, {}, None

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        own = {name for name, function in STEPS.items() if getattr(cls, name) is not function}
        parts = {"compute_loss", "compute_metrics"}
        cls._has_own_step = {name: bool(own & {f"{name}_step", *parts}) for name in ("train", "test")}

    # Training

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = 32,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
    ) -> History:
        """Trains the model and returns the `History`; `history.history["loss"]` is a list with a number per epoch.

        Args:
            x, y: inputs and targets, as tensors, arrays or lists, with a row per sample; lists or dicts of them for
                several inputs or outputs. They are cast to the model's dtype and moved to its device.
            batch_size: rows per step; None means 32.
            verbose: 0 is silent, 1 or "auto" shows a bar on a terminal and a line per epoch elsewhere, 2 lines only.
            validation_split: holds out this share of the rows, the last ones before shuffling.
            validation_data: (x, y) or (x, y, sample_weight), evaluated after each epoch.
            shuffle: whether each epoch has a new order, from the package's generator.
            class_weight: {class: weight}, a factor on the loss of the rows of a class; others weigh 1. It is for the
                training only: the validation is not weighted by class.
            sample_weight: a factor on the loss of each row; a list or dict for several outputs.
            initial_epoch: where to go on counting.

        The loss and the metrics are means over the rows; metrics are not weighted. Raises ValueError (ShapeError for
        shapes) for lengths that differ, NaN or inf, labels that cannot be, and settings out of range.
        KeyboardInterrupt comes through; the model can be used and `model.history` holds the epochs that were finished.
        """
        batch_size = _batch_size("fit", batch_size)
        epochs = check_integer("fit", "epochs", epochs, 1)
        initial_epoch = check_integer("fit", "initial_epoch", initial_epoch, 0)
        if verbose not in ("auto", 0, 1, 2):
            raise choice("fit", "verbose", verbose, ("auto", "0", "1", "2"))
        rows, held_out = self._split(x, y, sample_weight, validation_split, validation_data)
        rows = self._weighted("fit", rows, class_weight)
        batches = Batches(tuple(leaves(rows)), batch_size, shuffle)
        self._take_form("train", rows)
        history, bar = History(), ProgressBar(lines_only=verbose == 2)
        given = () if callbacks is None else callbacks if isinstance(callbacks, (list, tuple)) else (callbacks,)
        watching = [*given, history, *([bar] if verbose else [])]
        params = {"epochs": epochs, "epochs_left": epochs - initial_epoch, "steps": len(batches), "verbose": verbose}
        hooks = CallbackList(watching, self, params)
        self.stop_training, self.history = False, history
        try:
            hooks.call("on_train_begin", {})
            for epoch in range(initial_epoch, epochs):
                self._fit_epoch(epoch, batches, held_out, hooks)
                if self.stop_training:
                    break
            hooks.call("on_train_end", {})
        finally:
            bar.close()
        return history

    def _fit_epoch(self, epoch: int, batches: Batches, held_out: Rows | None, hooks: CallbackList) -> None:
        hooks.call("on_epoch_begin", epoch, {})
        self._reset()
        train, watched = self._step("train"), hooks.has("on_train_batch_end")
        for step, arrays in enumerate(batches):
            hooks.call("on_train_batch_begin", step, {})
            self._take(train(*arrays))
            if watched:
                hooks.call("on_train_batch_end", step, LazyLogs(self._results_later()))
            if self.stop_training:
                break
        logs = self._results()
        if held_out is not None:
            hooks.call("on_test_begin", {})
            tested = self._evaluate(held_out, batches.batch_size)
            hooks.call("on_test_end", tested)
            logs |= {f"val_{name}": value for name, value in tested.items()}
        hooks.call("on_epoch_end", epoch, logs)

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
        x = mapped(Tensor, x)
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
            values.append(value if value is None else value.detach())
            counts.append(count)
        return self._sum(parts), values, counts, outputs

    def _sum(self, parts: list[Any]) -> Any:
        """The sum of the weighted losses and of the penalties of the layers."""
        return functools.reduce(lambda total, part: total + part, [*parts, *self.losses])

    def _part(self, tree: Any, number: int) -> Any:
        """What belongs to one output among targets or weights."""
        return tree if len(self._heads) == 1 or tree is None else tree[number]

    def _track(self, total: Tensor, y: Any, values: Any, counts: Any, outputs: Any) -> None:
        """Adds a batch to the mean losses and the metrics."""
        masks = [getattr(output, "mask", None) for output in outputs]
        given = [total.detach(), values, counts, y, [output.detach() for output in outputs], masks]
        count_up = self._counted
        used = {type(metric) for head in self._heads for metric in head.metrics}
        if state.trace is None and used <= set(metrics_.METRICS.values()):
            # recorded for the usual shape also in a step without jit: it costs a tenth; a user's own metric runs as is
            shapes = [output.shape for output in outputs]
            if self._count_up is None:
                self._count_up = shapes, jit(weakly(self._counted))
            usual, recorded = self._count_up
            count_up = recorded if shapes == usual else count_up
        count_up(*given)

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

    def _evaluate(self, rows: Rows, batch_size: int) -> dict[str, float]:
        self._reset()
        self._take_form("test", rows)
        test = self._step("test")
        for batch in Batches(tuple(leaves(rows)), batch_size):
            self._take(test(*batch))
        return self._results()

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

    # Use

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = 32,
        verbose: str | int = 0,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss, or the list [loss, metrics...] if there are metrics, or with `return_dict` a dict; means over all
        rows."""
        batch_size = _batch_size("evaluate", batch_size)
        results = self._evaluate(self._prepare("evaluate", x, y, sample_weight), batch_size)
        if verbose not in (0, "auto"):
            print(" - ".join(f"{name}: {value:.4f}" for name, value in results.items()))
        return self._as_asked(results, return_dict)

    def predict(self, x: Any, batch_size: int | None = 32, verbose: str | int = 0) -> Any:
        """The outputs for inputs (n, ...), computed in batches without a graph, as one NumPy array; for several outputs
        a list or dict of them, as the model returns it."""
        batch_size = _batch_size("predict", batch_size)
        x = self._inputs("predict", x)
        found: list[list[numpy.ndarray[Any, Any]]] = []
        with Switch("grad_enabled", False):
            for batch in Batches(tuple(leaves(x)), batch_size):
                outputs = self(rebuild(x, map(Tensor, batch)), training=False)
                found.append([to_host(y.data) for y in leaves(outputs)])
        return rebuild(outputs, map(numpy.concatenate, zip(*found, strict=True)))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch. Returns what `evaluate` does, for this batch as it was before the step."""
        rows = self._prepare("train_on_batch", x, y, sample_weight, train=True)
        rows = self._weighted("train_on_batch", rows, class_weight)
        self._reset()
        self._take_form("train", rows)
        self._take(self._step("train")(*leaves(rows)))
        return self._as_asked(self._results(), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """What `evaluate` returns, for one batch."""
        rows = self._prepare("test_on_batch", x, y, sample_weight)
        return self._as_asked(self._evaluate(rows, next(leaves(rows[0])).shape[0]), return_dict)

    def to(self, target: str | Device) -> Any:
        """Moves the model and the state of its optimizer to a device; returns the model."""
        super().to(target)
        if self.optimizer is not None:
            self.optimizer.to(self.device)
        return self

    @staticmethod
    def _as_asked(results: dict[str, float], return_dict: bool) -> Any:
        if return_dict:
            return results
        return list(results.values()) if len(results) > 1 else next(iter(results.values()))


STEPS = {name: getattr(Trainer, name) for name in ("train_step", "test_step", "compute_loss", "compute_metrics")}
"""What a subclass may define in its own way."""


class _Steps(dict[str, Any]):
    """A model's steps under jit, by name. A copied model records its own."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Steps:
        return _Steps()


def _recorded(model: Trainer, batch: Callable[..., Any]) -> Callable[..., Any]:
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
    return mapped(lambda a: None if a is None else Tensor(a), data)


def _parts_of(data: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and weights of what `_as_data` made."""
    return (*data, None, None)[:3] if isinstance(data, tuple) else (data, None, None)


def _batch_size(where: str, value: int | None) -> int:
    return check_integer(where, "batch_size", 32 if value is None else value, 1)
