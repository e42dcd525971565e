"""The loops over a row's columns that fused loops with reductions take, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .loops import REDUCTIONS, ROW_REDUCTIONS, TRANSCENDENTAL, Loops
from .steps import SIZES


def phases_of(loops: Loops) -> list[int]:
    """For each step the number of loops over the columns of a row that have to end before it can start."""
    phases: list[int] = []
    for op in loops.ops:
        before = max((phases[a] for a in op.args), default=0)
        phases.append(before + (op.name in ROW_REDUCTIONS))
    return phases


@dataclass
class Pass:
    """One loop over the columns of a row: which element-level steps it computes, and which it reads from scratch."""

    steps: set[int]
    read: set[int]
    reductions: list[int]
    stores: list[int]


def passes_of(loops: Loops, kinds: Sequence[str], phases: Sequence[int], scratch: int) -> list[Pass]:
    """The loops over a row's columns, in order; `kinds` are the levels of the steps.

    All stores are in the last one: an output may be an input that an earlier loop reads again. What is cheap is
    computed again in each loop; a transcendental function is kept in a row of scratch, if so many bytes have room.
    """
    stores = [i for i, op in enumerate(loops.ops) if op.name == "store" and kinds[i] in ("uniform", "element")]
    reductions = [i for i, op in enumerate(loops.ops) if op.name in REDUCTIONS]
    starts = {i: phases[loops.ops[i].args[0]] for i in reductions}
    last = max([*starts.values(), *(phases[i] for i in stores)], default=-1)
    passes: list[Pass] = []
    space, known = scratch, set[int]()
    for phase in range(last + 1):
        here = Pass(set(), set(), [i for i in reductions if starts[i] == phase], stores if phase == last else [])
        todo = [loops.ops[i].args[0] for i in (*here.reductions, *here.stores)]
        while todo:
            i = todo.pop()
            if kinds[i] != "element" or i in here.steps or i in here.read:
                continue
            size = SIZES[loops.ops[i].dtype] * loops.columns
            kept = any(i in earlier.read for earlier in passes)
            if i in known and (kept or size <= space):
                space -= 0 if kept else size
                here.read.add(i)
                continue
            here.steps.add(i)
            todo.extend(loops.ops[i].args)
        known |= {i for i in here.steps if loops.ops[i].name in TRANSCENDENTAL}
        passes.append(here)
    return passes
