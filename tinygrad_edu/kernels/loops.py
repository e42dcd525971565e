"""The description of one fused group: element-wise steps over common loops, with sums and extremes if wanted.

`Loops` is plain data that can be hashed and compared. `blocks` runs it with NumPy, `llvm` writes machine code for it.
A step (`Op`) names earlier steps by their position in the list. Its level says where its value may differ:

    uniform   the same all along a row: constants, run-time scalars, what is read with an inner stride of 0
    element   another one at each position
    row       one a row: reductions over the inner axis (the columns), and what is computed from them
    column    one a column: `column_sum`, over all axes but the inner one

An array may be both an input and an output if both run through it in the same way: whatever reads an element has read
it before it is written. (`take` reads rows elsewhere, as numbers say; only machine code does it.)
"""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy

from ..errors import message

FLOATS = ("float32", "float64")
DTYPES = (*FLOATS, "int64", "int32", "uint8", "bool")
HALVES = ("bfloat16", "float16")
"""Dtypes that loops on CUDA round results to; they do not compute in them."""

# Steps by what they take, each with its number of arguments.
NUMBERS = {"add": 2, "subtract": 2, "multiply": 2, "maximum": 2, "minimum": 2, "negative": 1, "absolute": 1, "sign": 1}
TRANSCENDENTAL = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "log2", "tanh", "erf", "sin", "cos", "tan", "sinh", "cosh"), 1),
    **dict.fromkeys(("arcsin", "arccos", "arctan"), 1),
    **dict.fromkeys(("arctan2", "power"), 2),
}
REALS = {"divide": 2, "floor": 1, "ceil": 1, "rint": 1, "sqrt": 1, **TRANSCENDENTAL}
TESTS = {"isnan": 1, "isfinite": 1, "isinf": 1}
COMPARISONS = dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), 2)
LOGIC = {"logical_and": 2, "logical_or": 2, "logical_xor": 2, "logical_not": 1}
ROW_REDUCTIONS = {"row_sum": 1, "row_max": 1, "row_min": 1}
REDUCTIONS = {**ROW_REDUCTIONS, "column_sum": 1}
SOURCES = {"load": 0, "scalar": 0, "constant": 0, "index": 0}
OTHERS = {"cast": 1, "where": 3, "store": 1, "take": 1}
ARGUMENTS = {**NUMBERS, **REALS, **TESTS, **COMPARISONS, **LOGIC, **REDUCTIONS, **SOURCES, **OTHERS}

COLUMNS = 16  # what divides columns among threads does so by this many: a vector of float32, and a cache line


class Unsupported(ValueError):
    """An expression that fused loops cannot compute."""


@dataclass(frozen=True)
class Operand:
    """How the loops run through an array: strides in elements, one per axis; 0 repeats. For `take` they start at the
    row that an index says, and `step` is from one row to the next."""

    dtype: str
    strides: tuple[int, ...]
    step: int = 0


@dataclass(frozen=True)
class Op:
    """One step. `args` are positions of earlier steps.

    `value` is the number of the input (`load`, `take`), of the run-time scalar (`scalar`) or of the output (`store`),
    the axis (`index`: the position along it, int64), or of a `constant` its text, so that -0.0 and NaN compare as they
    should.
    """

    name: str
    dtype: str
    args: tuple[int, ...] = ()
    value: int | str | None = None

    @property
    def number(self) -> int:
        """The value of a step that has a number."""
        assert isinstance(self.value, int)
        return self.value


