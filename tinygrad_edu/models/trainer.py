"""Trainer: compile, fit, evaluate and predict, for everything that is called as a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from .. import optimizers
from ..backend import Device, to_host
from ..callbacks import Callback, CallbackList, History, LazyLogs, ProgressBar
from ..callbacks.progress import as_text
from ..data import Batches
from ..errors import check_integer, choice
from ..state import Switch
from ..tree import leaves, rebuild
from .classes import Rows
from .heads import make_heads
from .preparation import as_input
from .steps import Stepping


class Trainer(Stepping):
    """What a model is besides a layer: `compile` once, then `fit`, `evaluate` and `predict`."""

    loss: Any = None
    """The loss that `compile` chose; for several outputs what it was given."""
    stop_training = False
    history: History | None = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        jit: str | bool = "auto",
    ) -> None:
        """Chooses how to train.

        Args:
            optimizer: a name ("adam", "sgd", "rmsprop", "adamw") or an optimizer; None for a model whose `train_step`
                has its own.
            loss: a name ("mse", "sparse_categorical_crossentropy", ...), a loss, or a function of (y_true, y_pred). A
                model of several outputs takes a list, or a dict by the names of its last layers; one loss is for all.
            loss_weights: the factors of the losses of several outputs in their sum; a list or dict, 1 by default.
            metrics: a list of names ("accuracy", "mae", ...), metrics, or functions of (y_true, y_pred); for several
                outputs a list or dict of such lists.
            weighted_metrics: as `metrics`, for metrics that get the sample weights, and in training those of the
                classes. One with a name that is taken is reported as "weighted_" and that name.
            jit: whether steps are recorded and replayed (see `tinygrad_edu.jit`); "auto" does so where it can, and
                else warns once, with the reason. Python code of your own layers, losses and metrics then runs only
                when a step is recorded. Tensors, learning rates and attributes of layers are looked at in each batch,
                global variables are not.

        Raises ValueError for an unknown name. A cross-entropy of the probabilities of a last sigmoid or softmax is
        computed from its logits, so that it cannot overflow.
        """
        if jit not in ("auto", True, False):
            raise choice("compile", "jit", jit, ("auto", "True", "False"))
        chosen = None if optimizer is None else optimizers.get(optimizer)
        metrics, weighted_metrics = ([m] if isinstance(m, str) else m for m in (metrics, weighted_metrics))
        given = (loss, loss_weights, metrics, weighted_metrics)
        several = isinstance(loss, (dict, list, tuple)) and len(loss) > 1
        names = self.output_names or ([] if several else [""])
        heads = make_heads(names, *given) if names else []
        # all is found to be right: now the model changes
        if self.optimizer is not None:
            self.optimizer.release()
        self.optimizer, self._given, self._heads, self._jit = chosen, given, heads, jit
        self.loss = heads[0].loss if len(heads) == 1 else loss
        self._is_compiled = True
        self._forget_steps()

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

        The loss and most metrics are means over the rows; of the metrics only `weighted_metrics` are weighted. Raises
        ValueError (ShapeError for shapes) for lengths that differ, NaN or inf, labels that cannot be, and settings out
        of range.
        KeyboardInterrupt comes through; the model can be used and `model.history` holds the epochs that were finished.
        """
        batch_size = _batch_size("fit", batch_size)
        epochs = check_integer("fit", "epochs", epochs, 1)
        initial_epoch = check_integer("fit", "initial_epoch", initial_epoch, 0)
        _check_verbose("fit", verbose)
        rows, held_out = self._split(x, y, sample_weight, validation_split, validation_data, batch_size)
        for part in (rows, held_out):
            if part is not None:
                self._check_batches("fit", part, batch_size)
        rows = self._weighted("fit", rows, class_weight)
        batches = Batches(tuple(leaves(rows)), batch_size, shuffle)
        history, bar = History(), ProgressBar(lines_only=verbose == 2)
        given = () if callbacks is None else callbacks if isinstance(callbacks, (list, tuple)) else (callbacks,)
        watching = [*given, history, *([bar] if verbose else [])]
        params = {"epochs": epochs, "epochs_left": epochs - initial_epoch, "steps": len(batches), "verbose": verbose}
        hooks = CallbackList(watching, self, params)
        self.stop_training, self.history = False, history
        try:
            hooks.call("on_train_begin", {})
            for epoch in range(initial_epoch, epochs):
                self._fit_epoch(epoch, self._step("train", rows), batches, held_out, hooks)
                if self.stop_training:
                    break
            hooks.call("on_train_end", {})
        finally:
            bar.close()
        return history

    def _fit_epoch(
        self, epoch: int, train: Callable[..., Any], batches: Batches, held_out: Rows | None, hooks: CallbackList
    ) -> None:
        hooks.call("on_epoch_begin", epoch, {})
        self._reset()
        watched = hooks.has("on_train_batch_end")
        for step, arrays in enumerate(batches):
            hooks.call("on_train_batch_begin", step, {})
            logs = train(*arrays)
            if logs is not None:
                self._take(logs)
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

    def _evaluate(self, rows: Rows, batch_size: int) -> dict[str, float]:
        self._reset()
        test = self._step("test", rows)
        for batch in Batches(tuple(leaves(rows)), batch_size):
            self._take(test(*batch))
        return self._results()

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
        _check_verbose("evaluate", verbose)
        rows = self._prepare("evaluate", x, y, sample_weight, batch_size)
        self._check_batches("evaluate", rows, batch_size)
        results = self._evaluate(rows, batch_size)
        if verbose not in (0, "auto"):
            print(as_text(results))
        return self._as_asked(results, return_dict)

    def predict(self, x: Any, batch_size: int | None = 32, verbose: str | int = 0) -> Any:
        """The outputs for inputs (n, ...), computed in batches without a graph, as one NumPy array; for several outputs
        a list or dict of them, as the model returns it."""
        _check_verbose("predict", verbose)
        return self._predict("predict", x, _batch_size("predict", batch_size))

    def predict_on_batch(self, x: Any) -> Any:
        """What `predict` returns, computed as one batch."""
        return self._predict("predict_on_batch", x, None)

    def _predict(self, where: str, x: Any, batch_size: int | None) -> Any:
        x = self._inputs(where, x)
        batch_size = batch_size or next(leaves(x)).shape[0]
        self._check_batches(where, (x, None, None), batch_size)
        found: list[list[numpy.ndarray[Any, Any]]] = []
        with Switch("grad_enabled", False):
            for batch in Batches(tuple(leaves(x)), batch_size):
                outputs = self(rebuild(x, map(as_input, batch)), training=False)
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
        self._take(self._step("train", rows)(*leaves(rows)))
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


def _check_verbose(where: str, value: Any) -> None:
    if value not in ("auto", 0, 1, 2):
        raise choice(where, "verbose", value, ("auto", "0", "1", "2"))


def _batch_size(where: str, value: int | None) -> int:
    return check_integer(where, "batch_size", 32 if value is None else value, 1)
