"""Kernels written in Python: loops and arithmetic on flat arrays, compiled to LLVM's language.

    @kernel(writes=("y",))
    def scale_rows(x, factors, y, start, stop, columns):
        for row in range(start, stop):
            for j in range(columns):
                y[row * columns + j] = factors[row] * x[row * columns + j]

Called as a function, on NumPy arrays of one axis, a kernel is what it looks like, only slow: that is its definition,
and what its tests compare with. Compiled, its arrays become pointers that do not overlap, `start` and `stop` are the
share of a thread, `scratch` is memory of the thread's own, and all other arguments are constants. So the loops have
known lengths, and LLVM makes vectors of the inner ones. What the language has:

    x[i]  x[i:]           an element; the array from there on (a pointer), to be given to another function
    + - * / // %  < ...   on integers and floats, `//` and `%` of integers that are not negative
    min max abs float exp log sqrt tanh     also `math.inf`
    a if condition else b                   computes both
    for i in range(...)   if   names and elements that are assigned, also by +=; steps are positive constants
    local(n)              n floats of its own, on the stack
    gemm(...)             a product of matrices, by BLAS
    tile(...)             sums of products in registers, see `tiles.py`
    (a, b)   plane.rows   tuples; what a named tuple among the constants knows
    other kernels         written in line; `return` at their end

Sums may be added in any order, and a product and a sum become one operation.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy

from . import blas, llvm
from .polynomials import FORMATS, POLYNOMIALS, Code, Real, number
from .tiles import HINTS, Tile, tile


def local(size: int) -> Any:
    """So many floats, not set to anything."""
    return numpy.empty(size)


def gemm(
    a: Any,
    b: Any,
    c: Any,
    m: int,
    n: int,
    k: int,
    lda: int,
    ldb: int,
    ldc: int,
    transpose_a: bool = False,
    transpose_b: bool = False,
    beta: float = 0.0,
) -> None:
    """c = a @ b + beta * c for row-major matrices: a is (m, k), or (k, m) if it is transposed first, b (k, n) or
    (n, k); `lda`, `ldb` and `ldc` count the elements from one row to the next."""

    def matrix(array: Any, rows: int, columns: int, step: int) -> Any:
        return numpy.lib.stride_tricks.as_strided(array, (rows, columns), (step * array.itemsize, array.itemsize))

    left = matrix(a, k, m, lda).T if transpose_a else matrix(a, m, k, lda)
    right = matrix(b, n, k, ldb).T if transpose_b else matrix(b, k, n, ldb)
    result = matrix(c, m, n, ldc)
    result[...] = left @ right + (beta * result if beta else 0)


FUNCTIONS = {"exp": math.exp, "log": math.log, "sqrt": math.sqrt, "tanh": math.tanh}
exp, log, sqrt, tanh = FUNCTIONS.values()


class Kernel:
    """A function of this language; see the module."""

    def __init__(self, function: Callable[..., Any], writes: Sequence[str]):
        functools.update_wrapper(self, function)
        self.function, self.name, self.writes = function, function.__name__, tuple(writes)
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        assert isinstance(definition, ast.FunctionDef)
        self.definition = definition
        names = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}
        used = [function.__globals__.get(name) for name in names]
        self.calls_blas: bool = gemm in used or any(isinstance(other, Kernel) and other.calls_blas for other in used)
        self.signature = inspect.signature(function)
        self.parameters = tuple(self.signature.parameters)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    def text(self, name: str, arrays: Mapping[str, str], numbers: Mapping[str, float]) -> str:
        """LLVM code of `void name(i64 start, i64 stop, ptr scratch, ptr sgemm, ptr dgemm, ptr of each array)`.

        `arrays` are the dtypes of the parameters that are arrays, in their order, `numbers` the values of the others.
        """
        return _Writer(self, arrays, numbers).text(name)


def kernel(writes: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Kernel]:
    """Makes a function a kernel; `writes` names the arrays that it writes."""
    return lambda function: Kernel(function, writes)


# Compilation


@functools.cache
def _assigned(definition: ast.FunctionDef) -> list[str]:
    """The names that a function assigns, as often as it does."""
    names = (node for node in ast.walk(definition) if isinstance(node, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


@dataclass(frozen=True)
class Value:
    """A number at run time: its LLVM type and name."""

    type: str
    name: str


@dataclass(frozen=True)
class Pointer:
    """An array, from some element on."""

    dtype: str
    name: str


@dataclass(frozen=True)
class Variable:
    """A number that may change: where it lies on the stack."""

    type: str
    place: str


Number: TypeAlias = int | float
Operand: TypeAlias = Number | Value

_BINARY: dict[Any, str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "udiv",
    ast.Mod: "urem",
}
_PYTHON: dict[Any, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_RELATIONS: dict[Any, str] = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
_FLAGS = "reassoc nsz contract"
_SHORT = range(8, 129)
"""Turns of an inner loop that LLVM would unroll into single steps, were it not told to make vectors of them first."""
_VECTORS_FIRST = '!{!"llvm.loop.unroll.disable"}, !{!"llvm.loop.vectorize.followup_all", !{!"llvm.loop.unroll.enable"}}'


class _Writer:
    """Writes one kernel for given dtypes and numbers."""

    def __init__(self, kernel: Kernel, arrays: Mapping[str, str], numbers: Mapping[str, float]):
        unknown = {*kernel.parameters} ^ {*arrays, *numbers, *({"start", "stop", "scratch"} & {*kernel.parameters})}
        if unknown:
            raise TypeError(f"kernel {kernel.name}: arguments that do not fit: {', '.join(sorted(unknown))}")
        self.kernel, self.arrays, self.code = kernel, arrays, Code()
        floats = [dtype for dtype in arrays.values() if dtype in llvm.FLOATS]
        self.dtype = floats[0] if floats else "float32"
        self.real = llvm.TYPES[self.dtype]
        self.stack: list[str] = []
        self.short_loops = 0
        self.scope: dict[str, Any] = dict(numbers)
        self.scope |= {name: Pointer(dtype, f"%{name}") for name, dtype in arrays.items()}
        self.scope |= {"start": Value("i64", "%start"), "stop": Value("i64", "%stop")}
        self.scope["scratch"] = Pointer(self.dtype, "%scratch")
        self.globals: dict[str, Any] = kernel.function.__globals__

    def text(self, name: str) -> str:
        self._function(self.kernel.definition)
        parameters = [f"ptr noalias %{array}" for array in self.arrays]
        head = ["i64 %start", "i64 %stop", "ptr noalias %scratch", "ptr %sgemm", "ptr %dgemm", *parameters]
        lines = [*sorted(self.code.declared), f"define void @{name}({', '.join(head)}) #0 {{", "entry:"]
        end = ["  ret void", "}", 'attributes #0 = { nounwind "prefer-vector-width"="512" }']
        notes = [f"!{k} = distinct !{{!{k}, {_VECTORS_FIRST}}}" for k in range(self.short_loops)]
        return "\n".join([*lines, *self.stack, *self.code.lines, *end, *notes, HINTS])

    def _function(self, definition: ast.FunctionDef) -> Any:
        assigned = _assigned(definition)
        self.changing = {name for name in assigned if assigned.count(name) > 1 or name in self.scope}
        for name in self.changing & self.scope.keys():
            if not isinstance(self.scope[name], Pointer):
                self._variable(name, self.scope[name])
        *body, last = definition.body
        self._block(body)
        if isinstance(last, ast.Return) and last.value is not None:
            return self._expression(last.value)
        self._block([last])
        return None

    # Statements

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            method = getattr(self, f"_{type(statement).__name__.lower()}", None)
            if method is None:
                raise self._unknown(statement)
            method(statement)

    def _unknown(self, node: ast.AST) -> SyntaxError:
        return SyntaxError(f"kernel {self.kernel.name}: the language has no {ast.unparse(node)!r}")

    def _pass(self, node: ast.Pass) -> None:
        pass

    def _expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self._expression(node.value)

    def _assign(self, node: ast.Assign) -> None:
        (target,) = node.targets
        value = self._expression(node.value)
        if isinstance(target, ast.Tuple):
            for part, number in zip(target.elts, value, strict=True):
                self._set(part, number)
        else:
            self._set(target, value)

    def _augassign(self, node: ast.AugAssign) -> None:
        old = self._expression(node.target)
        self._set(node.target, self._binary(type(node.op), old, self._expression(node.value)))

    def _set(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Subscript):
            pointer = self._expression(target.value)
            place = self._element(pointer, self._expression(target.slice))
            self._store(pointer.dtype, value, place)
        elif isinstance(target, ast.Name):
            constant = isinstance(value, (int, float)) and target.id not in self.changing
            if constant or isinstance(value, (Pointer, tuple)):
                self.scope[target.id] = value
            else:
                self._variable(target.id, value)
        else:
            raise self._unknown(target)

    def _variable(self, name: str, value: Operand) -> None:
        """Gives a variable a value, and first of all its place."""
        variable = self.scope.get(name)
        if not isinstance(variable, Variable):
            type = value.type if isinstance(value, Value) else self._type_of(value)
            variable = self.scope[name] = Variable(type, f"%{name}.{next(self.code.names)}")
            self.stack.append(f"  {variable.place} = alloca {type}")
        self.code.add(f"store {variable.type} {self._as(value, variable.type)}, ptr {variable.place}")

    def _type_of(self, value: Number) -> str:
        return "i1" if isinstance(value, bool) else self.real if isinstance(value, float) else "i64"

    def _for(self, node: ast.For) -> None:
        if not (isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) == "range" and not node.orelse):
            raise self._unknown(node)
        assert isinstance(node.target, ast.Name)
        first, stop, step = self._range([self._expression(argument) for argument in node.iter.args])
        if isinstance(step, Value) or step < 1:
            raise self._unknown(node)
        code, label = self.code, f"{node.target.id}{next(self.code.names)}"
        i = f"%{label}"
        begin = self._as(first, "i64")
        end = self._as(stop, "i64")
        code.label(f"{label}.entry")
        code.label(f"{label}.head")
        code.add(f"{i} = phi i64 [ {begin}, %{label}.entry ], [ {i}.next, %{label}.latch ]")
        code.add(f"br i1 {code.value(f'icmp slt i64 {i}, {end}')}, label %{label}.body, label %{label}.exit")
        code.lines.append(f"{label}.body:")
        outside = self.scope.get(node.target.id)
        self.scope[node.target.id] = Value("i64", i)
        before = len(code.lines)
        self._block(node.body)
        self.scope[node.target.id] = outside
        code.label(f"{label}.latch")
        code.add(f"{i}.next = add nsw i64 {i}, {self._as(step, 'i64')}")
        turns = 0 if isinstance(first, Value) or isinstance(stop, Value) else (stop - first) // step
        note = ""
        if turns in _SHORT and not any(" phi " in line for line in code.lines[before:]):  # no loop inside
            note, self.short_loops = f", !llvm.loop !{self.short_loops}", self.short_loops + 1
        code.add(f"br label %{label}.head{note}")
        code.lines.append(f"{label}.exit:")

    @staticmethod
    def _range(bounds: Sequence[Operand]) -> tuple[Operand, Operand, Operand]:
        first, stop, step = [0, *bounds, 1] if len(bounds) == 1 else [*bounds, 1][:3]
        return first, stop, step

    def _if(self, node: ast.If) -> None:
        condition = self._expression(node.test)
        if not isinstance(condition, Value):
            self._block(node.body if condition else node.orelse)
            return
        label = f"if{next(self.code.names)}"
        self.code.add(f"br i1 {condition.name}, label %{label}.then, label %{label}.else")
        self.code.lines.append(f"{label}.then:")
        self._block(node.body)
        self.code.add(f"br label %{label}.end")
        self.code.lines.append(f"{label}.else:")
        self._block(node.orelse)
        self.code.label(f"{label}.end")

    # Expressions

    def _expression(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self._binary(type(node.op), self._expression(node.left), self._expression(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._expression(node.operand)
            return self._binary(ast.Mult, value, -1) if isinstance(value, Value) else -value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self._expression(node.operand)
            return Value("i1", self.code.value(f"xor i1 {value.name}, true")) if isinstance(value, Value) else not value
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._compare(type(node.ops[0]), self._expression(node.left), self._expression(node.comparators[0]))
        if isinstance(node, ast.BoolOp):
            return self._logic(isinstance(node.op, ast.And), [self._expression(value) for value in node.values])
        if isinstance(node, ast.IfExp):
            return self._choose(*(self._expression(part) for part in (node.test, node.body, node.orelse)))
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Tuple):
            return tuple(map(self._expression, node.elts))
        raise self._unknown(node)

    def _attribute(self, node: ast.Attribute) -> Any:
        """`math.inf`, and what a named tuple of constants knows."""
        owner = self._expression(node.value)
        if not (owner is math or isinstance(owner, tuple)):
            raise self._unknown(node)
        return getattr(owner, node.attr)

    def _name(self, name: str) -> Any:
        value = self.scope[name] if name in self.scope else self.globals[name]
        if isinstance(value, Variable):
            return Value(value.type, self.code.value(f"load {value.type}, ptr {value.place}"))
        return value

    def _as(self, value: Operand, type: str) -> str:
        """A number as LLVM writes one of that type."""
        if isinstance(value, Value):
            if value.type == type:
                return value.name
            if value.type == "i64" and type in FORMATS:
                return self.code.value(f"sitofp i64 {value.name} to {type}")
            if value.type == "i1" and type in FORMATS:
                return self.code.value(f"uitofp i1 {value.name} to {type}")
            if value.type in FORMATS and type in FORMATS:
                change = "fpext" if type == "double" else "fptrunc"
                return self.code.value(f"{change} {value.type} {value.name} to {type}")
            raise TypeError(f"kernel: a number of type {type} is due, not {value.type}")
        if isinstance(value, float) and type not in FORMATS:
            raise TypeError(f"kernel: an integer is due, not {value}")
        return number(float(value), type) if type in FORMATS else str(value if type == "i1" else int(value)).lower()

    def _common(self, *values: Operand) -> str:
        """The type in which numbers meet."""
        types = {value.type for value in values if isinstance(value, Value)}
        if types & FORMATS.keys():
            return "double" if "double" in types else "float"
        return self.real if any(isinstance(value, float) for value in values) else "i64"

    def _binary(self, kind: type, a: Operand, b: Operand) -> Operand:
        if not isinstance(a, Value) and not isinstance(b, Value):
            result: Number = _PYTHON[kind](a, b)
            return result
        type = self.real if kind is ast.Div and self._common(a, b) == "i64" else self._common(a, b)
        x, y = self._as(a, type), self._as(b, type)
        name = _BINARY[kind]
        op = f"f{name} {_FLAGS}" if type in FORMATS else f"{name} nsw" if name in ("add", "sub", "mul") else name
        return Value(type, self.code.value(f"{op} {type} {x}, {y}"))

    def _compare(self, kind: type, a: Operand, b: Operand) -> Any:
        if not isinstance(a, Value) and not isinstance(b, Value):
            return _PYTHON[kind](a, b)
        type, relation = self._common(a, b), _RELATIONS[kind]
        if type in FORMATS:
            op = f"fcmp {'u' if relation == 'ne' else 'o'}{relation}"
        else:
            op = f"icmp {relation if relation in ('eq', 'ne') else 's' + relation}"
        return Value("i1", self.code.value(f"{op} {type} {self._as(a, type)}, {self._as(b, type)}"))

    def _logic(self, both: bool, values: Sequence[Any]) -> Any:
        dynamic = [value for value in values if isinstance(value, Value)]
        static = [value for value in values if not isinstance(value, Value)]
        if any(bool(value) != both for value in static):
            return not both
        if not dynamic:
            return both
        result = dynamic[0]
        for value in dynamic[1:]:
            result = Value("i1", self.code.value(f"{'and' if both else 'or'} i1 {result.name}, {value.name}"))
        return result

    def _choose(self, condition: Any, a: Operand, b: Operand) -> Operand:
        if not isinstance(condition, Value):
            return a if condition else b
        type = self._common(a, b)
        text = f"select i1 {condition.name}, {type} {self._as(a, type)}, {type} {self._as(b, type)}"
        return Value(type, self.code.value(text))

    # Memory

    def _element(self, pointer: Pointer, index: Operand) -> str:
        return self.code.value(
            f"getelementptr inbounds {llvm.MEMORY[pointer.dtype]}, ptr {pointer.name}, i64 {self._as(index, 'i64')}"
        )

    def _subscript(self, node: ast.Subscript) -> Value | Pointer:
        pointer = self._expression(node.value)
        if isinstance(node.slice, ast.Slice):
            lower = self._expression(node.slice.lower) if node.slice.lower else 0
            return Pointer(pointer.dtype, self._element(pointer, lower))
        place, dtype = self._element(pointer, self._expression(node.slice)), pointer.dtype
        value = self.code.value(f"load {llvm.MEMORY[dtype]}, ptr {place}")
        if dtype in llvm.FLOATS:
            return Value(llvm.TYPES[dtype], value)
        if dtype == "bool":
            return Value("i1", self.code.value(f"icmp ne i8 {value}, 0"))
        if dtype != "int64":
            value = self.code.value(f"{'zext' if dtype == 'uint8' else 'sext'} {llvm.MEMORY[dtype]} {value} to i64")
        return Value("i64", value)

    def _store(self, dtype: str, value: Operand, place: str) -> None:
        if dtype in llvm.FLOATS:
            text = self._as(value, llvm.TYPES[dtype])
        elif dtype == "bool":
            text = self.code.value(f"zext i1 {value.name} to i8") if isinstance(value, Value) else str(int(value))
        else:
            text = self._as(value, "i64")
            text = text if dtype == "int64" else self.code.value(f"trunc i64 {text} to {llvm.MEMORY[dtype]}")
        self.code.add(f"store {llvm.MEMORY[dtype]} {text}, ptr {place}")

    # Functions

    def _call(self, node: ast.Call) -> Any:
        name = ast.unparse(node.func)
        arguments = [self._expression(argument) for argument in node.args]
        named = {keyword.arg or "": self._expression(keyword.value) for keyword in node.keywords}
        function = self.globals.get(name)
        if isinstance(function, Kernel):
            return self._inline(function, function.signature.bind(*arguments, **named).arguments)
        if name == "gemm":
            bound = inspect.signature(gemm).bind(*arguments, **named)
            bound.apply_defaults()
            return self._gemm(**bound.arguments)
        if name == "local":
            place = f"%local{next(self.code.names)}"
            self.stack.append(f"  {place} = alloca [{arguments[0]} x {self.real}], align 64")
            return Pointer(self.dtype, place)
        if name == "tile":
            bound = inspect.signature(tile).bind(*arguments, **named)
            bound.apply_defaults()
            return self._tile(**bound.arguments)
        if name in ("min", "max"):
            return functools.reduce(functools.partial(self._extreme, name), arguments)
        if name == "float":
            return Value(self.real, self._as(arguments[0], self.real))
        if name == "abs" or name in FUNCTIONS:
            return self._real(name, arguments[0])
        raise self._unknown(node)

    def _inline(self, function: Kernel, arguments: Mapping[str, Any]) -> Any:
        outside = self.scope, self.changing, self.globals
        constants = {n: p.default for n, p in function.signature.parameters.items()}
        self.scope, self.globals = {**constants, **arguments}, function.function.__globals__
        result = self._function(function.definition)
        self.scope, self.changing, self.globals = outside
        return result

    def _extreme(self, name: str, a: Operand, b: Operand) -> Operand:
        if not isinstance(a, Value) and not isinstance(b, Value):
            return (min if name == "min" else max)(a, b)
        type = self._common(a, b)
        x, y = self._as(a, type), self._as(b, type)
        if type in FORMATS:
            return Value(type, self.code.call(f"{name}imum", type, x, y, flags="nsz"))
        return Value(type, self.code.call(f"s{name}", type, x, y))

    def _real(self, name: str, value: Operand) -> Operand:
        if not isinstance(value, Value):
            return abs(value) if name == "abs" else FUNCTIONS[name](value)
        if name == "abs" and value.type == "i64":
            return Value("i64", self.code.call("abs", "i64", value.name, "i1 false"))
        type = value.type if value.type in FORMATS else self.real
        text = self._as(value, type)
        if name in POLYNOMIALS:
            return Value(type, POLYNOMIALS[name](Real(self.code, text, FORMATS[type])).name)
        return Value(type, self.code.call("fabs" if name == "abs" else name, type, text))

    def _gemm(
        self, a: Pointer, b: Pointer, c: Pointer, transpose_a: bool, transpose_b: bool, beta: float, **sizes: Operand
    ) -> None:
        m, n, k, lda, ldb, ldc = (self._as(sizes[name], "i64") for name in ("m", "n", "k", "lda", "ldb", "ldc"))
        matrices = ((a.name, lda), (b.name, ldb), (c.name, ldc))
        function = "%sgemm" if c.dtype == "float32" else "%dgemm"
        blas.call(self.code, function, c.dtype, (transpose_a, transpose_b), (m, n, k), matrices, beta=beta)

    def _tile(
        self,
        a: Pointer,
        b: Pointer,
        c: Pointer,
        columns: int,
        rows: Any,
        sums: Any,
        spread: Any,
        alike: bool,
        **how: Any,
    ) -> None:
        levels: list[tuple[Operand, Operand, Operand]] = []
        apart = 2 if how["within"] else 0  # the last of the sums, which stay as they are
        for count, *steps in reversed(sums):
            inner = levels[-1] if len(levels) > apart else None
            if inner and [self._binary(ast.Mult, inner[0], step) for step in inner[1:]] == steps:
                levels[-1] = (self._binary(ast.Mult, count, inner[0]), *inner[1:])  # lie as one with those
            elif count != 1 or len(levels) < apart:
                levels.append((count, *steps))
        counts = [[self._as(value, "i64") for value in level] for level in reversed(levels)]
        Tile(self.code, c.dtype, columns, spread, alike).write(a.name, b.name, c.name, rows, counts, **how)
