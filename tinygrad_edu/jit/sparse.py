"""The gradient of a large table of which a step takes few rows: only those, and where they belong.

`_scatter`, which makes zeros and adds to them, becomes two calls: `sum_rows`, which gives the sums of the rows that
occur behind one row of zeros, and a `_gather` from these, by the place of each row of the table. That is a read like
any other, which fuses with what the optimizer does, so that the whole gradient is never in memory. A group that would
leave a row as it is where its gradient is 0 does not touch it at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy

from ..autograd import Primitive, primitives
from ..kernels.loops import FLOATS, NUMBERS, Loops, levels
from ..kernels.registry import compiled, recipe
from .fusion import KEY, Kernel, pattern_of
from .program import Call, Program, Variable, new_variable

LEAST = 1 << 15
"""Elements of a table from which on its gradient is kept by rows."""
SPARSE = 2
"""Rows of the table for each id, at least."""
EXACT = {*NUMBERS, "divide", "sqrt"}
"""Steps that give in machine code what they give in NumPy."""


@compiled("rows.summed")
def _sum_rows(xp: Any, g: Any, ids: Any, *, rows: int) -> tuple[Any, Any]:
    """The sums of rows with the same number and, for each number, in which row of these its sum is: 0 for zeros."""
    flat = ids.reshape(-1) % rows
    places = xp.zeros(rows, "int32")
    places[flat[::-1]] = xp.arange(flat.size, 0, -1, dtype="int32")
    sums = xp.zeros((flat.size + 1, *g.shape[ids.ndim :]), g.dtype)
    xp.add.at(sums, places[flat], g.reshape(-1, *sums.shape[1:]))
    return sums, places


sum_rows = Primitive(_sum_rows, "opaque")


def by_rows(program: Program) -> Program:
    """Gradients of large tables by the rows that occur. Each group that reads one reads it so; for all others it is put
    together once."""
    ends = {end for end in program.ends() if type(end) is Variable}
    readers: dict[Variable, list[Call]] = {}
    for call in program.calls:
        for a in call.reads():
            readers.setdefault(a, []).append(call)
    whole: dict[Variable, tuple[Variable, Variable]] = {}
    calls: list[Call] = []
    for call in program.calls:
        y = call.outputs
        if _is_sparse(call):
            g, ids = call.operands
            sums = new_variable((ids.size + 1, *y.shape[1:]), y.dtype.name)
            places = new_variable(y.shape[:1], "int32")
            rows = {"rows": y.shape[0]}
            calls.append(Call(sum_rows, (g, ids), rows, (sums, places), call.xp, scope=call.scope))
            whole[y] = sums, places
            if y in ends or not all(map(_is_fused, readers.get(y, []))):
                calls.append(_gather(call, whole[y], y))
            continue
        names = {a: Variable(a.shape, a.dtype, a.strides) for a in call.reads() if a in whole and _is_fused(call)}
        calls += [_gather(call, whole[a], part) for a, part in names.items()]
        operands = tuple(names.get(a, a) if type(a) is Variable else a for a in call.operands)
        calls.append(replace(call, operands=operands) if names else call)
    return replace(program, calls=calls)


def _is_sparse(call: Call) -> bool:
    """Whether few rows of a large table get a sum, and these are long enough to be read one by one."""
    y = call.outputs
    if call.primitive.name != "_scatter" or call.attributes["key"] != KEY or call.xp is not numpy or not y.size:
        return False
    ids, columns = call.operands[1], y.size // y.shape[0]
    long = columns % 16 == 0 or columns >= 64
    few = y.size >= LEAST and y.shape[0] >= SPARSE * ids.size
    return long and few and recipe("rows.summed", call.operands, {"rows": y.shape[0]}) is not None


def _is_fused(call: Call) -> bool:
    return pattern_of(call) is not None


def _gather(call: Call, operands: tuple[Variable, Variable], y: Variable) -> Call:
    return Call(primitives["_gather"], operands, {"key": KEY}, y, call.xp, scope=call.scope)


# What a gradient of 0 leaves as it is


def sums_of(program: Program) -> set[Variable]:
    """What `sum_rows` makes: of which row 0 is zeros."""
    return {call.outputs[0] for call in program.calls if call.primitive is sum_rows}


def with_idle_rows(kernel: Kernel, sums: set[Variable], olds: Sequence[Variable | None]) -> Kernel:
    """The same, where rows are left as they are that would stay so: by the values that the outputs are written over,
    `olds`, if these are inputs."""
    loops = kernel.loops
    numbers = [kernel.inputs.index(old) for old in olds if old in kernel.inputs]
    takes = {i for i, op in enumerate(loops.ops) if op.name == "take" and kernel.inputs[op.number] in sums}
    indices = tuple(sorted({loops.ops[i].args[0] for i in takes}))
    kinds = levels(loops)
    if not takes or len(numbers) < len(olds) or any(kinds[i] != "uniform" for i in indices):
        return kernel
    if any(loops.inputs[n] != y for n, y in zip(numbers, loops.outputs, strict=True)):
        return kernel
    zeros: set[int] = set()
    for _ in numbers:  # which values, if they are 0, stay so, those that were found before given
        for y, n in enumerate(numbers):
            if not _Values(loops, takes, zeros).stays(y, n) and _Values(loops, takes, zeros | {n}).is_zero(y):
                zeros |= {n}
    values = _Values(loops, takes, zeros)
    if all(n in zeros or values.stays(y, n) for y, n in enumerate(numbers)):
        return replace(kernel, loops=replace(loops, idle=(indices, tuple(sorted(zeros)))))
    return kernel


class _Values:
    """What is known of each step of a group where those of `takes` are 0, and the inputs of the numbers `zeros`.

    A number, "input 3" for the value of that input, "finite" for some finite number, or None.
    """

    def __init__(self, loops: Loops, takes: set[int], zeros: set[int]):
        self.loops, self.known = loops, list[Any]()
        for i, op in enumerate(loops.ops):
            if i in takes or (op.name == "load" and op.value in zeros):
                value: Any = numpy.dtype(op.dtype).type(0)
            elif op.name == "load":
                value = f"input {op.value}"
            elif op.name == "constant" and op.dtype in FLOATS:
                value = numpy.dtype(op.dtype).type(str(op.value))
            elif op.name == "store":
                value = self.known[op.args[0]]
            else:
                value = "finite" if op.name == "scalar" else None
                if op.args and op.dtype in FLOATS:
                    value = _computed(op.name, [self.known[a] for a in op.args])
            self.known.append(value)
        self.stored = {op.value: self.known[i] for i, op in enumerate(loops.ops) if op.name == "store"}

    def stays(self, output: int, number: int) -> bool:
        value = self.stored[output]
        return isinstance(value, str) and value == f"input {number}"

    def is_zero(self, output: int) -> bool:
        return _is_zero(self.stored[output])


def _is_zero(value: Any) -> bool:
    return isinstance(value, numpy.floating) and bool(value == 0)


def _computed(name: str, args: list[Any]) -> Any:
    if name in EXACT and all(isinstance(a, numpy.floating) for a in args):
        with numpy.errstate(all="ignore"):
            return getattr(numpy, name)(*args)
    if name == "add" and _is_zero(args[0]):
        return args[1]
    if name in ("add", "subtract") and _is_zero(args[1]):
        return args[0]
    if name == "multiply":
        for a, b in (args, args[::-1]):
            if _is_zero(a) and (b == "finite" or (isinstance(b, numpy.floating) and numpy.isfinite(b))):
                return a
    return None
