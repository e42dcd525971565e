"""ProgressBar: how far `fit` is, on a terminal or in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from .base import Callback, Logs

REFRESH = 0.1
"""Seconds between two looks at the loss while an epoch runs."""


def is_terminal() -> bool:
    """Whether somebody watches; a program without a window or with a closed output has no `sys.stdout`."""
    return sys.stdout is not None and sys.stdout.isatty()


class ProgressBar(Callback):
    """On a terminal a bar with loss, metrics and the time left, and a line per finished epoch; else only these lines.

    Args:
        lines_only: True gives lines on a terminal too.
    """

    def __init__(self, lines_only: bool = False):
        self.lines_only = lines_only
        self._bar: Any = None
        self._shown = 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._started = time.perf_counter()
        if not self.lines_only and is_terminal():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            columns = [
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None, table_column=Column(max_width=40)),  # the one column that may shrink
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                TimeRemainingColumn(table_column=Column(no_wrap=True)),
                TextColumn("left  {task.fields[logs]}", markup=False),
            ]
            self._bar = Progress(*columns, auto_refresh=False, transient=True)
            self._task = self._bar.add_task("", total=self.params["epochs_left"] * self.params["steps"], logs="")
            self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._epoch_started = epoch, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._bar is None:
            return
        now = time.perf_counter()
        if now - self._shown > REFRESH:
            self._shown = now
            self._update(batch + 1, as_text(logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        took = as_time(time.perf_counter() - self._epoch_started)
        line = f"{self._title()} - {as_text(logs)} - {took}"
        if self._bar is None:
            print(line, flush=True)
            return
        console = self._bar.console
        if len(line) > console.width:
            line = f"{self._title()}  {as_short_text(logs)}  {took}"
        console.print(line, markup=False, emoji=False, highlight=False)
        # the line above has those of the validation, and the bar needs the room
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        self._update(self.params["steps"], as_text(training))

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Takes the bar off the terminal, also when an exception ends the training."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _title(self) -> str:
        return f"Epoch {self._epoch + 1}/{self.params['epochs']}"

    def _update(self, batches: int, logs: str) -> None:
        first = self.params["epochs"] - self.params["epochs_left"]
        completed = (self._epoch - first) * self.params["steps"] + batches
        self._bar.update(self._task, description=self._title(), completed=completed, logs=logs)
        self._bar.refresh()


def as_text(logs: Logs | None) -> str:
    """`loss: 0.1234 - accuracy: 0.9710`"""
    return " - ".join(f"{name}: {as_number(value)}" for name, value in (logs or {}).items())


def as_short_text(logs: Logs) -> str:
    """`loss: 0.1234 (val 0.2345)  accuracy: 0.9710 (val 0.9600)`, which fits into 80 columns."""
    parts = []
    for name, value in logs.items():
        if f"val_{name}" in logs:
            parts.append(f"{name}: {as_number(value)} (val {as_number(logs[f'val_{name}'])})")
        elif not (name.startswith("val_") and name[4:] in logs):
            parts.append(f"{name}: {as_number(value)}")
    return "  ".join(parts)


def as_number(value: Any) -> str:
    """`0.1234`; `2.35e+19` and `1.20e-05` where four decimals would be too long or show nothing. Of an array up to six
    numbers are shown, of a larger one its shape."""
    if getattr(value, "ndim", 0):
        shown = (
            " ".join(map(as_number, value.tolist())) if value.ndim == 1 and value.size <= 6 else f"array {value.shape}"
        )
        return f"[{shown}]"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def as_time(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"
