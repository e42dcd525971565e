"""Fusion: puts element-wise calls, and the reductions and composites between them, together as loops over one shape.

Calls are taken in their order; each joins the groups that make its operands, if nothing outside stands between. The
values of a group have forms: "element", one for each position of its loops; "row", what a reduction over the trailing
axes gives and what is computed from that; "column", a sum over the leading axes, which only leaves the group.
Views are not computed: a view of a value in the group is that value, any other is read with its strides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy

from ..kernels import blas, registry
from ..kernels.cuda import recipes
from ..kernels.gemm import Gemm, rows_of
from ..kernels.loops import DTYPES, FLOATS, HALVES, Builder, Loops, Operand, Step, Unsupported, collapse, expand, levels
from .checks import outside
from .program import Call, Program, Scalar, Variable, leaves, typed

REDUCTIONS = {"_sum": "sum", "_max": "max", "_min": "min", "sum_to": "sum"}
LARGEST = 100
"""Calls in one group: with more there would be too many arrays and numbers to keep at hand."""

LONGEST = 1 << 14
"""Elements that are added up one after the other (in each lane of a vector); NumPy adds longer rows by pairs, which
loses less."""

KEY = (("array",),)
"""Of `_gather` and `_scatter`, for rows of a table by their numbers."""

Shape = tuple[int, ...]


@dataclass(eq=False)
class Unit:
    """What runs at once: a group of fused calls, or one call that is not fused.

    Attributes:
        calls: in their order.
        shape: what a group loops over; None for a single call.
        inner: how many trailing axes reductions run over; None without any.
        kind: what they give, "row" or "column"; "" without any.
        forms: of the values that a group makes.
        above: the units that must run before.
        between: what kernels need besides, while they run.
    """

    calls: list[Call]
    shape: Shape | None = None
    inner: int | None = None
    kind: str = ""
    forms: dict[Variable, str] = field(default_factory=dict)
    above: set[Unit] = field(default_factory=set)
    between: tuple[Variable, ...] = ()

    def makes(self) -> Iterator[Variable]:
        yield from (v for call in self.calls for v in call.makes())
        yield from self.between

    def reads(self) -> Iterator[Variable]:
        return (v for call in self.calls for v in call.reads())

    def takes(self) -> set[Variable]:
        """What it reads in another order than it loops."""
        return {a for call in self.calls if takes_rows(call) for a in call.reads()} if self.shape is not None else set()

    def row_shapes(self) -> tuple[Shape, ...]:
        """The shapes that values of the form "row" may have."""
        if self.shape is None or self.kind != "row" or self.inner is None:
            return ()
        return kept(self.shape, self.inner), dropped(self.shape, self.inner)


@dataclass(frozen=True)
class Pattern:
    """How one call loops: over a shape, reducing `inner` axes as `kind` says, itself or as a composite in between; or
    one that takes rows from elsewhere."""

    shape: Shape
    inner: int | None = None
    kind: str = ""
    composite: bool = False
    takes: bool = False

    @property
    def reduces(self) -> bool:
        return self.inner is not None and not self.composite


def kept(shape: Shape, inner: int) -> Shape:
    return shape[: len(shape) - inner] + (1,) * inner


def dropped(shape: Shape, inner: int) -> Shape:
    return shape[: len(shape) - inner]


class Fusion:
    """The units of a program. Calls on arrays of fewer than `least` elements are not fused, nor, unless `takes`, those
    that take rows of tables.

    Attributes:
        units: in an order in which they can run.
        views: for each view the call that made it.
        maker: the unit of each variable that is made and no view.
    """

    def __init__(self, program: Program, least: int = 0, takes: bool = True):
        self.views = {v: call for call in program.calls for v in call.makes() if v.view is not None}
        self.maker: dict[Variable, Unit] = {}
        self.units: list[Unit] = []
        self._places = {call: i for i, call in enumerate(program.calls)}
        self._patterns: dict[Call, Pattern | None] = {}
        known: dict[Any, Pattern | None] = {}
        previous: Unit | None = None
        for call in program.calls:
            if is_view(call):
                continue
            pattern = self._patterns[call] = _known_pattern(call, known)
            if pattern is not None and (math.prod(pattern.shape) < least or (pattern.takes and not takes)):
                pattern = None
            unit = self._add(Unit([]), call) if pattern is None else self._join(call, pattern)
            if call.primitive.kind in ("random", "effect"):
                if previous is not None:
                    self.order(previous, unit)
                previous = unit
        self.sort()

    def sort(self) -> None:
        """Puts each unit after all above it: Python calls as early as can be, but before them what checks of values
        need, so that the others follow each other in one piece of machine code."""
        for unit in self.units:
            unit.calls.sort(key=self._places.__getitem__)
        waiting = sorted(self.units, key=lambda unit: (self._rank(unit), self._places[unit.calls[-1]]))
        self.units = []
        done: set[Unit] = set()
        while waiting:
            unit = next(unit for unit in waiting if unit.above <= done)
            waiting.remove(unit)
            done.add(unit)
            self.units.append(unit)

    @staticmethod
    def _rank(unit: Unit) -> int:
        first = unit.calls[0].primitive
        return 2 if unit.shape is not None or first.kind == "gemm" else 0 if first is outside else 1

    def root(self, v: Variable) -> Variable:
        """What a view is a part of; any other variable itself."""
        while v in self.views:
            v = viewed(self.views[v], v)
        return v

    def order(self, first: Unit, second: Unit) -> None:
        """Notes that one unit must run before another."""
        above = {first} | first.above
        if not above <= second.above:
            for unit in self.units:
                if unit is second or second in unit.above:
                    unit.above |= above

    def _makers(self, call: Call) -> list[Unit]:
        roots = map(self.root, call.reads())
        return list(dict.fromkeys(self.maker[root] for root in roots if root in self.maker))

    def _add(self, unit: Unit, call: Call) -> Unit:
        makers = [other for other in self._makers(call) if other is not unit]
        if unit.calls:
            for other in makers:
                self.order(other, unit)
        else:  # there is nothing below it yet
            self.units.append(unit)
            unit.above.update(makers, *(other.above for other in makers))
        unit.calls.append(call)
        self.maker |= dict.fromkeys(call.makes(), unit)
        return unit

    # Groups

    def _join(self, call: Call, pattern: Pattern) -> Unit:
        makers = self._makers(call)
        chosen: Unit | None = None
        for unit in sorted(makers, key=self.units.index, reverse=True):
            between = any(unit in other.above for other in makers)
            if between or not self._fits(unit, call, pattern):
                continue
            if chosen is None:
                chosen = unit
            elif self._can_merge(unit, chosen, call, pattern):
                self._merge(unit, chosen)
        unit = self._add(chosen or Unit([], pattern.shape), call)
        if pattern.inner is not None:
            unit.inner, unit.kind = pattern.inner, pattern.kind
        for v in call.makes():
            unit.forms[v] = "element" if v.shape == unit.shape and not pattern.reduces else unit.kind
        return unit

    def _fits(self, unit: Unit, call: Call, pattern: Pattern) -> bool:
        """Whether a call can run inside of the loops of a group."""
        if unit.shape is None or len(unit.calls) >= LARGEST:
            return False
        if pattern.inner is not None:
            alike = unit.kind in ("", pattern.kind) and unit.inner in (None, pattern.inner)
            fits = alike and pattern.shape == unit.shape
        else:
            fits = pattern.shape == unit.shape or pattern.shape in unit.row_shapes()
        inner = unit.inner if pattern.inner is None else pattern.inner
        inside = [a for a in call.reads() if self.maker.get(self.root(a)) is unit]
        if not fits or not all(self._can_read(unit, a, pattern, inner) for a in inside):
            return False
        if inner is None or inner == 1:
            return True
        together = Unit([*unit.calls, call], unit.shape, inner, unit.kind or pattern.kind)
        return _is_supported(together, self.root)

    def _can_read(self, unit: Unit, a: Variable, pattern: Pattern, inner: int | None) -> bool:
        """Whether a call can use a value of its own group, with no way through memory."""
        root = self.root(a)
        if pattern.takes:
            return False
        if unit.forms[root] == "element":
            return a is root and pattern.shape == unit.shape
        if unit.forms[root] == "column" or inner is None or unit.shape is None:
            return False
        as_row = (kept(unit.shape, inner), dropped(unit.shape, inner))
        if pattern.shape != unit.shape:
            allowed: tuple[Shape, ...] = (pattern.shape,)
        else:
            allowed = (unit.shape, *as_row) if pattern.composite else (unit.shape, as_row[0])
        if a.shape not in allowed:
            return False
        while a in self.views:  # the value with other axes of length 1, or repeated along its row
            name, before = self.views[a].primitive.name, viewed(self.views[a], a)
            moved = name == "_reshape" and a.shape in as_row and before.shape in as_row
            repeated = name == "broadcast_to" and a.shape == unit.shape and before.shape == as_row[0]
            if not (moved or repeated):
                return False
            a = before
        return True

    def _can_merge(self, first: Unit, second: Unit, call: Call, pattern: Pattern) -> bool:
        """Whether two groups over the same shape, and a call that reads both, can run as one."""
        if first.shape != second.shape or len(first.calls) + len(second.calls) >= LARGEST:
            return False
        reductions = {(part.kind, part.inner) for part in (first, second, pattern) if part.kind}
        if len(reductions) > 1:
            return False
        for one, other in ((first, second), (second, first)):
            if any(one in unit.above for unit in other.above):
                return False
        kind, inner = next(iter(reductions), ("", None))
        for reader in (*first.calls, *second.calls, call):
            how = self._patterns[reader]
            for a in reader.reads():
                owner = self.maker.get(self.root(a))
                if owner in (first, second) and (how is None or not self._can_read(owner, a, how, inner)):
                    return False
        calls = sorted([*first.calls, *second.calls, call], key=self._places.__getitem__)
        return _is_supported(Unit(calls, first.shape, inner, kind), self.root)

    def _merge(self, first: Unit, second: Unit) -> None:
        """Moves all of the first group into the second."""
        second.calls[:0] = first.calls
        second.forms |= first.forms
        second.inner, second.kind = second.inner or first.inner, second.kind or first.kind
        self.maker |= dict.fromkeys(first.makes(), second)
        self.units.remove(first)
        above = first.above | second.above - {first}
        for unit in self.units:
            if first in unit.above:
                unit.above.remove(first)
                unit.above.add(second)
            if unit is second or second in unit.above:
                unit.above |= above - {unit}


# What single calls do


def is_view(call: Call) -> bool:
    """Whether a call makes nothing but a view of one of its operands."""
    return type(call.outputs) is Variable and call.outputs.view is not None


def viewed(call: Call, v: Variable | None = None) -> Variable:
    """The operand of which a call's output (that one, if it has several) is a view."""
    v = call.outputs if v is None else v
    assert v is not None
    assert v.view is not None
    operand: Variable = call.operands[v.view]
    return operand


