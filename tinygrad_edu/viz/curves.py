"""Curves over the epochs, and the gradients of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..errors import ShapeError, choice, message
from .colors import SEQUENTIAL, style
from .figures import axes_for, subplots, tidy
from .inputs import HostArray, numbers

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
    named = {str(k): v for k, v in history.items()} if isinstance(history, Mapping) else {"": history}
    curves = {name: _curves(one) for name, one in named.items()}
    known = list(dict.fromkeys(name for found in curves.values() for name in found))
    if not known:
        hint = "it has one after an epoch of fit."
        raise ValueError(message("plot_history", "a history with a number per epoch", "none", hint))
    if metrics is None:
        base = list(dict.fromkeys(name.removeprefix("val_") for name in known))
        chosen = base[:1] if ax is not None and "loss" not in base else ["loss"] if ax is not None else base
    else:
        chosen = [metrics] if isinstance(metrics, str) else list(metrics)
    for metric in chosen:
        if metric not in known and f"val_{metric}" not in known:
            raise choice("plot_history", "metrics", metric, known)
    if not chosen or (ax is not None and len(chosen) > 1):
        expected = "one metric for one ax" if chosen else "at least one metric"
        raise ValueError(message("plot_history", expected, f"{chosen}", "call it for each." if chosen else ""))
    if ax is None:
        _, panels = subplots(1, len(chosen), figsize=(4.6 * len(chosen) + 0.4, 3.6))
        panels = numpy.ravel(panels)
    else:
        panels = [axes_for("plot_history", ax)]
    for axes, metric in zip(panels, chosen, strict=True):
        _draw_metric(axes, metric, curves)
    return panels[0].figure


def _curves(history: Any) -> Curves:
    values = getattr(history, "history", None)
    if not isinstance(values, Mapping):
        hint = "pass what fit returned, or a dict of several of these."
        raise TypeError(message("plot_history", "a History", type(history).__name__, hint))
    found = {}
    for name, entries in values.items():
        if any(numpy.ndim(entry) for entry in entries):  # such as a confusion matrix per epoch
            continue
        if len(entries) != len(history.epoch):
            hint = (
                "validate after every epoch (validation_freq=1), for a history does not tell the epochs of its values."
            )
            expected = f"{len(history.epoch)} values of {name}, one per epoch"
            raise ShapeError(message("plot_history", expected, f"{len(entries)}", hint))
        if entries:
            found[name] = ([epoch + 1 for epoch in history.epoch], numpy.array(entries, "float64"))
    return found


def _draw_metric(ax: Any, metric: str, curves: Mapping[str, Curves]) -> None:
    kinds = {metric: "training", f"val_{metric}": "validation"}
    drawn = [(name, key) for name, found in curves.items() for key in kinds if key in found]
    both = len({key for _, key in drawn}) > 1
    places = {name: i for i, name in enumerate(curves)}
    for name, key in drawn:
        epochs, values = curves[name][key]
        compared = len(curves) > 1
        look = style(places[name] if compared else int(key != metric))
        few = max(1, len(epochs) // 8)
        ax.plot(
            epochs,
            values,
            **look,
            markersize=5,
            markevery=1 if len(epochs) <= 16 else (few // 2, few),
            linestyle="--" if both and key == metric else "-",
            label=" ".join(part for part in (name, kinds[key] if both or not name else "") if part),
        )
    if len(drawn) > 1:
        ax.legend(frameon=False)
    ax.set(xlabel="epoch", ylabel=metric.replace("_", " "))
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    tidy(ax)


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
    if not isinstance(gradients, Mapping) or not gradients:
        found = type(gradients).__name__ if not isinstance(gradients, Mapping) else "none"
        kind = TypeError if not isinstance(gradients, Mapping) else ValueError
        raise kind(message("plot_gradients", "gradients by name, such as {'dense': weight.grad}", found))
    sizes = {
        str(k): abs(numbers("plot_gradients", repr(k), g, "(...)").ravel().astype("float64"))
        for k, g in gradients.items()
    }
    logs = {name: numpy.log10(values[values > 0]) for name, values in sizes.items()}
    everything = numpy.concatenate(list(logs.values()))
    low, high = (everything.min(), everything.max()) if everything.size else (-1.0, 0.0)
    edges = numpy.linspace(low - 0.05 * (high - low) - 0.01, high + 0.05 * (high - low) + 0.01, 61)
    ax = axes_for("plot_gradients", ax, (6.5, 1.2 + 0.42 * len(sizes)))
    from matplotlib import colormaps

    colors = colormaps[SEQUENTIAL](numpy.linspace(0, 0.85, len(sizes)))
    for row, (name, values) in enumerate(logs.items()):
        base = len(sizes) - 1 - row
        counts = numpy.histogram(values, edges)[0]
        heights = base + 0.85 * counts / max(1, counts.max())
        ax.stairs(heights, 10**edges, baseline=base, fill=True, color=colors[row], alpha=0.85, label=name)
        if values.size:
            ax.plot(10 ** numpy.full(2, numpy.median(values)), [base, base + 0.9], color="black", linewidth=1.2)
        zeros = 1 - values.size / sizes[name].size
        if zeros:
            ax.annotate(
                f"{zeros:.0%} zero",
                (1, base + 0.3),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=8,
                va="center",
                annotation_clip=False,
            )
    ax.set(xscale="log", xlabel="size of the gradient |g|", xlim=(10 ** edges[0], 10 ** edges[-1]))
    ax.set_yticks(numpy.arange(len(sizes))[::-1], list(sizes))
    ax.tick_params(axis="y", length=0)
    tidy(ax)
    return ax.figure
