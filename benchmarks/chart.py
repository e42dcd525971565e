"""The chart of the training rows and of `scaling`, from a JSON file: `python -m benchmarks.chart in.json out.png`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import figures
from .peers import OURS, PEERS, REFERENCE
from .report import MIB, MILLION, in_row
from .training import Record

COLOURS = ("#000000", "#0072B2", "#56B4E9", "#D55E00", "#7F7F7F", "#E69F00", "#009E73", "#CC79A7", "#B8A800", "#882255")
"""Okabe and Ito's, which colour-blind people can tell apart, the yellow darker, with a grey and a purple; each with its
own marker besides."""
MARKERS = ("o", "s", "D", "^", "<", "v", "P", "X", "*", "p")

Points = Callable[[Record, str], Sequence[float | None]]
"""The values of a framework in a row: one that is drawn full, and one that is drawn hollow."""


def draw(found: Record, path: Path) -> None:
    """Draws what `python -m benchmarks --json` wrote."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    machine, grown = found["machine"], growths(found)
    count = 3 * ("training" in found) + bool(grown)
    figure = Figure(figsize=(13, 1 + 4 * count), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(count, 2, squeeze=False)
    figure.suptitle(f"Training steps: {machine['device']}, {machine['threads']} threads, {machine['date']}")
    if "training" in found:
        beside_peers(figure, axes, found["training"])
    for place, what in zip(axes[-1] if grown else (), ("batch", "depth"), strict=False):
        place.set_title(f"Time of a step as the {what} grows, the first = 1 (dotted: linear)")
        growth(place, grown, what)
    figure.savefig(path, dpi=110)


def growths(found: Record) -> list[Record]:
    """The lines of the row `scaling`."""
    return [line for table in found["tables"] if table["title"] == "scaling" for line in table["lines"]]


def beside_peers(figure: Any, axes: Any, training: Record) -> None:
    """Six pictures of the training rows."""
    records, best = training["rows"], training["best calibration"]
    names = [entry["name"] for entry in training["frameworks"]]
    base = REFERENCE if REFERENCE in names else names[0]

    def relative(record: Record, name: str) -> list[Any]:
        values = figures.ratios(record, best, in_row(record, "step"), name, base)
        return [figures.median(values), figures.interval(values)]

    def share(record: Record, name: str) -> list[Any]:
        return [figures.share(record, best, part, name) for part in (in_row(record, "step"), "forward")]

    def fact(*keys: str, scale: float) -> Points:
        return lambda record, name: [
            None if (value := record["frameworks"].get(name, {}).get(key)) is None else value / scale for key in keys
        ]

    large = [record for record in records if record["operations"]["forward"] >= MILLION]
    dots(axes[0, 0], f"Time of a step, {base} = 1, with 95 % intervals", records, names, relative, errors=True)
    axes[0, 0].axhline(1.0, color="0.5", linewidth=0.8)
    dots(axes[0, 1], "Share of sgemm's GFLOP/s: step (hollow: forward)", large, names, share, log=False)
    axes[0, 1].axhline(1.0, color="0.5", linewidth=0.8)
    memory = fact("peak bytes", "resident bytes", scale=MIB)
    dots(axes[1, 0], "MiB: tensors at their peak (hollow: resident)", records, names, memory)
    first = fact("first warm", "first cold", scale=1.0)
    dots(axes[1, 1], "Seconds of the first call, caches full (hollow: empty)", records, names, first)
    for place, title, key, scale in (
        (axes[2, 0], "Milliseconds of the import", "import", 1e-3),
        (axes[2, 1], "Installed MiB, with all dependencies", "installed", MIB),
    ):
        values = [(entry[key] or 0.0) / scale for entry in training["frameworks"]]
        bars = place.barh(range(len(names)), values, color=[style(name)[0] for name in names])
        place.bar_label(bars, fmt="%.0f", padding=3)
        place.set_yticks(range(len(names)), names)
        place.invert_yaxis()
        place.margins(x=0.12)
        place.set_title(title)
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names))


def dots(
    axes: Any,
    title: str,
    records: Sequence[Record],
    names: Sequence[str],
    points: Points,
    log: bool = True,
    errors: bool = False,
) -> None:
    """A group of dots per row, one per framework: full for the first value, hollow for the second, or a bar from
    the lower to the upper limit."""
    for i, name in enumerate(names):
        colour, marker = style(name)
        offset = (i - (len(names) - 1) / 2) * 0.8 / len(names)
        for position, record in enumerate(records):
            first, second = points(record, name)
            at = position + offset
            if errors and second:
                axes.plot([at, at], second, color=colour, linewidth=2)
            elif second is not None:
                axes.plot(at, second, marker, markeredgecolor=colour, markerfacecolor="none")
            if first is not None:
                axes.plot(at, first, marker, color=colour)
        axes.plot([], [], marker, color=colour, label=name)
    crowded = {"rotation": 30, "ha": "right"} if len(records) > 8 else {}
    axes.set_xticks(range(len(records)), [record["row"] for record in records], **crowded)
    for position in range(1, len(records)):
        axes.axvline(position - 0.5, color="0.85", linewidth=0.8)
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0.0)


def growth(axes: Any, lines: Sequence[Record], what: str) -> None:
    """A line for each network, of the times beside that of the first size."""
    networks = dict.fromkeys(line["what"] for line in lines if line["what"].endswith(what))
    for number, name in enumerate(networks):
        points = [(line["size"], line["ms"]) for line in lines if line["what"] == name]
        sizes = [size / points[0][0] for size, _ in points]
        look = {"marker": MARKERS[3 * number], "color": COLOURS[3 * number], "label": name.split(",")[0]}
        axes.plot(sizes, [ms / points[0][1] for _, ms in points], **look)
        axes.plot(sizes, sizes, ":", color="0.5")
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("log", base=2)
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"{what}, the first = 1")
    axes.legend()
    axes.grid(alpha=0.3)


def style(name: str) -> tuple[str, str]:
    number = [*OURS, *PEERS].index(name)
    return COLOURS[number], MARKERS[number]


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