def _known_pattern(call: Call, known: dict[Any, Pattern | None]) -> Pattern | None:
    """`pattern_of`, found once for calls that are alike but for their arrays."""

    def form(a: Any) -> Any:
        return (a.shape, a.dtype, a.strides) if type(a) is Variable else typed(a)

    attributes = tuple(map(typed, call.attributes.items()))
    alike = call.primitive, call.xp, tuple(map(form, call.operands)), attributes, tuple(map(form, call.makes()))
    try:
        if alike not in known:
            known[alike] = pattern_of(call)
    except TypeError:  # an attribute that cannot be hashed
        return pattern_of(call)
    return known[alike]


def takes_rows(call: Call) -> bool:
    """Whether a call gives rows of a table (or longer parts of an array) by their numbers."""
    return call.primitive.name == "_gather" and call.attributes["key"] == KEY


def pattern_of(call: Call) -> Pattern | None:
    """How a call loops; None if it does not, or not so that it could be fused."""
    pattern = _pattern(call)
    if pattern is None:
        return None
    alone = Unit([call], pattern.shape, pattern.inner, pattern.kind)
    return pattern if _is_supported(alone, lambda v: v) else None


def _pattern(call: Call) -> Pattern | None:
    primitive, y = call.primitive, call.outputs
    placed = primitive.name == "convert"  # which may be a part of a larger array
    if not all(v.size and (placed or is_dense(v)) for v in call.makes()):
        return None
    if not _is_native(call):
        return None
    if primitive.kind == "elementwise" and primitive.expression:
        return Pattern(y.shape)
    if takes_rows(call):
        return Pattern(y.shape, takes=True)
    if primitive.name in REDUCTIONS:
        (a,) = call.operands
        axes = _reduced(call, a)
        if axes and axes == tuple(range(a.ndim - len(axes), a.ndim)) and math.prod(a.shape) <= LONGEST * y.size:
            return Pattern(a.shape, len(axes), "row")
        if axes and axes == tuple(range(len(axes))) and primitive.name in ("_sum", "sum_to"):
            return Pattern(a.shape, a.ndim - len(axes), "column")
    if primitive.lower is not None:
        over = call.operands[primitive.lowers_over]
        axes = call.attributes.get("axes", (call.attributes.get("axis", over.ndim - 1),))
        if tuple(axes) == (over.ndim - 1,) and over.shape[-1] <= LONGEST:
            return Pattern(over.shape, 1, "row", composite=True)
    return None


