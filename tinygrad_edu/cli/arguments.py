"""Arguments of the command, checked, and what it prints."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from ..callbacks.progress import is_terminal


def integer(least: int) -> Any:
    """The type of an argument that is an integer of at least `least`."""

    def convert(text: str) -> int:
        value = int(text) if text.lstrip("+-").isdigit() else None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, received {text!r}")
        return value

    return convert


def rate(text: str) -> float:
    """The type of an argument that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, received {text!r}")
    return value


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """A table with lines on a terminal, plain columns elsewhere."""
    if is_terminal():
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False)
        for row in rows:
            table.add_row(*row)
        Console(markup=False, emoji=False).print(table)  # a folder's name is not markup
        return
    width = max(14, *(len(name) for name, _ in rows))
    for name, value in rows:
        print(f"{name:<{width}} {value}")
