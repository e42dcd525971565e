"""CSVLogger: the logs of every epoch in a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import check_bool, message
from ..files import of_writer
from .base import Callback, Logs
from .monitor import as_plain

MISSING = "NA"


class CSVLogger(Callback):
    """Writes a line per epoch: its number, counted from 0, and the logs in the order of their names.

    A number that an epoch lacks is "NA"; columns for a validation are always there, for it may come in later epochs.
    The file is closed after each line.

    Args:
        filename: the file; its folder is made if it is missing.
        separator: one character between the numbers.
        append: whether to go on in a file that is there, under its header; else the first epoch overwrites it. A
            training that `BackupAndRestore` continues always goes on in it.

    Raises ValueError for logs that the header has no column for, OSError when the training begins for a file that
    cannot be written.

    >>> import tempfile
    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    >>> model.compile(tg.optimizers.SGD(learning_rate=0.0), "mse", metrics=["mae"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = tg.callbacks.CSVLogger(f"{folder}/log.csv")
    ...     history = model.fit([[0.0, 0.0]], [3.0], epochs=2, callbacks=[log], verbose=0)
    ...     print(Path(log.filename).read_text().strip())
    epoch,loss,mae,val_loss,val_mae
    0,9.0,3.0,NA,NA
    1,9.0,3.0,NA,NA
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False):
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(message("CSVLogger", "separator to be one character", repr(separator)))
        self.separator = separator
        self.append = check_bool("CSVLogger", "append", append)
        self._columns: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        import csv

        path = Path(self.filename)
        target = Path(os.path.realpath(path))
        is_new = not target.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            target.open("a").close()
        except OSError as error:
            raise of_writer("CSVLogger", path, error) from None
        if is_new:
            target.unlink()
        self._columns = []
        if self.append and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file, delimiter=self.separator), [])
            if self._columns and self._columns[0] != "epoch":
                found = f"{self.filename!r} with the columns {', '.join(self._columns)}"
                raise ValueError(message("CSVLogger", "a file of its own, whose first column is 'epoch'", found))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        values = {"epoch": epoch, **{name: as_plain(value) for name, value in (logs or {}).items()}}
        if not self._columns:
            self._columns = columns_for(values)
            self._write(self._columns, "a" if self.append else "w")
        unknown = [name for name in values if name not in self._columns]
        if unknown:
            expected = f"logs for the columns {', '.join(self._columns)} of {self.filename!r}"
            raise ValueError(message("CSVLogger", expected, ", ".join(unknown), "begin a new file."))
        self._write([values.get(name, MISSING) for name in self._columns], "a")

    def _write(self, row: list[Any], mode: str) -> None:
        import csv

        with open(self.filename, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=self.separator, lineterminator="\n").writerow(row)

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self._columns, "bytes": os.path.getsize(self.filename)} if self._columns else {}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Goes on in the file, without the lines of epochs that are done again."""
        if os.path.exists(self.filename) and os.path.getsize(self.filename) >= values["bytes"]:
            os.truncate(self.filename, values["bytes"])
            self._columns = list(values["columns"])


def columns_for(values: Mapping[str, Any]) -> list[str]:
    """The names in order, and those of a validation, which may come in a later epoch."""
    names = sorted(name for name in values if name != "epoch")
    if not any(name.startswith("val_") for name in names):
        names += [f"val_{name}" for name in names if name != "learning_rate"]
    return ["epoch", *names]