def _is_native(call: Call) -> bool:
    """Whether all bytes are in the order of this machine."""
    return all(v.dtype.isnative for v in (*call.reads(), *call.makes()))


def _reduced(call: Call, a: Variable) -> tuple[int, ...]:
    """The axes over which a reduction runs."""
    if call.primitive.name != "sum_to":
        return tuple(sorted(call.attributes["axes"]))
    shape = call.attributes["shape"]
    lead = a.ndim - len(shape)
    return tuple(i for i in range(a.ndim) if i < lead or shape[i - lead] != a.shape[i])


def is_dense(v: Variable) -> bool:
    """Whether a new array can lie in memory like that: without gaps and repetitions."""
    expected = v.dtype.itemsize
    for stride, length in sorted((s, n) for n, s in zip(v.shape, v.strides, strict=True) if n > 1):
        if stride != expected:
            return False
        expected *= length
    return True


def _is_supported(unit: Unit, root: Callable[[Variable], Variable]) -> bool:
    try:
        loops_of(unit, set(unit.makes()), root)
    except ValueError:  # Unsupported, or steps that do not fit together
        return False
    return True


def product_of(call: Call) -> Gemm | None:
    """A call as a matrix product on the slots 0, 1 and 2 of its operands and its result, if BLAS can do it."""
    if call.primitive.name != "_matmul" or call.xp is not numpy or not _is_native(call) or blas.find() is None:
        return None
    a, b = call.operands
    c = call.outputs
    if c.ndim != 2 or a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype or a.dtype.name not in FLOATS or not c.size:
        return None
    left, right = rows_of(a), rows_of(b)
    if left is None or right is None or not a.size or rows_of(c) != (False, c.shape[1]):
        return None
    (m, n), k = c.shape, a.shape[1]
    return Gemm(a.dtype.name, m, n, k, 0, 1, 2, left[0], right[0], left[1], right[1], n)


