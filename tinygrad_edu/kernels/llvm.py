"""LLVM code of fused loops, as text, and its way to machine code through llvmlite (imported when first needed).

`polynomials` says how exact `exp`, `expm1`, `log`, `log1p`, `tanh` and `erf` are. The other transcendental functions
are calls of the C library, a number at a time. Plain arithmetic is never rearranged or contracted, so it equals NumPy's
bit for bit; only the sums of reductions are rearranged.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .loops import (
    COLUMNS,
    COMPARISONS,
    FLOATS,
    REDUCTIONS,
    ROW_REDUCTIONS,
    TRANSCENDENTAL,
    Loops,
    Op,
    check,
    levels,
    split,
)
from .polynomials import FORMATS, POLYNOMIALS, Code, Real, number

TYPES = {"float32": "float", "float64": "double", "int64": "i64", "int32": "i32", "uint8": "i8", "bool": "i1"}
MEMORY = {**TYPES, "bool": "i8"}
SIZES = {"float32": 4, "float64": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1}
SCRATCH = 1 << 15  # bytes of stack that one kernel may use for what later loops over a row read again
MANY_ROWS = 512  # from here on short rows are worth a longer compilation
SUM_COLUMNS = 1024  # columns that are summed at a time, in a buffer on the stack

# One step

_FLOAT = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_INTEGER = {"add": "add", "subtract": "sub", "multiply": "mul"}
_COMPARE = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge"}
_EXTREMES = {"maximum": "max", "minimum": "min", "row_max": "max", "row_min": "min"}
_INTRINSICS = {  # by another name in LLVM
    "absolute": "fabs",
    "power": "pow",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
}


def _combine(code: Code, name: str, dtype: str, a: str, b: str, flags: str = "") -> str:
    """add, subtract, multiply, divide, or an extreme, of two values of that dtype."""
    type = TYPES[dtype]
    if name in _EXTREMES:
        kind = _EXTREMES[name]
        if dtype in FLOATS:  # nsz: which of 0 and -0 is larger is left open, as in NumPy
            return code.call(f"{kind}imum", type, a, b, flags="nsz")
        return code.call(("u" if dtype == "uint8" else "s") + kind, type, a, b)
    return code.value(f"{(_FLOAT if dtype in FLOATS else _INTEGER)[name]} {flags} {type} {a}, {b}")


def _compare(code: Code, name: str, dtype: str, a: str, b: str) -> str:
    relation = _COMPARE[name]
    if dtype in FLOATS:
        return code.value(f"fcmp {'u' if relation == 'ne' else 'o'}{relation} {TYPES[dtype]} {a}, {b}")
    if relation not in ("eq", "ne"):
        relation = ("u" if dtype in ("uint8", "bool") else "s") + relation
    return code.value(f"icmp {relation} {TYPES[dtype]} {a}, {b}")


def _zero(dtype: str) -> str:
    return number(0.0, TYPES[dtype]) if dtype in FLOATS else "false" if dtype == "bool" else "0"


def _one(dtype: str) -> str:
    return number(1.0, TYPES[dtype]) if dtype in FLOATS else "1"


def _cast(code: Code, a: str, old: str, new: str) -> str:
    if old == new:
        return a
    if new == "bool":
        return _compare(code, "not_equal", old, a, _zero(old))
    if old in FLOATS and new not in FLOATS:  # what does not fit becomes the nearest that does, NaN 0
        function = "fptoui.sat" if new == "uint8" else "fptosi.sat"
        suffix = {"float32": "f32", "float64": "f64"}[old]
        name = f"@llvm.{function}.{TYPES[new]}.{suffix}"
        code.declared[f"declare {TYPES[new]} {name}({TYPES[old]})"] = None
        return code.value(f"call {TYPES[new]} {name}({TYPES[old]} {a})")
    if old in FLOATS:
        op = "fpext" if new == "float64" else "fptrunc"
    elif new in FLOATS:
        op = "uitofp" if old in ("bool", "uint8") else "sitofp"
    elif SIZES[new] > SIZES[old] or old == "bool":
        op = "zext" if old in ("bool", "uint8") else "sext"
    else:
        op = "trunc"
    return code.value(f"{op} {TYPES[old]} {a} to {TYPES[new]}")


def _constant(op: Op) -> str:
    text = str(op.value)
    return number(float(text), TYPES[op.dtype]) if op.dtype in FLOATS else text.lower()


def _sign(code: Code, dtype: str, a: str) -> str:
    type, one, zero = TYPES[dtype], _one(dtype), _zero(dtype)
    minus = number(-1.0, type) if dtype in FLOATS else "-1"
    y = code.value(f"select i1 {_compare(code, 'equal', dtype, a, zero)}, {type} {zero}, {type} {a}")  # NaN stays
    y = code.value(f"select i1 {_compare(code, 'less', dtype, a, zero)}, {type} {minus}, {type} {y}")
    return code.value(f"select i1 {_compare(code, 'greater', dtype, a, zero)}, {type} {one}, {type} {y}")


def _compute(code: Code, op: Op, args: Sequence[str], old: str) -> str:
    """A step that is no source, store or reduction, of values whose (last one's) dtype is `old`."""
    type, a = TYPES[op.dtype], args[0]
    real = Real(code, a, FORMATS[TYPES[old]]) if old in FLOATS else None
    if op.name == "cast":
        return _cast(code, a, old, op.dtype)
    if op.name == "where":
        return code.value(f"select i1 {a}, {type} {args[1]}, {type} {args[2]}")
    if op.name in COMPARISONS:
        return _compare(code, op.name, old, a, args[1])
    if op.name == "logical_not":
        return code.value(f"xor i1 {a}, true")
    if op.name.startswith("logical"):
        return code.value(f"{op.name.removeprefix('logical_')} i1 {a}, {args[1]}")
    if op.name == "sign":
        return _sign(code, op.dtype, a)
    if op.name in _FLOAT or op.name in _EXTREMES:
        return _combine(code, op.name, op.dtype, a, args[1])
    if real is None:
        if op.name == "negative":
            return code.value(f"sub {type} 0, {a}")
        return a if op.dtype == "uint8" else code.call("abs", type, a, "i1 false")
    if op.name == "negative":
        return code.value(f"fneg {type} {a}")
    if op.name == "isnan":
        return real.is_("uno", real)
    if op.name in ("isfinite", "isinf"):
        return abs(real).is_("olt" if op.name == "isfinite" else "oeq", float("inf"))
    if op.name in POLYNOMIALS:
        return POLYNOMIALS[op.name](real).name
    return code.call(_INTRINSICS.get(op.name, op.name), type, *args)


# The loops


def _phases(loops: Loops) -> list[int]:
    """For each step the number of loops over the columns of a row that have to end before it can start."""
    phases: list[int] = []
    for op in loops.ops:
        before = max((phases[a] for a in op.args), default=0)
        phases.append(before + (op.name in ROW_REDUCTIONS))
    return phases


@dataclass
class _Pass:
    """One loop over the columns of a row: which element-level steps it computes, and which it reads from scratch."""

    steps: set[int]
    read: set[int]
    reductions: list[int]
    stores: list[int]


def _passes(loops: Loops, kinds: Sequence[str], phases: Sequence[int]) -> list[_Pass]:
    """The loops over a row's columns, in order.

    All stores are in the last one: an output may be an input that an earlier loop reads again. What is cheap is
    computed again in each loop; a transcendental function is kept in a scratch row, if that is short.
    """
    stores = [i for i, op in enumerate(loops.ops) if op.name == "store" and kinds[i] in ("uniform", "element")]
    reductions = [i for i, op in enumerate(loops.ops) if op.name in REDUCTIONS]
    starts = {i: phases[loops.ops[i].args[0]] for i in reductions}
    last = max([*starts.values(), *(phases[i] for i in stores)], default=-1)
    passes: list[_Pass] = []
    space, known = SCRATCH, set[int]()
    for phase in range(last + 1):
        here = _Pass(set(), set(), [i for i in reductions if starts[i] == phase], stores if phase == last else [])
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


def text(loops: Loops, name: str) -> str:
    """LLVM code of `void name(ptr arrays, ptr scalars, i64 start, i64 stop)`.

    `arrays` is a table of pointers, inputs before outputs, `scalars` one of doubles; start and stop are a range of
    what `split` names. The same loops always give the same text. Raises ValueError as `check` does.
    """
    check(loops)
    return _Writer(loops, name).text()


class _Writer:
    def __init__(self, loops: Loops, name: str):
        self.loops, self.name, self.code = loops, name, Code()
        self.kinds = levels(loops)
        self.phases = _phases(loops)
        self.passes = _passes(loops, self.kinds, self.phases)
        self.by_rows = split(loops)[0] == "rows"
        self.operands = (*loops.inputs, *loops.outputs)
        self.known: dict[int, str] = {}  # the values of uniform and row-level steps
        self.sums = [i for i, op in enumerate(loops.ops) if op.name == "column_sum"]
        self.sum_columns = SUM_COLUMNS // 4 if len(self.sums) > 4 else SUM_COLUMNS
        self.parallel: list[str] = []  # loops whose turns do not depend on each other

    def text(self) -> str:
        code = self.code
        for i in range(len(self.operands)):
            slot = code.value(f"getelementptr inbounds ptr, ptr %arrays, i64 {i}")
            code.add(f"%array{i} = load ptr, ptr {slot}")
        for i in sorted(set().union(*(p.read for p in self.passes))):
            code.add(f"%scratch{i} = alloca [{self.loops.columns} x {MEMORY[self.loops.ops[i].dtype]}], align 64")
        for i in self.sums:
            code.add(f"%sum{i} = alloca [{self.sum_columns} x {TYPES[self.loops.ops[i].dtype]}], align 64")
        if self.sums:
            self._loop("blocks", "%start", "%stop", self._sum_block, step=self.sum_columns)
        elif self.by_rows:
            self._loop("rows", "%start", "%stop", lambda row, _: self._row(row, "0", str(self.loops.columns)))
        else:
            self._row("0", "%start", "%stop")
        head = f"define void @{self.name}(ptr %arrays, ptr %scalars, i64 %start, i64 %stop) #0 {{"
        notes = ['attributes #0 = { nounwind "prefer-vector-width"="512" }']
        for k, label in enumerate(self.parallel):
            notes += [
                f"!{3 * k} = distinct !{{}} ; {label}",
                f'!{3 * k + 1} = !{{!"llvm.loop.parallel_accesses", !{3 * k}}}',
                f"!{3 * k + 2} = distinct !{{!{3 * k + 2}, !{3 * k + 1}{self._unrolling()}}}",
            ]
        return "\n".join([*sorted(code.declared), head, "entry:", *code.lines, "  ret void", "}", *notes, ""])

    def _unrolling(self) -> str:
        """What LLVM shall do with loops over the columns of a row instead of unrolling short ones into single steps.

        If there are few columns and many rows, full unrolling makes vectors of rows: twice as fast, though it takes
        three times as long to compile.
        """
        if not self.by_rows or self.loops.columns > 8 * COLUMNS:
            return ""
        full = self.loops.columns < COLUMNS and self.loops.rows >= MANY_ROWS
        return f', !{{!"llvm.loop.unroll.{"full" if full else "disable"}"}}'

    def _loop(
        self,
        label: str,
        first: str,
        stop: str,
        body: Callable[[str, list[str]], Iterable[str] | None],
        carried: Sequence[tuple[str, str]] = (),
        step: int = 1,
        parallel: bool = False,
    ) -> list[str]:
        """for (i = first; i < stop; i += step); `carried` are types and first values of what `body` hands on to its
        next turn. Returns their last values. The turns of a `parallel` loop may run in vectors."""
        code, i = self.code, f"%{label}.i"
        if parallel:
            self.parallel.append(label)
        code.label(f"{label}.entry")
        code.label(f"{label}.head")
        names = [f"%{label}.c{k}" for k in range(len(carried))]
        code.add(f"{i} = phi i64 [ {first}, %{label}.entry ], [ {i}.next, %{label}.latch ]")
        phis = len(code.lines)
        more = code.value(f"icmp slt i64 {i}, {stop}")
        code.add(f"br i1 {more}, label %{label}.body, label %{label}.exit")
        code.lines.append(f"{label}.body:")
        following = list(body(i, names) or ())
        code.label(f"{label}.latch")
        code.add(f"{i}.next = add nsw i64 {i}, {step}")
        note = f", !llvm.loop !{3 * self.parallel.index(label) + 2}" if parallel else ""
        code.add(f"br label %{label}.head{note}")
        code.lines.append(f"{label}.exit:")
        code.lines[phis:phis] = [
            f"  {name} = phi {type} [ {start}, %{label}.entry ], [ {value}, %{label}.latch ]"
            for name, (type, start), value in zip(names, carried, following, strict=True)
        ]
        return names

    def _group(self) -> str:
        """The note on what is read and written in the parallel loop that is being written."""
        return f", !llvm.access.group !{3 * (len(self.parallel) - 1)}"

    # Memory

    def _address(self, base: str, dtype: str, offset: str, stride: int = 1) -> str:
        if stride not in (0, 1):
            offset = self.code.value(f"mul nsw i64 {offset}, {stride}")
        return self.code.value(f"getelementptr inbounds {MEMORY[dtype]}, ptr {base}, i64 {offset if stride else 0}")

    def _load(self, address: str, dtype: str, note: str = "") -> str:
        value = self.code.value(f"load {MEMORY[dtype]}, ptr {address}{note}")
        return self.code.value(f"icmp ne i8 {value}, 0") if dtype == "bool" else value

    def _store(self, address: str, dtype: str, value: str, note: str = "") -> None:
        if dtype == "bool":
            value = self.code.value(f"zext i1 {value} to i8")
        self.code.add(f"store {MEMORY[dtype]} {value}, ptr {address}{note}")

    # Rows and columns

    def _places(self, row: str) -> list[str]:
        """The positions along the outer axes of that row."""
        places: list[str] = []
        for length in reversed(self.loops.shape[1:-1]):
            places.append(self.code.value(f"urem i64 {row}, {length}"))
            row = self.code.value(f"udiv i64 {row}, {length}")
        return [*reversed([*places, row])] if len(self.loops.shape) > 1 else []

    def _row(self, row: str, first: str, stop: str) -> None:
        """All passes over those columns of one row."""
        places = self._places(row)
        bases = [self._row_start(i, places) for i in range(len(self.operands))]
        self.known = {}
        for i, op in enumerate(self.loops.ops):
            if self.kinds[i] == "uniform" and op.name not in ("store", *REDUCTIONS):
                self.known[i] = self._uniform(op, places, bases)
        for phase, here in enumerate(self.passes):
            self._row_level(phase)
            self._pass(phase, here, bases, first, stop)
        self._row_level(len(self.passes))
        for i, op in enumerate(self.loops.ops):
            if op.name == "store" and self.kinds[i] == "row":
                self._store(bases[len(self.loops.inputs) + op.number], op.dtype, self.known[op.args[0]])

    def _row_start(self, i: int, places: Sequence[str]) -> str:
        base, operand = f"%array{i}", self.operands[i]
        for place, stride in zip(places, operand.strides[:-1], strict=True):
            if stride:
                base = self._address(base, operand.dtype, place, stride)
        return base

    def _uniform(self, op: Op, places: Sequence[str], bases: Sequence[str]) -> str:
        code = self.code
        if op.name == "constant":
            return _constant(op)
        if op.name == "index":
            return places[op.number]
        if op.name == "load":
            return self._load(bases[op.number], op.dtype)
        if op.name == "scalar":
            slot = code.value(f"getelementptr inbounds double, ptr %scalars, i64 {op.value}")
            return _cast(code, code.value(f"load double, ptr {slot}"), "float64", op.dtype)
        return self._step(op, self.known)

    def _step(self, op: Op, known: dict[int, str]) -> str:
        return _compute(self.code, op, [known[a] for a in op.args], self.loops.ops[op.args[-1]].dtype)

    def _row_level(self, phase: int) -> None:
        """The row-level steps that can be computed after so many passes, once each."""
        for i, op in enumerate(self.loops.ops):
            waits = i in self.known or op.name in ("store", *REDUCTIONS) or self.phases[i] > phase
            if self.kinds[i] == "row" and not waits:
                self.known[i] = self._step(op, self.known)

    def _pass(self, phase: int, here: _Pass, bases: Sequence[str], first: str, stop: str) -> None:
        ops = self.loops.ops
        folded = [i for i in here.reductions if ops[i].name in ROW_REDUCTIONS]
        carried = [(TYPES[ops[i].dtype], _start(ops[i])) for i in folded]
        later = set().union(*(p.read for p in self.passes[phase + 1 :]))

        def body(column: str, values: list[str]) -> list[str]:
            known, note = dict(self.known), self._group()
            for i in sorted(here.steps | here.read):
                if i in here.read:
                    known[i] = self._load(self._address(f"%scratch{i}", ops[i].dtype, column), ops[i].dtype, note)
                elif ops[i].name == "index":
                    known[i] = column
                elif ops[i].name == "load":
                    known[i] = self._element(ops[i], bases, column, note)
                else:
                    known[i] = self._step(ops[i], known)
                if i in here.steps and i in later:
                    self._store(self._address(f"%scratch{i}", ops[i].dtype, column), ops[i].dtype, known[i], note)
            for i in here.stores:
                number = len(self.loops.inputs) + ops[i].number
                address = self._address(bases[number], ops[i].dtype, column, self.operands[number].strides[-1])
                self._store(address, ops[i].dtype, known[ops[i].args[0]], note)
            for i in self.sums:
                self._add_to_sum(i, known[ops[i].args[0]], column, first, note)
            return [_fold(self.code, ops[i], v, known[ops[i].args[0]]) for i, v in zip(folded, values, strict=True)]

        self.known.update(
            zip(folded, self._loop(f"pass{phase}", first, stop, body, carried, parallel=True), strict=True)
        )

    def _element(self, op: Op, bases: Sequence[str], column: str, note: str) -> str:
        stride = self.loops.inputs[op.number].strides[-1]
        return self._load(self._address(bases[op.number], op.dtype, column, stride), op.dtype, note)

    # Sums over the rows

    def _sum_block(self, block: str, _: Sequence[str]) -> None:
        """The sums of one block of columns, over all rows, in buffers; then into the outputs."""
        code, ops = self.code, self.loops.ops
        end = code.value(f"add nsw i64 {block}, {self.sum_columns}")
        end = code.call("smin", "i64", end, "%stop")

        def clear(column: str, _: Sequence[str]) -> None:
            for i in self.sums:
                self._store(self._sum(i, column, block), ops[i].dtype, _zero(ops[i].dtype), self._group())

        def write(column: str, _: Sequence[str]) -> None:
            for op in ops:
                if op.name == "store" and op.args[0] in self.sums:
                    i, number = op.args[0], len(self.loops.inputs) + op.number
                    value = self._load(self._sum(i, column, block), op.dtype, self._group())
                    stride = self.operands[number].strides[-1]
                    self._store(
                        self._address(f"%array{number}", op.dtype, column, stride), op.dtype, value, self._group()
                    )

        self._loop("clear", block, end, clear, parallel=True)
        self._loop("rows", "0", str(self.loops.rows), lambda row, _: self._row(row, block, end))
        self._loop("write", block, end, write, parallel=True)

    def _sum(self, i: int, column: str, block: str) -> str:
        place = self.code.value(f"sub nsw i64 {column}, {block}")
        return self._address(f"%sum{i}", self.loops.ops[i].dtype, place)

    def _add_to_sum(self, i: int, value: str, column: str, block: str, note: str) -> None:
        address, dtype = self._sum(i, column, block), self.loops.ops[i].dtype
        total = _combine(self.code, "add", dtype, self._load(address, dtype, note), value)
        self._store(address, dtype, total, note)


def _start(op: Op) -> str:
    """What a reduction over a row starts from."""
    if op.name == "row_sum":
        return _zero(op.dtype)
    if op.dtype in FLOATS:
        return number(float("-inf" if op.name == "row_max" else "inf"), TYPES[op.dtype])
    bits = 8 * SIZES[op.dtype]
    low, high = (0, 2**bits - 1) if op.dtype == "uint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return str(low if op.name == "row_max" else high)


def _fold(code: Code, op: Op, total: str, value: str) -> str:
    if op.name == "row_sum":  # in any order, or it could not run in vectors
        return _combine(code, "add", op.dtype, total, value, flags="reassoc" if op.dtype in FLOATS else "")
    return _combine(code, op.name, op.dtype, total, value)


# Machine code


@dataclass(frozen=True)
class Kernels:
    """Machine code in memory, kept as long as this is."""

    engine: Any
    addresses: dict[str, int]


@functools.cache
def _binding() -> Any:
    binding = importlib.import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@functools.cache
def host() -> tuple[str, str, str]:
    """The machine that code is written for: LLVM's version, the processor's name and its features."""
    binding = _binding()
    version = ".".join(map(str, binding.llvm_version_info))
    return version, binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def _machine(cpu: str = "") -> Any:
    _, name, features = host()
    target = _binding().Target.from_default_triple()
    return target.create_target_machine(cpu=cpu or name, features="" if cpu else features, opt=3, jit=True)


def _optimise(text: str, machine: Any) -> Any:
    binding = _binding()
    module = binding.parse_assembly(text)
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def machine_text(text: str, cpu: str = "") -> str:
    """The assembly of such code, for the host or a processor that LLVM knows by that name."""
    machine = _machine(cpu)
    return machine.emit_assembly(_optimise(text, machine))


def object_code(text: str) -> bytes:
    """The object file of such code for `host()`: what a cache may keep."""
    machine = _machine()
    return machine.emit_object(_optimise(text, machine))


def load(code: bytes, names: Iterable[str]) -> Kernels:
    """The functions of an object file, ready to be called."""
    binding = _binding()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Kernels(engine, {name: engine.get_function_address(name) for name in names})


def compile_text(text: str, names: Iterable[str]) -> Kernels:
    """`load(object_code(text), names)`: code of one or more functions, optimised for the host."""
    return load(object_code(text), names)
