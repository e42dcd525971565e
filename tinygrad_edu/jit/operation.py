"""Operation: one operation of eager mode, or its gradient rules, as a plan; `eager` says when."""

from __future__ import annotations

import math
from typing import Any

from ..kernels.loops import REDUCTIONS, SOURCES, TRANSCENDENTAL
from ..kernels.memory import scratch
from ..tree import rebuild
from .fusion import Fusion, loops_of
from .passes import optimize
from .planned import Planned
from .program import Program

WORTH = 1 << 22
"""Steps on elements, beyond one for each, from which on loops save more time than it takes to make them, soon."""
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


def is_worth(program: Program) -> bool:
    """Whether all of it is fused loops, with so many steps that NumPy takes much longer."""
    fusion, work = Fusion(optimize(program, join=True)), 0
    for unit in fusion.units:
        if unit.shape is None:
            return False
        loops = loops_of(unit, set(unit.makes()), fusion.root).loops
        names = [op.name for op in loops.ops if op.name not in (*SOURCES, "store", "cast")]
        steps = sum(_SLOW if name in TRANSCENDENTAL and name not in _VECTOR_CODE else 1 for name in names)
        steps += sum(name in REDUCTIONS for name in names)
        steps += sum(0 in operand.strides for operand in loops.inputs)
        work += math.prod(loops.shape) * (steps - 1)
    return work >= WORTH
