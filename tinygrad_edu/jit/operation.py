"""Operation: one operation of eager mode, or its gradient rules, as a plan; `eager` says when."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy

from ..kernels import native
from ..kernels.loops import REDUCTIONS, SOURCES, TRANSCENDENTAL, Loops
from ..kernels.memory import address, scratch
from ..tree import rebuild
from .fusion import Fusion, Kernel, loops_of
from .passes import optimize
from .planned import Planned
from .program import Argument, Program

WORTH = 1 << 22
"""Steps on elements from which on loops for one shape save so much, some milliseconds, that some calls are worth the
wait."""
WORTH_ANY = 1 << 19
"""The same for a loop of any length, which is made once."""
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


class Elementwise:
    """A function that does the same to each element of arrays of one shape, as one loop of any length.

    It returns None for arrays that are not worth it.
    """

    def __init__(self, results: list[Any], kinds: Any, positions: list[int], kernel: Kernel):
        self._results, self._kinds, self._positions, self._kernel = results, kinds, positions, kernel
        self._least = WORTH_ANY / max(1, steps_of(kernel.loops))

    @functools.cached_property
    def _program(self) -> native.Program:
        loops = replace(self._kernel.loops, shape=(native.MANY,))
        slots = tuple(range(len(loops.inputs) + len(loops.outputs)))
        return native.program([native.Launch(loops, slots, length=len(slots))])

    def __call__(self, arrays: list[Any]) -> Any:
        shape, size = arrays[0].shape, arrays[0].size
        if size < self._least:
            return None
        made = {v: numpy.empty(shape, v.dtype) for v in self._kernel.outputs}
        places = [address(a) for a in (*(arrays[i] for i in self._positions), *made.values())]
        self._program.pointers[:] = [*places, size]
        self._program.run()
        return rebuild(self._kinds, (v and made[v] for v in self._results))


def of_one_shape(program: Program, kinds: Any) -> Operation | None:
    """What was recorded as a plan, if all of it becomes loops of so many steps that NumPy takes much longer."""
    fusion = Fusion(optimize(program, join=True))
    if any(unit.shape is None for unit in fusion.units):
        return None
    all_loops = (loops_of(unit, set(unit.makes()), fusion.root).loops for unit in fusion.units)
    work = sum(math.prod(loops.shape) * steps_of(loops) for loops in all_loops)
    return Operation(program, kinds) if work >= WORTH else None


def of_any_length(program: Program, kinds: Any) -> Elementwise | None:
    """What was recorded with a few elements, if all of it becomes one loop through all arrays."""
    program = optimize(program, join=True)
    fusion, results = Fusion(program), [v for v in program.results if v is not None]
    unit = fusion.units[0] if len(fusion.units) == 1 else None
    if unit is None or unit.shape is None or len(set(results)) < len(results) or not set(results) <= {*unit.makes()}:
        return None
    kernel = loops_of(unit, set(results), fusion.root)
    positions = [source.position for v in kernel.inputs if type(source := program.inputs.get(v)) is Argument]
    alike = all(operand.strides == (1,) for operand in (*kernel.loops.inputs, *kernel.loops.outputs))
    if kernel.scalars or len(positions) < len(kernel.inputs) or not alike:
        return None
    return Elementwise(program.results, kinds, positions, kernel)


def steps_of(loops: Loops) -> int:
    """Those of NumPy in whose time the loops do all, on each element and beyond the first."""
    names = [op.name for op in loops.ops if op.name not in (*SOURCES, "store", "cast")]
    steps = sum(_SLOW if name in TRANSCENDENTAL and name not in _VECTOR_CODE else 1 for name in names)
    return steps + sum(name in REDUCTIONS for name in names) + sum(0 in a.strides for a in loops.inputs) - 1
