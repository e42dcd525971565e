"""Images beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from ..errors import ShapeError, check_integer, message
from .colors import IMAGES, signed
from .figures import axes_for, column_points
from .inputs import HostArray, numbers, texts

GAP = 0.1  # between images, in their widths
TITLE = 0.15  # the height of a line above them, in their widths


def plot_images(images: Any, titles: Sequence[Any] | None = None, columns: int | None = None, ax: Any = None) -> Any:
    """Draws images, or heat maps, as a grid. Returns the figure.

    Args:
        images: (n, h, w) or (n, h, w, 1), drawn on one scale, from black to white; if some numbers are negative, from
            blue over white for 0 to orange. Or (n, h, w, 3) of colors in 0...1, or 0...255 if they are integers.
        titles: a text above each.
        columns: how many images are in a row; by default the grid is about square, and up to six in one row.
        ax: where to draw; by default a new figure.

    >>> import numpy as np, tinygrad_edu as tg
    >>> figure = tg.viz.plot_images(np.eye(8).reshape(2, 4, 8), titles=["left", "right"])
    >>> len(figure.axes[0].images)
    2
    """
    where = "plot_images"
    images = _images(where, "images", images)
    count, height, width = images.shape[:3]
    titles = [] if titles is None else texts(where, "titles", titles, count)
    if columns is None:
        columns = count if count <= 6 else math.ceil(math.sqrt(count))
    columns = min(count, check_integer(where, "columns", columns, 1))
    places = [divmod(i, columns) for i in range(count)]
    head = TITLE * width * max((title.count("\n") + 1 for title in titles), default=0)
    low, high, cmap = _scale(images)
    ax = _draw(where, ax, images, places, head, low, high, cmap)
    longest = max((len(line) for title in titles for line in title.split("\n")), default=1)
    points = column_points(ax, columns)
    size = min(10.0, points * TITLE / 1.3, points / (0.6 * longest))
    for (row, column), title in zip(places, titles, strict=bool(titles)):
        left, top = _corner(row, column, height, width, head)
        ax.text(left + width / 2, top - 0.02 * width, title, ha="center", va="bottom", fontsize=size)
    ax.set_axis_off()
    if low < 0:
        for image in ax.images[-count:]:  # framed, for white is also between them
            left, right, bottom, top = image.get_extent()
            ax.fill([left, right, right, left], [top, top, bottom, bottom], fill=False, edgecolor="gray", linewidth=0.6)
        ax.figure.colorbar(ax.images[-1], cax=ax.inset_axes((1.02, 0, 0.02, 1)))
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
    low, high = (float(rows[0].min()), float(rows[0].max())) if rows[0].ndim == 3 else (0.0, 1.0)
    places = [(r, i) for r in range(len(rows)) for i in range(len(rows[0]))]
    ax = _draw(where, ax, numpy.concatenate(rows), places, 0.0, low, high, IMAGES)
    height, width = rows[0].shape[1:3]
    tops = [_corner(r, 0, height, width, 0.0)[1] for r in range(len(rows))]
    ax.set_xticks([])
    ax.set_yticks([top + height / 2 for top in tops], labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax.figure


def _images(where: str, name: str, value: Any) -> HostArray:
    """Gray images (n, h, w) or colored ones (n, h, w, 3) in 0...1."""
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
        raise ValueError(message(where, f"colors of {name} from 0 to {top}", found))
    return images / top


def _scale(images: HostArray) -> tuple[float, float, Any]:
    low, high = float(images.min()), float(images.max())
    if low < 0:
        return -max(-low, high), max(-low, high), signed()
    return low, high, IMAGES


def _draw(
    where: str,
    ax: Any,
    images: HostArray,
    places: Sequence[tuple[int, int]],
    head: float,
    low: float,
    high: float,
    cmap: Any,
) -> Any:
    """Draws each image at its row and column with `head` pixels above it. Returns the axes."""
    height, width = images.shape[1:3]
    rows, columns = places[-1][0] + 1, max(column for _, column in places) + 1
    left, bottom = _corner(rows, columns, height, width, head)
    right, bottom = left - GAP * width, bottom - GAP * width - head
    inches = min(2.0, 9 / columns) / width  # of a pixel
    ax = axes_for(where, ax, (right * inches + 0.2, bottom * inches + 0.2))
    for image, place in zip(images, places, strict=True):
        left, top = _corner(*place, height, width, head)
        extent = (left, left + width, top + height, top)
        ax.imshow(image, cmap=cmap, vmin=low, vmax=high, extent=extent, interpolation="nearest")
    ax.set(xlim=(0, right), ylim=(bottom, 0), aspect="equal")
    return ax


def _corner(row: int, column: int, height: int, width: int, head: float) -> tuple[float, float]:
    """The left and upper side of the image at that place."""
    return column * width * (1 + GAP), head + row * (height + head + width * GAP)
