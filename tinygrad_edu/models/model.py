"""Model: a layer that can be compiled, fitted, evaluated and saved."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from .. import losses, metrics, ops, optimizers
from ..autograd import Tensor
from ..backend import Device, to_device, to_host
from ..callbacks import Callback, CallbackList, History, LazyLogs, ProgressBar
from ..data import Batches, as_rows, check_lengths
from ..errors import ShapeError, TraceError, check_integer, check_number, choice, message
from ..jit import jit, weakly
from ..layers import ACTIVATIONS, ActivatedLayer, Layer, Symbol
from ..layers.activations import name_of
from ..layers.symbolic import symbols_in
from ..state import Switch, state
from ..tree import leaves
from .classes import Rows, kind_of, weigh_classes
from .graph import Graph


class _InnerLayers:
    """The layers that a model's attributes hold. An attribute `layers` of the model itself hides it."""

    def __get__(self, model: Model | None, owner: type) -> Any:
        members = () if model is None else model._members()
        return [member for _, member in members if isinstance(member, Layer)]


class Model(ActivatedLayer):
    """A model: `compile` once, then `fit`, `evaluate` and `predict`.

    Either it is made of the symbols that lead from `inputs` to `outputs`, or a subclass defines `call`, as any layer.

    Args:
        inputs: the symbol that `layers.Input` made, or a list or dict of them.
        outputs: what layers returned that were called on them: a symbol, or a list or dict.
        name, trainable: as for any layer.

    Attributes:
        layers: the layers, in Keras's order.

    >>> import tinygrad_edu as tg
    >>> x = tg.layers.Input((4,))
    >>> hidden = tg.layers.Dense(8, activation="relu")(x)
    >>> model = tg.models.Model(x, [tg.layers.Dense(2)(hidden), hidden])
    >>> [y.shape for y in model(tg.zeros((5, 4)))]
    [(5, 2), (5, 8)]

    A subclass defines `call(x)`, and may define `train_step` too:

    >>> import tinygrad_edu as tg
    >>> class Line(tg.models.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.dense = tg.layers.Dense(1)
    ...     def call(self, x):
    ...         return self.dense(x)
    >>> model = Line()
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, verbose=0)
    >>> len(history.history["loss"])
    3
    """

    optimizer: optimizers.Optimizer | None = None
    loss: losses.Loss | None = None
    layers: Any = _InnerLayers()
    supports_masking = True  # each layer gives its output the mask
    graph: Graph | None = None
    stop_training = False
    history: History | None = None
    _metrics_given: Sequence[Any] = ()
    _ready: dict[Any, tuple[int, ...]] = {}  # noqa: RUF012 -- replaced, never written into, before `compile`
    """Shapes of one output, by what they depend on: what has been checked since `compile`."""
    _jit: str | bool = "auto"
    _steps: _Steps | None = None
    _count_up: Any = None
    _mean_loss: Any = None

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True, **options: Any
    ):
        super().__init__(name=name, trainable=trainable, **options)
        if inputs is None and outputs is None:
            return
        self.graph = Graph(self.where, inputs, outputs)
        self.layers = list(self.graph.layers)
        name_layers(self.where, self.layers)
        given = symbols_in(inputs)
        self.input_dtype = given[0].dtype.name if given[0].dtype != self.dtype else None
        self.build_shape = self.input_shape = tuple(given[0].shape[1:]) if len(given) == 1 else None
        self.built = True
        if not trainable:
            self.trainable = False

    def call(self, inputs: Any) -> Any:
        if self.graph is None:
            raise NotImplementedError(f"{type(self).__name__} defines no call(x), and has no inputs and outputs")
        return self.graph.run(self._inputs_in_order(inputs))

    def preactivation(self, inputs: Any, outputs: frozenset[int] = frozenset({0})) -> Any:
        """What `call` gives, with the outputs of these numbers before their last activation."""
        if self.graph is None:
            raise NotImplementedError(f"{type(self).__name__} defines no preactivation(x)")
        return self.graph.run(self._inputs_in_order(inputs), outputs)

    def _inputs_in_order(self, inputs: Any) -> list[Any]:
        """The inputs of a functional model as a list: a dict may name its `Input` layers."""
        assert self.graph is not None
        known = symbols_in(self.graph.inputs)
        if isinstance(inputs, dict):
            names = list(self.graph.inputs) if isinstance(self.graph.inputs, dict) else self.input_names
            if inputs.keys() != set(names):
                raise ValueError(message(self.where, f"inputs named {', '.join(names)}", ", ".join(map(str, inputs))))
            return [inputs[name] for name in names]
        given = list(leaves(inputs))
        if len(given) != len(known):
            raise ValueError(message(self.where, f"{len(known)} inputs", f"{len(given)}"))
        return given

    @property
    def inputs(self) -> list[Symbol]:
        """The symbols that a functional model begins with."""
        return [] if self.graph is None else symbols_in(self.graph.inputs)

    @property
    def outputs(self) -> list[Symbol]:
        """The symbols that a functional model ends with."""
        return [] if self.graph is None else symbols_in(self.graph.outputs)

    @property
    def input_names(self) -> list[str]:
        return [str(symbol.node.layer.name) for symbol in self.inputs if symbol.node is not None]

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        """Whether the one output is the activation of a layer's `preactivation`."""
        return self.graph is not None and type(self).call is Model.call and self._last is not None

    @property
    def activation(self) -> Any:  # type: ignore[override]
        """The activation of the last layer, if its output is that of a `preactivation`."""
        return None if self._last is None else self._last.activation

    @property
    def _last(self) -> ActivatedLayer | None:
        last = [] if self.graph is None else self.graph.last_layers
        return last[0] if len(last) == 1 and isinstance(last[0], ActivatedLayer) and last[0].is_split else None

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or number. Raises ValueError for an unknown one and suggests the nearest."""
        if index is not None:
            return self.layers[index]
        layers = {str(layer.name): layer for layer in self.layers}
        if name not in layers:
            raise choice(self.where, "the name of a layer", name, layers)
        return layers[name]

    def get_config(self) -> dict[str, Any]:
        if self.graph is None:
            return super().get_config()
        named = {"name": self.name} if self.name else {}
        frozen = {} if self.trainable else {"trainable": False}
        return {**named, **frozen, **self.graph.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The model that `get_config` described."""
        if "calls" not in config:
            return cls(**config)
        inputs, outputs = Graph.from_config(config)
        return cls(inputs, outputs, **{name: config[name] for name in ("name", "trainable") if name in config})

    def compile(
        self, optimizer: Any, loss: Any, metrics: Sequence[Any] | None = None, jit: str | bool = "auto"
    ) -> None:
        """Chooses how to train.

        Args:
            optimizer: a name ("adam", "sgd", "adamw") or an optimizer.
            loss: a name ("mse", "sparse_categorical_crossentropy", ...), a loss, or a function of (y_true, y_pred).
            metrics: a list of names ("accuracy", "mae", ...), metrics, or functions of (y_true, y_pred).
            jit: whether steps are recorded and replayed (see `tinygrad_edu.jit`); "auto" does so where it can, and
                else warns once, with the reason. Python code of your own layers, losses and metrics then runs only
                when a step is recorded. Tensors, learning rates and attributes of layers are looked at in each batch,
                global variables are not.

        Raises ValueError for an unknown name. A cross-entropy of the probabilities of a last sigmoid or softmax is
        computed from its logits, so that it cannot overflow.
        """
        if jit not in ("auto", True, False):
            raise choice("compile", "jit", jit, ("auto", "True", "False"))
        chosen, chosen_loss = optimizers.get(optimizer), losses.get(loss)
        if chosen_loss.reduction == "none":
            raise ValueError(message("compile", "a loss that is reduced to one number", "reduction='none'"))
        given = [metrics] if isinstance(metrics, str) else list(metrics or ())
        made = self._make_metrics(given, chosen_loss, 1)
        # all is found to be right: now the model changes
        if self.optimizer is not None:
            self.optimizer.release()
        self.optimizer, self.loss, self._metrics_given, self.metrics = chosen, chosen_loss, given, made
        self._jit = jit
        self._forget_steps()

    def _forget_steps(self) -> None:
        """Makes the model ready anew, after it was changed."""
        self._ready, self._steps, self._count_up = {}, None, None

    # Training

    def fit(
        self,
        x: Any,
        y: Any,
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
            x, y: inputs and targets, as tensors, arrays or lists, with a row per sample. They are cast to the model's
                dtype and moved to its device.
            batch_size: rows per step; None means 32.
            verbose: 0 is silent, 1 or "auto" shows a bar on a terminal and a line per epoch elsewhere, 2 lines only.
            validation_split: holds out this share of the rows, the last ones before shuffling.
            validation_data: (x, y) or (x, y, sample_weight), evaluated after each epoch.
            shuffle: whether each epoch has a new order, from the package's generator.
            class_weight: {class: weight}, a factor on the loss of the rows of a class; others weigh 1. It is for the
                training only: the validation is not weighted by class.
            sample_weight: a factor on the loss of each row.
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
        rows = weigh_classes("fit", rows, class_weight, self._make_ready(rows[0]), self.dtype)
        batches = Batches(rows, batch_size, shuffle)
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
        for step, rows in enumerate(batches):
            hooks.call("on_train_batch_begin", step, {})
            train(*rows)
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

    def _step(self, name: str) -> Callable[..., None]:
        """What runs one batch: `_train_batch` or `_test_batch`, recorded and replayed if `compile` says so."""
        if self._jit is False:
            return getattr(self, f"_{name}_batch")
        if self._steps is None:
            self._steps = _Steps(self)
        return getattr(self._steps, name)

    def _train_batch(self, x: Any, y: Any, weight: Any) -> None:
        assert self.optimizer is not None
        self.optimizer.zero_grad()  # an interrupted step may have left gradients
        loss, output = self._forward(x, y, weight, training=True)
        self.optimizer.minimize(loss)
        self._track(loss, y, output)

    def _test_batch(self, x: Any, y: Any, weight: Any) -> None:
        with Switch("grad_enabled", False):
            loss, output = self._forward(x, y, weight, training=False)
            self._track(loss, y, output)

    def _forward(self, x: Any, y: Any, weight: Any, training: bool) -> tuple[Tensor, Any]:
        """The loss of a batch, and what it was computed from: logits or the output."""
        expected = (x.shape[0], *self._make_ready(x))
        loss, function = self.loss, self.call
        assert loss is not None
        if self._from_logits:
            loss, function = loss.on_logits(), self.preactivation
        output = self.run(function, Tensor(x), training=training)
        if output.shape != expected:
            raise ShapeError(message(self.where, f"an output of shape {expected}", f"shape {output.shape}"))
        return loss.compute(Tensor(y), output, None if weight is None else Tensor(weight)), output.detach()

    def _track(self, loss: Tensor, y: Any, output: Any) -> None:
        """Adds a batch to the mean loss and the metrics."""
        assert self.loss is not None
        count_up = self._counted
        if state.trace is None and all(type(metric) in metrics.METRICS.values() for metric in self.metrics):
            # recorded for the usual shape also in a step without jit: it costs a tenth; a user's own metric runs as is
            if self._count_up is None:
                self._count_up = output.shape, jit(weakly(self._counted))
            usual, recorded = self._count_up
            count_up = recorded if output.shape == usual else self._counted
        count_up(loss.detach(), self.loss.count(y), y, output)

    def _counted(self, loss: Tensor, count: Any, y: Any, output: Any) -> None:
        self._mean_loss.accumulate(loss.astype("float64") * count, count)
        if self.metrics:
            if self._from_logits and self.activation is not None:
                output = self.activation(output)
            for metric in self.metrics:
                metric.update_state(Tensor(y), output)

    def _reset(self) -> None:
        if self._mean_loss is None:
            self._mean_loss = metrics.Mean("loss")
        for metric in (self._mean_loss, *self.metrics):
            metric.reset_state()

    def _results(self) -> dict[str, float]:
        return self._results_later()()

    def _results_later(self) -> Callable[[], dict[str, float]]:
        """A function that gives the results as they are now, and waits for the device only when it is called."""
        now = {metric.name: metric.later() for metric in (self._mean_loss, *self.metrics)}
        return lambda: {name: result() for name, result in now.items()}

    def _evaluate(self, rows: Rows, batch_size: int) -> dict[str, float]:
        self._reset()
        test = self._step("test")
        for batch in Batches(rows, batch_size):
            test(*batch)
        return self._results()

    # Use

    def evaluate(
        self,
        x: Any,
        y: Any,
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

    def predict(self, x: Any, batch_size: int | None = 32, verbose: str | int = 0) -> numpy.ndarray[Any, Any]:
        """The outputs for inputs (n, ...), computed in batches without a graph, as one NumPy array."""
        batch_size = _batch_size("predict", batch_size)
        x = self._inputs("predict", x)
        with Switch("grad_enabled", False):
            outputs = [to_host(self(Tensor(batch), training=False).data) for (batch,) in Batches((x,), batch_size)]
        return numpy.concatenate(outputs)

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch. Returns what `evaluate` does, for this batch as it was before the step."""
        rows = self._prepare("train_on_batch", x, y, sample_weight, train=True)
        rows = weigh_classes("train_on_batch", rows, class_weight, self._make_ready(rows[0]), self.dtype)
        self._reset()
        self._step("train")(*rows)
        return self._as_asked(self._results(), return_dict)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """What `evaluate` returns, for one batch."""
        rows = self._prepare("test_on_batch", x, y, sample_weight)
        return self._as_asked(self._evaluate(rows, len(rows[0])), return_dict)

    def to(self, target: str | Device) -> Model:
        """Moves the model and the state of its optimizer to a device; returns the model."""
        super().to(target)
        if self.optimizer is not None:
            self.optimizer.to(self.device)
        return self

    # Saving and showing

    def summary(self, print_fn: Any = None) -> None:
        """Prints a table of the layers: name and type, output shape, number of parameters."""
        from .summary import print_summary

        print_summary(self, print_fn)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes architecture and weights to one safetensors file, whole or not at all; `models.load_model` reads
        it."""
        from .saving import save_model

        save_model(self, path)

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights to a safetensors file, whole or not at all."""
        from .saving import write_weights

        write_weights(self.state_dict(), path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Reads the weights from a file written by `save_weights` or `save`: all of them, or none. See
        `load_state_dict`."""
        from .saving import read_weights

        self.load_state_dict(read_weights(path)[0])

    # Checks before training

    def _split(
        self, x: Any, y: Any, sample_weight: Any, share: float, validation_data: Sequence[Any] | None
    ) -> tuple[Rows, Rows | None]:
        """The rows to train on and those to validate on."""
        wanted = "in [0, 1)"
        share = check_number("fit", "validation_split", share, wanted, lambda v: 0 <= v < 1)
        rows = self._prepare("fit", x, y, sample_weight, train=True)
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
                raise ValueError(
                    message("fit", "validation_data to be (x, y) or (x, y, sample_weight)", kind_of(validation_data))
                )
            return rows, self._prepare("fit validation_data", *validation_data)
        if not share:
            return rows, None
        count = len(rows[0])
        kept = int(count * (1.0 - share))
        if not 0 < kept < count:
            expected = "validation_split to leave rows on both sides"
            raise ValueError(message("fit", expected, f"{share:g}, which trains on {kept} of {count} rows"))
        first, last = (tuple(None if a is None else a[part] for a in rows) for part in (slice(kept), slice(kept, None)))
        return first, last  # type: ignore[return-value]

    def _prepare(self, where: str, x: Any, y: Any, sample_weight: Any = None, train: bool = False) -> Rows:
        """Checks and converts the data of one call, once; after this no batch is looked at again."""
        if self.optimizer is None or self.loss is None:
            hint = "for example model.compile(optimizer='adam', loss='mse')."
            raise RuntimeError(message(f"{self.where} {where}", "a compiled model", "one that is not", hint))
        if y is None:
            raise ValueError(message(where, "targets y", "None"))
        x = self._inputs(where, x)
        y = as_rows(where, "y", y)
        check_lengths(where, x=x, y=y)
        output_shape = self._make_ready(x)
        if train:
            self.optimizer.build(self.trainable_weights)
        y = self.loss.prepare(y, (y.shape[0], *output_shape), self.dtype)
        y, weight = to_device(y, self.device), None
        if sample_weight is not None:
            weight = as_rows(where, "sample_weight", sample_weight, self.dtype)
            check_lengths(where, x=x, sample_weight=weight)
            weight = to_device(losses.check_weights(where, weight, y.shape[0]), self.device)
        return x, y, weight

    def _inputs(self, where: str, x: Any) -> Any:
        x = to_device(as_rows(where, "x", x, self.input_dtype or self.dtype), self.device)
        # one number a row, as Keras has it
        return x.reshape(-1, 1) if x.ndim == 1 and (self.input_shape or self.build_shape) == (1,) else x

    def _make_ready(self, x: Any) -> tuple[int, ...]:
        """Builds what is not built, and returns the shape of the output for one row. Runs one batch, once per shape
        of x and last activation."""
        key = (x.shape[1:], self.is_split, self.activation)
        if key not in self._ready:
            with Switch("grad_enabled", False):
                shape = tuple(self(Tensor(x[:1]), training=False).shape[1:])
                self.metrics = self._make_metrics(self._metrics_given, self.loss, shape[-1] if shape else 1)
                self._check_output(x, shape)
            self._ready[key[0], self.is_split, self.activation] = shape  # which may be known only now
            return shape
        return self._ready[key]

    @staticmethod
    def _make_metrics(given: Sequence[Any], loss: Any, outputs: int) -> list[metrics.Metric]:
        made = [metrics.get(metric, loss, outputs) for metric in given]
        names = ["loss", *(metric.name for metric in made)]
        if len(set(names)) < len(names):
            raise ValueError(message("compile", "metrics with different names", ", ".join(names[1:])))
        return made

    @property
    def _from_logits(self) -> bool:
        """Whether the loss is computed from the `preactivation`: it wants the last activation's probabilities."""
        loss = self.loss
        if loss is None or loss.logits_of is None or loss.from_logits or not loss.can_take_logits():
            return False
        return self.is_split and self.activation is losses.ACTIVATION_OF[loss.logits_of]

    def _check_output(self, x: Any, shape: tuple[int, ...]) -> None:
        """Checks that loss and output fit: by the last activation where it is known, else by the values of some
        rows."""
        loss, last = self.loss, self.activation
        assert loss is not None
        known = self.is_split and (last is None or last in ACTIVATIONS.values())
        if known and last is ops.softmax and shape[-1:] == (1,):
            expected = "a softmax over several outputs"
            raise ValueError(message(self.where, expected, "one, whose softmax is always 1", "use sigmoid."))
        if loss.logits_of is None or not known:
            loss.check_predictions(self(Tensor(x[:32]), training=False))
        elif loss.from_logits and last is losses.ACTIVATION_OF[loss.logits_of]:
            hint = "leave out one of the two."
            found = f"the probabilities of a last {loss.logits_of}"
            raise ValueError(message(loss.name, "logits, because of from_logits=True", found, hint))
        elif not loss.from_logits and last not in (ops.softmax, losses.ACTIVATION_OF[loss.logits_of]):
            hint = f"end in a {loss.logits_of}, or say from_logits=True."
            raise ValueError(
                message(loss.name, "probabilities", f"the output of {name_of(last) or 'no activation'}", hint)
            )

    @staticmethod
    def _as_asked(results: dict[str, float], return_dict: bool) -> Any:
        if return_dict:
            return results
        return list(results.values()) if len(results) > 1 else results["loss"]


class _Steps:
    """A model's steps under jit.

    A step that cannot be recorded runs without jit if `compile(jit="auto")` was asked for.
    """

    def __init__(self, model: Model):
        self.train = self._recorded(model, weakly(model._train_batch))
        self.test = self._recorded(model, weakly(model._test_batch))

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copied model records its own."""

    @staticmethod
    def _recorded(model: Model, batch: Callable[..., None]) -> Callable[..., None]:
        step = jit(batch, cache_size=8)
        step.name = f"{model.where} fit"
        if model._jit is True:
            return step
        weak = weakref.ref(model)

        def run(x: Any, y: Any, weight: Any) -> None:
            model = weak()
            assert model is not None
            if model._jit is False:
                batch(x, y, weight)
                return
            try:
                step(x, y, weight)
            except TraceError as error:
                model._jit = False
                warnings.warn(f"{model.where} runs without jit: {error}", stacklevel=4)
                batch(x, y, weight)

        return run


def name_layers(where: str, layers: Sequence[Layer]) -> None:
    """Gives each layer without a name one of its class, as "dense_1". Raises ValueError for a name that two have."""
    names = [layer.name for layer in layers if layer.name is not None]
    if len(set(names)) < len(names):
        found = next(name for name in names if names.count(name) > 1)
        hint = "set the name of one of them, which a model may have chosen."
        raise ValueError(message(where, "layers with different names", f"a second {found!r}", hint))
    taken = set(names)
    for layer in layers:
        if layer.name is None:
            base = _snake(type(layer).__name__)
            free = (f"{base}_{i}" if i else base for i in range(len(taken) + 1))
            layer.name = next(name for name in free if name not in taken)
            taken.add(layer.name)


def _snake(name: str) -> str:
    """Dense -> dense, LayerNormalization -> layer_normalization, Conv2D -> conv2d."""
    return "".join(f"_{c}" if i and c.isupper() and name[i - 1].islower() else c for i, c in enumerate(name)).lower()


def _batch_size(where: str, value: int | None) -> int:
    return check_integer(where, "batch_size", 32 if value is None else value, 1)
