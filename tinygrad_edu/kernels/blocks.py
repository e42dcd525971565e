"""Fused loops with NumPy: the readable reference, and what runs where llvmlite is not installed.

The rows, or the columns, are taken in blocks that fit the cache, so that what one step leaves the next one finds there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
from numpy.lib.stride_tricks import as_strided

from . import pool
from .loops import REDUCTIONS, ROW_REDUCTIONS, SOURCES, Loops, Op, levels

Array = Any
Block = tuple[slice, ...]
Work = tuple[list[Block], dict[tuple[int, ...], list[Array]]]
"""Blocks, and temporaries for blocks of each size."""

BLOCK = 1 << 16  # elements of a block: with smaller ones the calls cost more than the cache saves (measured)
SHARED = 4  # blocks from which on all threads of the pool share them
_REDUCE = {"row_sum": "add", "row_max": "maximum", "row_min": "minimum"}


def run(loops: Loops, inputs: Sequence[Array], outputs: Sequence[Array], scalars: Sequence[float] = ()) -> None:
    """Computes the group into `outputs`.

    Of each array only the first element's place and the dtype count; the strides are those of the description.
    """
    runner = Runner(loops)
    reads = [runner.read(i, a) for i, a in enumerate(inputs)]
    writes = [runner.written(i, a) for i, a in enumerate(outputs)]
    runner(reads, writes, apart(reads, writes), scalars)


def apart(reads: Sequence[Array], writes: Sequence[Array]) -> list[bool]:
    """Whether each of the arrays that are written shares no memory with those that are read."""
    return [not any(numpy.may_share_memory(y, a) for a in reads) for y in writes]


class Runner:
    """A group, to be run more than once: on arrays as `read` and `written` return them."""

    def __init__(self, loops: Loops):
        self.loops, self.text = loops, _Text(loops)
        self._cut = len(loops.shape) - loops.has(ROW_REDUCTIONS)
        self._in_turn = loops.has({"column_sum": 1})
        self._parts: dict[int, list[list[Block]]] = {}

    def read(self, number: int, array: Array) -> Array:
        """The input of that number as the loops run through it."""
        return _view(array, self.loops.shape, self.loops.inputs[number].strides)

    def written(self, number: int, array: Array) -> Array:
        """The output of that number as the loops run through it."""
        return _view(array, *self.text.outputs[number])

    def work(self) -> list[Work]:
        """What each thread is to run, with all the memory that it needs for it."""
        threads = pool.threads()
        if threads not in self._parts:
            self._parts[threads] = self._divided(threads)
        return [(part, self.text.temporaries(part)) for part in self._parts[threads]]

    def __call__(
        self,
        reads: Sequence[Array],
        writes: Sequence[Array],
        apart: Sequence[bool],
        scalars: Sequence[float],
        work: list[Work] | None = None,
    ) -> None:
        work = work or self.work()
        if len(work) == 1:
            self.text.run(reads, writes, apart, scalars, *work[0])
        else:
            pool.map(lambda part: self.text.run(reads, writes, apart, scalars, *part), work)

    def _divided(self, threads: int) -> list[list[Block]]:
        """The blocks that each thread runs."""
        blocks = list(_blocks(self.loops.shape, self._cut))
        shares = 1 if self._in_turn or len(blocks) < SHARED else threads
        return [blocks[len(blocks) * i // shares : len(blocks) * (i + 1) // shares] for i in range(shares)]


def is_steady(loops: Loops) -> bool:
    """Whether all steps leave their values in memory that `Runner.work` has got, so that none can fail."""
    return all(_takes_place(op) or op.name in (*SOURCES, "store") for op in loops.ops)


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


class _Text:
    """The steps as a Python function over blocks, a line for each.

    A step leaves its value in the array where it is stored, if no input shares memory with that, else in a temporary,
    which a later step and the next block take over.

    Attributes:
        temporaries: a function from blocks to the temporaries for each of their sizes.
        run: the function, of (inputs, outputs, whether each output is apart from all inputs, scalars, blocks,
            temporaries).
        outputs: for each the shape and the strides of the loops through it.
    """

    def __init__(self, loops: Loops):
        self.loops, self.axes = loops, range(len(loops.shape))
        self.varies: list[tuple[bool, ...]] = []  # each step, along which axes
        for op in loops.ops:
            self.varies.append(self._varies(op))
        stores = {op.number: op.args[0] for op in loops.ops if op.name == "store"}
        levels_of = levels(loops)
        self.outputs = [(self._stored(levels_of[a]), loops.outputs[y].strides) for y, a in sorted(stores.items())]
        self.homes = {a: y for y, a in stores.items() if self._is_home(a, y)}
        self.last = {a: i for i, op in enumerate(loops.ops) for a in op.args}
        self.last |= dict.fromkeys(stores.values(), len(loops.ops))  # the end of the block
        self.free: dict[str, list[str]] = {}  # temporaries, by what makes them
        self.taken: dict[int, tuple[str, str]] = {}
        self.made: dict[str, str] = {}
        self.objects: dict[str, Any] = {"numpy": numpy}
        before, inside, after = [], [], []
        for i, op in enumerate(loops.ops):
            if op.name in ("scalar", "constant"):
                before.append(f"v{i} = {self._number(i, op)}")
            elif op.name == "column_sum":
                before.append(f"v{i} = numpy.zeros({self._stored('column')}, {op.dtype!r})")
                total = f"sum(axis={tuple(self.axes[:-1])}, keepdims=True, dtype={op.dtype!r})"
                inside.append(f"v{i}[{self._index(self.varies[i])}] += numpy.broadcast_to(v{op.args[0]}, n).{total}")
            elif op.name != "store":
                inside.append(f"v{i} = {self._value(i, op)}")
        for y, a in stores.items():  # at the end of a block: an output may be an input that another step still reads
            if levels_of[a] == "column":
                after.append(f"y{y}[...] = v{a}")
            else:
                place = f"y{y}[{self._index(self._long(self.outputs[y][0]))}] = v{a}"
                inside.append(f"if not apart[{y}]: {place}" if self.homes.get(a) == y else place)
        self._define(before, inside, after)
        self.temporaries: Callable[[list[Block]], Any] = self.objects["temporaries"]
        self.run: Callable[..., None] = self.objects["run"]

    def _define(self, before: list[str], inside: list[str], after: list[str]) -> None:
        lengths = ", ".join(f"s{axis}.stop - s{axis}.start" for axis in self.axes)
        sizes = [f"   {', '.join(f's{axis}' for axis in self.axes)}, = block", f"   n = {lengths},"]
        lines = ["def temporaries(blocks):", "  found = {}", "  for block in blocks:", *sizes]
        lines += [f"   if n not in found: found[n] = [{', '.join(self.made.values())}]", "  return found"]
        lines += ["def run(inputs, outputs, apart, scalars, blocks, temporaries):"]
        for letter, names, count in (("x", "inputs", len(self.loops.inputs)), ("y", "outputs", len(self.outputs))):
            lines += [f" {letter}{i} = {names}[{i}]" for i in range(count)]
        lines += [f" {line}" for line in before]
        lines += [" m = None", " with numpy.errstate(all='ignore'):", "  for block in blocks:"]
        lines += [*sizes, "   if n != m:", "    m = n", f"    [{', '.join(self.made)}] = temporaries[n]"]
        lines += [*(f"   {line}" for line in inside), *(f" {line}" for line in after), ""]
        exec(compile("\n".join(lines), "<loops in blocks>", "exec"), self.objects)

    def _varies(self, op: Op) -> tuple[bool, ...]:
        if op.name == "load":
            strides = self.loops.inputs[op.number].strides
            return tuple(stride != 0 or n == 0 for stride, n in zip(strides, self.loops.shape, strict=True))
        if op.name in ("index", "column_sum"):
            along = op.number if op.name == "index" else self.axes[-1]
            return tuple(axis == along for axis in self.axes)
        found = tuple(any(self.varies[a][axis] for a in op.args) for axis in self.axes)
        return (*(True for _ in found[:-1]), False) if op.name in ROW_REDUCTIONS else found

    def _stored(self, level: str) -> tuple[int, ...]:
        """The shape of what is stored of a step of that level."""
        shape = self.loops.shape
        return (
            (*shape[:-1], 1)
            if level == "row"
            else (*(1,) * (len(shape) - 1), shape[-1])
            if level == "column"
            else shape
        )

    def _long(self, shape: tuple[int, ...]) -> tuple[bool, ...]:
        return tuple(n == whole for n, whole in zip(shape, self.loops.shape, strict=True))

    def _is_home(self, a: int, y: int) -> bool:
        """Whether a step can leave its value in an output: all of it, in the same dtype, by a function of NumPy's that
        takes a place for its result."""
        op, shape = self.loops.ops[a], self.loops.shape
        whole = all(varies or n == 1 for varies, n in zip(self.varies[a], shape, strict=True))
        whole &= self.loops.outputs[y].strides[-1] == 1  # NumPy 2.4's negative and isfinite are wrong for some others
        return whole and any(self.varies[a]) and op.dtype == self.loops.outputs[y].dtype and _takes_place(op)

    def _index(self, along: tuple[bool, ...]) -> str:
        """A block's part of an array that is long along those axes."""
        return ", ".join(f"s{axis}" if long else ":" for axis, long in zip(self.axes, along, strict=True))

    def _number(self, i: int, op: Op) -> str:
        if op.name == "scalar":
            return f"numpy.float64(scalars[{op.number}]).astype({op.dtype!r})"
        self.objects[f"c{i}"] = _constant(op)
        return f"c{i}"

    def _value(self, i: int, op: Op) -> str:
        args = [f"v{a}" for a in op.args]
        if op.name == "load":
            return f"x{op.number}[{self._index(self.varies[i])}]"
        if op.name == "index":
            shape = [-1 if axis == op.value else 1 for axis in self.axes]
            return f"numpy.arange(s{op.number}.start, s{op.number}.stop).reshape({shape})"
        if op.name == "cast":
            return f"{args[0]}.astype({op.dtype!r})"
        if op.name in ROW_REDUCTIONS:
            reduce = f"numpy.{_REDUCE[op.name]}.reduce"
            return f"{reduce}(numpy.broadcast_to({args[0]}, n), axis=-1, keepdims=True, dtype={op.dtype!r})"
        self.objects[f"f{i}"] = _function(op.name)
        for a in set(op.args):  # its array may be the one that this step writes
            if self.last[a] == i and a in self.taken:
                make, name = self.taken.pop(a)
                self.free[make].append(name)
        if _takes_place(op) and any(self.varies[i]):
            args.append(f"out={self._place(i, op)}")
        return f"f{i}({', '.join(args)})"

    def _place(self, i: int, op: Op) -> str:
        """Where a step leaves its value."""
        shape = ", ".join(f"n[{axis}]" if long else "1" for axis, long in zip(self.axes, self.varies[i], strict=True))
        make = f"numpy.empty(({shape},), {op.dtype!r})"
        free = self.free.setdefault(make, [])
        name = free.pop() if free else f"t{len(self.made)}"
        self.made[name] = make
        self.taken[i] = make, name
        if i in self.homes:
            home = self.homes[i]
            return f"y{home}[{self._index(self._long(self.loops.shape))}] if apart[{home}] else {name}"
        return name


def _takes_place(op: Op) -> bool:
    return op.name not in ("where", "cast", "store", *REDUCTIONS, *SOURCES)


def _view(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """The array as the loops run through it; where they repeat, of length 1."""
    lengths = [min(length, 1) if not stride else length for length, stride in zip(shape, strides, strict=True)]
    return as_strided(array, lengths, [stride * array.itemsize for stride in strides])


def _constant(op: Op) -> Array:
    text, kind = str(op.value), numpy.dtype(op.dtype)
    return kind.type(float(text) if kind.kind == "f" else text == "True" if kind.kind == "b" else int(text))


def _function(name: str) -> Any:
    if name == "erf":
        from scipy.special import erf

        return erf
    return getattr(numpy, name)
