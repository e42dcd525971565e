"""Feed: where the batches of `fit`, `evaluate` and `predict` come from, pass by pass and epoch by epoch."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import Device, default_generator
from ..callbacks import Progress
from ..data import Batches, Dataset
from ..data.streams import Passes
from ..data.threads import prefetched
from ..data.uploads import Uploads
from ..errors import ShapeError, message
from ..tree import leaves, rebuild
from .classes import Rows, kind_of

ALL = sys.maxsize
"""A batch_size that makes all rows one batch."""
AHEAD, BYTES_AHEAD, LEAST_AHEAD = 16, 2**20, 2
"""Batches that are made ahead; less if they have more bytes together, but so many at least. Several, as each time that
one thread waits for another takes some 10 us."""


def gives_batches(where: str, name: str, x: Any) -> bool:
    """Whether `x` is not the data itself but yields batches of it: an iterable, or a PyDataset as Keras has it, with
    `__getitem__`, `on_epoch_end`, and `__len__` or `num_batches`.

    Raises TypeError for what can be indexed but is neither of them: its elements may be rows as well as batches.
    """
    if any(hasattr(x, mark) for mark in ("dtype", "__array__", "__array_interface__")) or isinstance(x, type):
        return False
    if is_indexed(x):
        return True
    if isinstance(x, (Tensor, Mapping)):
        return False
    # whose iteration is a try of all numbers, also that of a Sequence, ends nowhere if `__getitem__` takes any
    if hasattr(x, "__getitem__") and getattr(type(x), "__iter__", Sequence.__iter__) is Sequence.__iter__:
        expected = f"{name} to be arrays, or to give batches: by __iter__, or by __len__, __getitem__ and on_epoch_end"
        raise TypeError(message(where, expected, type(x).__name__))
    return hasattr(x, "__iter__") and not isinstance(x, Sequence)


def is_indexed(x: Any) -> bool:
    """Whether batches are got from `x` by their numbers, as from Keras's PyDataset."""
    has_length = hasattr(type(x), "__len__") or hasattr(type(x), "num_batches")
    return has_length and hasattr(x, "__getitem__") and hasattr(x, "on_epoch_end")


def refuse(where: str, name: str, **given: Any) -> None:
    """Raises ValueError for arguments that belong to arrays, where `name` gives batches."""
    for argument, value in given.items():
        if value is not None:
            expected = f"no {argument}, for {name} gives batches"
            hint = {
                "batch_size": "the batches have their sizes already.",
                "validation_batch_size": "the batches have their sizes already.",
                "validation_split": "pass validation_data.",
            }.get(argument, "yield (x, y) or (x, y, sample_weight).")
            raise ValueError(message(where, expected, kind_of(value), hint))


