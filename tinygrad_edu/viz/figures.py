"""Figures that need no screen, and the axes that the pictures are drawn into."""

from __future__ import annotations

import functools
import io
from typing import Any

from ..errors import check_integer, message
from .colors import CLASSES


def subplots(rows: int = 1, columns: int = 1, figsize: tuple[float, float] | None = None) -> tuple[Any, Any]:
    """A figure and its axes, as those of `matplotlib.pyplot.subplots`: one, or an array of them.

    `figsize` is in inches. Curves that are plotted into the axes have this module's colors. The figure needs no screen
    and no `close`; `figure.savefig(path)` writes it, and a notebook shows it as the last line of a cell. Raises
    ImportError without matplotlib.

    >>> import tinygrad_edu as tg
    >>> figure, (left, right) = tg.viz.subplots(1, 2)
    """
    rows, columns = (check_integer("subplots", *pair, 1) for pair in (("rows", rows), ("columns", columns)))
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("viz needs matplotlib: pip install 'tinygrad-edu[viz]'") from error
    figure: Any = Figure(figsize=figsize or (4.5 * columns + 1, 4.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure._repr_png_ = functools.partial(_png, figure)  # pyplot would teach notebooks to show figures
    axes = figure.subplots(rows, columns)
    for ax in figure.axes:
        ax.set_prop_cycle(color=CLASSES)
    return figure, axes


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def axes_for(where: str, ax: Any, figsize: tuple[float, float] | None = None) -> Any:
    """`ax`, if it is an Axes of matplotlib, else TypeError; for None the axes of a new figure."""
    if ax is None:
        return subplots(figsize=figsize)[1]
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        shape = getattr(ax, "shape", (len(ax),) if isinstance(ax, (list, tuple)) else ())
        found = f"an array of axes of shape {shape}" if shape else repr(ax)
        hint = f"pass one of them, such as ax=axes[{', '.join('0' * len(shape))}]." if shape else ""
        raise TypeError(message(where, "ax to be one Axes of matplotlib", found, hint))
    return ax


def column_points(ax: Any, columns: int) -> float:
    """The width of one of so many columns in points, of which an inch has 72 and a letter about 6."""
    return float(72 * ax.get_window_extent().width / ax.figure.dpi / columns)


def tidy(ax: Any) -> None:
    """Leaves away the upper and right line of the frame and puts a faint grid behind the curves."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.set_axisbelow(True)
