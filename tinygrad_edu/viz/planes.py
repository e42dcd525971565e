"""Points, decisions and losses in the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy

from ..autograd import no_grad
from ..errors import ShapeError, message
from .colors import CLASSES, LINES, lightened, style
from .figures import axes_for, tidy
from .inputs import HostArray, class_ids, named_arrays, numbers, pairs

GRID = 200
"""Points per axis at which a model is asked for its decision."""
HEIGHTS = 80
"""Points per axis at which a function is computed, one at a time."""


def plot_points(points: Any, y: Any, ax: Any = None) -> Any:
    """Draws points (n, 2), each class in a color and marker of its own. Returns the figure.

    Args:
        points: (n, 2), such as the codes of an autoencoder.
        y: class ids (n,).
        ax: where to draw; by default a new figure.

    >>> import tinygrad_edu as tg
    >>> figure = tg.viz.plot_points([[0, 0], [0, 1], [1, 0]], [0, 1, 1])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['class 0', 'class 1']
    """
    points = pairs("plot_points", "points", points)
    y = class_ids("plot_points", "y", y, len(points))
    ax = axes_for("plot_points", ax)
    _scatter(ax, points, y)
    tidy(ax)
    return ax.figure


def _scatter(ax: Any, points: HostArray, y: HostArray) -> None:
    size = 36 if len(points) <= 500 else 16
    classes = numpy.unique(y)
    for i in classes:
        ax.scatter(
            *points[y == i].T, s=size, **style(i), edgecolors="#222222", linewidths=size / 90, label=f"class {i}"
        )
    if len(classes) <= 4:
        ax.legend(fontsize=9)
    else:  # beside the points, for there is little room between them
        ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def plot_decision_boundary(model: Any, x: Any, y: Any, ax: Any = None, threshold: float | None = None) -> Any:
    """Draws which class a model chooses where in the plane, and the points on top. Returns the figure.

    Args:
        model: a `Model`, or a function of points (n, 2) float32, whose outputs are (n,) or (n, 1), or (n, classes): a
            column per class, of which the highest wins.
        x: the points (n, 2).
        y: their class ids (n,).
        ax: where to draw; by default a new figure.
        threshold: above which one column means class 1; by default 0.5, for probabilities. Raw scores (logits,
            w @ x + b) change class at 0.

    Raises ShapeError for outputs of another shape, ValueError for one column outside of [0, 1] without a threshold.

    >>> import tinygrad_edu as tg
    >>> points, y = [[0, 1], [1, 0]], [0, 1]
    >>> figure = tg.viz.plot_decision_boundary(lambda p: p[:, 0] - p[:, 1], points, y, threshold=0)
    """
    where = "plot_decision_boundary"
    x = pairs(where, "x", x)
    y = class_ids(where, "y", y, len(x))
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.12 * numpy.where(high > low, high - low, 1.0)
    sides = [numpy.linspace(a, b, GRID) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = numpy.stack(numpy.meshgrid(*sides), axis=-1).reshape(-1, 2).astype("float32")
    scores = _scores(where, model, grid)
    classes = max(2, scores.shape[1])
    if y.max() >= classes:
        raise ValueError(message(where, f"class ids below {classes}, the number of outputs", f"{y.max()}"))
    ax = axes_for(where, ax, (5.5, 4.4))
    for i, lead in enumerate(_leads(where, scores, threshold)):
        lead = lead.reshape(GRID, GRID)
        if lead.max() > 0:  # chosen somewhere
            color = lightened(CLASSES[i % len(CLASSES)], 0.72)
            ax.contourf(*sides, lead, levels=[0, lead.max()], colors=[color])
            if lead.min() < 0:
                ax.contour(*sides, lead, levels=[0], colors="#333333", linewidths=1.2)
    _scatter(ax, x, y)
    ax.set(xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
    return ax.figure


def _scores(where: str, model: Any, grid: HostArray) -> HostArray:
    if hasattr(model, "predict"):
        outputs = model.predict(grid, batch_size=4096, verbose=0)
    elif callable(model):
        with no_grad():
            outputs = model(grid)
    else:
        raise TypeError(message(where, "model to be a Model or a function of points", type(model).__name__))
    scores = numbers(where, "outputs of the model", outputs, f"({len(grid)}, classes)", 1, 2).astype("float64")
    if len(scores) != len(grid):
        raise ShapeError(message(where, f"outputs of shape ({len(grid)}, classes)", f"shape {scores.shape}"))
    return scores.reshape(len(grid), -1)


def _leads(where: str, scores: HostArray, threshold: float | None) -> list[HostArray]:
    """By how much each class leads the next best; below 0 where it is not chosen."""
    if scores.shape[1] > 1:
        others = [numpy.delete(scores, i, axis=1).max(axis=1) for i in range(scores.shape[1])]
        return [scores[:, i] - other for i, other in enumerate(others)]
    if threshold is None:
        if scores.min() < 0 or scores.max() > 1:
            found = f"outputs from {scores.min():.3g} to {scores.max():.3g}"
            hint = "threshold=0 is right for raw scores (logits), 0.5 for a fit of the targets 0 and 1."
            raise ValueError(message(where, "probabilities, or a threshold", found, hint))
        threshold = 0.5
    return [threshold - scores[:, 0], scores[:, 0] - threshold]


def plot_surface(f: Callable[[float, float], Any], paths: Mapping[str, Any], ax: Any = None) -> Any:
    """Draws a function of two numbers as contours and paths across it, as of optimizers that descend. Returns the
    figure.

    Args:
        f: called with two floats, returns a number, or a tensor of shape ().
        paths: points (n, 2) by name; a path begins at a ring and ends at its large marker.
        ax: where to draw; by default a new figure.

    The contours lie closer together towards the minimum. Raises ValueError where f is NaN or infinite, or the same
    everywhere.

    >>> import tinygrad_edu as tg
    >>> path = [(2.0 * 0.8**step, 1.0 * 0.5**step) for step in range(9)]
    >>> figure = tg.viz.plot_surface(lambda x, y: x**2 + 3 * y**2, {"descent": path})
    """
    where = "plot_surface"
    given = named_arrays(where, "paths", paths, "{'descent': points}")
    points = {name: pairs(where, repr(name), path) for name, path in given.items()}
    everywhere = numpy.concatenate(list(points.values()))
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    margin = 0.2 * numpy.where(high > low, high - low, 1.0)
    sides = [numpy.linspace(a, b, HEIGHTS) for a, b in zip(low - margin, high + margin, strict=True)]
    if not callable(f):
        raise TypeError(message(where, "f to be a function of two numbers", type(f).__name__))
    with no_grad():
        heights = [[f(float(a), float(b)) for a in sides[0]] for b in sides[1]]
    values = numbers(where, "values of f", heights, f"{(HEIGHTS, HEIGHTS)}", 2).astype("float64")
    if values.min() == values.max():
        raise ValueError(message(where, "a function with heights and depths", f"{values.min():g} everywhere"))
    ax = axes_for(where, ax, (6.0, 4.6))
    levels = values.min() + numpy.ptp(values) * numpy.linspace(0, 1, 18) ** 2
    ax.contourf(*sides, values, levels=levels, cmap="Greys", alpha=0.55)
    ax.contour(*sides, values, levels=levels, colors="#666666", linewidths=0.5)
    for i, (name, path) in enumerate(points.items()):
        look = style(i)
        ax.plot(*path.T, **look, linestyle=LINES[i % len(LINES)], linewidth=1.5, markersize=3, label=name)
        ax.plot(*path[0], marker="o", markersize=10, markeredgecolor="black", markerfacecolor="none")
        ax.plot(*path[-1], **look, markersize=9, markeredgecolor="white")
    ax.legend(markerscale=2)
    ax.set(xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
    return ax.figure
