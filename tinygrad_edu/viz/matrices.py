"""Matrices with a label for each row and column: confusion, attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ..errors import message
from .colors import COUNTS, SEQUENTIAL
from .figures import axes_for, column_points
from .inputs import class_ids, numbers, texts


def plot_confusion_matrix(y_true: Any, y_pred: Any, labels: Sequence[Any] | None = None, ax: Any = None) -> Any:
    """Draws how often each class was taken for each: true classes are rows, predicted ones columns. Returns the figure.

    Args:
        y_true: class ids (n,).
        y_pred: class ids (n,) that were predicted, such as `model.predict(x).argmax(axis=-1)`.
        labels: the names of the classes 0, 1, ...; by default the ids that occur.
        ax: where to draw; by default a new figure.

    A cell is as dark as its share of its row is large. Raises ValueError for ids that have no label.

    >>> import tinygrad_edu as tg
    >>> figure = tg.viz.plot_confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], labels=["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '0', '2']
    """
    where = "plot_confusion_matrix"
    y_true = class_ids(where, "y_true", y_true)
    y_pred = class_ids(where, "y_pred", y_pred, len(y_true))
    ids = numpy.union1d(y_true, y_pred)
    if labels is not None:
        labels = texts(where, "labels", labels)
        if ids.max() >= len(labels):
            raise ValueError(message(where, f"class ids below {len(labels)}, the number of labels", f"{ids.max()}"))
        ids = numpy.arange(len(labels))
    count = len(ids)
    matrix = numpy.zeros((count, count), "int64")
    numpy.add.at(matrix, (numpy.searchsorted(ids, y_true), numpy.searchsorted(ids, y_pred)), 1)
    shares = matrix / numpy.maximum(1, matrix.sum(axis=1, keepdims=True))
    side = min(12.0, 0.45 * max(count, 5))
    ax = axes_for(where, ax, (side + 1.5, side + 1.1))
    ax.imshow(shares, cmap=COUNTS, vmin=0, vmax=1)
    size = min(9.0, column_points(ax, count) / (0.7 * len(str(matrix.max()))))
    for (row, column), number in numpy.ndenumerate(matrix):
        color = "white" if shares[row, column] > 0.5 else "black" if number else "#999999"
        ax.text(column, row, str(number), ha="center", va="center", color=color, fontsize=size)
    names = labels or [str(i) for i in ids]
    _label_axes(ax, names, names)
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax.figure


def plot_attention(
    weights: Any, queries: Sequence[Any] | None = None, keys: Sequence[Any] | None = None, ax: Any = None
) -> Any:
    """Draws attention weights as a map: which keys (columns) each query (a row) looks at. Returns the figure.

    Args:
        weights: (queries, keys), not negative, such as one row and head of the scores that an attention layer returns.
        queries: a text per row, such as the words that were written. A string counts by letters.
        keys: a text per column, such as the words that were read.
        ax: where to draw; by default a new figure.

    >>> import tinygrad_edu as tg
    >>> figure = tg.viz.plot_attention([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8]], queries="ab", keys=["x", "y", "z"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['x', 'y', 'z']
    """
    where = "plot_attention"
    weights = numbers(where, "weights", weights, "(queries, keys)", 2).astype("float64")
    if weights.min() < 0:
        hint = "weights are scores after a softmax."
        raise ValueError(message(where, "weights that are not negative", f"{weights.min():g}", hint))
    rows, columns = weights.shape
    queries = None if queries is None else texts(where, "queries", queries, rows)
    keys = None if keys is None else texts(where, "keys", keys, columns)
    ax = axes_for(where, ax, (min(14.0, 2.2 + 0.3 * columns), min(12.0, 1.4 + 0.3 * max(2, rows))))
    image = ax.imshow(weights, cmap=SEQUENTIAL, vmin=0, aspect="auto")
    _label_axes(ax, queries, keys)
    ax.set(xlabel="key", ylabel="query")
    ax.figure.colorbar(image, cax=ax.inset_axes((1.02, 0, 0.02, 1)), label="weight")
    return ax.figure


def _label_axes(ax: Any, rows: Sequence[str] | None, columns: Sequence[str] | None) -> None:
    if rows is not None:
        ax.set_yticks(range(len(rows)), rows)
    if columns is not None:
        steep = 6.5 * max(map(len, columns)) > column_points(ax, len(columns))
        ax.set_xticks(range(len(columns)), columns, rotation=45 if steep else 0, ha="right" if steep else "center")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
