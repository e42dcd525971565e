"""Callback: a look into `fit` while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import choice, message

Logs = Mapping[str, float]


class Callback:
    """The base class: define the hooks you need and pass an object in `fit(callbacks=[...])`.

    `logs` holds the means so far ("loss", the metrics; at the end of an epoch also "val_loss" and so on).
    `self.model.stop_training = True` ends the training after the batch.

    Attributes:
        model: the model in training.
        params: {"epochs": ..., "steps": batches per epoch, "verbose": ...}.

    >>> import tinygrad_edu as tg
    >>> class Print(tg.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, logs["loss"])
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch; not called when an exception ends the training."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before each epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After each epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch, counted from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch. Reading `logs` waits for the device."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before the validation of an epoch."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After the validation of an epoch."""


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


class CallbackList:
    """Calls a hook of each callback, in their order."""

    def __init__(self, callbacks: Sequence[Callback], model: Any, params: Mapping[str, Any]):
        hooks = [name for name in dir(Callback) if name.startswith("on_")]
        for callback in callbacks:
            if not isinstance(callback, Callback):
                hint = f"write {callback.__name__}()." if isinstance(callback, type) else ""
                raise TypeError(message("fit", "callbacks to be a list of Callback objects", repr(callback), hint))
            for name in dir(callback):
                if name.startswith("on_") and name not in hooks:
                    raise choice("fit", f"the hooks of {type(callback).__name__}", name, hooks)
        self._hooks = {
            name: [getattr(callback, name) for callback in callbacks if _defines(callback, name)] for name in hooks
        }
        for callback in callbacks:
            callback.set_model(model)
            callback.set_params(params)

    def call(self, hook: str, *arguments: Any) -> None:
        for method in self._hooks[hook]:
            method(*arguments)

    def has(self, hook: str) -> bool:
        """Whether a callback defines a hook."""
        return bool(self._hooks[hook])


def _defines(callback: Callback, hook: str) -> bool:
    return getattr(callback, hook).__func__ is not getattr(Callback, hook) if _is_method(callback, hook) else True


def _is_method(callback: Callback, hook: str) -> bool:
    return hasattr(getattr(callback, hook), "__func__")


class History(Callback):
    """What `fit` returns: the logs of every epoch.

    Attributes:
        history: a list per name, such as {"loss": [0.9, 0.5], "val_loss": [1.0, 0.7]}; of arrays for a metric whose
            result is one.
        epoch: the numbers of the epochs.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def set_model(self, model: Any) -> None:
        """Keeps none: the model holds its history, and a circle would keep both in memory."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        return f"<History of {len(self.epoch)} epochs: {', '.join(self.history)}>"


class TerminateOnNaN(Callback):
    """Ends the training when the loss becomes NaN or infinite. Looks at every batch, so it waits for the device each
    time."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if logs is not None and not math.isfinite(logs["loss"]):
            print(f"TerminateOnNaN: the loss is {logs['loss']} at batch {batch}; the training ends")
            self.model.stop_training = True
