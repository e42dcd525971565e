"""Operation: one operation of eager mode, or its gradient rules, as a plan; `eager` says when."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from ..autograd import Spec
from ..kernels import native
from ..kernels.loops import REDUCTIONS, SOURCES, TRANSCENDENTAL, Loops, split
from ..kernels.memory import address, scratch
from ..tree import rebuild
from .fusion import Fusion, loops_of
from .passes import optimize
from .planned import Planned
from .program import Argument, Program

WORTH = 1 << 22
"""Steps on elements from which on loops for one shape save so much, some milliseconds, that some calls are worth the
wait."""
WORTH_ANY = 1 << 19
"""The same for a loop of any length, which is made once."""
FEW = (17, 35)
"""Rows with which a function is recorded to see whether it does the same with each."""
_SLOW = 8
"""Steps in the time of a function that NumPy has no vector code for."""
_VECTOR_CODE = ("exp", "log", "tanh")


class Operation:
    """A function of arrays as fused loops, for the thread that made it: what is needed in between lies in memory that
    all of the thread's operations share. `kinds` is the form of what it returns."""

    def __init__(self, program: Program, kinds: Any):
        self._run, self._kinds = Planned(program, memory=scratch), kinds

    def __call__(self, arrays: list[Any]) -> Any:
        return rebuild(self._kinds, iter(self._run(arrays)))


@dataclass(frozen=True)
class Rows:
    """A function that does the same with each row of its arrays, as one loop for any number of rows.

    Attributes:
        loops: those of many rows.
        inputs: which of the arrays the loops read.
        outputs: of one row of each that they write, shape and dtype.
        results: which outputs are returned, in the form `kinds`.
        counted: an array whose rows say how many there are.
        per: how many pieces of the loops' work belong to one row.
    """

    loops: Loops
    inputs: tuple[int, ...]
    outputs: tuple[tuple[tuple[int, ...], Any], ...]
    results: tuple[int | None, ...]
    kinds: Any
    counted: int
    per: int

    @functools.cached_property
    def _program(self) -> native.Program:
        slots = tuple(range(len(self.inputs) + len(self.outputs)))
        return native.program([native.Launch(self.loops, slots, length=len(slots))])

    @functools.cached_property
    def _least(self) -> float:
        """The rows from which on it is worth it."""
        steps, is_flat = max(1, steps_of(self.loops)), len(self.loops.shape) == 1
        return WORTH_ANY / (self.per * steps) if is_flat else WORTH / (self.per * self.loops.columns * steps)

    def __call__(self, arrays: list[Any]) -> Any:
        """What the function returns; None for arrays that are not worth it."""
        rows = arrays[self.counted].shape[0]
        if rows < self._least:
            return None
        made = [numpy.empty((rows, *shape), dtype) for shape, dtype in self.outputs]
        places = [address(a) for a in (*(arrays[i] for i in self.inputs), *made)]
        self._program.pointers[:] = [*places, rows * self.per]
        self._program.run()
        return rebuild(self.kinds, (None if i is None else made[i] for i in self.results))


def of_one_shape(recorded: tuple[Program, Any] | None) -> Operation | None:
    """What was recorded as a plan, if all of it becomes loops of so many steps that NumPy takes much longer."""
    if recorded is None:
        return None
    program, kinds = recorded
    fusion = Fusion(optimize(program, join=True))
    if any(unit.shape is None for unit in fusion.units):
        return None
    all_loops = (loops_of(unit, set(unit.makes()), fusion.root).loops for unit in fusion.units)
    work = sum(math.prod(loops.shape) * steps_of(loops) for loops in all_loops)
    return Operation(program, kinds) if work >= WORTH else None


def of_any_length(parts: Sequence[Any], length: int, record: Callable[[Sequence[Any]], Any]) -> Rows | None:
    """What is recorded with such arrays among its parts, for any length of their first axis where it is `length` now:
    if it is one loop, and the same, but for its length, in a recording with few rows and in one with others."""

    def cut(a: Any, rows: int) -> Any:
        if getattr(a, "shape", ())[:1] != (length,):
            return a
        shape = rows, *a.shape[1:]
        return Spec(shape, a.dtype) if type(a) is Spec else numpy.zeros(shape, a.dtype)

    found = None
    arrays = [a for a in parts if type(a) is numpy.ndarray]
    counted = next(i for i, a in enumerate(arrays) if a.shape[:1] == (length,))
    for rows in FEW:
        made = _by_rows(record([cut(a, rows) for a in parts]), counted, rows)
        if made is None or found not in (None, made):
            return None
        found = made
    return found


def _by_rows(recorded: tuple[Program, Any] | None, counted: int, rows: int) -> Rows | None:
    """What was recorded with so many rows, if all of it becomes one loop through them."""
    if recorded is None:
        return None
    program, kinds = optimize(recorded[0], join=True), recorded[1]
    fusion, results = Fusion(program), program.results
    unit = fusion.units[0] if len(fusion.units) == 1 else None
    wanted = [v for v in results if v is not None]
    if unit is None or unit.shape is None or not set(wanted) <= {*unit.makes()}:
        return None
    kernel = loops_of(unit, set(wanted), fusion.root)
    inputs = [source.position for v in kernel.inputs if type(source := program.inputs.get(v)) is Argument]
    loops, (what, pieces, _) = kernel.loops, split(kernel.loops)
    if kernel.scalars or len(inputs) < len(kernel.inputs):
        return None
    if (what == "columns" and len(loops.shape) > 1) or loops.shape[0] % rows or pieces % rows:
        return None
    if len(set(wanted)) < len(wanted) or any(v.shape[:1] != (rows,) for v in wanted):
        return None
    return Rows(
        replace(loops, shape=(native.MANY, *loops.shape[1:])),
        tuple(inputs),
        tuple((v.shape[1:], v.dtype) for v in kernel.outputs),
        tuple(None if v is None else kernel.outputs.index(v) for v in results),
        kinds,
        counted,
        pieces // rows,
    )


def steps_of(loops: Loops) -> int:
    """Those of NumPy in whose time the loops do all, on each element and beyond the first."""
    names = [op.name for op in loops.ops if op.name not in (*SOURCES, "store", "cast")]
    steps = sum(_SLOW if name in TRANSCENDENTAL and name not in _VECTOR_CODE else 1 for name in names)
    return steps + sum(name in REDUCTIONS for name in names) + sum(0 in a.strides for a in loops.inputs) - 1
