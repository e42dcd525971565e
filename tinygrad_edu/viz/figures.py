"""Figures that need no screen."""

from __future__ import annotations

from typing import Any


def subplots(rows: int = 1, columns: int = 1, figsize: tuple[float, float] | None = None) -> tuple[Any, Any]:
    """A figure and its axes, as those of `matplotlib.pyplot.subplots`: one, or an array of them.

    `figsize` is in inches. The figure needs no screen and no `close`; `figure.savefig(path)` writes it. Raises
    ImportError without matplotlib.

    >>> import tinygrad_edu as tg
    >>> figure, (left, right) = tg.viz.subplots(1, 2)
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("viz needs matplotlib: pip install 'tinygrad-edu[viz]'") from error
    figure = Figure(figsize=figsize or (4.5 * columns + 1, 4.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)
