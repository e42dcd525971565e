"""summary: a model as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..callbacks.progress import is_terminal
from ..layers import Layer

HEADINGS = ("Layer (type)", "Output shape", "Parameters")


def print_summary(model: Any, print_fn: Callable[[str], Any] | None = None) -> None:
    """Prints the table: with lines on a terminal, else as plain text, or through `print_fn`."""
    title = f"Model: {model.name or type(model).__name__}"
    rows, total = table(model), totals(model)
    if print_fn is None and is_terminal():
        from rich.console import Console
        from rich.table import Table

        drawn = Table(*HEADINGS[:2], title=title, caption=total, caption_justify="left")
        drawn.add_column(HEADINGS[2], justify="right")
        for row in rows:
            drawn.add_row(*row)
        Console(markup=False, emoji=False, highlight=False).print(drawn)  # names are not markup
        return
    widths = [max(len(row[i]) for row in (HEADINGS, *rows)) for i in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}".rstrip()
        for name, shape, count in (HEADINGS, *rows)
    ]
    rule = "-" * (sum(widths) + 4)
    (print_fn or print)("\n".join([title, rule, lines[0], rule, *lines[1:], rule, total]))


def table(model: Any) -> list[tuple[str, str, str]]:
    """A row per layer: name and type, output shape, number of parameters; "?" for what is not built yet."""
    inner: list[Layer] = getattr(model, "layers", None) or [
        member for _, member in model._members() if isinstance(member, Layer)
    ]
    shapes: list[Any] = [symbol.shape for symbol in getattr(model, "symbols", [])[1:]]
    rows = []
    for i, layer in enumerate(inner):
        shape = str(shapes[i]) if i < len(shapes) else "?"
        count = f"{layer.count_params():,}" if layer.built else "?"
        rows.append((f"{layer.name or '-'} ({type(layer).__name__})", shape, count))
    return rows


def totals(model: Any) -> str:
    if not model.built:
        return "Not built yet: call the model, or give its first layer an input_shape."
    count, trainable = model.count_params(), sum(p.size for p in model.trainable_weights)
    return f"Parameters: {count:,} (trainable {trainable:,}, others {count - trainable:,})"