def recipe_of(call: Call) -> registry.Recipe | None:
    """How kernels do a call, if there are any for it."""
    known = registry if call.xp is numpy else recipes
    path = getattr(call.primitive.forward, "recipe", None) or known.RECORDED.get(call.primitive.name)
    if path is None or not all(a is None or type(a) is Variable for a in call.operands):
        return None
    made = known.recipe(path, call.operands, call.attributes)
    if made is None:
        return None
    forms = [v and (v.shape, v.dtype.name) for v in leaves(call.outputs)]
    return made if forms == list(made.outputs) and all(map(registry.is_contiguous, call.makes())) else None


# Loops


@dataclass(frozen=True)
class Kernel:
    """A group as loops: over those inputs and outputs, with those numbers."""

    loops: Loops
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    scalars: tuple[Scalar, ...]


def loops_of(unit: Unit, stored: set[Variable], root: Callable[[Variable], Variable]) -> Kernel:
    """The loops of a group that leave the variables `stored`. Raises Unsupported for what loops cannot compute."""
    shape = unit.shape
    assert shape is not None
    inner = min(unit.inner or 1, len(shape))
    rows = dropped(shape, inner)
    on_cuda = all(call.xp is not numpy for call in unit.calls)
    read, written = ({v.dtype.name for v in part} for part in (unit.reads(), unit.makes()))
    if not read <= {*DTYPES} or not written <= {*DTYPES, *(HALVES if on_cuda else ())}:
        raise Unsupported(f"dtypes {read | written}")
    builder = Builder((*rows, math.prod(shape[len(rows) :])))
    made: dict[Variable, Any] = {}
    loads: dict[Any, Step] = {}
    inputs: list[Variable] = []
    scalars: list[Scalar] = []

    def value(a: Any, call: Call, pattern: Pattern) -> Any:
        if type(a) is Scalar:
            scalars.append(a)
            return builder.scalar()
        if type(a) is not Variable:
            return a
        if root(a) in made:
            return made[root(a)]
        if a not in loads:
            by_rows = pattern.composite and a.shape == rows
            loads[a] = builder.load(_operand(a, rows if by_rows else pattern.shape, shape, inner))
            inputs.append(a)
        return loads[a]

    def taken(table: Variable, ids: Variable, level: Shape) -> Step:
        if (table, ids) not in loads:
            places, source = _as_operands(table, ids, level, shape, inner)
            index = builder.cast(builder.load(places), "int64")
            index = builder.apply(
                "where", builder.apply("less", index, 0), builder.apply("add", index, table.shape[0]), index
            )
            inside = builder.apply("minimum", builder.apply("maximum", index, 0), table.shape[0] - 1)
            loads[table, ids] = builder.take(source, inside)
            inputs.extend((ids, table))
        return loads[table, ids]

    for call in unit.calls:
        pattern = _pattern(call)
        assert pattern is not None
        floats = [v.dtype.name for v in (*call.makes(), *call.reads()) if v.dtype.name in FLOATS]
        builder.dtype = floats[0] if floats else "float64"  # in which integers meet Python's floats
        if pattern.takes:
            table, ids = call.operands
            made[call.outputs] = taken(table, ids, pattern.shape)
            continue
        values = [value(a, call, pattern) for a in call.operands]
        attributes = {name: value(a, call, pattern) for name, a in call.attributes.items()}
        made |= zip(call.makes(), _steps(builder, call, values, attributes, pattern), strict=True)
    outputs = [v for v in unit.makes() if v in stored]
    for v in outputs:
        if v.shape == shape and unit.forms.get(v, "element") == "element":
            made[v] = _spread(builder, made[v])
        builder.store(made[v], _operand(v, rows if unit.kind == "row" and v.shape == rows else shape, shape, inner))
    return Kernel(collapse(builder.finish()), tuple(inputs), tuple(outputs), tuple(scalars))


