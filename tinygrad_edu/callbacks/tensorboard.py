"""TensorBoard: logs, weights and the summary of the model as event files."""

from __future__ import annotations

import itertools
import math
import os
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from ..errors import check_bool, check_integer, choice, message
from ..files import check_writable
from .base import Callback, Logs
from .monitor import as_plain, unwatched


class TensorBoard(Callback):
    """Writes what TensorBoard shows: `tensorboard --logdir logs`. Needs the package tensorboardX, no TensorFlow.

    The names are Keras's: "epoch_loss" and so on in the folders train and validation, by epoch; "epoch_learning_rate";
    "evaluation_loss_vs_iterations" by the optimizer's steps; "batch_loss" by batch. All is on disk at the end of each
    epoch.

    Args:
        log_dir: the folder.
        histogram_freq: epochs from one histogram of each weight to the next; 0 writes none.
        write_graph: whether to write the model's summary, as a text.
        write_steps_per_second: whether to write how many batches a second there were.
        update_freq: "epoch", "batch", or a number of batches: how often losses and metrics are written besides.

    Keras's other arguments (write_images, profile_batch, embeddings_freq, embeddings_metadata) are left out. Raises
    ImportError if tensorboardX is missing, OSError when the training begins if the folder cannot be written.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        *,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
    ):
        self.where = type(self).__name__
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = check_integer(self.where, "histogram_freq", histogram_freq, 0)
        self.write_graph = check_bool(self.where, "write_graph", write_graph)
        self.write_steps_per_second = check_bool(self.where, "write_steps_per_second", write_steps_per_second)
        if isinstance(update_freq, str) and update_freq not in ("epoch", "batch"):
            raise choice(self.where, "update_freq", update_freq, ("epoch", "batch", "a number of batches"))
        once = 1 if update_freq == "batch" else update_freq
        self.update_freq: Any = once if once == "epoch" else check_integer(self.where, "update_freq", once, 1)
        if self.update_freq == "epoch":
            unwatched(self, "on_train_batch_end")
        self._package()
        self._writers: dict[str, Writer] = {}
        self._batches = 0

    @staticmethod
    def _package() -> Any:
        try:
            import tensorboardX
        except ImportError as error:
            hint = "pip install 'tinygrad-edu[tensorboard]'"
            raise ImportError(message("TensorBoard", "the package tensorboardX", "none", hint)) from error
        return tensorboardX

    def _write(self, folder: str, summary: Any, step: int) -> None:
        if folder not in self._writers:
            self._writers[folder] = Writer(Path(self.log_dir) / folder)
        self._writers[folder].write(summary, step)

    def _scalars(self, folder: str, values: Mapping[str, Any], name: str, step: int) -> None:
        scalar = self._package().summary.scalar
        for key, value in values.items():
            several = numpy.ravel(as_plain(value))
            for i, number in enumerate(several):
                tag = name.format(key) if len(several) == 1 else f"{name.format(key)}_{i}"
                self._write(folder, scalar(tag, float(number)), step)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()  # what an interrupted training left
        check_writable(self.where, Path(self.log_dir) / "train" / "events")
        self._batches = 0
        if self.write_graph:
            lines: list[str] = []
            self.model.summary(print_fn=lines.append)
            indented = "".join(f"    {line}\n" for text in lines for line in text.splitlines())  # code in Markdown
            self._write("train", self._package().summary.text("model", indented), 0)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_began, self._batches_before = time.perf_counter(), self._batches

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        self._batch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._batches % self.update_freq == 0:
            found = dict(logs or {})  # waits for the device
            if self.write_steps_per_second:
                found["steps_per_second"] = per_second(1, self._batch_began)
            self._scalars("train", found, "batch_{}", self._batches)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if self.model.optimizer is not None:
            steps = self.model.optimizer.iterations
            self._scalars("validation", logs or {}, "evaluation_{}_vs_iterations", steps)
            self._flush()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        if self.model.optimizer is not None:
            training["learning_rate"] = self.model.optimizer.learning_rate
        if self.write_steps_per_second:
            training["steps_per_second"] = per_second(self._batches - self._batches_before, self._epoch_began)
        self._scalars("train", training, "epoch_{}", epoch)
        validation = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        self._scalars("validation", validation, "epoch_{}", epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._histograms(epoch)
        self._flush()

    def _histograms(self, epoch: int) -> None:
        histogram = self._package().summary.histogram
        names = {f"layers.{i}": str(layer.name) for i, layer in enumerate(self.model.layers)}
        for name, array in self.model.state_dict().items():
            prefix = ".".join(name.split(".")[:2])
            path = names.get(prefix, prefix) + name.removeprefix(prefix).replace(".", "/")
            tag = "/".join(filter(None, [self.model.name, path, "histogram"]))
            finite = array[numpy.isfinite(array)]  # others have no place in a histogram
            if finite.size:
                self._write("train", histogram(tag, finite, bins=30), epoch)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        self._batches = values["batches"]


class Writer:
    """An event file, written in this thread; closed when nobody holds it any more, too."""

    def __init__(self, folder: Path):
        from tensorboardX import RecordWriter
        from tensorboardX.proto import event_pb2

        folder.mkdir(parents=True, exist_ok=True)
        base = folder / f"events.out.tfevents.{int(time.time())}.{os.getpid()}"
        path = next(path for i in itertools.count() if not (path := base.with_name(f"{base.name}.{i}")).exists())
        self._event = event_pb2.Event
        self._records = RecordWriter(str(path))
        self.close = weakref.finalize(self, self._records.close)
        self._records.write(self._event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def write(self, summary: Any, step: int) -> None:
        event = self._event(wall_time=time.time(), step=step, summary=summary)
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        self._records.flush()


def per_second(count: int, began: float) -> float:
    took = time.perf_counter() - began
    return count / took if took > 0 else math.inf
