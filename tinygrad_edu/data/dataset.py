"""Dataset: a pipeline of elements, made only as they are asked for."""

from __future__ import annotations

import glob as files
import math
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy

from ..errors import check_bool, check_integer, check_integers, message
from . import stages
from .elements import Order, as_element, count_rows, frozen, padded, stacked
from .stages import Elements
from .streams import Passes, pass_key
from .threads import prefetched


class Dataset:
    """Elements one after the other, and methods that each make another dataset of them.

    An element is a NumPy array, a NumPy scalar, or a tuple or dict of such; lists and tensors become arrays. Each
    `iter()` starts a new pass, which disturbs no other one. `len()` is the number of elements; it raises TypeError
    where that is not known before they are made, or is infinite.

    `tg.seed` makes all of it repeatable: a pass that is random draws a key as it starts, and everything in it, a
    user's function too, draws from streams that are functions of this key. So threads change nothing.

    Args:
        start: returns a generator of elements, at each call a new one. Use the `from_` functions, which make it.
        length: how many elements a pass has, `math.inf`, or None if that is not known.
        rows: for elements that are rows of arrays, these, and a function that returns the numbers of the rows of a
            pass. `shuffle`, `batch` and others then work on the numbers.
        ahead: whether `fit`, `evaluate` and `predict` make its batches in a thread, ahead of the step; None where that
            is safe, but takes no time.

    >>> import numpy as np
    >>> data = Dataset.from_tensor_slices((np.arange(5), np.arange(5) ** 2)).map(lambda x, y: (x, y + 1)).batch(2)
    >>> for x, y in data:
    ...     print(x, y)
    [0 1] [1 2]
    [2 3] [ 5 10]
    [4] [17]
    """

    def __init__(
        self,
        start: Callable[[], Elements],
        length: float | None = None,
        rows: tuple[Any, Callable[[], Order]] | None = None,
        ahead: bool | None = None,
    ):
        self._start, self._length, self._rows, self.ahead = start, length, rows, ahead

    def _then(self, start: Callable[[], Elements], length: float | None = None, works: bool = True) -> Dataset:
        """The dataset after a stage, and whether that works on each element."""
        return Dataset(start, length, ahead=True if works and self.ahead is None else self.ahead)

    def __iter__(self) -> Elements:
        return self._start()

    def __len__(self) -> int:
        if self._length is None or math.isinf(self._length):
            found = "one of which that is not known" if self._length is None else "an infinite one"
            hint = "count the elements of a pass: sum(1 for _ in dataset)." if self._length is None else ""
            raise TypeError(message("len", "a Dataset with a known number of elements", found, hint))
        return int(self._length)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        many = "an unknown number of" if self._length is None else "endless" if self.is_infinite else len(self)
        return f"<Dataset of {many} elements>"

    @property
    def is_infinite(self) -> bool:
        """Whether a pass is known to have no end, as after `repeat()`."""
        return self._length == math.inf

    # Sources

    @classmethod
    def from_tensor_slices(cls, tensors: Any) -> Dataset:
        """The rows of arrays: of one, or of a tuple or dict of them with as many rows.

        Raises ShapeError for lengths that differ. Elements are views that cannot be written to.

        >>> for row in Dataset.from_tensor_slices({"x": [[1, 2], [3, 4]], "y": [0, 1]}):
        ...     print(row["x"], row["y"])
        [1 2] 0
        [3 4] 1
        """
        arrays = frozen(as_element("Dataset.from_tensor_slices", tensors))
        count = count_rows("Dataset.from_tensor_slices", arrays)
        return cls._of_rows(arrays, lambda: range(count), count)

    @classmethod
    def _of_rows(cls, arrays: Any, order: Callable[[], Order], length: int) -> Dataset:
        return cls(lambda: stages.each_row(arrays, order()), length, (arrays, order))

    @classmethod
    def from_generator(cls, function: Callable[[], Iterable[Any]]) -> Dataset:
        """What the iterable gives that `function` returns; it is called anew for each pass. `fit` asks for elements
        only when it needs them: so they may depend on what is being trained.

        >>> list(Dataset.from_generator(lambda: (2 * n for n in range(3))))
        [np.int64(0), np.int64(2), np.int64(4)]
        """
        where = "Dataset.from_generator"
        hint = "a generator can be read once only; pass the function that makes it."
        _check_callable(where, "function", function, hint)
        return cls(lambda: stages.generated(where, function, pass_key(None, 0)), ahead=False)

    @classmethod
    def from_files(
        cls,
        files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        read: Callable[[str], Any],
        num_parallel_calls: int | None = None,
    ) -> Dataset:
        """`read(path)` of each file, one element each; `unbatch` makes elements of the rows of such files.

        Args:
            files: a pattern such as "images/**/*.npy", whose files are sorted by name, or paths in the order wanted.
            num_parallel_calls: as in `map`.

        Raises FileNotFoundError if there is none. An exception of `read` is noted with the path.
        """
        where = "Dataset.from_files"
        _check_callable(where, "read", read)
        paths = _paths(where, files)

        def read_file(path: Any) -> Any:
            try:
                return read(str(path))
            except Exception as error:
                error.add_note(f"{where}: while reading {str(path)!r}")
                raise

        return cls.from_tensor_slices(numpy.array(paths)).map(read_file, num_parallel_calls)

    @classmethod
    def range(cls, *bounds: int) -> Dataset:
        """Whole numbers: below `stop`, from `start` to below `stop`, or these by `step`, as in Python.

        >>> list(Dataset.range(1, 6, 2))
        [np.int64(1), np.int64(3), np.int64(5)]
        """
        return cls.from_tensor_slices(numpy.arange(*check_integers("Dataset.range", "whole numbers", bounds)))

    @classmethod
    def zip(cls, *datasets: Dataset) -> Dataset:
        """Tuples of an element of each dataset, as many as the shortest has.

        >>> list(Dataset.zip(Dataset.range(2), Dataset.range(5, 9)))
        [(np.int64(0), np.int64(5)), (np.int64(1), np.int64(6))]
        """
        for dataset in datasets or (None,):
            _check_dataset("Dataset.zip", dataset)
        lengths = [dataset._length for dataset in datasets]
        length = None if None in lengths else min(lengths)  # type: ignore[type-var]
        return cls(lambda: stages.zipped([dataset._start() for dataset in datasets]), length, ahead=_ahead(datasets))

    # Elements, one by one

    def map(self, function: Callable[..., Any], num_parallel_calls: int | None = None) -> Dataset:
        """`function(element)` in place of each element; the parts of a tuple are separate arguments.

        Args:
            num_parallel_calls: how many threads call it, for functions that wait for files or compute in NumPy; the
                order stays. None calls it in the thread that iterates.

        Random numbers of this package that it draws come from a stream of each element. In `fit` a thread calls it for
        batches to come, so it must not look at what is being trained; `from_generator` may.

        >>> list(Dataset.range(3).map(lambda n: n * 10, num_parallel_calls=2))
        [np.int64(0), np.int64(10), np.int64(20)]
        """
        _check_callable("Dataset.map", "function", function)
        threads = num_parallel_calls
        if threads is not None:
            check_integer("Dataset.map", "num_parallel_calls", threads, 1)
        return self._then(lambda: stages.mapped_by(self._start(), function, pass_key(None, 0), threads), self._length)

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """The elements for which `predicate(element)` is true.

        >>> list(Dataset.range(5).filter(lambda n: n % 2 == 1))
        [np.int64(1), np.int64(3)]
        """
        _check_callable("Dataset.filter", "predicate", predicate)
        return self._then(lambda: stages.filtered(self._start(), predicate, pass_key(None, 0)))

    def enumerate(self, start: int = 0) -> Dataset:
        """(number, element) of each element."""
        return self._then(lambda: stages.numbered(self._start(), start), self._length, works=False)

    # Which elements, in which order

    def take(self, count: int) -> Dataset:
        """The first `count` elements."""
        check_integer("Dataset.take", "count", count, 0)
        length = None if self._length is None else min(self._length, count)
        return self._sliced(lambda order: order[:count], length, (count,))

    def skip(self, count: int) -> Dataset:
        """All elements but the first `count`."""
        check_integer("Dataset.skip", "count", count, 0)
        length = None if self._length is None else max(self._length - count, 0)
        return self._sliced(lambda order: order[count:], length, (count, None))

    def shard(self, num_shards: int, index: int) -> Dataset:
        """Every `num_shards`-th element, from that of number `index` on: a part for each of several processes."""
        check_integer("Dataset.shard", "num_shards", num_shards, 1)
        if check_integer("Dataset.shard", "index", index, 0) >= num_shards:
            raise ValueError(message("Dataset.shard", f"index to be below num_shards ({num_shards})", repr(index)))
        length = self._counted(lambda n: max(-(-(n - index) // num_shards), 0))
        return self._sliced(lambda order: order[index::num_shards], length, (index, None, num_shards))

    def _sliced(
        self, change: Callable[[Order], Order], length: float | None, bounds: tuple[int | None, ...]
    ) -> Dataset:
        if self._rows is not None and length is not None:
            arrays, order = self._rows
            return Dataset._of_rows(arrays, lambda: change(order()), int(length))
        return self._then(lambda: stages.sliced(self._start(), *bounds), length, works=False)

    def shuffle(self, buffer_size: int, seed: int | None = None, reshuffle_each_iteration: bool = True) -> Dataset:
        """The elements in random order: each is drawn from a buffer of `buffer_size`, which the next one refills.

        Only a buffer that holds all elements gives every order with the same chance.

        Args:
            seed: a number for the order, in place of the package's generator. The passes over this dataset still
                differ, as a function of it and of their number.
            reshuffle_each_iteration: False gives each pass the order of the first one.

        >>> import tinygrad_edu as tg
        >>> tg.seed(0)
        >>> data = Dataset.range(5).shuffle(5)
        >>> [int(n) for n in data], [int(n) for n in data]
        ([3, 0, 2, 4, 1], [3, 0, 1, 2, 4])
        """
        where = "Dataset.shuffle"
        check_integer(where, "buffer_size", buffer_size, 1)
        if seed is not None:
            check_integer(where, "seed", seed, 0)
        check_bool(where, "reshuffle_each_iteration", reshuffle_each_iteration)
        passes, kept = Passes(), list[int]()

        def key() -> int:
            if reshuffle_each_iteration:
                return passes.key(seed)
            if not kept:
                kept.append(pass_key(seed, 0))
            return kept[0]

        if self._rows is not None:
            arrays, order = self._rows
            return Dataset._of_rows(arrays, lambda: stages.shuffled_order(order(), buffer_size, key()), len(self))
        return self._then(lambda: stages.shuffled(self._start(), buffer_size, key()), self._length)

    def repeat(self, count: int | None = None) -> Dataset:
        """The elements of `count` passes, one after the other; None goes on for ever."""
        if count is not None:
            check_integer("Dataset.repeat", "count", count, 0)
        length = (
            None if self._length is None else self._length and self._length * (math.inf if count is None else count)
        )
        return self._then(lambda: stages.repeated(self._start, count, pass_key(None, 0)), length, works=False)

    def concatenate(self, dataset: Dataset) -> Dataset:
        """The elements of this dataset, then those of the other.

        >>> list(Dataset.range(2).concatenate(Dataset.range(1)))
        [np.int64(0), np.int64(1), np.int64(0)]
        """
        _check_dataset("Dataset.concatenate", dataset)
        length = None if None in (self._length, dataset._length) else self._length + dataset._length  # type: ignore
        both = (self, dataset)
        return Dataset(lambda: stages.concatenated([one._start() for one in both]), length, ahead=_ahead(both))

    # Batches

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Elements stacked to batches, with a new axis in front; the last one may be short, or is dropped.

        Raises ShapeError, while iterating, for elements of different shapes.
        """
        size, drop = _check_batch("Dataset.batch", batch_size, drop_remainder)
        length = self._counted(lambda n: n // size if drop else -(-n // size))
        if self._rows is not None:
            arrays, order = self._rows
            return Dataset(lambda: stages.batches_of_rows(arrays, order(), size, drop), length)
        return self._then(
            lambda: stages.batched(self._start(), size, drop, lambda elements: stacked("Dataset.batch", elements)),
            length,
        )

    def padded_batch(
        self, batch_size: int, padded_shapes: Any = None, padding_values: Any = None, drop_remainder: bool = False
    ) -> Dataset:
        """Elements of unequal sizes stacked to batches; at the end of each axis they are padded.

        Args:
            padded_shapes: a list of sizes for each array, in the form of the elements. None, also as a size, stands
                for the largest in the batch.
            padding_values: the value for each array, or one for all; by default 0, and "" for texts.

        Raises ShapeError, while iterating, for elements that are larger, ValueError for values that the dtype cannot
        hold.

        >>> data = Dataset.from_generator(lambda: [([1], 0), ([2, 3, 4], 1)])
        >>> [(x.tolist(), y.tolist()) for x, y in data.padded_batch(2, padding_values=(-1, 0))]
        [([[1, -1, -1], [2, 3, 4]], [0, 1])]
        """
        where = "Dataset.padded_batch"
        size, drop = _check_batch(where, batch_size, drop_remainder)
        length = self._counted(lambda n: n // size if drop else -(-n // size))
        return self._then(
            lambda: stages.batched(
                self._start(), size, drop, lambda elements: padded(where, elements, padded_shapes, padding_values)
            ),
            length,
        )

    def bucket_by_sequence_length(
        self,
        element_length_func: Callable[..., Any],
        bucket_boundaries: Sequence[int],
        bucket_batch_sizes: Sequence[int] | int,
        padded_shapes: Any = None,
        padding_values: Any = None,
        pad_to_bucket_boundary: bool = False,
        drop_remainder: bool = False,
    ) -> Dataset:
        """Batches of elements of similar length, so that little of a batch is padding.

        Args:
            element_length_func: returns the length of an element; the parts of a tuple are separate arguments.
            bucket_boundaries: ascending; bucket i has lengths from boundary i - 1 to below boundary i.
            bucket_batch_sizes: one for each of the `len(bucket_boundaries) + 1` buckets, or one for all.
            padded_shapes, padding_values: as in `padded_batch`.
            pad_to_bucket_boundary: pads to the largest length of the bucket, boundary - 1, in place of the largest in
                the batch, so that batches have few different shapes and jit records few steps. It is the size where
                `padded_shapes` holds None, by default of the first axis of each array. ValueError is raised for
                lengths beyond the last boundary.

        >>> data = Dataset.from_generator(lambda: [[1], [2, 2, 2, 2], [3, 3], [4]])
        >>> for batch in data.bucket_by_sequence_length(len, [3], 2):
        ...     print(batch.tolist())
        [[1, 0], [3, 3]]
        [[4]]
        [[2, 2, 2, 2]]
        """
        where = "Dataset.bucket_by_sequence_length"
        _check_callable(where, "element_length_func", element_length_func)
        boundaries = list(check_integers(where, "bucket_boundaries to be integers", bucket_boundaries))
        if not boundaries or boundaries[0] < 1 or any(low >= high for low, high in pairwise(boundaries)):
            raise ValueError(message(where, "bucket_boundaries above 0, in ascending order", repr(bucket_boundaries)))
        count = len(boundaries) + 1
        given = [bucket_batch_sizes] * count if isinstance(bucket_batch_sizes, int) else list(bucket_batch_sizes)
        if len(given) != count:
            raise ValueError(message(where, f"{count} bucket_batch_sizes, one more than boundaries", repr(given)))
        sizes = [check_integer(where, "a batch size", size, 1) for size in given]
        drop, to_boundary = (
            check_bool(where, "drop_remainder", drop_remainder),
            check_bool(where, "pad_to_bucket_boundary", pad_to_bucket_boundary),
        )

        def combine(elements: list[Any], bucket: int) -> Any:
            if to_boundary and bucket == len(boundaries):
                raise ValueError(message(where, f"lengths below the last boundary, {boundaries[-1]}", "a longer one"))
            length = boundaries[bucket] - 1 if to_boundary else None
            return padded(where, elements, padded_shapes, padding_values, length)

        return self._then(lambda: stages.bucketed(self._start(), element_length_func, boundaries, sizes, drop, combine))

    def unbatch(self) -> Dataset:
        """The rows of each element as elements of their own."""
        return self._then(lambda: stages.unbatched(self._start()))

    # When work is done

    def prefetch(self, buffer_size: int) -> Dataset:
        """The same elements, of which a thread makes up to `buffer_size` ahead, while the last ones are used.

        Exceptions come through with their traceback. The thread ends with the iteration, also if that is left early.
        """
        check_integer("Dataset.prefetch", "buffer_size", buffer_size, 1)
        return Dataset(lambda: prefetched(self._start(), buffer_size), self._length, ahead=False)

    def cache(self) -> Dataset:
        """The same elements, kept in memory by the first pass that comes to the end. They cannot be written to.

        What is random before `cache` is so once; shuffle and augment after it.
        """
        kept: list[list[Any]] = []

        def start() -> Elements:
            return stages.each(kept[0]) if kept else stages.keeping(self._start(), kept.append)

        return self._then(start, self._length, works=False)

    def _counted(self, function: Callable[[int], int]) -> float | None:
        """The function's value of the length, if that is a number; unknown and infinite lengths stay so."""
        known = self._length is not None and not math.isinf(self._length)
        return function(int(self._length)) if known else self._length  # type: ignore[arg-type]


def _ahead(datasets: Sequence[Dataset]) -> bool | None:
    """The argument `ahead` of a dataset that reads all of these."""
    found = {dataset.ahead for dataset in datasets}
    return False if False in found else True if True in found else None


def _check_callable(where: str, name: str, value: Any, hint: str = "") -> None:
    if not callable(value):
        raise TypeError(message(where, f"{name} to be a function", repr(value), hint))


def _check_dataset(where: str, value: Any) -> None:
    if not isinstance(value, Dataset):
        hint = "make one with Dataset.from_tensor_slices."
        raise TypeError(message(where, "datasets", repr(type(value).__name__), hint))


def _check_batch(where: str, batch_size: int, drop_remainder: bool) -> tuple[int, bool]:
    return check_integer(where, "batch_size", batch_size, 1), check_bool(where, "drop_remainder", drop_remainder)


def _paths(where: str, given: Any) -> list[str]:
    if isinstance(given, (str, os.PathLike)):
        paths = sorted(path for path in files.glob(os.fspath(given), recursive=True) if os.path.isfile(path))
    else:
        paths = [os.fspath(path) for path in given]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing or not paths:
        raise FileNotFoundError(message(where, "files", f"{missing[0] if missing else given!r}, which is none"))
    return paths