def _spread(builder: Builder, step: Step) -> Step:
    """A step that is stored for each position; one that is the same all along a row must be told so."""
    so_far = Loops(builder.shape, tuple(builder.inputs), (), builder.scalars, tuple(builder.ops))
    if levels(so_far)[step.position] != "row":
        return step
    everywhere = builder.apply("greater_equal", builder.index(-1), 0)
    return builder.apply("where", everywhere, step, step)


def _steps(
    builder: Builder, call: Call, values: list[Any], attributes: dict[str, Any], pattern: Pattern
) -> Iterator[Step]:
    """What a call adds to the loops: a step for each thing that it makes."""
    primitive = call.primitive
    if pattern.composite:
        assert primitive.lower is not None
        steps = primitive.lower(builder, *values, **attributes)
        yield from (steps,) if isinstance(steps, Step) else steps
        return
    dtype = call.outputs.dtype.name
    if primitive.name in REDUCTIONS:
        yield builder.reduce(f"{pattern.kind}_{REDUCTIONS[primitive.name]}", builder.cast(values[0], dtype))
        return
    step = expand(primitive.expression, dict(zip(primitive.arguments, values, strict=True)) | attributes, builder)
    if step.dtype != dtype and primitive.name not in ("convert", "zeros_like", "ones_like"):
        raise Unsupported(f"{primitive.name} gives {step.dtype} where {dtype} is due")
    yield builder.cast(step, dtype)


def _operand(a: Variable, level: Shape, shape: Shape, inner: int) -> Operand:
    """How loops over `shape`, its last `inner` axes as one, run through an array.

    A call at `level` reads it: a shape that it broadcasts to, the loops' own or one of their row shapes.
    """
    lead = len(level) - a.ndim
    strides = [0] * lead + [stride if n > 1 else 0 for n, stride in zip(a.shape, a.strides, strict=True)]
    if len(level) < len(shape):  # a row shape without the axes that were reduced
        strides += [0] * (len(shape) - len(level))
    if any(stride % a.dtype.itemsize for stride in strides):
        raise Unsupported("strides of parts of elements")
    steps = [stride // a.dtype.itemsize for stride in strides]
    merged = steps[len(shape) - inner :]
    lengths = shape[len(shape) - inner :]
    long = [(n, step) for n, step in zip(lengths, merged, strict=True) if n > 1]
    for (_, outer), (n, step) in itertools.pairwise(long):
        if outer != n * step:
            raise Unsupported("reduced axes that do not follow each other in memory")
    return Operand(a.dtype.name, (*steps[: len(shape) - inner], long[-1][1] if long else 0))


def _as_operands(table: Variable, ids: Variable, level: Shape, shape: Shape, inner: int) -> tuple[Operand, Operand]:
    """How loops run through the numbers of rows, and through the rows."""
    row, lead = table.shape[1:], ids.ndim
    numbers = Variable(ids.shape + (1,) * len(row), ids.dtype, ids.strides + (0,) * len(row))
    first = Variable((1,) * lead + row, table.dtype, (0,) * lead + table.strides[1:])
    step = table.strides[0] // table.dtype.itemsize
    if table.strides[0] % table.dtype.itemsize:
        raise Unsupported("strides of parts of elements")
    return _operand(numbers, level, shape, inner), replace(_operand(first, level, shape, inner), step=step)
