"""Curves over the epochs, and the gradients of each layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..errors import choice, message
from .colors import SEQUENTIAL, style
from .figures import axes_for, subplots, tidy
from .inputs import HostArray, named_arrays, numbers

Curves = dict[str, tuple[list[int], HostArray]]
"""Epochs, counted from 1, and values by name."""


def plot_history(history: Any, metrics: str | Sequence[str] | None = None, ax: Any = None) -> Any:
    """Draws loss and metrics over the epochs; validation beside training. Returns the figure.

    Args:
        history: what `fit` returned, or a dict {"name": history} of several to compare.
        metrics: names such as "accuracy", which stands for `val_accuracy` too, or "val_accuracy" alone; by default all
            that hold one number per epoch.
        ax: where to draw, for one metric ("loss", if `metrics` is None); by default a new figure, a panel per metric.

    Where both are drawn, training is dashed. A value that is NaN or infinite is a gap. Raises ValueError for a metric
    that no history has.

    >>> import tinygrad_edu as tg
    >>> history = tg.callbacks.History()
    >>> for epoch in range(3):
    ...     history.on_epoch_end(epoch, {"loss": 1.0 / (epoch + 1), "val_loss": 1.2 / (epoch + 1)})
    >>> figure = tg.viz.plot_history(history)
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    several = isinstance(history, Mapping)
    curves = {str(k): _curves(h) for k, h in history.items()} if several else {"": _curves(history)}
    known = list(dict.fromkeys(name for found in curves.values() for name in found))
    chosen = _chosen(metrics, known, ax is not None)
    if ax is None:
        ax = subplots(1, len(chosen), figsize=(4.6 * len(chosen) + 0.4, 3.6))[1]
        panels = list(numpy.ravel(ax))
    else:
        panels = [axes_for("plot_history", ax)]
    for panel, metric in zip(panels, chosen, strict=True):
        if several:
            _compare(panel, metric, curves)
        else:
            _draw_one(panel, metric, curves[""])
        panel.set(xlabel="epoch", ylabel=re.sub("^val_", "validation ", metric).replace("_", " "))
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        tidy(panel)
    return panels[0].figure


def _curves(history: Any) -> Curves:
    values = getattr(history, "history", None)
    if not isinstance(values, Mapping):
        hint = "pass what fit returned, or a dict of several of these."
        raise TypeError(message("plot_history", "a History", type(history).__name__, hint))
    return {
        name: ([epoch + 1 for epoch in history.epochs[name]], numpy.array(entries, "float64"))
        for name, entries in values.items()
        if entries and not numpy.ndim(entries[0])  # a confusion matrix has no curve
    }


def _chosen(metrics: str | Sequence[str] | None, known: Sequence[str], one: bool) -> list[str]:
    """The metrics to be drawn, checked; `one` tells that there is room for one only."""
    where = "plot_history"
    if not known:
        raise ValueError(message(where, "a history with numbers", "one without", "it has some after an epoch of fit."))
    if metrics is None:
        everything = list(dict.fromkeys(name.removeprefix("val_") for name in known))
        metrics = everything if not one else "loss" if "loss" in everything else everything[0]
    chosen = [metrics] if isinstance(metrics, str) else list(metrics)
    for metric in chosen:
        if metric not in known and f"val_{metric}" not in known:
            raise choice(where, "metrics", metric, known)
    if not chosen or (one and len(chosen) > 1):
        hint = "call it once for each ax." if chosen else ""
        raise ValueError(message(where, "one metric for one ax" if one else "at least one metric", f"{chosen}", hint))
    return chosen


def _draw_one(ax: Any, metric: str, curves: Curves) -> None:
    drawn = [name for name in (metric, f"val_{metric}") if name in curves]
    for name in drawn:
        validation = name.startswith("val_")
        dashed = len(drawn) == 2 and not validation
        _line(ax, curves[name], int(validation), dashed, "validation" if validation else "training")
    if len(drawn) == 2:
        ax.legend(frameon=False)


