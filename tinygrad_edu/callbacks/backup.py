"""BackupAndRestore: a training that was killed goes on, and ends as if nothing had been."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import types
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import to_device, to_host
from ..errors import check_bool, check_names, message
from ..files import read_weights, write_weights
from ..optimizers import Optimizer
from ..tree import leaves
from .base import Callback, Logs
from .checkpoints import check_frequency
from .monitor import unwatched
from .resumption import Progress

ARRAY = "array of the file"
"""The key that stands in the JSON for an array, with its name."""


class BackupAndRestore(Callback):
    """Keeps all that a training needs to go on, and goes on with it when `fit` is called again after it was killed.

    Weights, history and the rest end bit for bit as those of a training that was never interrupted, if the program,
    its data and the machine are the same. It is called before the other callbacks, wherever it stands in the list.

    Args:
        backup_dir: a folder for this training alone; made if it is missing.
        save_freq: "epoch", or a number of batches. What was done since then is done again.
        double_checkpoint: whether to keep the backup before the last one too, which is used, with a warning, if the
            last one cannot be read.
        delete_checkpoint: whether the backup is deleted when `fit` ends; else a `fit` of more epochs goes on with it.

    The file holds weights, buffers, the state of optimizers, metrics and other callbacks (their `state_dict`), the
    history, the state of the package's random numbers, and how far the training was; random numbers of NumPy or Python
    are not in it. Data with a seed of their own are to be made anew, for they count their passes; an order that is
    drawn once (`reshuffle_each_iteration=False`) needs a seed. Validation data with a seed of their own draw from their
    first pass again. The file is written as a whole or not at all, and has a checksum. Raises ValueError for one that
    is damaged, or of another model; delete it to begin anew.
    """

    is_first = True

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        self.where = type(self).__name__
        if not os.fspath(backup_dir):
            raise ValueError(message(self.where, "backup_dir to be the path of a folder", repr(backup_dir)))
        self.backup_dir = Path(os.fspath(backup_dir))
        self.save_freq = check_frequency(self.where, "save_freq", save_freq)
        self.double_checkpoint = check_bool(self.where, "double_checkpoint", double_checkpoint)
        self.delete_checkpoint = check_bool(self.where, "delete_checkpoint", delete_checkpoint)
        self._path, self._next, self._previous = (
            self.backup_dir / f"{name}.safetensors" for name in ("backup", "next", "previous")
        )
        self._others: list[Callback] = []
        self._found: dict[str, Any] | None = None
        self._epoch: int | None = None
        if self.save_freq == "epoch":
            unwatched(self, "on_train_batch_end")

    def set_callbacks(self, callbacks: Sequence[Callback]) -> None:
        self._others = [callback for callback in callbacks if callback is not self]

    # When

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches, self._epoch = 0, None
        self._found = self._read()
        if self._found is not None:
            self._check(self._found)
            self._restore(self._found)
            self.model.progress = types.SimpleNamespace(**self._found["progress"])

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        first, self._epoch = self._epoch is None, epoch
        if self._found is not None and not self._found["progress"]["batch"]:
            self._restore_last(self._found)
        elif not first and self.save_freq == "epoch":
            self._save(self.model.progress)

    def _begin(self, *arguments: Any) -> None:
        if self._found is not None:
            self._restore_last(self._found)

    # whichever comes first; the last two where no batch of the epoch is left
    on_train_batch_begin = on_test_begin = on_epoch_end = _begin  # type: ignore[assignment]

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches == self.save_freq:
            self._save(self.model.progress)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._begin()  # if nothing was left to do
        if not self.delete_checkpoint:
            self._save(self.model.progress)
            return
        for path in (self._path, self._next, self._previous):
            path.unlink(missing_ok=True)
        if self.backup_dir.is_dir() and not any(self.backup_dir.iterdir()):
            self.backup_dir.rmdir()

    # What

    def _save(self, progress: Progress) -> None:
        self._batches = 0
        content = {
            "progress": dataclasses.asdict(progress),
            "steps": self.params["steps"],
            "model": {name: to_host(t.data) for name, t in self._tensors()},
            "optimizers": [[type(one).__name__, one.state_dict()] for one in self._optimizers()],
            "metrics": [metric.name for metric in self.model.metrics],
            "callbacks": [[type(one).__name__, state] for one in self._others if (state := one.state_dict())],
        }
        arrays: dict[str, Any] = {}
        text = json.dumps(packed(self.where, content, "", arrays))
        to = self._next if self.double_checkpoint else self._path
        write_weights(arrays, to, {"backup": text, "checksum": checksum(text, arrays)})
        if self.double_checkpoint:
            if self._path.exists():
                os.replace(self._path, self._previous)
            os.replace(self._next, self._path)

    def _read(self) -> dict[str, Any] | None:
        """What the backup holds; None if there is none."""
        try:
            if self._path.exists():
                return self._content(self._path)
        except ValueError as error:
            if not self._previous.exists():
                raise
            warnings.warn(f"{error} The backup before it is used.", stacklevel=2)
        return self._content(self._previous) if self._previous.exists() else None

    def _content(self, path: Path) -> dict[str, Any]:
        hint = "delete it to begin anew."
        try:
            arrays, metadata = read_weights(path)
        except ValueError as error:
            raise ValueError(message(self.where, "a whole backup", str(error).rstrip("."), hint)) from None
        if "backup" not in metadata:
            raise ValueError(message(self.where, "a backup", f"{str(path)!r}, which holds something else", hint))
        if metadata.get("checksum") != checksum(metadata["backup"], arrays):
            raise ValueError(message(self.where, "a whole backup", f"{str(path)!r}, which is damaged", hint))
        return unpacked(json.loads(metadata["backup"]), arrays)

    def _check(self, content: Mapping[str, Any]) -> None:
        """Raises ValueError if the backup is not one of this training."""
        hint = f"{str(self.backup_dir)!r} is of another training; delete it to begin anew."
        shapes = ({name: t.shape for name, t in self._tensors()}, {n: a.shape for n, a in content["model"].items()})
        check_names(f"{self.where}: {self.model.where}", *shapes, hint=hint)
        kinds = [type(one).__name__ for one in self._optimizers()]
        saved = [name for name, _ in content["optimizers"]]
        if kinds != saved:
            raise ValueError(message(self.where, f"a backup with {', '.join(kinds)}", ", ".join(saved), hint))
        names, steps = [metric.name for metric in self.model.metrics], self.params["steps"]
        if content["progress"]["batch"] and (names, steps) != (content["metrics"], content["steps"]):
            expected = f"a backup with {steps} batches an epoch and the metrics {', '.join(names)}"
            found = f"{content['steps']} and {', '.join(content['metrics'])}"
            raise ValueError(message(self.where, expected, found, hint))

    def _restore_last(self, content: dict[str, Any]) -> None:
        """Restores again: other callbacks began to change what was restored when the training began."""
        self._restore(content)
        self._found = None

    def _restore(self, content: Mapping[str, Any]) -> None:
        for optimizer, (_, state) in zip(self._optimizers(), content["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        for name, t in self._tensors():
            t.assign_(to_device(content["model"][name], t.device))
        self._restore_callbacks(content["callbacks"])

    def _restore_callbacks(self, saved: Sequence[tuple[str, Any]]) -> None:
        own: dict[str, Any] = collections.defaultdict(list)
        for callback in self._others:
            own[type(callback).__name__].append(callback)
        for kind, state in saved:
            if own[kind]:
                own[kind].pop(0).load_state_dict(state)
            elif self._epoch is None:  # said once
                warnings.warn(f"{self.where}: the backup holds the state of a {kind}, which is missing", stacklevel=2)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights, buffers, and what layers keep from batch to batch."""
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()

    def _optimizers(self) -> list[Optimizer]:
        """The model's optimizer, and those that attributes hold."""
        held = [value for value in leaves(vars(self.model)) if isinstance(value, Optimizer)]
        return list({id(optimizer): optimizer for optimizer in held}.values())


def packed(where: str, value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """`value` as JSON takes it: each array moves to `arrays`, under a name that its place gives."""
    if isinstance(value, Mapping):
        return {str(key): packed(where, item, f"{name}.{key}".strip("."), arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(where, item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, Tensor) or hasattr(value, "dtype"):
        while name in arrays:
            name += "'"
        arrays[name] = to_host(value.data if isinstance(value, Tensor) else value)
        return {ARRAY: name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    expected = "states of numbers, texts, None, arrays, lists and dicts"
    raise TypeError(message(where, expected, f"{type(value).__name__} as {name}"))


def unpacked(value: Any, arrays: Mapping[str, Any]) -> Any:
    """What `packed` was given; tuples are lists."""
    if isinstance(value, list):
        return [unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    return arrays[value[ARRAY]] if ARRAY in value else {key: unpacked(item, arrays) for key, item in value.items()}


def checksum(text: str, arrays: Mapping[str, Any]) -> str:
    """The CRC-32 of a text and the arrays."""
    value = zlib.crc32(text.encode())
    for _, array in sorted(arrays.items()):
        value = zlib.crc32(numpy.ascontiguousarray(array).reshape(-1).view("uint8").data, value)
    return f"{value:08x}"
