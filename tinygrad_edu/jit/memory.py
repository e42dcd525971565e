"""Memory: where the arrays that a plan makes lie in one buffer, so that those alive at the same time do not overlap."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

import numpy

from ..kernels.memory import ALIGNMENT
from .fusion import Fusion
from .program import Program, Variable


@dataclass
class Block:
    """A piece of the buffer: alive from one unit to another, counted in their order; `offset` and `size` in bytes."""

    first: int
    last: int
    size: int
    offset: int = 0


def lifetimes(
    fusion: Fusion, program: Program, planned: Iterable[Variable], homes: dict[Variable, tuple[Variable, int]]
) -> dict[Variable, Block]:
    """A block for each of these variables (no views); those that are made inside of another share its block.

    What is needed at the end lives one unit longer than all.
    """
    found: dict[Variable, Block] = {}
    wanted = set(planned)
    for i, unit in enumerate(fusion.units):
        for v in unit.makes():
            if v in wanted:
                found[v] = Block(i, i, v.nbytes)
        for v in map(fusion.root, unit.reads()):
            if v in found:
                found[v].last = i
    for end in program.ends():
        if type(end) is Variable and fusion.root(end) in found:
            found[fusion.root(end)].last = len(fusion.units)
    for v, (home, _) in homes.items():
        found[home].first = min(found[home].first, found[v].first)
        found[home].last = max(found[home].last, found[v].last)
        found[v] = found[home]
    return found


def copied(blocks: dict[Variable, Block]) -> dict[Variable, Block]:
    """Blocks that can be changed apart from these; variables that share one still do."""
    copies = {id(block): replace(block) for block in blocks.values()}
    return {v: copies[id(block)] for v, block in blocks.items()}


def shared(fusion: Fusion, blocks: dict[Variable, Block], homes: Container[Variable]) -> dict[Variable, Block]:
    """The same, where an output of a group takes the place of an input that ends there and has the same layout."""
    found = dict(blocks)
    for i, unit in enumerate(fusion.units):
        reads, taken = {a: fusion.root(a) for a in unit.reads()}, unit.takes()
        once = [(a, root) for a, root in reads.items() if root in blocks and [*reads.values()].count(root) == 1]
        whole = [(a, root) for a, root in once if root not in homes and a.shape == unit.shape and a.size == root.size]
        free = [(a, root) for a, root in whole if found[root].first < i == found[root].last and a not in taken]
        for v in unit.makes():
            if v not in found or v in homes or unit.forms.get(v) != "element":
                continue
            for a, root in free:
                if (a.shape, a.strides, a.dtype) == (v.shape, v.strides, v.dtype):
                    found[root].last = max(found[root].last, found[v].last)
                    found[v] = found[root]
                    free.remove((a, root))
                    break
    return found


def place(blocks: Iterable[Block]) -> int:
    """Gives each block its offset, the largest first, each as low as it can be; returns the size of the buffer."""
    order = sorted({id(b): b for b in blocks}.values(), key=lambda b: (-b.size, b.first))
    first, last, begin, end = numpy.zeros((4, len(order)), numpy.int64)  # of those that have their place
    for i, block in enumerate(order):
        size = _rounded(block.size)
        others = numpy.flatnonzero((first[:i] <= block.last) & (block.first <= last[:i]))
        others = others[begin[others].argsort()]
        free = numpy.maximum.accumulate(numpy.append(0, end[others]))  # behind all those before one of them
        fits = numpy.append(free[:-1] + size <= begin[others], True)
        block.offset = int(free[fits.argmax()])
        first[i], last[i], begin[i], end[i] = block.first, block.last, block.offset, block.offset + size
    return int(end.max(initial=0))


def _rounded(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


def peak(blocks: Iterable[Block]) -> int:
    """The most bytes that are alive at one time."""
    changes: dict[int, int] = {}
    for block in {id(b): b for b in blocks}.values():
        changes[block.first] = changes.get(block.first, 0) + block.size
        changes[block.last + 1] = changes.get(block.last + 1, 0) - block.size
    most = now = 0
    for time in sorted(changes):
        now += changes[time]
        most = max(most, now)
    return most
