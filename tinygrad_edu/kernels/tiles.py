"""Sums of products whose results stay in registers: the innermost part of products of matrices and of convolutions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from . import llvm
from .polynomials import Code

# On loops: LLVM would unroll them, or further, which takes it long and gains nothing
HINTS = """
!1000 = distinct !{!1000, !1001, !1002}
!1001 = !{!"llvm.loop.unroll.disable"}
!1002 = !{!"llvm.loop.vectorize.enable", i1 false}
!1003 = distinct !{!1003, !1002, !1004}
!1004 = !{!"llvm.loop.unroll.count", i32 4}
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
    alike: bool = False,
    fold: bool = False,
    within: tuple[int, int] | None = None,
    groups: tuple[int, int, int] = (1, 0, 0),
) -> None:
    """c[row, column] = sum over k of a[row, k] * b[k, column], of neighbouring columns.

    `rows` says for each of one or more axes of the rows how many there are, and the elements from one to the next in a
    and in c; `sums` the same of k, in a and in b. With a spread (channels, filters), `filters` columns after the other
    share an element of a, and the next share the one `channels` elements later. If `alike`, all columns share that of
    b. If `add`, the sum is added to c; if `fold`, c gets only the sum of all columns. Of `groups` (count, step in b,
    step in c) there are so many, each of `columns`, which begin so many elements after each other.

    With `within` (first, size), elements of a lie `first` later, and of their places along the last axis of the rows
    and the last but one of the sums, which add up, those that are not in range(size) count as zeros and are not read.
    """
    first, size = within or (0, 0)
    places = [tuple(group * step + f for step in groups[1:]) for group in range(groups[0]) for f in range(columns)]
    for row in itertools.product(*(range(count) for count, _, _ in rows)):
        at_a, at_c = (sum(i * level[which] for i, level in zip(row, rows, strict=True)) for which in (1, 2))
        total = [0.0] * len(places)
        for k in itertools.product(*(range(count) for count, _, _ in sums)):
            if within and not 0 <= first + row[-1] * rows[-1][1] + k[-2] * sums[-2][1] < size:
                continue
            k_a, k_b = (sum(i * level[which] for i, level in zip(k, sums, strict=True)) for which in (1, 2))
            for i, (f, _) in enumerate(places):
                total[i] += a[first + at_a + k_a + f // spread[1] * spread[0]] * b[k_b + (0 if alike else f)]
        for (_, f), value in zip(places, [sum(total)] if fold else total, strict=not fold):
            c[at_c + f] = c[at_c + f] + value if add else value


class _Sum(NamedTuple):
    """An innermost loop: some rows of a tile, where each begins in a, where all do in b, and the steps from there."""

    rows: list[int]
    a: list[int]
    b: int
    length: str
    step_a: str
    step_b: str


def _inner_sums(
    near: Sequence[int], along: Sequence[int], sums: Sequence[Sequence[str]], within: tuple[int, int]
) -> list[_Sum]:
    """The last two sums, where `within` leaves out some, of rows that begin at `near` and at `along` on that axis.

    Neighbours that meet the same rows are one loop, if they lie as one.
    """
    first, size = within
    (taps, far_a, far_b), (count, step_a, step_b) = (map(int, level) for level in sums)
    one = (count * step_a, count * step_b) == (far_a, far_b)

    def met(tap: int) -> list[int]:
        return [i for i, place in enumerate(along) if 0 <= first + tap * far_a + place < size]

    found = []
    for rows, group in itertools.groupby(range(taps), met):
        alike = list(group)
        length = count * len(alike) if one else count
        for tap in (alike[:1] if one else alike) if rows else ():
            starts = [first + tap * far_a + near[i] for i in rows]
            found.append(_Sum(rows, starts, tap * far_b, str(length), str(step_a), str(step_b)))
    return found


class Tile:
    """Writes the code of one."""

    def __init__(
        self, code: Code, dtype: str, columns: int, spread: tuple[int, int], alike: bool,
        groups: tuple[int, int, int],
    ):  # fmt: skip
        self.code, self.number, self.alike = code, llvm.TYPES[dtype], alike
        self.channels, self.filters = spread
        self.lanes = lanes(dtype)
        self.align = llvm.SIZES[dtype]
        step = self.lanes // self.filters * self.filters if self.channels else self.lanes
        self.parts, self.results = (  # where each vector of a row begins in b and in c, and how much of it there is
            [
                (group * apart + first, min(step, columns - first))
                for group in range(groups[0])
                for first in range(0, columns, step)
            ]
            for apart in groups[1:]
        )
        self.vector = f"<{self.lanes} x {self.number}>"

    def write(
        self,
        a: str,
        b: str,
        c: str,
        rows: Sequence[tuple[int, int, int]],
        sums: Sequence[Sequence[str]],
        add: bool,
        fold: bool,
        within: tuple[int, int] | None,
    ) -> None:
        code, at_rows = self.code, list(itertools.product(*(range(count) for count, _, _ in rows)))
        places = [
            tuple(sum(i * level[which] for i, level in zip(row, rows, strict=True)) for which in (1, 2))
            for row in at_rows
        ]
        near = [place for place, _ in places]
        if within:
            outer, along = sums[:-2], [row[-1] * rows[-1][1] for row in at_rows]
            inner = _inner_sums(near, along, sums[-2:], within)
        else:
            outer, inner = sums[:-1], [_Sum(list(range(len(near))), near, 0, *(sums[-1] if sums else ("1", "0", "0")))]

        def level(depth: int, a: str, b: str, totals: Sequence[str]) -> Sequence[str]:
            if depth == len(outer):
                return functools.reduce(lambda totals, part: self._add_sum(part, a, b, totals), inner, totals)
            count, step_a, step_b = outer[depth]

            def body(k: str, totals: Sequence[str]) -> Sequence[str]:
                return level(depth + 1, self._at(a, k, step_a), self._at(b, k, step_b), totals)

            return loop(code, "0", count, 1, body, [(self.vector, total) for total in totals])

        totals = iter(level(0, a, b, ["zeroinitializer"] * (len(places) * len(self.parts))))
        for _, at in places:
            if fold:
                self._store_sum([next(totals) for _ in self.parts], self._at(c, str(at)), add)
                continue
            for first, count in self.results:
                place, total = self._at(c, str(at + first)), next(totals)
                if add:
                    total = code.value(f"fadd {self.vector} {total}, {self._load(place, count)}")
                self._store(total, place, count)

    def _add_sum(self, part: _Sum, a: str, b: str, totals: Sequence[str]) -> Sequence[str]:
        """The totals with an innermost loop added to those of its rows."""
        which = [row * len(self.parts) + i for row in part.rows for i in range(len(self.parts))]
        b = self._at(b, str(part.b))

        def body(k: str, totals: Sequence[str]) -> Sequence[str]:
            return self._products(self._at(a, k, part.step_a), self._at(b, k, part.step_b), part.a, totals)

        mine = [totals[i] for i in which]
        if part.length == "1":
            found = body("0", mine)
        else:
            found = loop(self.code, "0", part.length, 1, body, [(self.vector, total) for total in mine])
        changed = dict(zip(which, found, strict=True))
        return [changed.get(i, total) for i, total in enumerate(totals)]

    def _products(self, a: str, b: str, places: Sequence[int], totals: Sequence[str]) -> list[str]:
        if self.alike:
            near = [self._same(b)] * len(self.parts)
        else:
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
            return self._same(place)
        needed = [lane // self.filters * self.channels for lane in range(count)]
        if needed == list(range(count)):
            return self._load(place, count)
        width = 1 << max(needed).bit_length()
        loaded = self._load(place, width, set(needed))
        chosen = ", ".join(f"i32 {k}" for k in needed + [0] * (self.lanes - count))
        wide = f"<{width} x {self.number}>"
        return code.value(f"shufflevector {wide} {loaded}, {wide} poison, <{self.lanes} x i32> <{chosen}>")

    def _same(self, place: str) -> str:
        """One element for all columns."""
        code, vector = self.code, self.vector
        value = code.value(f"load {self.number}, ptr {place}")
        first = code.value(f"insertelement {vector} poison, {self.number} {value}, i64 0")
        return code.value(f"shufflevector {vector} {first}, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    # Memory

    def _at(self, base: str, position: str, step: str = "1") -> str:
        return at(self.code, self.number, base, (position, step))

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

    def _store_sum(self, parts: Sequence[str], place: str, add: bool) -> None:
        code, (total, *others) = self.code, parts
        for other in others:
            total = code.value(f"fadd {self.vector} {total}, {other}")
        name, first = f"llvm.vector.reduce.fadd.v{self.lanes}f{8 * self.align}", llvm.number(0.0, self.number)
        if add:
            first = code.value(f"load {self.number}, ptr {place}")
        code.declared[f"declare {self.number} @{name}({self.number}, {self.vector})"] = None
        value = code.value(f"call reassoc {self.number} @{name}({self.number} {first}, {self.vector} {total})")
        code.add(f"store {self.number} {value}, ptr {place}")


@functools.cache
def registers() -> tuple[int, int]:
    """How many vectors the machine keeps in registers, and their bytes."""
    features = llvm.host()[2]
    return (32, 64) if "+avx512f" in features else (32, 16) if "+neon" in features else (16, 32)


def lanes(dtype: str) -> int:
    """How many elements a vector of this machine has."""
    return registers()[1] // llvm.SIZES[dtype]


def at(code: Code, type: str, base: str, *steps: tuple[str, int | str]) -> str:
    """The address so many elements after `base`: the sum of the products of a value and a number."""
    for position, stride in steps:
        if str(stride) != "0" and position != "0":
            offset = position if str(stride) == "1" else code.value(f"mul i64 {position}, {stride}")
            base = code.value(f"getelementptr {type}, ptr {base}, i64 {offset}")
    return base


def loop(
    code: Code,
    first: str,
    stop: str,
    step: int,
    body: Callable[[str, Sequence[str]], Sequence[str] | None],
    carried: Sequence[tuple[str, str]] = (),
    unrolled: bool = False,
) -> list[str]:
    """for (i = first; i < stop; i += step). `carried` are the types and first values of what `body` returns for its
    next turn; returns their last values. The text that has loops needs `HINTS`."""
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
    code.add(f"br label %{label}, !llvm.loop !{1003 if unrolled else 1000}")
    code.lines.append(f"{label}.exit:")
    code.lines[place:place] = [
        f"  {name} = phi {type} [ {start}, %{label}.entry ], [ {value}, %{label}.latch ]"
        for name, (type, start), value in zip(names, carried, following, strict=True)
    ]
    return names