@dataclass(frozen=True)
class Loops:
    """Steps over loops of that shape; the last axis is the inner one, the columns, and the others make up the rows.

    A stored row-level value is written once a row, a column-level one once a column: the output's strides along the
    axes that were reduced do not count.

    `idle` says when a row is left as it is: where the steps of its first part, indices that are one a row, are 0, and
    all bits of the inputs in its second part; and only if all scalars are finite.
    """

    shape: tuple[int, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    scalars: int
    ops: tuple[Op, ...]
    idle: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        return self.shape[-1]

    def has(self, names: Mapping[str, int]) -> bool:
        """Whether a step has one of these names."""
        return any(op.name in names for op in self.ops)


def levels(loops: Loops) -> tuple[str, ...]:
    """The level of each step; a store has that of its value."""
    found: list[str] = []
    for op in loops.ops:
        below = {found[a] for a in op.args}
        if op.name == "load":
            level = "element" if loops.inputs[op.number].strides[-1] else "uniform"
        elif op.name == "take" and loops.inputs[op.number].strides[-1]:
            level = "element"
        elif op.name == "index":
            level = "element" if op.value == len(loops.shape) - 1 else "uniform"
        elif op.name in REDUCTIONS:
            level = "row" if op.name in ROW_REDUCTIONS else "column"
        else:
            level = next((name for name in ("column", "element", "row") if name in below), "uniform")
        found.append(level)
    return tuple(found)


# Checking


def check(loops: Loops) -> None:
    """Raises ValueError if the description contradicts itself or asks for what it cannot express."""

    def fail(expected: str, received: object) -> ValueError:
        return ValueError(message("loops", expected, str(received)))

    if not loops.shape or min(loops.shape) < 0:
        raise fail("at least one axis and no negative length", loops.shape)
    for operand in (*loops.inputs, *loops.outputs):
        known = DTYPES if operand in loops.inputs else (*DTYPES, *HALVES)
        if operand.dtype not in known or len(operand.strides) != len(loops.shape):
            raise fail(f"a known dtype and {len(loops.shape)} strides", operand)
    if loops.has(ROW_REDUCTIONS) and loops.has({"column_sum": 1}):
        raise fail("reductions of rows or of columns", "both")
    limits = {
        "load": len(loops.inputs),
        "take": len(loops.inputs),
        "store": len(loops.outputs),
        "scalar": loops.scalars,
        "index": len(loops.shape),
    }
    for i, op in enumerate(loops.ops):
        known = (*DTYPES, *HALVES) if op.name in ("cast", "store", "where") else DTYPES  # which compute nothing in them
        if ARGUMENTS.get(op.name) != len(op.args) or op.dtype not in known:
            raise fail("a known step with as many arguments as it takes", op)
        if any(not 0 <= a < i or loops.ops[a].name in ("store", "column_sum") for a in op.args) and not (
            op.name == "store" and 0 <= op.args[0] < i and loops.ops[op.args[0]].name == "column_sum"
        ):
            raise fail("arguments that are earlier steps and no stores, and column sums only stored", op)
        if op.name in limits and not (isinstance(op.value, int) and 0 <= op.value < limits[op.name]):
            raise fail(f"a number below {limits[op.name]}", op)
        if not _typed(op, [loops.ops[a].dtype for a in op.args], loops):
            raise fail("dtypes that fit", op)
        if op.name in ("row_max", "row_min") and loops.columns == 0:
            raise fail("at least one column to choose from", op)
    stored = sorted(op.number for op in loops.ops if op.name == "store")
    if stored != list(range(len(loops.outputs))):
        raise fail("one store for each output", stored)
    for op, level in zip(loops.ops, levels(loops), strict=True):
        if op.name == "store":
            sizes = list(zip(loops.shape, loops.outputs[op.number].strides, strict=True))
            written = {"row": sizes[:-1], "column": sizes[-1:]}.get(level, sizes)
            if 0 not in loops.shape and any(length > 1 and not stride for length, stride in written):
                raise fail("an output with a place for each value", loops.outputs[op.number])


def _typed(op: Op, dtypes: list[str], loops: Loops) -> bool:
    """Whether the dtypes of a step and of its arguments fit."""
    if op.name == "load":
        return loops.inputs[op.number].dtype == op.dtype
    if op.name == "take":
        return loops.inputs[op.number].dtype == op.dtype and dtypes == ["int64"]
    if op.name == "store":
        return loops.outputs[op.number].dtype == op.dtype == dtypes[0]
    if op.name == "index":
        return op.dtype == "int64"
    if op.name in COMPARISONS:
        return op.dtype == "bool" and len(set(dtypes)) == 1
    if op.name in TESTS:
        return op.dtype == "bool" and dtypes[0] in FLOATS
    if op.name == "where":
        return dtypes == ["bool", op.dtype, op.dtype]
    if op.name in LOGIC:
        return {op.dtype, *dtypes} == {"bool"}
    if op.name in REALS:
        return op.dtype in FLOATS and set(dtypes) == {op.dtype}
    if op.name in NUMBERS or op.name in REDUCTIONS:
        return op.dtype != "bool" and set(dtypes) == {op.dtype}
    if op.name == "constant":
        return isinstance(op.value, str)
    return True


# Shapes


@dataclass
class _Axis:
    length: int
    strides: tuple[int, ...]  # one per operand
    number: int
    fixed: bool  # may not be merged


def collapse(loops: Loops) -> Loops:
    """The same work over fewer axes.

    Axes of length 1 go, neighbours that every operand runs through as one are merged, and without reductions the axes
    with the shortest strides become the inner ones. Between rows and columns nothing moves if there are reductions.
    """
    reduces, inner = loops.has(REDUCTIONS), len(loops.shape) - 1
    operands = [*(o.strides for o in loops.inputs), *_counting_strides(loops)]
    indexed = {op.value for op in loops.ops if op.name == "index"}
    axes = [
        _Axis(length, tuple(strides[i] for strides in operands), i, i in indexed or (reduces and i == inner))
        for i, length in enumerate(loops.shape)
        if length != 1 or (reduces and i == inner)
    ]
    if not reduces:
        axes.sort(key=lambda axis: -sum(map(abs, axis.strides)))
    merged: list[_Axis] = []
    for axis in axes or [_Axis(1, (0,) * len(operands), -1, True)]:
        outer = merged[-1] if merged else axis
        joined = tuple(stride * axis.length for stride in axis.strides)
        if merged and not outer.fixed and not axis.fixed and outer.strides == joined:
            merged[-1] = replace(axis, length=outer.length * axis.length)
        else:
            merged.append(axis)
    new = [
        replace(old, strides=tuple(axis.strides[k] for axis in merged))
        for k, old in enumerate((*loops.inputs, *loops.outputs))
    ]
    places = {axis.number: i for i, axis in enumerate(merged)}
    count = len(loops.inputs)
    return Loops(
        tuple(axis.length for axis in merged),
        tuple(new[:count]),
        tuple(new[count:]),
        loops.scalars,
        tuple(_renumber(op, places) for op in loops.ops),
        loops.idle,
    )


def _counting_strides(loops: Loops) -> list[tuple[int, ...]]:
    """The strides of the outputs, 0 where they do not count."""
    kinds = {op.value: level for op, level in zip(loops.ops, levels(loops), strict=True) if op.name == "store"}
    found = []
    for number, output in enumerate(loops.outputs):
        outer, inner = output.strides[:-1], output.strides[-1:]
        if kinds[number] == "row":
            inner = (0,)
        elif kinds[number] == "column":
            outer = (0,) * len(outer)
        found.append(outer + inner)
    return found


def _renumber(op: Op, places: dict[int, int]) -> Op:
    """An `index` by the new number of its axis; the position along an axis of length 1 is 0."""
    if op.name != "index":
        return op
    place = places.get(op.number)
    return Op("constant", "int64", (), "0") if place is None else replace(op, value=place)


def split(loops: Loops) -> tuple[str, int, int]:
    """What may be divided among threads: ("rows" or "columns", how many there are, by how many at a time)."""
    if not loops.has(ROW_REDUCTIONS) and (loops.has({"column_sum": 1}) or loops.rows == 1):
        return "columns", loops.columns, COLUMNS
    return "rows", loops.rows, 1


# Building


class Step(NamedTuple):
    """A step in a builder's list, by its position."""

    position: int
    dtype: str


Number = int | float
Value = Step | Number


class Builder:
    """Puts the steps of one group together. Equal steps are kept once; casts that NumPy would make are made.

    `dtype` is the floating dtype that integers and bools become under `divide`, `exp` and the like, and with a Python
    float. Where they meet floats they become of that float's dtype. Python numbers never change the dtype of a float.

    >>> builder = Builder((4, 3))
    >>> x = builder.load(Operand("float32", (3, 1)))
    >>> builder.store(expand("a * sqrt(4) + 1", {"a": x}, builder), Operand("float32", (3, 1)))
    0
    >>> [op.name for op in builder.finish().ops]
    ['load', 'constant', 'multiply', 'constant', 'add', 'store']
    """

    def __init__(self, shape: tuple[int, ...], dtype: str = "float32"):
        self.shape, self.dtype = shape, dtype
        self.inputs: list[Operand] = []
        self.outputs: list[Operand] = []
        self.scalars = 0
        self.ops: dict[Op, int] = {}

    def _step(self, name: str, dtype: str, *args: Step, value: int | str | None = None) -> Step:
        op = Op(name, dtype, tuple(arg.position for arg in args), value)
        return Step(self.ops.setdefault(op, len(self.ops)), dtype)

    def load(self, operand: Operand) -> Step:
        """The elements of a further input."""
        self.inputs.append(operand)
        return self._step("load", operand.dtype, value=len(self.inputs) - 1)

    def take(self, operand: Operand, index: Step) -> Step:
        """The elements of a further input, from its row number `index` on."""
        self.inputs.append(operand)
        return self._step("take", operand.dtype, self.cast(index, "int64"), value=len(self.inputs) - 1)

    def scalar(self, dtype: str | None = None) -> Step:
        """A further run-time scalar, in that dtype."""
        self.scalars += 1
        return self._step("scalar", dtype or self.dtype, value=self.scalars - 1)

    def constant(self, value: Number, dtype: str | None = None) -> Step:
        """A number. Raises Unsupported if the dtype cannot hold it."""
        dtype = dtype or self.dtype
        kind = float if dtype in FLOATS else bool if dtype == "bool" else int
        if kind is int and not (value == int(value) and numpy.iinfo(dtype).min <= int(value) <= numpy.iinfo(dtype).max):
            raise Unsupported(message("loops", f"a number that {dtype} holds", repr(value)))
        return self._step("constant", dtype, value=repr(kind(value)))

    def index(self, axis: int) -> Step:
        """The position along an axis, int64."""
        return self._step("index", "int64", value=axis % len(self.shape))

    def cast(self, value: Value, dtype: str) -> Step:
        if not isinstance(value, Step):
            return self.constant(value, dtype)
        return value if value.dtype == dtype else self._step("cast", dtype, value)

    def reduce(self, name: str, value: Step) -> Step:
        """`row_sum`, `row_max`, `row_min` or `column_sum`, in the dtype of the value."""
        return self._step(name, value.dtype, value)

    def store(self, value: Step, operand: Operand) -> int:
        """Writes to a further output, cast to its dtype; returns the output's number."""
        value = self.cast(value, operand.dtype)
        self.outputs.append(operand)
        self._step("store", operand.dtype, value, value=len(self.outputs) - 1)
        return len(self.outputs) - 1

    def finish(self) -> Loops:
        """The group, checked. Raises ValueError as `check` does."""
        loops = Loops(self.shape, tuple(self.inputs), tuple(self.outputs), self.scalars, tuple(self.ops))
        check(loops)
        return loops

    def apply(self, name: str, *args: Value) -> Step:
        """The function of that name in NumPy, of steps and numbers. Raises Unsupported where there is no such step."""
        if ARGUMENTS.get(name) != len(args) or name in REDUCTIONS or name in ("store", "cast", "take", *SOURCES):
            raise Unsupported(message("loops", "a known function", f"{name} of {len(args)}"))
        if name == "where":
            return self._where(*args)
        if name in LOGIC:
            return self._step(name, "bool", *(self._truth(arg) for arg in args))
        dtype = self._common(args)
        if name in COMPARISONS:
            return self._step(name, "bool", *(self.cast(arg, dtype) for arg in args))
        if name == "power" and not isinstance(args[1], Step):
            return self._power(self.cast(args[0], dtype), args[1])
        if name in NUMBERS:
            if dtype == "bool":
                raise Unsupported(message("loops", "numbers", f"{name} of bools"))
            return self._step(name, dtype, *(self.cast(arg, dtype) for arg in args))
        if name == "power" and dtype not in FLOATS:
            raise Unsupported(message("loops", "a constant power of integers", f"{dtype} ** {dtype}"))
        if name in ("floor", "ceil") and dtype not in FLOATS:
            return self.cast(args[0], dtype)
        real = dtype if dtype in FLOATS else self.dtype
        return self._step(name, "bool" if name in TESTS else real, *(self.cast(arg, real) for arg in args))

    def _common(self, args: tuple[Value, ...]) -> str:
        """The dtype in which these meet."""
        dtypes = {arg.dtype for arg in args if isinstance(arg, Step)}
        floats = dtypes.intersection(FLOATS)
        if floats:
            return max(floats)
        if not dtypes or any(isinstance(arg, float) for arg in args):
            return self.dtype
        weak = [0] if any(type(arg) is int for arg in args) else []
        return numpy.result_type(*sorted(dtypes), *weak).name

    def _truth(self, arg: Value) -> Step:
        if not isinstance(arg, Step) or arg.dtype == "bool":
            return self.cast(arg, "bool")
        return self.apply("not_equal", arg, 0)

    def _where(self, condition: Value, a: Value, b: Value) -> Step:
        dtype = self._common((a, b))
        return self._step("where", dtype, self._truth(condition), self.cast(a, dtype), self.cast(b, dtype))

    def _power(self, a: Step, exponent: Number) -> Step:
        """`a ** exponent`: by multiplications and a root where the exponent is a small multiple of 0.5."""
        size, floating = abs(exponent), a.dtype in FLOATS
        if not floating and (exponent != int(exponent) or not 0 <= exponent < 64):
            raise Unsupported(message("loops", "a small power of integers", f"{a.dtype} ** {exponent}"))
        if floating and not (size <= 8 and 2 * size == int(2 * size)):  # each product rounds once more
            return self._step("power", a.dtype, a, self.constant(exponent, a.dtype))
        whole, root = int(size), size != int(size)
        positive = a
        if root and exponent != 0.5:  # which is a root; the others are powers, of -0.0 and -inf as of 0.0 and inf
            is_infinite = self.apply("equal", a, -math.inf)
            positive = self.apply("where", is_infinite, math.inf, self.apply("add", a, 0.0))
        factors = [self.apply("sqrt", positive)] if root else []
        square = positive
        while whole:
            if whole % 2:
                factors.append(square)
            whole //= 2
            square = self.apply("multiply", square, square) if whole else square
        product = factors[0] if factors else self.constant(1, a.dtype)
        for factor in factors[1:]:
            product = self.apply("multiply", product, factor)
        return product if exponent >= 0 else self.apply("divide", 1, product)


# Expressions

_OPERATORS: dict[type, tuple[str, Any]] = {
    ast.Add: ("add", operator.add),
    ast.Sub: ("subtract", operator.sub),
    ast.Mult: ("multiply", operator.mul),
    ast.Div: ("divide", operator.truediv),
    ast.Pow: ("power", operator.pow),
    ast.USub: ("negative", operator.neg),
    ast.Eq: ("equal", operator.eq),
    ast.NotEq: ("not_equal", operator.ne),
    ast.Lt: ("less", operator.lt),
    ast.LtE: ("less_equal", operator.le),
    ast.Gt: ("greater", operator.gt),
    ast.GtE: ("greater_equal", operator.ge),
}

# Functions without a step of their own, in terms of those that have one.
_DERIVED = {
    "square": "a * a",
    "reciprocal": "1 / a",
    "logaddexp": "where(a == b, a + 0.6931471805599453, maximum(a, b) + log1p(exp(-absolute(a - b))))",
    "hypot": "where(absolute(a) < absolute(b), _hypot(b, a), where(a == 0, 0.0, _hypot(a, b)))",
    "_hypot": "absolute(a) * sqrt(1.0 + square(b / a))",  # of |a| >= |b|
    "heaviside": "where(a == 0, b, where(a > 0, 1.0, where(a < 0, 0.0, a)))",
}


def expand(expression: str, names: Mapping[str, Value | None], builder: Builder, dtype: str | None = None) -> Step:
    """Appends the steps of a primitive's expression; returns the last one, cast to `dtype` if that is given.

    `names` holds a step, a number or None (no bound of `clip`) for each name. Without `dtype` an expression of numbers
    alone is of the builder's. Raises Unsupported for what has no step, so that the caller can leave the operation out.
    """
    value = _expand(_parsed(expression), names, builder)
    if value is None:
        raise Unsupported(message("loops", "a value", expression))
    if dtype or not isinstance(value, Step):
        return builder.cast(value, dtype or builder.dtype)
    return value


@functools.cache
def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _expand(node: ast.expr, names: Mapping[str, Value | None], builder: Builder) -> Value | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=op, operand=operand):
            args = [operand]
        case ast.BinOp(op=op, left=left, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
            args = [left, right]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            values = [_expand(arg, names, builder) for arg in args]
            return _call(name, values, builder)
        case _:
            raise Unsupported(message("loops", "a known expression", ast.unparse(node)))
    if type(op) not in _OPERATORS:
        raise Unsupported(message("loops", "a known operator", ast.unparse(node)))
    name, python = _OPERATORS[type(op)]
    values = [_expand(arg, names, builder) for arg in args]
    if all(isinstance(value, (int, float)) for value in values):
        return python(*values)
    return _call(name, values, builder)


def _call(name: str, values: list[Value | None], builder: Builder) -> Value:
    """A function of steps and numbers; of numbers alone it is computed at once."""
    if name == "clip" and len(values) == 3:
        for bound, limit in zip(("maximum", "minimum"), values[1:], strict=True):
            if limit is not None:
                values[0] = _call(bound, [values[0], limit], builder)
        values, name = values[:1], ""
    args = [value for value in values if value is not None]
    if len(args) != len(values):
        raise Unsupported(message("loops", "numbers or steps", f"None in {name}"))
    if not name:
        return args[0]
    if name in _DERIVED:
        return expand(_DERIVED[name], dict(zip("ab", args, strict=False)), builder)
    if not any(isinstance(arg, Step) for arg in args) and hasattr(numpy, name):
        return getattr(numpy, name)(*args).item()
    return builder.apply(name, *args)
