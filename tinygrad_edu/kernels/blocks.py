"""Fused loops with NumPy: the readable reference, and what runs where llvmlite is not installed.

The rows, or the columns, are taken in blocks that fit the cache, so that what one step leaves the next one finds there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
from numpy.lib.stride_tricks import as_strided

from . import pool
from .loops import REDUCTIONS, ROW_REDUCTIONS, Loops, Op, levels

Array = Any
Block = tuple[slice, ...]

BLOCK = 1 << 17  # elements of a block: with smaller ones the calls cost more than the cache saves (measured)
SHARED = 8  # blocks from which on all threads of the pool share them
_REDUCE = {"row_sum": numpy.add, "row_max": numpy.maximum, "row_min": numpy.minimum}


def run(loops: Loops, inputs: Sequence[Array], outputs: Sequence[Array], scalars: Sequence[float] = ()) -> None:
    """Computes the group into `outputs`.

    Of each array only the first element's place and the dtype count; the strides are those of the description.
    """
    cut = len(loops.shape) - loops.has(ROW_REDUCTIONS)
    blocks = list(_blocks(loops.shape, cut))
    shares = 1 if loops.has({"column_sum": 1}) or len(blocks) < SHARED else pool.threads()
    parts = [blocks[len(blocks) * i // shares : len(blocks) * (i + 1) // shares] for i in range(shares)]
    pool.map(lambda part: _Run(loops, inputs, outputs, scalars).run(part), parts)


def _blocks(shape: tuple[int, ...], cut: int) -> Iterator[Block]:
    """Slices that cover the shape in blocks of at most BLOCK elements; only the first `cut` axes are divided."""
    inner = math.prod(shape[1:])
    if cut == 0 or shape[0] * inner <= BLOCK:
        yield tuple(slice(0, length) for length in shape)
        return
    step = max(1, BLOCK // max(inner, 1))
    for start in range(0, shape[0], step):
        here = slice(start, min(start + step, shape[0]))
        for rest in _blocks(shape[1:], cut - 1) if len(shape) > 1 else [()]:
            yield (here, *rest)


class _Run:
    """One run. Temporaries are handed from a step to a later one, and from block to block."""

    def __init__(self, loops: Loops, inputs: Sequence[Array], outputs: Sequence[Array], scalars: Sequence[float]):
        self.loops, self.scalars, self.levels = loops, scalars, levels(loops)
        self.inputs = [_view(a, loops.shape, o.strides) for a, o in zip(inputs, loops.inputs, strict=True)]
        self.stored = {op.number: level for op, level in zip(loops.ops, self.levels, strict=True) if op.name == "store"}
        self.outputs = []
        for number, (array, operand) in enumerate(zip(outputs, loops.outputs, strict=True)):
            shape, level = loops.shape, self.stored[number]
            if level == "row":
                shape = (*shape[:-1], 1)
            elif level == "column":
                shape = (*(1,) * len(shape[:-1]), shape[-1])
            self.outputs.append(_view(array, shape, operand.strides))
        self.last = {a: i for i, op in enumerate(loops.ops) for a in op.args}
        self.free: dict[tuple[tuple[int, ...], str], list[Array]] = {}

    def run(self, blocks: Sequence[Block]) -> None:
        shape = self.loops.shape
        sums = {
            i: numpy.zeros((*(1,) * (len(shape) - 1), shape[-1]), op.dtype)
            for i, op in enumerate(self.loops.ops)
            if op.name == "column_sum"
        }
        with numpy.errstate(all="ignore"):
            for block in blocks:
                self._block(block, sums)
        for op in self.loops.ops:
            if op.name == "store" and self.stored[op.number] == "column":
                self.outputs[op.number][...] = sums[op.args[0]]

    def _block(self, block: Block, sums: dict[int, Array]) -> None:
        """All steps on one block, then its stores: an output may be an input that another step still reads."""
        values: list[Array] = []
        stores = []
        for i, op in enumerate(self.loops.ops):
            args = [values[a] for a in op.args]
            if op.name == "column_sum":
                axes = tuple(range(len(block) - 1))
                here = (*(slice(None),) * len(axes), block[-1])
                whole = numpy.broadcast_to(args[0], _lengths(block))
                sums[i][here] += whole.sum(axis=axes, keepdims=True, dtype=op.dtype)
            if op.name in ("column_sum", "store"):
                if op.name == "store" and self.levels[i] != "column":
                    stores.append((op.number, args[0]))
                values.append(None)
                continue
            values.append(self._value(op, args, block))
            for a in set(op.args):
                if self.last[a] == i:
                    self._give_back(a, values[a])
        for number, value in stores:
            output = self.outputs[number]
            output[_within(block, output.shape)] = value
        for i, value in enumerate(values):
            if i in self.last and self.loops.ops[self.last[i]].name in ("store", "column_sum"):
                self._give_back(i, value)

    def _value(self, op: Op, args: list[Array], block: Block) -> Array:
        if op.name == "load":
            array = self.inputs[op.number]
            return array[_within(block, array.shape)]
        if op.name == "scalar":
            return numpy.float64(self.scalars[op.number]).astype(op.dtype)
        if op.name == "constant":
            return _constant(op)
        if op.name == "index":
            place = block[op.number]
            return numpy.arange(place.start, place.stop).reshape(
                [-1 if i == op.value else 1 for i in range(len(block))]
            )
        if op.name == "cast":
            return args[0].astype(op.dtype)
        if op.name == "where":
            return numpy.where(*args)
        if op.name in ROW_REDUCTIONS:
            whole = numpy.broadcast_to(args[0], _lengths(block))
            return _REDUCE[op.name].reduce(whole, axis=-1, keepdims=True, dtype=op.dtype)
        shape = numpy.broadcast_shapes(*(numpy.shape(arg) for arg in args))
        if not shape or 0 in shape:
            return _function(op.name)(*args)
        return _function(op.name)(*args, out=self._take(shape, op.dtype))

    def _take(self, shape: tuple[int, ...], dtype: str) -> Array:
        free = self.free.get((shape, dtype))
        return free.pop() if free else numpy.empty(shape, dtype)

    def _give_back(self, i: int, value: Array) -> None:
        """Keeps the array of step `i` for another step, unless it is a part of an input or one number."""
        if self.loops.ops[i].name not in ("load", *REDUCTIONS) and numpy.ndim(value):
            self.free.setdefault((value.shape, value.dtype.name), []).append(value)


def _view(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """The array as the loops run through it; where they repeat, of length 1."""
    lengths = [min(length, 1) if not stride else length for length, stride in zip(shape, strides, strict=True)]
    return as_strided(array, lengths, [stride * array.itemsize for stride in strides])


def _within(block: Block, shape: tuple[int, ...]) -> Block:
    """The block's part of an array that may repeat along some axes."""
    return tuple(slice(None) if length == 1 else part for part, length in zip(block, shape, strict=True))


def _lengths(block: Block) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in block)


def _constant(op: Op) -> Array:
    text, kind = str(op.value), numpy.dtype(op.dtype)
    return kind.type(float(text) if kind.kind == "f" else text == "True" if kind.kind == "b" else int(text))


def _function(name: str) -> Any:
    if name == "erf":
        from scipy.special import erf

        return erf
    return getattr(numpy, name)
