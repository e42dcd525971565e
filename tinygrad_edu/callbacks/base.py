"""Callback: a look into `fit` while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import choice, message

Logs = Mapping[str, float]


class Callback:
    """The base class: define the hooks you need and pass an object in `fit(callbacks=[...])`, or to `evaluate` and
    `predict`.

    `logs` holds the means so far ("loss", the metrics; at the end of an epoch also "val_loss" and so on).
    `self.model.stop_training = True` ends the training after the batch, `stop_evaluating` and `stop_predicting` end
    the other two.

    Attributes:
        model: the model in training.
        params: {"epochs": ..., "steps": batches per epoch, or None where nobody knows, "verbose": ...}; of `fit` also
            "validates": whether there is a validation.

    >>> import tinygrad_edu as tg
    >>> class Print(tg.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, logs["loss"])
    """

    model: Any = None
    params: Mapping[str, Any] = {}
    is_first = False
    """Whether it is called before those that are not, wherever it stands in the list; at the end of a batch after
    them."""

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def set_callbacks(self, callbacks: Sequence[Callback]) -> None:
        """Is given all callbacks of the training, in the order of their calls."""

    def state_dict(self) -> dict[str, Any]:
        """What a training needs to go on in another process: by name numbers, texts, None, arrays, or lists of them.
        `BackupAndRestore` keeps it; what can be computed again is left out."""
        return {}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned; called after `on_train_begin`, more than once."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, with its logs; not called when an exception ends the training."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before each epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After each epoch and its validation."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch. Reading `logs` waits for the device."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before `evaluate`, and before the validation of an epoch."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After `evaluate` or a validation, with its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch of `evaluate` or of a validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch of `evaluate` or of a validation. Reading `logs` waits for the device."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before `predict`."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After `predict`."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """After each batch of `predict`, with its outputs: {"outputs": ...}."""


class LazyLogs(Mapping[str, float]):
    """Logs that are computed when they are read, so that a batch waits for the device only if somebody looks."""

    def __init__(self, compute: Callable[[], dict[str, float]]):
        self._compute = compute
        self._values: dict[str, float] | None = None

    def _read(self) -> dict[str, float]:
        if self._values is None:
            self._values = self._compute()
        return self._values

    def __getitem__(self, name: str) -> float:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


class CallbackList:
    """Calls a hook of each callback, in their order."""

    def __init__(self, callbacks: Sequence[Callback], model: Any, params: Mapping[str, Any], where: str = "fit"):
        hooks = [name for name in dir(Callback) if name.startswith("on_")]
        for callback in callbacks:
            if not isinstance(callback, Callback):
                hint = f"write {callback.__name__}()." if isinstance(callback, type) else ""
                raise TypeError(message(where, "callbacks to be a list of Callback objects", repr(callback), hint))
            for name in dir(callback):
                if name.startswith("on_") and name not in hooks:
                    raise choice(where, f"the hooks of {type(callback).__name__}", name, hooks)
        callbacks = sorted(callbacks, key=lambda callback: not callback.is_first)
        self._hooks = {name: [hook for callback in callbacks for hook in _own(callback, name)] for name in hooks}
        last_first = sorted(callbacks, key=lambda callback: callback.is_first)
        name = "on_train_batch_end"
        self._hooks[name] = [hook for callback in last_first for hook in _own(callback, name)]
        for callback in callbacks:
            callback.set_model(model)
            callback.set_params(params)
            callback.set_callbacks(callbacks)

    def call(self, hook: str, *arguments: Any) -> None:
        for method in self._hooks[hook]:
            method(*arguments)

    def named(self, hook: str) -> list[Callable[..., None]]:
        """That hook of each callback that defines it."""
        return self._hooks[hook]


def _own(callback: Callback, hook: str) -> list[Callable[..., None]]:
    """The method of a callback for a hook, in a list; an empty one if it does not define it."""
    method = getattr(callback, hook)
    if getattr(method, "__func__", None) is not getattr(Callback, hook):
        return [method]
    return _own(callback, hook.replace("train_", "")) if "_train_batch_" in hook else []


class History(Callback):
    """What `fit` returns: the logs of every epoch.

    Attributes:
        history: a list per name, such as {"loss": [0.9, 0.5], "val_loss": [1.0, 0.7]}; of arrays for a metric whose
            result is one.
        epoch: the numbers of the epochs.
        epochs: those of the values of each name; fewer where `fit` did not validate after every epoch.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.epochs: dict[str, list[int]] = {}

    def set_model(self, model: Any) -> None:
        """Keeps none: the model holds its history, and a circle would keep both in memory."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self.epochs.setdefault(name, []).append(epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "epoch": self.epoch, "epochs": self.epochs}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        self.history = {name: list(numbers) for name, numbers in values["history"].items()}
        self.epoch = list(values["epoch"])
        self.epochs = {name: list(numbers) for name, numbers in values["epochs"].items()}

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"


class TerminateOnNaN(Callback):
    """Ends the training when the loss becomes NaN or infinite. Looks at every batch, so it waits for the device each
    time."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if logs is not None and not math.isfinite(logs["loss"]):
            print(f"TerminateOnNaN: the loss is {logs['loss']} at batch {batch}; the training ends")
            self.model.stop_training = True
