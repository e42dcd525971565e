"""summary: a model as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ..autograd import Tensor
from ..callbacks.progress import is_terminal
from ..layers import InputLayer, Layer, Symbol
from ..tree import leaves

HEADINGS = ("Layer (type)", "Output shape", "Parameters", "Memory", "Per row", "Connected to")
NUMBERS = range(2, 5)
"""The columns that are aligned on the right."""
UNKNOWN = "?"


def print_summary(model: Any, print_fn: Callable[[str], Any] | None = None) -> None:
    """Prints the table: with lines on a terminal, else as plain text, or through `print_fn`."""
    title = f"Model: {model.name or type(model).__name__}"
    rows = table(model)
    headings = HEADINGS[: len(rows[0]) if rows else -1]
    if print_fn is None and is_terminal():
        _draw(title, headings, rows, totals(model))
        return
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    lines = []
    for row in (headings, *rows):
        cells = enumerate(zip(row, widths, strict=True))
        lines.append("  ".join(f"{cell:>{w}}" if i in NUMBERS else f"{cell:<{w}}" for i, (cell, w) in cells))
    rule = "-" * max(len(line.rstrip()) for line in lines)
    text = [title, rule, lines[0], rule, *lines[1:], rule, totals(model)]
    (print_fn or print)("\n".join(line.rstrip() for line in text))


def _draw(title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]], total: str) -> None:
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, caption=total, caption_justify="left")
    for i, heading in enumerate(headings):
        drawn.add_column(heading, justify="right" if i in NUMBERS else "left", no_wrap=i in NUMBERS, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    Console(markup=False, emoji=False, highlight=False).print(drawn)  # names are not markup


def table(model: Any) -> list[tuple[str, ...]]:
    """A row per layer: name and type, output shape, number of parameters and buffers, their bytes, the bytes of the
    outputs for one row of inputs, and in a functional model the layers that the inputs come from; "?" for what is not
    known yet."""
    rows: list[tuple[str, ...]] = []
    held = {id(member): name for name, member in model._members()}
    for i, layer in enumerate(model.layers):
        calls = _calls(model, layer, i)
        shapes = dict.fromkeys(str(symbol.shape) for call in calls for symbol in call)
        built = layer.built or isinstance(layer, InputLayer)
        row = (
            f"{layer.name or held.get(id(layer), '-')} ({type(layer).__name__})",
            ", ".join(shapes) or UNKNOWN,
            f"{layer.count_params():,}" if built else UNKNOWN,
            in_bytes(_size(layer.weights)) if built else UNKNOWN,
            in_bytes(_per_row(symbol for call in calls for symbol in call)) if calls else UNKNOWN,
        )
        rows.append(row if model.graph is None else (*row, _sources(model, layer)))
    return rows


def totals(model: Any) -> str:
    """Numbers of parameters by kind, and the memory that they and the outputs take."""
    if not model.built:
        return "Not built yet: call the model, or give its first layer an input_shape."
    trainable = sum(t.size for t in model.trainable_weights)
    frozen = sum(t.size for t in model.parameters()) - trainable
    buffers = sum(t.size for _, t in model.named_buffers())
    outputs = [symbol for i, layer in enumerate(model.layers) for call in _calls(model, layer, i) for symbol in call]
    per_row = f", {in_bytes(_per_row(outputs))} of outputs per row" if outputs else ""
    return (
        f"Parameters: {model.count_params():,} (trainable {trainable:,}, frozen {frozen:,}, buffers {buffers:,})\n"
        f"Memory: {in_bytes(_size(model.weights))} of parameters{per_row}"
    )


def _calls(model: Any, layer: Layer, number: int) -> list[list[Symbol]]:
    """The outputs of each call of a layer in the model, as far as they are known."""
    if model.graph is not None:
        if isinstance(layer, InputLayer):
            inputs = zip(model.inputs, model.graph.input_layers, strict=True)
            return [[symbol] for symbol, own in inputs if own is layer]
        return [list(leaves(node.outputs)) for node in model.graph.nodes if node.layer is layer]
    symbols = getattr(model, "symbols", [])
    return [[*leaves(symbols[number + 1])]] if number + 1 < len(symbols) else []


def _sources(model: Any, layer: Layer) -> str:
    """The layers that the inputs of a layer come from; "; " stands between several calls."""
    calls = [node.inputs for node in model.graph.nodes if node.layer is layer]
    names = [", ".join(str(source.name) for source in model.graph.layers_of(inputs)) for inputs in calls]
    return "; ".join(names) or "-"


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(t.data.nbytes for t in tensors)


def _per_row(symbols: Iterable[Symbol]) -> int | None:
    """The bytes of these outputs for one row of inputs; None if a length is not known."""
    total = 0
    for symbol in symbols:
        if None in symbol.shape[1:]:
            return None
        total += math.prod(n or 1 for n in symbol.shape[1:]) * symbol.dtype.itemsize
    return total


def in_bytes(count: int | None) -> str:
    """A number of bytes to be read by people.

    >>> in_bytes(20), in_bytes(6200), in_bytes(None)
    ('20 B', '6.1 KiB', '?')
    """
    if count is None:
        return UNKNOWN
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
