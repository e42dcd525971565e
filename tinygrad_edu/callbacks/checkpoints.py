"""ModelCheckpoint: saves the model while it trains."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import check_bool, check_integer, check_number, choice, message
from ..files import check_writable
from .base import Callback, Logs
from .functions import LambdaCallback
from .monitor import Monitor, check_verbose, unwatched

SUFFIX = ".safetensors"


class ModelCheckpoint(Monitor):
    """Saves the model after each epoch, or after every so many batches; each file is written whole or not at all.

    Args:
        filepath: ends in ".safetensors"; names in braces are replaced by the epoch, counted from 1, and the logs:
            "run/{epoch:02d}-{val_loss:.2f}.safetensors". With an integer `save_freq` also {batch}, counted from 1.
        monitor: the name of a number in the logs, for `save_best_only`.
        verbose: 1 prints when a file is written.
        save_best_only: whether to save only when `monitor` becomes better. NaN never does.
        save_weights_only: whether to write what `model.load_weights` reads, else what `models.load_model` reads.
        mode: "min", "max", or "auto": which of both the metric says.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: what `monitor` must pass in the first place.

    A second `fit` goes on with the best of the first. Raises ValueError when the training begins for a name in
    `filepath` that the logs will lack, where that can be known; else when it is missed, and the model is saved first,
    under the name with that part as it stands in the braces. Raises OSError if a file cannot be written, as far as
    possible when the training begins; one that was there before stays.

    >>> import tempfile
    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = tg.callbacks.ModelCheckpoint(f"{folder}/{{epoch}}.safetensors")
    ...     history = model.fit([[1.0, 2.0]], [3.0], epochs=2, callbacks=[save], verbose=0)
    ...     sorted(os.listdir(folder))
    ['1.safetensors', '2.safetensors']
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, min_delta=0.0)
        self.filepath = check_path(self.where, filepath)
        self.verbose = check_verbose(self.where, verbose)
        self.save_best_only = check_bool(self.where, "save_best_only", save_best_only)
        self.save_weights_only = check_bool(self.where, "save_weights_only", save_weights_only)
        self.save_freq = check_frequency(self.where, "save_freq", save_freq)
        self.best = initial_value_threshold
        if self.best is not None:
            wanted = "that is finite"
            self.best = check_number(self.where, "initial_value_threshold", self.best, wanted, lambda _: True)
        self._names = names_in(self.where, self.filepath)
        if self.save_freq == "epoch":
            if "batch" in self._names:
                expected = "save_freq to be a number of batches, for a filepath with {batch}"
                raise ValueError(message(self.where, expected, "'epoch'"))
            unwatched(self, "on_train_batch_end")
        self._batches = 0
        self._logs_are_known = False

    def set_callbacks(self, callbacks: Sequence[Callback]) -> None:
        ours = [
            type(c).__module__.startswith(f"{__package__}.") and not isinstance(c, LambdaCallback) for c in callbacks
        ]
        self._logs_are_known = all(ours)  # others may add to them

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_writable(self.where, self.filepath)
        self._batches = 0
        if self.save_best_only:
            self._rises()
        if not self._logs_are_known or self.model._has_own_step("train"):
            return
        results = self.model._compiled_metrics()
        known = {"epoch", "batch", "learning_rate", *results}
        if self.params.get("validates"):
            known |= {f"val_{name}" for name in results}
        for name in self._names:
            if name not in known:
                raise choice(self.where, f"each name in filepath {self.filepath!r}", name, known)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches == self.save_freq:
            self._batches = 0
            self._save(self._epoch, {**(logs or {}), "batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, logs: Mapping[str, Any]) -> None:
        better = ""
        if self.save_best_only:
            value = self.watched(logs)
            if value is None or not self.is_better(value, self.best):
                if self.verbose and value is not None:
                    print(f"Epoch {epoch + 1}: {self.monitor} did not improve from {_short(self.best)}")
                return
            better = f"{self.monitor} improved from {_short(self.best)} to {value:.5f}, "
            self.best = value
        values = {"epoch": epoch + 1, **logs}
        missing = [name for name in self._names if name not in values]
        path = self.filepath.format_map(values | {name: _Unknown(name) for name in missing})
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose:
            print(f"Epoch {epoch + 1}: {better}model saved to {path}")
        if missing:
            wrong = choice(self.where, f"each name in filepath {self.filepath!r}", missing[0], values)
            raise ValueError(f"{wrong} The model was saved to {path!r}.")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "batches": self._batches}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        self.best, self._batches = values["best"], values["batches"]


class _Unknown(str):
    """A name that stands for its value, whatever its format asks for."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return str(self)


def _short(value: float | None) -> str:
    return "None" if value is None else f"{value:.5f}"


def check_path(where: str, path: Any) -> str:
    """The path as a text. Raises ValueError for one that does not end in ".safetensors"."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(message(where, "filepath to be a text or a path", repr(path)))
    if not text.endswith(SUFFIX):
        base = text
        for suffix in (".weights.h5", ".h5", ".keras"):
            base = base.removesuffix(suffix)
        raise ValueError(message(where, f"filepath to end in {SUFFIX!r}", repr(text), f"{base + SUFFIX!r}."))
    return text


def names_in(where: str, path: str) -> list[str]:
    """The names in braces. Raises ValueError for braces without a name, or that are not closed."""
    expected = "filepath with names in braces, such as {epoch:02d}"
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(path) if name is not None]
    except ValueError as error:
        raise ValueError(message(where, expected, f"{path!r}: {error}")) from None
    if not all(name.isidentifier() for name in names):
        raise ValueError(message(where, expected, repr(path)))
    return names


def check_frequency(where: str, name: str, value: Any) -> Any:
    """`value`, if it is "epoch" or a number of batches."""
    if isinstance(value, str):
        if value != "epoch":
            raise choice(where, name, value, ("epoch", "a number of batches"))
        return value
    return check_integer(where, name, value, 1)
