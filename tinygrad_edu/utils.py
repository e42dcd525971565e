"""What Keras programs take from `keras.utils`: arrays prepared for training, batches by number, and one seed for all
generators."""

from __future__ import annotations

import collections.abc
import random
from typing import Any

import numpy

from . import ops
from .autograd import Tensor, tensor
from .backend import seed as seed_generator
from .errors import ShapeError, check_integer, choice, message
from .state import state

__all__ = ["PyDataset", "normalize", "pad_sequences", "set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Class ids (...) as one-hot rows (..., num_classes), float64; an axis of length 1 at the end is dropped first.

    Args:
        x: whole numbers from 0 to num_classes - 1; a tensor gives a tensor.
        num_classes: by default the largest id + 1.

    Raises ValueError for ids that are not whole or out of that range.

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    ids = x.numpy() if isinstance(x, Tensor) else numpy.asarray(x)
    if ids.dtype.kind not in "fiub" or (ids != numpy.trunc(ids)).any():
        raise ValueError(message("to_categorical", "whole class ids", f"{_short(x)}"))
    ids = ids.astype("int64")
    ids = ids[..., 0] if ids.ndim > 1 and ids.shape[-1] == 1 else ids
    classes = int(ids.max(initial=-1)) + 1 if num_classes is None else num_classes
    classes = check_integer("to_categorical", "num_classes", classes, 1)
    wrong = ids[(ids < 0) | (ids >= classes)]
    if wrong.size:
        raise ValueError(message("to_categorical", f"class ids from 0 to {classes - 1}", f"{wrong[0]}"))
    one_hot = numpy.eye(classes)[ids]
    return tensor(one_hot, device=x.device) if isinstance(x, Tensor) else one_hot


def normalize(x: Any, axis: int = -1, order: float = 2) -> Any:
    """`x` divided by its norms along `axis`, (sum |x|^order)^(1/order); where a norm is 0, `x` stays as it is.

    An array gives an array, a tensor or a list a tensor. Raises ValueError for an order that is not above 0.

    >>> import numpy as np
    >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    if not order > 0:
        raise ValueError(message("normalize", "order to be a number above 0", repr(order)))
    x = x if isinstance(x, (Tensor, numpy.ndarray)) else tensor(x)
    if x.dtype.kind != "f":  # small integers would wrap
        x = x.astype(state.dtype if isinstance(x, Tensor) else "float64")
    sizes = ops.absolute(x)
    if order == float("inf"):
        norms = ops.max(sizes, axis=axis, keepdims=True)
    else:
        norms = ops.sum(sizes**order, axis=axis, keepdims=True) ** (1.0 / order)
    return x / ops.where(norms == 0.0, 1.0, norms)


def pad_sequences(
    sequences: collections.abc.Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> numpy.ndarray[Any, Any]:
    """Sequences of unequal length as one array (sequences, maxlen, ...).

    Args:
        sequences: lists or arrays; their steps are numbers, or arrays of one shape.
        maxlen: by default the length of the longest.
        dtype: of the array.
        padding: "pre" puts `value` before a sequence that is shorter, "post" after it.
        truncating: "pre" drops the first steps of one that is longer, "post" the last ones.
        value: what stands for no step.

    Raises TypeError for what is no sequence, ShapeError for steps of different shapes.

    >>> pad_sequences([[1], [2, 3, 4]], padding="post")
    array([[1, 0, 0],
           [2, 3, 4]], dtype=int32)
    """
    for name, given in (("padding", padding), ("truncating", truncating)):
        if given not in ("pre", "post"):
            raise choice("pad_sequences", name, given, ("pre", "post"))
    for sequence in (sequences, *sequences):
        if not hasattr(sequence, "__len__") or isinstance(sequence, str):
            raise TypeError(message("pad_sequences", "a list of sequences", f"{_short(sequence)} in their place"))
    steps = (
        max(map(len, sequences), default=0) if maxlen is None else check_integer("pad_sequences", "maxlen", maxlen, 1)
    )
    shape = next((numpy.shape(sequence)[1:] for sequence in sequences if len(sequence)), ())
    padded = numpy.full((len(sequences), steps, *shape), value, dtype)
    for i, sequence in enumerate(sequences):
        kept = numpy.asarray(sequence[-steps:] if truncating == "pre" else sequence[:steps], dtype)
        if not len(kept):
            continue
        if kept.shape[1:] != shape:
            expected = f"steps of shape {shape}, as in the first sequence"
            raise ShapeError(message("pad_sequences", expected, f"shape {kept.shape[1:]} in number {i}"))
        padded[i, slice(-len(kept), None) if padding == "pre" else slice(len(kept))] = kept
    return padded


class PyDataset:
    """The base class of data that give batches by their numbers, for `fit`, `evaluate` and `predict`.

    A subclass defines `__len__`, how many batches a pass has, and `__getitem__(i)`: batch number i, as x, (x, y) or
    (x, y, sample_weight). `on_epoch_end` is called after each pass. `fit` shuffles the order of the batches unless told
    not to. Of Keras's arguments workers, use_multiprocessing and max_queue_size there is none: a `data.DataLoader`
    makes batches in other processes.

    >>> import numpy as np, tinygrad_edu as tg
    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, i):
    ...         x = np.arange(4.0 * i, 4.0 * i + 4.0)
    ...         return x[:, None], x**2
    >>> model = tg.models.Sequential([tg.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> model.fit(Squares(), epochs=2, verbose=0).epoch
    [0, 1]
    """

    def __init__(self, **options: Any):
        if options:
            hint = "a data.DataLoader with num_workers makes batches in other processes."
            raise TypeError(message(type(self).__name__, "no options of PyDataset", ", ".join(options), hint))

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__(index)")

    def __iter__(self) -> collections.abc.Iterator[Any]:
        """The batches of one pass, in order."""
        return (self[i] for i in range(len(self)))  # type: ignore[arg-type]

    def on_epoch_end(self) -> None:
        """After each pass, for what is to change from one to the next."""


def set_random_seed(seed: int) -> None:
    """Starts Python's, NumPy's and this package's random numbers anew from `seed`, a whole number below 2**32.

    >>> import numpy as np, tinygrad_edu as tg
    >>> set_random_seed(7); first = np.random.rand(), tg.uniform((2,)).tolist()
    >>> set_random_seed(7); first == (np.random.rand(), tg.uniform((2,)).tolist())
    True
    """
    seed = check_integer("set_random_seed", "seed", seed, 0)
    if seed >= 2**32:
        raise ValueError(message("set_random_seed", "seed to be below 2**32", f"{seed}"))
    random.seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 -- the generator of the user's program
    seed_generator(seed)


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) < 60 else type(value).__name__
