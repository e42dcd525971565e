"""DataLoader: batches of data that is read by number, made here or in worker processes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterable
from typing import Any

from ..errors import check_bool, check_integer, message
from ..tree import leaves
from .dataset import Dataset
from .elements import as_element, count_rows, frozen
from .stages import permutation
from .streams import Passes
from .threads import prefetched
from .workers import Pass, Reading, Workers, count_batches, pickled


class DataLoader:
    """Batches of samples `dataset[i]`, a new pass over the data at each `iter()`, as in PyTorch.

    Args:
        dataset: has `__len__` and `__getitem__`, which gives a sample: an array, or a tuple or dict of arrays; or is
            itself an array, or a tuple or dict of arrays, whose rows are the samples.
        batch_size: samples in a batch; the last one may be short, or is dropped with `drop_last`.
        shuffle: whether each pass has a new random order.
        sampler: in place of `shuffle`, an iterable of the numbers (or keys) of the samples of a pass.
        num_workers: processes that make batches, each with a copy of the dataset; 0 makes them where they are used.
            The dataset must be picklable, and a script start under `if __name__ == "__main__":`.
        collate_fn: makes a batch of a list of samples; by default each array gets a new axis in front.
        seed: a number for the order and all random draws, in place of the package's generator. Passes still differ, as
            a function of it and of their number.
        prefetch_factor: how many batches of each worker are kept ready.

    Workers take a second to start and live on after a complete pass, for the next one; they end with the loader, by
    `close`, and at once if a pass is left early. What has changed of the dataset is sent to them as a pass begins.

    Each batch is made with random streams of its own, this package's, `random` and `numpy.random`: the batches of a
    pass are the same whatever the number of workers. Generators that the dataset itself holds are not known here, and
    each worker has a copy of them: draw from `tg.uniform` and its like, `random` or `numpy.random`.

    An exception in a worker is raised with its traceback; RuntimeError if a worker dies.

    >>> import numpy as np
    >>> loader = DataLoader((np.arange(5), np.arange(5) ** 2), batch_size=2)
    >>> len(loader), [y.tolist() for x, y in loader]
    (3, [[0, 1], [4, 9], [16]])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        *,
        sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        seed: int | None = None,
        prefetch_factor: int = 2,
    ):
        where = "DataLoader"
        if isinstance(dataset, Dataset):
            hint = "a Dataset has batch(32) and prefetch(2) itself."
            raise TypeError(message(where, "data that is read by number", "a Dataset", hint))
        is_tree = isinstance(dataset, (tuple, dict)) or hasattr(dataset, "dtype")
        if is_tree:
            dataset = frozen(as_element(where, dataset))
            count_rows(where, dataset)
        elif not hasattr(dataset, "__getitem__") or (sampler is None and not hasattr(dataset, "__len__")):
            expected = "arrays, or a dataset with __len__ and __getitem__"
            hint = "for what can only be iterated there is Dataset.from_generator."
            raise TypeError(message(where, expected, type(dataset).__name__, hint))
        if check_bool(where, "shuffle", shuffle) and sampler is not None:
            raise ValueError(message(where, "shuffle or a sampler", "both"))
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(message(where, "collate_fn to be a function", repr(collate_fn)))
        self.dataset, self.shuffle, self.sampler, self.collate_fn = dataset, shuffle, sampler, collate_fn
        self.batch_size = check_integer(where, "batch_size", batch_size, 1)
        self.num_workers = check_integer(where, "num_workers", num_workers, 0)
        self.prefetch_factor = check_integer(where, "prefetch_factor", prefetch_factor, 1)
        self.drop_last = check_bool(where, "drop_last", drop_last)
        self.seed = None if seed is None else check_integer(where, "seed", seed, 0)
        self._is_tree, self._passes = is_tree, Passes()
        self._idle: list[Workers] = []  # workers between passes
        self._close = weakref.finalize(self, _close_all, self._idle)

    def _samples(self) -> int:
        if self.sampler is not None:
            return len(self.sampler)  # type: ignore[arg-type]
        return next(leaves(self.dataset)).shape[0] if self._is_tree else len(self.dataset)

    def __len__(self) -> int:
        """The number of batches. Raises TypeError for a sampler without a length."""
        return count_batches(self._samples(), self.batch_size, self.drop_last)

    def __iter__(self) -> Generator[Any, None, None]:
        key = self._passes.key(self.seed)
        order: Any
        if self.sampler is not None:
            order = list(self.sampler)
        else:
            order = permutation(key, self._samples()) if self.shuffle else range(self._samples())
        this = Pass(order, self.batch_size, self.drop_last, key)
        reading = Reading(self.dataset, self._is_tree, self.collate_fn)
        return self._made_by_workers(reading, this) if self.num_workers else _made_here(reading, this)

    def _made_by_workers(self, reading: Reading, this: Pass) -> Generator[Any, None, None]:
        pickle = pickled(reading)
        workers = self._idle.pop() if self._idle else Workers(self.num_workers)
        try:
            ahead = self.prefetch_factor * self.num_workers
            yield from prefetched(workers.batches(pickle, this), ahead, workers.interrupt)
        except BaseException:
            workers.interrupt()
            workers.close()
            raise
        _close_all(self._idle)  # those of a pass inside this one
        self._idle.append(workers)

    def close(self) -> None:
        """Ends the workers. The next pass starts new ones."""
        _close_all(self._idle)


def _made_here(reading: Reading, this: Pass) -> Generator[Any, None, None]:
    for number in range(len(this)):
        yield reading(this.batch(number), this.key, number)


def _close_all(pools: list[Workers]) -> None:
    while pools:
        pools.pop().close()