def _compare(ax: Any, metric: str, curves: Mapping[str, Curves]) -> None:
    """A color and marker per history; training is dashed if validation is there too."""
    validated = f"val_{metric}"
    both = any(metric in found for found in curves.values()) and any(validated in found for found in curves.values())
    handles = []
    for i, (name, found) in enumerate(curves.items()):
        lines = [_line(ax, found[key], i, both and key == metric, name) for key in (metric, validated) if key in found]
        handles += lines[-1:]
    if both:
        from matplotlib.lines import Line2D

        handles += [Line2D([], [], color="gray", linestyle="--", label="training")]
        handles += [Line2D([], [], color="gray", label="validation")]
    ax.legend(handles=handles, frameon=False, fontsize=9)


def _line(ax: Any, curve: tuple[list[int], HostArray], i: int, dashed: bool, label: str) -> Any:
    epochs, values = curve
    apart = -(-len(epochs) // 10)  # at most ten markers
    (line,) = ax.plot(
        epochs,
        values,
        **style(i),
        markersize=5,
        markevery=(i * apart // 4 % apart, apart),  # not all at the same epochs
        linestyle="--" if dashed else "-",
        label=label,
    )
    return line


def plot_gradients(gradients: Mapping[str, Any], ax: Any = None) -> Any:
    """Draws how large the gradients of each layer are: a histogram of log10 |g| per layer, the first on top. Returns
    the figure.

    Args:
        gradients: arrays of any shape by name, such as {"dense": weight.grad}.
        ax: where to draw; by default a new figure.

    All have the same bins, and each is as high as the others; a line marks its median. Zeros, which have no logarithm,
    are told as a share. Gradients that vanish go to the left from layer to layer, those that explode to the right.

    >>> import numpy as np, tinygrad_edu as tg
    >>> g = np.geomspace(0.001, 0.1, 50)
    >>> figure = tg.viz.plot_gradients({"first": g * 0.01, "last": g})
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['first', 'last']
    """
    where = "plot_gradients"
    arrays = named_arrays(where, "gradients", gradients, "{'dense': layer.kernel.grad}")
    sizes = {name: abs(numbers(where, repr(name), g, "(...)").ravel().astype("float64")) for name, g in arrays.items()}
    logs = {name: numpy.log10(values[values > 0]) for name, values in sizes.items()}
    edges = _bins(numpy.concatenate(list(logs.values())))
    count = len(sizes)
    ax = axes_for(where, ax, (6.5, 1.2 + min(0.42 * count, 10.0)))
    from matplotlib import colormaps

    colors = colormaps[SEQUENTIAL](numpy.linspace(0, 0.85, count))
    for row, (name, values) in enumerate(logs.items()):
        base = count - 1 - row
        heights = numpy.histogram(values, edges)[0]
        heights = base + 0.85 * heights / max(1, heights.max())
        ax.stairs(heights, 10**edges, baseline=base, fill=True, color=colors[row], label=name)
        if values.size:
            ax.plot([10 ** numpy.median(values)] * 2, [base, base + 0.9], color="black", linewidth=1.2)
        zeros = 1 - values.size / sizes[name].size
        if zeros:
            ax.text(1.01, base + 0.3, f"{zeros:.0%} zero", fontsize=8, transform=ax.get_yaxis_transform())
    ax.set(xscale="log", xlabel="size of the gradient |g|", xlim=10 ** edges[[0, -1]], ylim=(-0.2, count + 0.1))
    ax.set_yticks(numpy.arange(count)[::-1], list(sizes))
    tidy(ax)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax.figure


def _bins(logs: HostArray) -> HostArray:
    """The edges of 60 bins around all of them."""
    low, high = (logs.min(), logs.max()) if logs.size else (-1.0, 0.0)
    margin = 0.05 * (high - low) + 0.01
    return numpy.linspace(low - margin, high + margin, 61)
