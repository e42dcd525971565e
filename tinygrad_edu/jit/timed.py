"""Timed: a plan with a clock between its units, for `jit.profile`."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ..kernels import native
from ..kernels.entry import Given
from ..kernels.memory import address
from .explain import unit_text
from .fusion import Unit
from .planned import Planned
from .program import Call, Program, Scalar, Variable


class Timed(Planned):
    """A plan whose steps are programs of their own, so that a clock can be read between them.

    Attributes:
        owners: of each piece of machine code the units of its steps.
        seconds: for each unit the time of each call, in its steps' order.
    """

    def __init__(self, program: Program):
        self.owners: list[list[Unit]] = []
        self.seconds: defaultdict[Unit, list[float]] = defaultdict(list)
        super().__init__(program)

    def _steps(
        self, units: list[Unit], slots: dict[Variable, int], scalars: dict[Scalar, int]
    ) -> Iterator[native.Step]:
        owners: list[Unit] = []
        for unit in units:
            for step in super()._steps([unit], slots, scalars):
                owners.append(unit)
                yield step
        self.owners += [owners] if owners else []

    def _known_objects(self) -> dict[str, Any]:
        return super()._known_objects() | {"clock": time.perf_counter}

    def _lines(self, c: Call) -> Iterator[str]:
        unit = next(unit for unit in self.fusion.units if c in unit.calls)
        yield "started = clock()"
        yield from super()._lines(c)
        yield f"{self._object('spent', self.seconds[unit])}.append(clock() - started)"

    def _program(self, steps: Sequence[native.Step], places: Sequence[native.Place], given: Given) -> Any:
        return _Apart(steps, places, given, self.owners[-1], self.seconds)


class _Apart:
    """What `native.Program` does, by one for each step."""

    is_brief = False

    def __init__(
        self,
        steps: Sequence[native.Step],
        places: Sequence[native.Place],
        given: Given,
        owners: list[Unit],
        seconds: Any,
    ):
        whole = native.program(steps, places=places)
        self.pointers, self.scalars, self.threads = whole.pointers, whole.scalars, whole.threads
        self.call = (self.run,)
        self._given, self._parts = given, [native.program([step], whole.threads) for step in steps]
        self._owners, self._seconds = owners, seconds

    def enter(self, *arrays: Any) -> None:
        for array, places in zip(arrays, self._given, strict=True):
            for slot, offset in places:
                self.pointers[slot] = address(array) + offset

    def run(self, *arrays: Any) -> None:
        if arrays:
            self.enter(*arrays)
        spent: defaultdict[Unit, float] = defaultdict(float)
        for part, unit in zip(self._parts, self._owners, strict=True):
            part.pointers[:] = self.pointers[: len(part.pointers)]
            part.scalars[:] = self.scalars[: len(part.scalars)]
            start = time.perf_counter()
            part.run()
            spent[unit] += time.perf_counter() - start
        for unit, seconds in spent.items():
            self._seconds[unit].append(seconds)


def timed_calls(plan: Planned, arguments: list[Any], times: int) -> str:
    """Calls a plan so often, and once before, as it is and with clocks between its units in turns; returns the time of
    the former in milliseconds, and of the latter a table with a line for each unit, those that take longest first."""
    timed = Timed(plan.recorded)
    plain: list[float] = []
    clocked: list[float] = []
    for _ in range(times + 1):
        for run, found in ((plan, plain), (timed, clocked)):
            start = time.perf_counter()
            run(arguments)
            found.append(time.perf_counter() - start)
    usual, whole = (statistics.median(found[1:]) for found in (plain, clocked))
    return f"{1e3 * usual:.3f} ms ({1e3 * whole:.3f} with the clocks)\n\n{_table(timed, whole)}"


def _table(timed: Timed, whole: float) -> str:
    steps: defaultdict[Unit, list[native.Step]] = defaultdict(list)
    for owners, code in zip(timed.owners, timed.steps, strict=True):
        for unit, step in zip(owners, code, strict=True):
            steps[unit].append(step)
    seconds = {unit: statistics.median(found[1:]) for unit, found in timed.seconds.items()}
    numbers = {unit: i for i, unit in enumerate(timed.fusion.units)}
    lines = [f"{'ms':>8} {'%':>6} {'GFLOP/s':>8} {'GB/s':>8}  unit"]
    for unit, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        flops, moved = sum(map(native.flops, steps[unit])), sum(map(native.traffic, steps[unit]))
        rates = f"{flops / spent / 1e9:8.1f} {moved / spent / 1e9:8.1f}"
        name = f"{numbers[unit]}  {unit_text(timed, unit)}"
        lines.append(f"{1e3 * spent:8.3f} {100 * spent / whole:6.1f} {rates}  {name}")
    rest = whole - sum(seconds.values())
    return "\n".join([*lines, f"{1e3 * rest:8.3f} {100 * rest / whole:6.1f} {'':17}  the rest, and clocks"])
