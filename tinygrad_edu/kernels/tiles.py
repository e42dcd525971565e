"""Sums of products whose results stay in registers: the innermost part of products of matrices and of convolutions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from . import llvm
from .polynomials import Code

# On loops: LLVM would unroll them, which takes it long and gains nothing
HINTS = """
!0 = distinct !{!0, !1, !2}
!1 = !{!"llvm.loop.unroll.disable"}
!2 = !{!"llvm.loop.vectorize.enable", i1 false}
"""


def tile(
    a: Any,
    b: Any,
    c: Any,
    columns: int,
    rows: Sequence[tuple[int, int, int]],
    sums: Sequence[tuple[int, int, int]],
    spread: tuple[int, int] = (0, 1),
    add: bool = False,
) -> None:
    """c[row, column] = sum over k of a[row, k] * b[k, column], of neighbouring columns.

    `rows` says for each of one or more axes of the rows how many there are, and the elements from one to the next in a
    and in c; `sums` the same of k, in a and in b. With a spread (channels, filters), so many columns after the other
    share an element of a, and the next take that which lies so many elements after it. If `add`, it is added to c.
    """
    for row in itertools.product(*(range(count) for count, _, _ in rows)):
        at_a, at_c = (sum(i * level[which] for i, level in zip(row, rows, strict=True)) for which in (1, 2))
        total = [c[at_c + f] if add else 0.0 for f in range(columns)]
        for k in itertools.product(*(range(count) for count, _, _ in sums)):
            k_a, k_b = (sum(i * level[which] for i, level in zip(k, sums, strict=True)) for which in (1, 2))
            for f in range(columns):
                total[f] += a[at_a + k_a + f // spread[1] * spread[0]] * b[k_b + f]
        for f in range(columns):
            c[at_c + f] = total[f]


class Tile:
    """Writes the code of one."""

    def __init__(self, code: Code, dtype: str, columns: int, spread: tuple[int, int]):
        self.code, self.number = code, llvm.TYPES[dtype]
        self.channels, self.filters = spread
        self.lanes = lanes(dtype)
        self.align = llvm.SIZES[dtype]
        step = self.lanes // self.filters * self.filters if self.channels else self.lanes
        self.parts = [(first, min(step, columns - first)) for first in range(0, columns, step)]
        self.vector = f"<{self.lanes} x {self.number}>"

    def write(
        self,
        a: str,
        b: str,
        c: str,
        rows: Sequence[tuple[int, int, int]],
        sums: Sequence[tuple[str, str, str]],
        add: bool,
    ) -> None:
        code = self.code
        places = [
            tuple(sum(i * level[which] for i, level in zip(row, rows, strict=True)) for which in (1, 2))
            for row in itertools.product(*(range(count) for count, _, _ in rows))
        ]

        def level(depth: int, a: str, b: str, totals: Sequence[str]) -> Sequence[str]:
            if depth == len(sums):
                return self._products(a, b, [place for place, _ in places], totals)
            count, step_a, step_b = sums[depth]

            def body(k: str, totals: Sequence[str]) -> Sequence[str]:
                return level(depth + 1, self._at(a, k, step_a), self._at(b, k, step_b), totals)

            return loop(code, "0", count, 1, body, [(self.vector, total) for total in totals])

        start = ["zeroinitializer"] * (len(places) * len(self.parts))
        if add:
            start = [self._load(self._at(c, str(at + f)), n) for _, at in places for f, n in self.parts]
        totals = iter(level(0, a, b, start))
        for _, at in places:
            for first, count in self.parts:
                self._store(next(totals), self._at(c, str(at + first)), count)

    def _products(self, a: str, b: str, places: Sequence[int], totals: Sequence[str]) -> list[str]:
        near = [self._load(self._at(b, str(first)), count) for first, count in self.parts]
        found, before = [], iter(totals)
        for place in places:
            far = None
            for (first, count), factor in zip(self.parts, near, strict=True):
                if far is None or self.channels:
                    far = self._spread(self._at(a, str(place + first // self.filters * self.channels)), count)
                found.append(self._multiply_add(far, factor, next(before)))
        return found

    def _multiply_add(self, x: str, y: str, z: str) -> str:
        vector, name = self.vector, f"llvm.fmuladd.v{self.lanes}f{8 * self.align}"
        self.code.declared[f"declare {vector} @{name}({vector}, {vector}, {vector})"] = None
        return self.code.value(f"call {vector} @{name}({vector} {x}, {vector} {y}, {vector} {z})")

    def _spread(self, place: str, count: int) -> str:
        """The elements of a for so many columns."""
        code = self.code
        if not self.channels:
            value = code.value(f"load {self.number}, ptr {place}")
            first = code.value(f"insertelement {self.vector} poison, {self.number} {value}, i64 0")
            return code.value(
                f"shufflevector {self.vector} {first}, {self.vector} poison, <{self.lanes} x i32> zeroinitializer"
            )
        needed = [lane // self.filters * self.channels for lane in range(count)]
        if needed == list(range(count)):
            return self._load(place, count)
        width = 1 << max(needed).bit_length()
        loaded = self._load(place, width, set(needed))
        chosen = ", ".join(f"i32 {k}" for k in needed + [0] * (self.lanes - count))
        wide = f"<{width} x {self.number}>"
        return code.value(f"shufflevector {wide} {loaded}, {wide} poison, <{self.lanes} x i32> <{chosen}>")

    # Memory

    def _at(self, base: str, position: str, step: str = "1") -> str:
        if position == "0" or step == "0":
            return base
        offset = position if step == "1" else self.code.value(f"mul i64 {position}, {step}")
        return self.code.value(f"getelementptr {self.number}, ptr {base}, i64 {offset}")

    def _mask(self, width: int, there: Any) -> str:
        return "<" + ", ".join(f"i1 {str(lane in there).lower()}" for lane in range(width)) + ">"

    def _load(self, place: str, count: int, only: set[int] | None = None) -> str:
        """So many elements and zeros, as a vector; or of so many elements those."""
        width, there = (self.lanes, range(count)) if only is None else (count, only)
        vector = f"<{width} x {self.number}>"
        if len(there) == width:
            return self.code.value(f"load {vector}, ptr {place}, align {self.align}")
        name = f"llvm.masked.load.v{width}f{8 * self.align}.p0"
        self.code.declared[f"declare {vector} @{name}(ptr, i32, <{width} x i1>, {vector})"] = None
        mask = f"<{width} x i1> {self._mask(width, there)}"
        return self.code.value(
            f"call {vector} @{name}(ptr {place}, i32 {self.align}, {mask}, {vector} zeroinitializer)"
        )

    def _store(self, value: str, place: str, count: int) -> None:
        if count == self.lanes:
            self.code.add(f"store {self.vector} {value}, ptr {place}, align {self.align}")
            return
        name = f"llvm.masked.store.v{self.lanes}f{8 * self.align}.p0"
        self.code.declared[f"declare void @{name}({self.vector}, ptr, i32, <{self.lanes} x i1>)"] = None
        mask = f"<{self.lanes} x i1> {self._mask(self.lanes, range(count))}"
        self.code.add(f"call void @{name}({self.vector} {value}, ptr {place}, i32 {self.align}, {mask})")


def lanes(dtype: str) -> int:
    """How many elements a vector of this machine has."""
    return llvm.registers()[1] // llvm.SIZES[dtype]


def loop(
    code: Code,
    first: str,
    stop: str,
    step: int,
    body: Callable[[str, Sequence[str]], Sequence[str] | None],
    carried: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """for (i = first; i < stop; i += step). `carried` are the types and first values of what `body` returns for its
    next turn; returns their last values."""
    label = f"loop{next(code.names)}"
    code.label(f"{label}.entry")
    code.label(label)
    i = f"%{label}.i"
    names = [f"%{label}.c{number}" for number in range(len(carried))]
    code.add(f"{i} = phi i64 [ {first}, %{label}.entry ], [ {i}.next, %{label}.latch ]")
    place = len(code.lines)
    more = code.value(f"icmp slt i64 {i}, {stop}")
    code.add(f"br i1 {more}, label %{label}.body, label %{label}.exit")
    code.lines.append(f"{label}.body:")
    following = body(i, names) or ()
    code.label(f"{label}.latch")
    code.add(f"{i}.next = add i64 {i}, {step}")
    code.add(f"br label %{label}, !llvm.loop !0")
    code.lines.append(f"{label}.exit:")
    code.lines[place:place] = [
        f"  {name} = phi {type} [ {start}, %{label}.entry ], [ {value}, %{label}.latch ]"
        for name, (type, start), value in zip(names, carried, following, strict=True)
    ]
    return names
