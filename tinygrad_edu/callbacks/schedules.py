"""Callbacks that change the learning rate from epoch to epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import check_integer, check_number, message
from .base import Callback, Logs
from .monitor import Monitor, as_plain, check_verbose


def optimizer_of(callback: Callback) -> Any:
    """The optimizer of the model in training. Raises ValueError if the model has none."""
    if callback.model.optimizer is None:
        hint = "set the rates of optimizers of your own in a callback of your own."
        raise ValueError(message(type(callback).__name__, "a model compiled with an optimizer", "one without", hint))
    return callback.model.optimizer


def check_settable(callback: Callback) -> None:
    """Raises TypeError if a schedule of the optimizer gives the learning rate, which is to be set."""
    schedule = optimizer_of(callback)._schedule
    if schedule is not None:
        hint = "make the optimizer with a number."
        expected = "an optimizer whose learning_rate is a number, to change it"
        raise TypeError(message(type(callback).__name__, expected, repr(schedule), hint))


def log_rate(callback: Callback, logs: Logs | None) -> None:
    """Adds "learning_rate" to the logs, for the callbacks that come after, and the history."""
    if isinstance(logs, dict):
        logs["learning_rate"] = float(optimizer_of(callback).learning_rate)


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch, and adds "learning_rate" to its logs.

    Args:
        schedule: a function of (epoch, learning_rate), or of (epoch) alone, that returns the new learning rate; epochs
            count from 0.
        verbose: 1 prints each rate.

    Raises ValueError or TypeError if the function returns no number of at least 0, TypeError when the training begins
    if the optimizer has a schedule.

    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    >>> model.compile(tg.optimizers.SGD(learning_rate=0.5), "mse")
    >>> halve = tg.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    >>> model.fit([[1.0, 2.0]], [3.0], epochs=3, callbacks=[halve], verbose=0).history["learning_rate"]
    [0.5, 0.25, 0.125]
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0):
        if not callable(schedule):
            expected = "schedule to be a function of (epoch, learning_rate) or of (epoch)"
            raise TypeError(message("LearningRateScheduler", expected, repr(schedule)))
        self.schedule = schedule
        self.verbose = check_verbose("LearningRateScheduler", verbose)
        self._takes_rate = _takes_two(schedule)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_settable(self)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = optimizer_of(self)
        arguments = (epoch, float(optimizer.learning_rate)) if self._takes_rate else (epoch,)
        rate = as_plain(self.schedule(*arguments))
        wanted = "of at least 0"
        optimizer.learning_rate = check_number("LearningRateScheduler", "a rate", rate, wanted, lambda v: v >= 0)
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        log_rate(self, logs)


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(0, 0.1)
    except TypeError:
        return False
    except ValueError:  # a built-in function tells nothing
        return True
    return True


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` after `patience` epochs without an improvement, and adds
    "learning_rate", as it was in the epoch, to its logs.

    Args:
        monitor: the name of a number in the logs.
        factor: what the rate is multiplied by, below 1.
        patience: epochs without an improvement before that.
        verbose: 1 prints each new rate.
        mode: "min", "max", or "auto": which of both the metric says.
        min_delta: a change of no more than this is no improvement.
        cooldown: epochs after a reduction that do not count as without an improvement.
        min_lr: the least rate.

    NaN is no improvement. Raises ValueError at the end of the first epoch if the logs lack `monitor`, and when the
    training begins if mode="auto" cannot tell what is better; TypeError then if the optimizer has a schedule.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = check_number(self.where, "factor", factor, "in [0, 1)", lambda v: 0 <= v < 1)
        self.patience = check_integer(self.where, "patience", patience, 0)
        self.verbose = check_verbose(self.where, verbose)
        self.cooldown = check_integer(self.where, "cooldown", cooldown, 0)
        self.min_lr = check_number(self.where, "min_lr", min_lr, "of at least 0", lambda v: v >= 0)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_settable(self)
        self._reset()
        self._rises()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        log_rate(self, logs)
        value = self.watched(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        optimizer = optimizer_of(self)
        if float(optimizer.learning_rate) > self.min_lr:
            optimizer.learning_rate = max(float(optimizer.learning_rate) * self.factor, self.min_lr)
            self.cooldown_counter, self.wait = self.cooldown, 0
            if self.verbose:
                rate = float(optimizer.learning_rate)
                print(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")

    def in_cooldown(self) -> bool:
        """Whether a reduction was so recent that epochs do not count."""
        return self.cooldown_counter > 0

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "wait", "cooldown_counter")}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)
