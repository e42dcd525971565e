"""The stages of a pipeline: generators that take elements from the stage before and close it when they end."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import count as counting
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy

from ..backend import Generator as RandomGenerator
from ..errors import check_integer
from ..tree import mapped
from .elements import Order, as_element, call, count_rows, frozen, rows_of
from .streams import CPU, stream
from .threads import called_ahead

Elements = Generator[Any, None, None]


def stage(steps: Callable[..., Iterator[Any]]) -> Callable[..., Elements]:
    """Makes a generator close the generators that are its first argument (one, or a list of them) when it ends.

    Without it they would live as long as the traceback of an exception does, and with them their threads.
    """

    @functools.wraps(steps)
    def run(source: Any, *options: Any) -> Elements:
        try:
            yield from steps(source, *options)
        finally:
            for part in source if isinstance(source, list) else [source]:
                part.close()

    return run


def each_row(arrays: Any, order: Order) -> Elements:
    for i in order:
        yield mapped(itemgetter(i), arrays)


def each(elements: Iterable[Any]) -> Elements:
    yield from elements


def batches_of_rows(arrays: Any, order: Order, size: int, drop_remainder: bool) -> Elements:
    for start in range(0, len(order) - (size - 1 if drop_remainder else 0), size):
        yield rows_of(arrays, order[start : start + size])


def generated(where: str, function: Callable[[], Iterable[Any]], key: int) -> Elements:
    """What the function's iterable gives; each element is made in a stream of random numbers of its own."""
    source: Any = None
    end = object()
    try:
        for number in counting():
            with stream(key, number):
                source = iter(function()) if source is None else source
                found = next(source, end)
            if found is end:
                return
            yield as_element(where, found)
    finally:
        if hasattr(source, "close"):
            source.close()


@stage
def mapped_by(source: Elements, function: Callable[..., Any], key: int, threads: int | None) -> Iterator[Any]:
    def one(number: int, element: Any) -> Any:
        with stream(key, number):
            return as_element("Dataset.map", call(function, element))

    return map(one, counting(), source) if threads is None else called_ahead(source, one, threads)


@stage
def filtered(source: Elements, predicate: Callable[..., Any], key: int) -> Iterator[Any]:
    for number, element in enumerate(source):
        with stream(key, number):
            kept = bool(call(predicate, element))
        if kept:
            yield element


@stage
def sliced(source: Elements, *bounds: int | None) -> Iterator[Any]:
    return islice(source, *bounds)


@stage
def batched(source: Elements, size: int, drop_remainder: bool, combine: Callable[[list[Any]], Any]) -> Iterator[Any]:
    while elements := list(islice(source, size)):
        if len(elements) == size or not drop_remainder:
            yield combine(elements)


@stage
def bucketed(
    source: Elements,
    length_of: Callable[..., Any],
    boundaries: list[int],
    sizes: list[int],
    drop_remainder: bool,
    combine: Callable[[list[Any], int], Any],
) -> Iterator[Any]:
    waiting: list[list[Any]] = [[] for _ in sizes]
    for element in source:
        length = check_integer("Dataset.bucket_by_sequence_length", "a length", call(length_of, element), 0)
        bucket = bisect_right(boundaries, length)
        waiting[bucket].append(element)
        if len(waiting[bucket]) == sizes[bucket]:
            elements, waiting[bucket] = waiting[bucket], []
            yield combine(elements, bucket)
    for bucket, elements in enumerate(waiting):
        if elements and not drop_remainder:
            yield combine(elements, bucket)


def permutation(key: int, count: int) -> Any:
    return RandomGenerator(key).permutation(count, CPU)


@stage
def shuffled(source: Elements, size: int, key: int) -> Iterator[Any]:
    """Fills a buffer; then each new element takes the place of one at random, which goes on; last, the buffer's in
    random order. So a buffer that holds all gives the order of `permutation`."""
    buffer = list(islice(source, size))
    if len(buffer) == size:
        places = _integers(RandomGenerator(key, stream=1), size)
        for element, i in zip(source, places, strict=False):
            element, buffer[i] = buffer[i], element
            yield element
    for i in permutation(key, len(buffer)).tolist():
        yield buffer[i]


def shuffled_order(order: Order, size: int, key: int) -> Order:
    """What `shuffled` does with elements, done with the numbers of rows."""
    rows = numpy.arange(order.start, order.stop, order.step) if isinstance(order, range) else order
    if size >= len(rows):
        return rows[permutation(key, len(rows))]
    return numpy.fromiter(shuffled(each(rows.tolist()), size, key), "int64", len(rows))


def _integers(generator: RandomGenerator, high: int) -> Iterator[int]:
    while True:
        yield from generator.integers((1024,), 0, high, CPU).tolist()


def repeated(start: Callable[[], Elements], count: int | None, key: int) -> Elements:
    """Passes over the data, one after the other: what each draws as it starts is a function of the key and its number,
    as it may start in another thread."""
    for number in counting() if count is None else range(count):
        with stream(key, number):
            source = start()
        is_empty = True
        try:
            for element in source:
                is_empty = False
                yield element
        finally:
            source.close()
        if is_empty:
            return


@stage
def zipped(sources: list[Elements]) -> Iterator[Any]:
    return zip(*sources, strict=False)


@stage
def concatenated(sources: list[Elements]) -> Iterator[Any]:
    for source in sources:
        yield from source


@stage
def numbered(source: Elements, start: int) -> Iterator[Any]:
    return ((numpy.int64(number), element) for number, element in enumerate(source, start))


@stage
def unbatched(source: Elements) -> Iterator[Any]:
    for element in source:
        yield from each_row(element, range(count_rows("Dataset.unbatch", element)))


@stage
def keeping(source: Elements, keep: Callable[[list[Any]], None]) -> Iterator[Any]:
    """Hands the list of all elements to `keep` after the last one."""
    elements = []
    for element in source:
        element = frozen(element)
        elements.append(element)
        yield element
    keep(elements)
