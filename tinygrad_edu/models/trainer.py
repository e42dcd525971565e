"""Trainer: compile, fit, evaluate and predict, for everything that is called as a layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

import numpy

from .. import optimizers
from ..backend import Device, default_generator, to_device, to_host
from ..callbacks import (
    CallbackList,
    History,
    LazyLogs,
    LearningRateFinder,
    Progress,
    ProgressBar,
    StepBar,
    TerminateOnNaN,
)
from ..callbacks.progress import as_text, is_terminal
from ..errors import ShapeError, check_integer, check_integers, check_number, choice, message
from ..layers import Layer
from ..state import Switch, state
from ..tree import leaves, mapped, rebuild
from .classes import Rows
from .feeding import ALL, Feed, Place
from .heads import make_heads
from .steps import Stepping

MANY = 32
"""Batches from which on a prediction is worth recording."""


class Trainer(Stepping):
    """What a model is besides a layer: `compile` once, then `fit`, `evaluate` and `predict`."""

    loss: Any = None
    """The loss that `compile` chose; for several outputs what it was given."""
    stop_training = stop_evaluating = stop_predicting = False
    history: History | None = None
    _place: Place | None = None
    """Where `fit` stands, without what is looked up when it is asked for."""
    _goes_on_from: Progress | None = None
    """Where the next epoch begins, if it was said by setting `progress`."""

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
                has its own. The same as before goes on with its state, unless other parameters are to be trained, of
                which a warning tells; any other one is released.
            loss: a name ("mse", "sparse_categorical_crossentropy", ...), a loss, or a function of (y_true, y_pred). A
                model of several outputs takes a list, or a dict by the names of its last layers; one loss is for all.
                None for a model whose `compute_loss` or `train_step` has its own.
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
        chosen = self._scaling(None if optimizer is None else optimizers.get(optimizer))
        metrics, weighted_metrics = ([m] if isinstance(m, str) else m for m in (metrics, weighted_metrics))
        given = (loss, loss_weights, metrics, weighted_metrics)
        several = isinstance(loss, (dict, list, tuple)) and len(loss) > 1
        names = self.output_names or ([] if several else [""])
        heads = make_heads(names, *given) if names else []
        # all is found to be right: now the model changes
        self._let_go_of_optimizer(chosen)
        self.optimizer, self._given, self._heads, self._jit = chosen, given, heads, jit
        self.loss = heads[0].loss if len(heads) == 1 else loss
        self._is_compiled = True
        self._forget_steps()

    def _scaling(self, chosen: optimizers.Optimizer | None) -> optimizers.Optimizer | None:
        """The optimizer, within one that scales the loss under the policy "float16", as Keras has it."""
        scales = isinstance(chosen, optimizers.LossScaleOptimizer)
        if chosen is None or scales or chosen.takes_function or state.matmul_precision != "float16":
            return chosen
        old = self.optimizer
        kept = isinstance(old, optimizers.LossScaleOptimizer) and old.inner_optimizer is chosen
        return old if kept else optimizers.LossScaleOptimizer(chosen)

    def _let_go_of_optimizer(self, chosen: optimizers.Optimizer | None) -> None:
        """Releases the optimizer so far, unless it is the new one and trains the same parameters."""
        old = self.optimizer
        if old is None or not old.parameters:
            return
        if _inner(old) is _inner(chosen):
            if {id(p) for p in old.parameters} == {id(p) for p in self.trainable_weights}:
                return
            warnings.warn(f"{self.where} compile: {old.where} begins anew, for it trains others now", stacklevel=3)
        old.release()

    # Training

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Trains the model and returns the `History`; `history.history["loss"]` is a list with a number per epoch.

        Args:
            x, y: inputs and targets, as tensors, arrays or lists, with a row per sample; lists or dicts of them for
                several inputs or outputs. They are cast to the model's dtype and moved to its device. Or x alone gives
                batches, each x, (x, y) or (x, y, sample_weight): an iterable such as a `data.Dataset`, of which each
                epoch is a pass; a generator or other iterator, whose one pass `steps_per_epoch` cuts into epochs
                (without it one that never ends, which nobody can know before, makes an epoch that never ends); or what
                has `__len__`, `__getitem__` and `on_epoch_end`, as a `utils.PyDataset`.
            batch_size: rows per step of arrays; None means 32, or what makes `steps_per_epoch` steps of them.
            verbose: 0 is silent, 1 or "auto" shows a bar on a terminal and a line per epoch elsewhere, 2 lines only.
            callbacks: a `Callback`, or a list of them.
            validation_split: holds out this share of the rows of arrays, the last ones before shuffling.
            validation_data: (x, y) or (x, y, sample_weight), or what gives batches.
            shuffle: whether each epoch has a new order, from the package's generator: of the rows of arrays, or of the
                batches of a PyDataset. Other iterables keep their own order.
            class_weight: {class: weight}, a factor on the loss of the rows of a class; others weigh 1. It is for the
                training only: the validation is not weighted by class.
            sample_weight: a factor on the loss of each row; a list or dict for several outputs.
            initial_epoch: where to go on counting.
            steps_per_epoch: batches of an epoch. The next epoch goes on in the data where this one ended, and begins a
                new pass when one is over.
            validation_steps: how many batches are evaluated: the first ones, or the next ones of an iterator.
            validation_batch_size: rows per batch of the validation; None means `batch_size`.
            validation_freq: validates after every so many epochs; or a list of those to validate after, counted from 1.

        The loss and most metrics are means over the rows; of the metrics only `weighted_metrics` are weighted. Raises
        ValueError (ShapeError for shapes) for lengths that differ, NaN or inf, labels that cannot be, and settings out
        of range; errors in a batch of an iterable name its number. Warns of data that ends before `steps_per_epoch`,
        where that of an iterator ends the training; of a loss that is NaN or infinite at the end of an epoch, once; and
        of several batches for an optimizer that wants all rows in one, `LBFGS`. KeyboardInterrupt comes through; the
        model can be used and `model.history` holds the epochs that were finished.
        """
        epochs = check_integer("fit", "epochs", epochs, 1)
        initial_epoch = check_integer("fit", "initial_epoch", initial_epoch, 0)
        _check_verbose("fit", verbose)
        _check_counts("fit", batch_size=batch_size, steps_per_epoch=steps_per_epoch)
        _check_counts("fit", validation_steps=validation_steps, validation_batch_size=validation_batch_size)
        is_due = _validated(validation_freq)
        share = check_number("fit", "validation_split", validation_split, "in [0, 1)", lambda v: 0 <= v < 1)
        share = share if validation_data is None else 0.0
        feed, kept = self._feed(
            "fit", x, y, sample_weight, batch_size, steps_per_epoch, True, class_weight, shuffle, share
        )
        held_out = self._held_out(kept, validation_data, batch_size, validation_batch_size, validation_steps)
        given = [] if callbacks is None else list(leaves(callbacks))
        history = next((callback for callback in given if isinstance(callback, History)), None) or History()
        bar = ProgressBar(lines_only=verbose == 2)
        watching = [*given, *([] if history in given else [history]), *([bar] if verbose else [])]
        looks_out = not any(isinstance(callback, (TerminateOnNaN, LearningRateFinder)) for callback in given)
        try:
            if feed.looks_ahead:
                self._look_at_first(feed, train=True)
            if held_out is not None:
                self._check_loss("fit validation_data", "test")
            if getattr(self.optimizer, "takes_function", False) and (feed.steps or 1) > 1:
                expected = f"all rows in one batch for {type(self.optimizer).__name__}"
                text = message(f"{self.where} fit", expected, f"{feed.steps} batches", "pass batch_size=len(x).")
                warnings.warn(text, stacklevel=2)
            scales = self.optimizer is None or isinstance(self.optimizer, optimizers.LossScaleOptimizer)
            if self._rounds_to_float16() and not scales:
                cannot = getattr(self.optimizer, "takes_function", False)
                hint = "take bfloat16" if cannot else "compile under this policy, or take bfloat16"
                hint += "; without it small gradients become 0."
                expected = "an optimizer that scales the loss under the policy float16"
                warnings.warn(message(f"{self.where} fit", expected, repr(self.optimizer), hint), stacklevel=2)
            params = {"epochs": epochs, "steps": feed.steps, "verbose": verbose, "validates": held_out is not None}
            hooks = CallbackList(watching, self, params)
            self.stop_training, self.history, self._place = False, history, Place(initial_epoch, feed)
            self._recheck()
            hooks.call("on_train_begin", {})
            self._draw_on()
            logs: dict[str, float] = {}
            for epoch in range((self._goes_on_from or self._place).epoch, epochs):
                if self._goes_on_from is None and not feed.renews and not feed.begin():
                    feed.warn(0, stacklevel=3)
                    break
                logs = self._fit_epoch(epoch, feed, held_out if is_due(epoch) else None, hooks)
                looks_out = looks_out and not self._warn_of_divergence(epoch, logs.get("loss"))
                if self.stop_training:
                    break
            if self.optimizer is not None:
                self.optimizer.finalize_variable_values()
            hooks.call("on_train_end", logs)
        finally:
            self._goes_on_from = None
            bar.close()
            feed.close()
            if held_out is not None:
                held_out.close()
        return history

    def _rounds_to_float16(self) -> bool:
        return state.matmul_precision == "float16" and self.device.kind == "cuda"

    def _warn_of_divergence(self, epoch: int, loss: Any) -> bool:
        """Warns of a loss that is not finite; whether it did."""
        if not isinstance(loss, float) or math.isfinite(loss):
            return False
        hint = "choose a smaller learning_rate, or clip gradients (clipnorm=1.0); TerminateOnNaN ends such a training."
        if self._rounds_to_float16():
            hint = f"float16 ends at 65504: scale the inputs, or use mixed_precision('bfloat16'). Or {hint}"
        text = message(f"{self.where} fit", "a loss that is finite", f"{loss} in epoch {epoch + 1}", hint)
        warnings.warn(text, stacklevel=3)
        return True

    def _fit_epoch(self, epoch: int, feed: Feed, held_out: Feed | None, hooks: CallbackList) -> dict[str, float]:
        begins, ends = hooks.named("on_train_batch_begin"), hooks.named("on_train_batch_end")
        hooks.call("on_epoch_begin", epoch, {})
        self._reset()
        done = self._go_on(feed) if self._goes_on_from is not None else 0
        batches = feed.epoch(done)
        train = self._step("train")
        self._place = place = Place(epoch, feed, done)
        for rows in batches:
            for hook in begins:
                hook(done, {})
            logs = train(*rows)
            if logs is not None:
                self._take(logs)
            place.batch = done = done + 1
            if ends:
                later = LazyLogs(self._results_later())
                for hook in ends:
                    hook(done - 1, later)
            if self.stop_training:
                break
        feed.end(done, is_whole=not self.stop_training)
        results = self._results()
        if held_out is not None:
            results |= self._validate(held_out, hooks)
        self._place = Place(epoch + 1, feed)
        hooks.call("on_epoch_end", epoch, results)
        return results

    def _validate(self, held_out: Feed, hooks: CallbackList) -> dict[str, float]:
        if not held_out.begin():
            held_out.warn(0)
            return {}
        try:
            return {f"val_{name}": value for name, value in self._evaluate(held_out, hooks).items()}
        finally:
            held_out.close()  # the next validation begins with the first batch

    def _evaluate(self, feed: Feed, hooks: CallbackList) -> dict[str, float]:
        begins, ends = hooks.named("on_test_batch_begin"), hooks.named("on_test_batch_end")
        self.stop_evaluating = False
        hooks.call("on_test_begin", {})
        self._reset()
        test, done = self._step("test"), 0
        for rows in feed.epoch():
            for hook in begins:
                hook(done, {})
            self._take(test(*rows))
            done += 1
            if ends:
                later = LazyLogs(self._results_later())
                for hook in ends:
                    hook(done - 1, later)
            if self.stop_evaluating:
                break
        feed.end(done, is_whole=not self.stop_evaluating)
        results = self._results()
        hooks.call("on_test_end", results)
        return results

    # Where a training stands

    @property
    def progress(self) -> Progress:
        """Where `fit` stands, to be kept in a hook. A callback that sets it in `on_train_begin` makes `fit` go on from
        there; see `callbacks.Progress`."""
        place = self._goes_on_from or self._place or Place(0)
        if isinstance(place, Progress):
            return place
        now = default_generator.state
        began = now if place.generator_state is None else place.generator_state
        gathered: list[list[Any]] | None = None
        if place.batch:
            gathered = [[to_host(t.data).tolist() for t in metric.variables] for metric in self.metrics]
        return Progress(place.epoch, place.batch, began, place.skipped, now, gathered, place.passes)

    @progress.setter
    def progress(self, place: Any) -> None:
        names = [field.name for field in fields(Progress) if hasattr(place, field.name)]
        self._goes_on_from = Progress(**{name: getattr(place, name) for name in names})

    def _draw_on(self) -> None:
        """Where an epoch is to begin, goes on with the random numbers from there: its first hooks may draw some."""
        place = self._goes_on_from
        if place is not None and not place.batch and (place.generator_now or not place.skipped):
            default_generator.state = place.generator_now or place.generator_state

    def _go_on(self, feed: Feed) -> int:
        """Goes to where `progress` was set to; returns how many batches of the epoch are done."""
        place, self._goes_on_from = self._goes_on_from, None
        assert place is not None
        now = (place.batch and place.generator_now) or default_generator.state
        feed.go_to(place)
        default_generator.state = now
        if place.metrics is not None:
            gathered = [t for metric in self.metrics for t in metric.variables]
            values = [value for of_one in place.metrics for value in of_one]
            if len(gathered) != len(values):
                expected = f"progress with {len(gathered)} states of metrics"
                raise ValueError(message(f"{self.where} fit", expected, f"{len(values)}", "compile it as it was."))
            for t, value in zip(gathered, values, strict=True):
                t.assign_(to_device(numpy.asarray(value, t.dtype), t.device))
        return place.batch

    # Use

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss, or the list [loss, metrics...] if there are metrics, or with `return_dict` a dict; means over all
        rows.

        Args:
            x, y, batch_size, sample_weight: as for `fit`.
            verbose: 1 prints the results in a line, 2 does only that, 0 is silent; 1 and "auto" show a bar on a
                terminal if it takes long.
            steps: how many batches to evaluate; by default all.
            callbacks: a `Callback`, or a list of them, whose hooks `on_test_...` are called.
        """
        _check_verbose("evaluate", verbose)
        _check_counts("evaluate", batch_size=batch_size, steps=steps)
        feed, _ = self._feed("evaluate", x, y, sample_weight, batch_size, steps)
        with self._watched("evaluate", feed, callbacks, verbose) as hooks:
            if feed.looks_ahead:
                self._look_at_first(feed)
            results = self._evaluate(feed, hooks)
        if verbose not in (0, "auto"):
            print(as_text(results))
        return self._as_asked(results, return_dict)

    @contextmanager
    def _watched(self, where: str, feed: Feed, callbacks: Any, verbose: Any) -> Iterator[CallbackList]:
        """The callbacks of one call; at its end bar and feed are closed."""
        bar = StepBar()
        shows = verbose in (1, "auto") and is_terminal()
        watching = [*([] if callbacks is None else leaves(callbacks)), *([bar] if shows else [])]
        self._recheck()
        try:
            yield CallbackList(watching, self, {"epochs": 1, "steps": feed.steps, "verbose": verbose}, where)
        finally:
            bar.close()
            feed.close()

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for inputs (n, ...), computed in batches without a graph, as one NumPy array; for several outputs
        a list or dict of them, as the model returns it. From 32 batches on they are recorded and replayed, as those of
        `fit` are.

        Args:
            x: as for `fit`; of batches (x, y) the targets are not looked at.
            batch_size: rows per batch of arrays; None means 32, or what makes `steps` batches of them.
            verbose: 0 is silent; the others show a bar on a terminal if it takes long.
            steps: how many batches to compute; by default all.
            callbacks: a `Callback`, or a list of them, whose hooks `on_predict_...` are called.
        """
        _check_verbose("predict", verbose)
        _check_counts("predict", batch_size=batch_size, steps=steps)
        return self._predict("predict", x, batch_size, verbose, steps, callbacks)

    def predict_on_batch(self, x: Any) -> Any:
        """What `predict` returns, computed as one batch: recorded by its first call for inputs of a shape, and replayed
        by later ones, unless `compile` says otherwise."""
        outputs = self._replayed(x)
        return self._predict("predict_on_batch", x, ALL) if outputs is None else outputs

    def _predict(
        self,
        where: str,
        x: Any,
        batch_size: int | None,
        verbose: str | int = 0,
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        feed = self._inputs_fed(where, x, batch_size, steps)
        is_worth_recording = batch_size is ALL or feed.steps is None or feed.steps >= MANY or self._jit is True
        step = self._step("predict") if is_worth_recording else self._predict_batch
        is_built = not any(isinstance(layer, Layer) and layer.waits_for_input for _, layer in self._layers())
        usual: list[Any] = []
        found: list[list[Any]] = []
        with Switch("grad_enabled", False), self._watched(where, feed, callbacks, verbose) as hooks:
            self.stop_predicting = False
            hooks.call("on_predict_begin", {})
            for done, (inputs, _, _) in enumerate(feed.epoch()):
                hooks.call("on_predict_batch_begin", done, {})
                if found:  # those of the batch before, now that this one is on its way
                    found[-1] = [*map(to_host, found[-1])]
                shapes = [a.shape for a in leaves(inputs)]
                usual = usual or shapes
                is_usual = shapes == usual and (is_built or done > 0)  # the first may build
                outputs = step(inputs) if is_usual else self._predict_batch(inputs)
                self._note_cast(x, inputs)
                found.append([*leaves(outputs)])
                hooks.call("on_predict_batch_end", done, LazyLogs(partial(_outputs_on_host, outputs)))
                if self.stop_predicting:
                    break
            feed.end(len(found), is_whole=not self.stop_predicting)
            hooks.call("on_predict_end", {})
        return rebuild(outputs, (_joined(where, parts) for parts in zip(*found, strict=True)))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch. Returns what `evaluate` does, for this batch as it was before the step."""
        rows = self._prepare("train_on_batch", x, y, sample_weight, ALL, train=True)
        return self._on_batch(
            "train", self._weighted("train_on_batch", rows, class_weight, self._target()), return_dict
        )

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """What `evaluate` returns, for one batch."""
        return self._on_batch("test", self._prepare("test_on_batch", x, y, sample_weight, ALL), return_dict)

    def _on_batch(self, step: str, rows: Rows, return_dict: bool) -> Any:
        self._recheck()
        self._reset()
        self._take(self._step(step)(*rows))
        return self._as_asked(self._results(), return_dict)

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


def _inner(optimizer: optimizers.Optimizer | None) -> optimizers.Optimizer | None:
    """The optimizer that does the steps."""
    return optimizer.inner_optimizer if isinstance(optimizer, optimizers.LossScaleOptimizer) else optimizer


def _check_verbose(where: str, value: Any) -> None:
    if value not in ("auto", 0, 1, 2):
        raise choice(where, "verbose", value, ("auto", "0", "1", "2"))


def _check_counts(where: str, **counts: Any) -> None:
    for name, value in counts.items():
        if value is not None:
            check_integer(where, name, value, 1)


def _validated(frequency: Any) -> Callable[[int], bool]:
    """Says after which epochs, counted from 0, to validate."""
    if isinstance(frequency, (list, tuple)):
        wanted = "validation_freq to be an integer, or a list of epochs counted from 1"
        chosen = check_integers("fit", wanted, frequency)
        return lambda epoch: epoch + 1 in chosen
    every = check_integer("fit", "validation_freq", frequency, 1)
    return lambda epoch: (epoch + 1) % every == 0


def _outputs_on_host(outputs: Any) -> dict[str, Any]:
    return {"outputs": mapped(to_host, outputs)}


def _joined(where: str, parts: Sequence[Any]) -> Any:
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        expected, hint = "outputs of one shape but for their rows", "predict batches of different lengths one by one."
        raise ShapeError(message(where, expected, f"rows of shapes {' and '.join(map(str, shapes[:2]))}", hint))
    return numpy.concatenate([*map(to_host, parts)])
