"""Images beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError, check_integer, message
from .colors import IMAGES, signed
from .figures import axes_for
from .inputs import HostArray, numbers, texts

GAP = 0.08
"""Between images, in their widths."""


def plot_images(images: Any, titles: Sequence[Any] | None = None, columns: int | None = None, ax: Any = None) -> Any:
    """Draws images, or heat maps, as a grid. Returns the figure.

    Args:
        images: (n, h, w) or (n, h, w, 1), drawn on one scale, from black to white; if some numbers are negative, from
            blue over white for 0 to orange. Or (n, h, w, 3) of colours in 0...1, or 0...255 if they are integers.
        titles: a text above each.
        columns: how many images are in a row; by default the grid is about square, and up to six in one row.
        ax: where to draw; by default a new figure.

    >>> import numpy as np, tinygrad_edu as tg
    >>> figure = tg.viz.plot_images(np.eye(8).reshape(2, 4, 8), titles=["left", "right"])
    >>> len(figure.axes[0].images)
    2
    """
    images = _images("plot_images", "images", images)
    count = len(images)
    titles = None if titles is None else texts("plot_images", "titles", titles, count)
    if columns is None:
        columns = count if count <= 6 else math.ceil(math.sqrt(count))
    columns = min(count, check_integer("plot_images", "columns", columns, 1))
    rows = -(-count // columns)
    lines = 0 if titles is None else max(title.count("\n") + 1 for title in titles)
    height, width = images.shape[1:3]
    inches = min(1.2, 14 / columns)
    letters = 0 if titles is None else max(len(line) for title in titles for line in title.split("\n"))
    ax = axes_for(
        "plot_images", ax, (columns * inches * 1.08 + 0.3, rows * inches * (height / width + 0.08 + 0.16 * lines) + 0.3)
    )
    step = (width * (1 + GAP), height + width * (GAP + 0.16 * lines))
    low, high, cmap = _scale(images)
    for i, image in enumerate(images):
        left, top = (i % columns) * step[0], (i // columns) * step[1]
        drawn = _draw(ax, image, left, top, low, high, cmap)
        if titles is not None:
            size = min(9.0, 72 * inches / (0.6 * max(letters, 1)))
            ax.text(left + width / 2, top - 0.03 * width, titles[i], ha="center", va="bottom", fontsize=size)
    ax.set(
        xlim=(0, columns * step[0] - GAP * width),
        ylim=(rows * step[1] - GAP * width - 0.16 * lines * width, -0.16 * lines * width),
        aspect="equal",
    )
    ax.set_axis_off()
    if cmap != IMAGES and images.ndim == 3:
        ax.figure.colorbar(drawn, cax=ax.inset_axes((1.03, 0, 0.02, 1)))
    return ax.figure


def plot_reconstructions(
    original: Any, *reconstructions: Any, labels: Sequence[Any] | None = None, ax: Any = None
) -> Any:
    """Draws images in a row and below each what became of it. Returns the figure.

    Args:
        original: images (n, h, w), (n, h, w, 1) or (n, h, w, 3).
        reconstructions: as many images of the same shape, each in a row of its own.
        labels: a text per row; by default "original" and "reconstruction", with its number if there are several.
        ax: where to draw; by default a new figure.

    All are drawn on the scale of the originals: what is below or above is as black or white as these.

    >>> import numpy as np, tinygrad_edu as tg
    >>> x = np.linspace(0, 1, 2 * 8 * 8).reshape(2, 8, 8)
    >>> figure = tg.viz.plot_reconstructions(x, x**2, labels=["input", "output"])
    >>> len(figure.axes[0].images)
    4
    """
    where = "plot_reconstructions"
    rows = [_images(where, "original", original)]
    for i, images in enumerate(reconstructions, 1):
        rows.append(_images(where, f"reconstruction {i}", images))
        if rows[i].shape != rows[0].shape:
            raise ShapeError(message(where, f"reconstruction {i} of shape {rows[0].shape}", f"shape {rows[i].shape}"))
    if not reconstructions:
        raise ValueError(message(where, "originals and at least one array of reconstructions", "originals only"))
    if labels is None:
        several = len(reconstructions) > 1
        labels = ["original", *(f"reconstruction {i}" if several else "reconstruction" for i in range(1, len(rows)))]
    labels = texts(where, "labels", labels, len(rows))
    count, height, width = rows[0].shape[:3]
    inches = min(1.0, 14 / count)
    ax = axes_for(where, ax, (count * inches * 1.08 + 1.2, len(rows) * inches * (height / width + 0.08) + 0.2))
    low, high = (float(rows[0].min()), float(rows[0].max())) if rows[0].ndim == 3 else (0.0, 1.0)
    step = (width * (1 + GAP), height + width * GAP)
    for r, images in enumerate(rows):
        for i, image in enumerate(images):
            _draw(ax, image, i * step[0], r * step[1], low, high, IMAGES)
    ax.set(xlim=(0, count * step[0] - GAP * width), ylim=(len(rows) * step[1] - GAP * width, 0), aspect="equal")
    ax.set_xticks([])
    ax.set_yticks([r * step[1] + height / 2 for r in range(len(rows))], labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax.figure


def _images(where: str, name: str, value: Any) -> HostArray:
    """Grey images (n, h, w) or coloured ones (n, h, w, 3) in 0...1."""
    images = numbers(where, name, value, "(n, h, w), (n, h, w, 1) or (n, h, w, 3)", 3, 4)
    if images.ndim == 4 and images.shape[3] == 1:
        return images[..., 0].astype("float64")
    if images.ndim == 3:
        return images.astype("float64")
    if images.shape[3] != 3:
        expected = f"{name} of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3)"
        raise ShapeError(message(where, expected, f"shape {images.shape}", "channels are last."))
    top = 255 if images.dtype.kind in "iu" else 1
    if images.min() < 0 or images.max() > top:
        found = f"numbers from {images.min():g} to {images.max():g}"
        raise ValueError(message(where, f"colours of {name} from 0 to {top}", found))
    return images / top


def _scale(images: HostArray) -> tuple[float, float, Any]:
    low, high = float(images.min()), float(images.max())
    if low < 0:
        return -max(-low, high), max(-low, high), signed()
    return low, high, IMAGES


def _draw(ax: Any, image: HostArray, left: float, top: float, low: float, high: float, cmap: Any) -> Any:
    height, width = image.shape[:2]
    extent = (left, left + width, top + height, top)
    return ax.imshow(image, cmap=cmap, vmin=low, vmax=high, extent=extent, interpolation="nearest")