def unpacked(where: str, batch: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and weights of a batch: x, (x,), (x, y) or (x, y, sample_weight), a list like a tuple."""
    if not isinstance(batch, (tuple, list)):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise ValueError(
            message(where, "x, (x, y) or (x, y, sample_weight)", f"a {type(batch).__name__} of {len(batch)}")
        )
    return (*batch, None, None)[:3]


class in_batch:
    """Puts the number of the batch before the text of an error in a `with` block, and a hint after it if the batch is a
    single row.

    Args:
        place: what names the batch.
        shape: that of a row of the input, where it is known.
    """

    def __init__(self, place: str, batch: Any, shape: Sequence[int | None] | None):
        self.place, self.batch, self.shape = place, batch, shape

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, (TypeError, ValueError)) or len(error.args) != 1:
            return
        text = str(error.args[0])
        if not text.startswith(self.place):
            text = f"{self.place}: {text}"
        if isinstance(error, ShapeError) and _is_row(self.batch, self.shape) and "Hint: " not in text:
            text += " Hint: each element is one row; make batches of them, as by Dataset.batch(32)."
        error.args = (text,)


def _is_row(batch: Any, shape: Sequence[int | None] | None) -> bool:
    x, y, *_ = (*batch, None) if isinstance(batch, (tuple, list)) else (batch, None)
    lacks_axis = shape is not None and getattr(x, "ndim", None) == len(shape) and tuple(shape) != (1,)
    return lacks_axis or numpy.isscalar(y)


def passes_of(source: Any, shuffle: bool = False) -> Iterable[Any]:
    """What `iter` gives a pass of."""
    return Indexed(source, shuffle) if is_indexed(source) else source


class Indexed:
    """Passes over what gives batches by their numbers, in another order each time if they are to be shuffled."""

    def __init__(self, data: Any, shuffle: bool):
        self.data, self.shuffle = data, shuffle

    def __len__(self) -> int:
        return len(self.data) if hasattr(type(self.data), "__len__") else self.data.num_batches

    @property
    def is_infinite(self) -> bool:
        return length_of(self) is None

    def __iter__(self) -> Iterator[Any]:
        count = length_of(self)
        if count is None:
            order: Iterable[int] = itertools.count()
        else:
            order = default_generator.permutation(count, "cpu").tolist() if self.shuffle else range(count)
        for i in order:
            yield self.data[i]
        self.data.on_epoch_end()


def length_of(source: Any) -> int | None:
    """How many batches a pass has, None where nobody knows."""
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        return None


class Feed:
    """The batches of one call. Where a Dataset allows it, a thread makes the next ones while the step works on one; but
    never those of the next epoch.

    Args:
        where: how errors and warnings call it.
        source: each `iter(source)` is a new pass over the data; an iterator is its own and only pass.
        convert: makes of a batch and its number what a step takes: inputs, targets and weights.
        steps: batches of an epoch, which then goes on where the last one ended; None: an epoch is a pass.
        device: says where the batches go that `convert` made; None: they are there.
        looks_ahead: whether the model is made ready by the first batch, for no other data is known.

    Raises ValueError for data that say they are infinite, without `steps`.

    Attributes:
        renews: whether there are more passes than one.
        passes: how many were begun.
        skipped: batches of the pass that earlier epochs took.
        generator_state: the state of the package's generator when the pass began.
    """

    def __init__(
        self,
        where: str,
        source: Iterable[Any],
        convert: Callable[[Any, int], Rows] | None = None,
        steps: int | None = None,
        device: Callable[[], Device] | None = None,
        looks_ahead: bool = False,
    ):
        if steps is None and getattr(source, "is_infinite", False):
            hint = "pass steps_per_epoch, validation_steps, or steps to evaluate and predict."
            raise ValueError(message(where, "a number of steps, for the data have no end", "None", hint))
        self.where, self.source, self.convert, self.limit, self.looks_ahead = where, source, convert, steps, looks_ahead
        self.device = device
        self._uploads: Uploads | None = None
        self.renews = not isinstance(source, Iterator)
        self.passes, self.skipped, self.generator_state = 0, 0, default_generator.state
        self._pass: Iterator[Any] | None = None
        self._thread: Generator[Any, None, None] | None = None  # what a thread makes of it
        self._is_ending = False  # an epoch, for which the thread completes what it was asked for
        self._ahead: list[Any] = []  # the next batch, where it had to be looked at
        self._has_warned = False
        self._counts = Passes.counted()

    @property
    def steps(self) -> int | None:
        """Batches of an epoch, None where nobody knows."""
        return self.limit or length_of(self.source)

    @property
    def is_under_way(self) -> bool:
        """Whether the next epoch begins within a pass."""
        return self._pass is not None

    def begin(self) -> bool:
        """Makes the next batch ready, from a new pass where that is needed; False if there is none.

        Raises ValueError for a pass without batches.
        """
        if self._pass is not None and not self._ahead:
            self._ahead = list(itertools.islice(self._pass, 1))
        if not self._ahead and (self.renews or self._pass is None):
            self.close()
            self.skipped, self.generator_state = 0, default_generator.state
            self._start()
            assert self._pass is not None
            self._ahead = list(itertools.islice(self._pass, 1))
            if not self._ahead:
                raise ValueError(message(self.where, "at least one batch", "none"))
        return bool(self._ahead)

    def _start(self) -> None:
        self._pass = iter(self.source)
        self.passes += 1

    def first(self) -> Any:
        """The next batch as it was yielded; it stays the next one."""
        self.begin()
        return self._ahead[0]

    def epoch(self, done: int = 0) -> Iterator[Rows]:
        """The batches of the next epoch; where some of it are done, the others, from the pass under way."""
        if not done:
            self.begin()
        assert self._pass is not None
        batches: Iterator[Any] = itertools.chain(self._ahead, self._pass)
        if self.limit is not None:
            batches = itertools.islice(batches, self.limit - done)
        if isinstance(self.source, Dataset) and self.source.ahead:
            size = sum(leaf.nbytes for batch in self._ahead for leaf in leaves(batch)) or BYTES_AHEAD
            count = min(max(BYTES_AHEAD // size, LEAST_AHEAD), AHEAD)
            made = prefetched((batch for batch in batches), count, completes=lambda: self._is_ending)
            batches = self._thread = made
        self._ahead = []
        rows = batches if self.convert is None else map(self.convert, batches, itertools.count(done))
        if self.device is not None and self._uploads is None:
            self._uploads = Uploads(self.device())
        return rows if self._uploads is None else map(self._uploads, rows)

    def end(self, done: int, is_whole: bool) -> None:
        """Ends an epoch that had so many batches, and warns where a whole one had fewer than `steps`."""
        self._is_ending = True
        self._join()
        self._is_ending = False
        self.skipped += done
        if self.limit is None or done < self.limit:
            self.close()
            if self.limit is not None and is_whole:
                self.warn(done)

    def go_to(self, place: Progress) -> None:
        """Goes to a place in a pass, by drawing what comes before it once more."""
        self.close()
        if self.renews:  # data with a seed of its own counts its passes
            Passes.rewind(self._counts)
            self.passes = 0
            while self.passes < place.passes:
                self._start()
                self.close()
        count = place.skipped + place.batch
        if not count:
            return
        default_generator.state = place.generator_state
        self.begin()
        assert self._pass is not None
        before = itertools.islice(itertools.chain(self._ahead, self._pass), count)
        found = sum(1 for _ in before)
        self._ahead, self.skipped = [], place.skipped
        if found < count:
            hint = "go on with the data that the training began with."
            raise ValueError(message(self.where, f"at least {count} batches, which are done", f"{found}", hint))

    def close(self) -> None:
        """Ends the pass under way, after an error without what a thread has yet to make. An iterator that the caller
        made stays as it is, for the caller to go on with."""
        self._join()
        if self._uploads is not None:
            self._uploads.wait()
        if self.renews and self._pass is not None:
            close = getattr(self._pass, "close", None)
            self._pass, self._ahead = None, []
            if close is not None:
                close()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def warn(self, done: int, stacklevel: int = 5) -> None:
        """Says, once, that there were too few batches."""
        if not self._has_warned:
            self._has_warned = True
            many = "all epochs" if self.limit is None else f"{self.limit} in each epoch"
            text = f"{self.where} ran out of data after {done} batches of an epoch; there must be enough for {many}"
            warnings.warn(text, stacklevel=stacklevel)


class Place:
    """Where `fit` stands: an epoch, how many of its batches are done, and where its pass over the data began; see
    `callbacks.Progress`."""

    __slots__ = ("batch", "epoch", "generator_state", "passes", "skipped")

    def __init__(self, epoch: int, feed: Feed | None = None, batch: int = 0):
        self.epoch, self.batch = epoch, batch
        is_under_way = feed is not None and feed.is_under_way
        self.generator_state = feed.generator_state if feed is not None and is_under_way else None
        self.skipped = feed.skipped if feed is not None and is_under_way else 0
        self.passes = 0 if feed is None else feed.passes - is_under_way


def feed_of_rows(where: str, rows: Rows, batch_size: int, steps: int | None = None, shuffle: bool = False) -> Feed:
    """The batches of arrays that were checked and converted as a whole."""
    several = any(isinstance(tree, (dict, list, tuple)) for tree in rows)
    convert = (lambda arrays, number: rebuild(rows, iter(arrays))) if several else None
    return Feed(where, Batches(tuple(leaves(rows)), batch_size, shuffle), convert, steps)


def rows_per_batch(rows: int, batch_size: int | None, steps: int | None) -> int:
    """`batch_size`, by default so many that all rows are `steps` batches, or 32."""
    return batch_size or (-(-rows // steps) if steps else 32)
