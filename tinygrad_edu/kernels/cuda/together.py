"""Loops that do the same to several arrays, as an optimizer does to each parameter, in one launch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from ..loops import Loops
from ..native import Launch
from ..steps import SIZES
from .compiled import are_aligned
from .text import is_flat, width_of

MOST = 400
"""Pointers among a kernel's parameters, which may take 4096 bytes."""

Placed: TypeAlias = tuple[Any, list[int]]
"""A step, and the addresses of its arrays."""
Stretch: TypeAlias = tuple[int, int]


class Several(NamedTuple):
    """Flat loops of these lengths, which take `width` neighbours at once."""

    loops: Loops
    lengths: tuple[int, ...]
    width: int
    scalars: tuple[int, ...]


def together(steps: Sequence[Placed]) -> list[Placed]:
    """The steps with those joined that follow each other, do the same, and touch nothing that another one writes."""
    made: list[Placed] = []
    run: list[Placed] = []
    read: list[Stretch] = []
    written: list[Stretch] = []
    for step, places in steps:
        flat = isinstance(step, Launch) and is_flat(step.loops)
        reads, writes = _stretches(step.loops, places) if flat else ([], [])
        if not flat or _meet(writes, read) or _meet(writes, written) or _meet(reads, written):
            made += _joined(run)
            run, read, written = [], [], []
        if flat:
            run.append((step, places))
            read += reads
            written += writes
        else:
            made.append((step, places))
    return [*made, *_joined(run)]


def _stretches(loops: Loops, places: Sequence[int]) -> tuple[list[Stretch], list[Stretch]]:
    """The memory that flat loops read and write."""
    operands = (*loops.inputs, *loops.outputs)
    ends = [
        at + SIZES[o.dtype] * (loops.columns if o.strides[-1] else 1) for at, o in zip(places, operands, strict=True)
    ]
    all_of_them = list(zip(places, ends, strict=True))
    return all_of_them[: len(loops.inputs)], all_of_them[len(loops.inputs) :]


def _meet(some: Sequence[Stretch], others: Sequence[Stretch]) -> bool:
    return any(start < end and first < stop for start, stop in some for first, end in others)


def _joined(run: Sequence[Placed]) -> Iterator[Placed]:
    """Independent flat loops, those that do the same as one."""
    alike: dict[Any, list[Placed]] = {}
    for step, places in run:
        width = width_of(step.loops) if are_aligned(places) else 1
        alike.setdefault((replace(step.loops, shape=(1,)), step.scalars, width), []).append((step, places))
    for (_, scalars, width), parts in alike.items():
        most = max(1, MOST // len(parts[0][1]))
        for i in range(0, len(parts), most):
            some = parts[i : i + most]
            if len(some) == 1:
                yield from some
                continue
            lengths = tuple(step.loops.columns for step, _ in some)
            yield Several(some[0][0].loops, lengths, width, scalars), [at for _, places in some for at in places]
