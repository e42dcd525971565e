"""Progress bars: how far `fit`, `evaluate` and `predict` are, on a terminal or in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from .base import Callback, Logs
from .monitor import unwatched

REFRESH = 0.1
"""Seconds between two looks at the loss while an epoch runs."""

PATIENCE = 0.5
"""Seconds that `evaluate` and `predict` may take without a bar."""


def is_terminal() -> bool:
    """Whether somebody watches; a program without a window or with a closed output has no `sys.stdout`."""
    return sys.stdout is not None and sys.stdout.isatty()


def new_bar(total: int | None) -> tuple[Any, Any]:
    """A bar and its task, started; None where nobody watches, or another bar is there already."""
    global _is_shown
    if _is_shown or not is_terminal():
        return None, None
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, table_column=Column(max_width=40)),  # the one column that may shrink
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("left  {task.fields[logs]}", markup=False),
    ]
    bar = Progress(*columns, auto_refresh=False, transient=True)
    task = bar.add_task("", total=total, logs="")
    bar.start()
    _is_shown = True
    return bar, task


_is_shown = False


class Bar(Callback):
    """What the bars have in common: at most one of them is on the terminal."""

    _bar: Any = None
    _task: Any = None
    _shown = 0.0

    def start(self, total: int | None) -> None:
        self._bar, self._task = new_bar(total)

    def update(self, **values: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, **values)
            self._bar.refresh()

    def is_due(self) -> bool:
        """Whether the bar is to be drawn anew."""
        now = time.perf_counter()
        if self._bar is None or now - self._shown <= REFRESH:
            return False
        self._shown = now
        return True

    def close(self) -> None:
        """Takes the bar off the terminal, also when an exception ends the call."""
        global _is_shown
        if self._bar is not None:
            self._bar.stop()
            self._bar, _is_shown = None, False


class ProgressBar(Bar):
    """On a terminal a bar with loss, metrics and the time left, and a line per finished epoch; else only these lines.

    Args:
        lines_only: True gives lines on a terminal too.
    """

    def __init__(self, lines_only: bool = False):
        self.lines_only = lines_only
        self._first: int | None = None
        if lines_only or not is_terminal():  # nobody watches the batches, so they are not looked at
            unwatched(self, "on_train_batch_end")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._first = None
        if not self.lines_only:
            self.start(None)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._epoch_started = epoch, time.perf_counter()
        if self._first is None:  # known only now: another callback may make `fit` go on from a later epoch
            self._first = epoch
            steps = self.params["steps"]
            self.update(total=None if steps is None else steps * (self.params["epochs"] - epoch))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.is_due():
            self._show(batch + 1, as_text(logs))

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
        self._show(self.params["steps"] or 0, as_text(training))

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()

    def _title(self) -> str:
        return f"Epoch {self._epoch + 1}/{self.params['epochs']}"

    def _show(self, batches: int, logs: str) -> None:
        done = (self._epoch - (self._first or 0)) * (self.params["steps"] or 0)
        self.update(description=self._title(), completed=done + batches, logs=logs)


class StepBar(Bar):
    """A bar for `evaluate` and `predict` on a terminal, if they take longer than half a second."""

    def _begin(self, logs: Logs | None = None) -> None:
        self._started = time.perf_counter()
        self._tried = False

    def _end_batch(self, batch: int, logs: Any = None) -> None:
        if not self._tried and time.perf_counter() - self._started > PATIENCE:
            self._tried = True
            self.start(self.params["steps"])
        if self.is_due():
            self.update(completed=batch + 1, logs="" if "outputs" in logs else as_text(logs))

    def _end(self, logs: Logs | None = None) -> None:
        self.close()

    on_test_begin = on_predict_begin = _begin
    on_test_batch_end = on_predict_batch_end = _end_batch
    on_test_end = on_predict_end = _end


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
