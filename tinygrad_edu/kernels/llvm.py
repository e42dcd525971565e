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
    FLOATS,
    REDUCTIONS,
    ROW_REDUCTIONS,
    Loops,
    Op,
    check,
    levels,
    split,
)
from .phases import Pass, passes_of, phases_of
from .polynomials import FORMATS, Code, Real, number
from .steps import MEMORY, SIZES, TYPES, cast, combine, compute, constant, zero_of

SCRATCH = 1 << 15  # bytes of stack that one kernel may use for what later loops over a row read again
MANY_ROWS = 512  # from here on short rows are worth a longer compilation
SUM_COLUMNS = 1024  # columns that are summed at a time, in a buffer on the stack

# The loops


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
        self.phases = phases_of(loops)
        self.passes = passes_of(loops, self.kinds, self.phases, SCRATCH)
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
        if idle := any(self.loops.idle):
            self._leave_idle(bases, first, stop)
        for phase, here in enumerate(self.passes):
            self._row_level(phase)
            self._pass(phase, here, bases, first, stop)
        self._row_level(len(self.passes))
        for i, op in enumerate(self.loops.ops):
            if op.name == "store" and self.kinds[i] == "row":
                self._store(bases[len(self.loops.inputs) + op.number], op.dtype, self.known[op.args[0]])
        if idle:
            self.code.label("idle")

    def _leave_idle(self, bases: Sequence[str], first: str, stop: str) -> None:
        """Goes on, at "busy", unless this row is to be left as it is, and all scalars are finite. Of rows that are not
        idle the first elements tell as a rule."""
        code, (indices, inputs) = self.code, self.loops.idle
        scalars = [i for i, op in enumerate(self.loops.ops) if op.name == "scalar" and op.dtype in FLOATS]
        types = [f"i{8 * SIZES[self.loops.inputs[n].dtype]}" for n in inputs]

        def bits(column: str, note: str) -> Iterable[str]:
            for n, type in zip(inputs, types, strict=True):
                operand = self.loops.inputs[n]
                address = self._address(bases[n], operand.dtype, column, operand.strides[-1])
                yield code.value(f"load {type}, ptr {address}{note}")

        def gathered(column: str, found: list[str]) -> Iterable[str]:
            values = zip(types, found, list(bits(column, self._group())), strict=True)
            return [code.value(f"or {type} {so_far}, {value}") for type, so_far, value in values]

        def leave(tests: Iterable[str], otherwise: str) -> None:
            together = functools.reduce(lambda a, b: code.value(f"and i1 {a}, {b}"), tests)
            code.add(f"br i1 {together}, label %{otherwise}, label %busy")

        def are_zero(types: Sequence[str], values: Iterable[str]) -> list[str]:
            return [code.value(f"icmp eq {type} {v}, 0") for type, v in zip(types, values, strict=True)]

        def is_finite(i: int) -> str:
            type = TYPES[self.loops.ops[i].dtype]
            return abs(Real(code, self.known[i], FORMATS[type])).is_("olt", float("inf"))

        tests = are_zero(["i64"] * len(indices), (self.known[i] for i in indices))
        tests += map(is_finite, scalars)
        leave([*tests, *are_zero(types, bits(first, ""))], "look" if inputs else "idle")
        if inputs:
            code.lines.append("look:")
            carried = [(type, "0") for type in types]
            leave(are_zero(types, self._loop("bits", first, stop, gathered, carried, parallel=True)), "idle")
        code.lines.append("busy:")

    def _row_start(self, i: int, places: Sequence[str]) -> str:
        base, operand = f"%array{i}", self.operands[i]
        for place, stride in zip(places, operand.strides[:-1], strict=True):
            if stride:
                base = self._address(base, operand.dtype, place, stride)
        return base

    def _uniform(self, op: Op, places: Sequence[str], bases: Sequence[str]) -> str:
        code = self.code
        if op.name == "constant":
            return constant(op)
        if op.name == "index":
            return places[op.number]
        if op.name in ("load", "take"):
            return self._element(op, bases, "0", "", self.known)
        if op.name == "scalar":
            slot = code.value(f"getelementptr inbounds double, ptr %scalars, i64 {op.value}")
            return cast(code, code.value(f"load double, ptr {slot}"), "float64", op.dtype)
        return self._step(op, self.known)

    def _step(self, op: Op, known: dict[int, str]) -> str:
        return compute(self.code, op, [known[a] for a in op.args], self.loops.ops[op.args[-1]].dtype)

    def _row_level(self, phase: int) -> None:
        """The row-level steps that can be computed after so many passes, once each."""
        for i, op in enumerate(self.loops.ops):
            waits = i in self.known or op.name in ("store", *REDUCTIONS) or self.phases[i] > phase
            if self.kinds[i] == "row" and not waits:
                self.known[i] = self._step(op, self.known)

    def _pass(self, phase: int, here: Pass, bases: Sequence[str], first: str, stop: str) -> None:
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
                elif ops[i].name in ("load", "take"):
                    known[i] = self._element(ops[i], bases, column, note, known)
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

    def _element(self, op: Op, bases: Sequence[str], column: str, note: str, known: dict[int, str]) -> str:
        operand, base = self.loops.inputs[op.number], bases[op.number]
        if op.name == "take":
            base = self._address(base, op.dtype, known[op.args[0]], operand.step)
        return self._load(self._address(base, op.dtype, column, operand.strides[-1]), op.dtype, note)

    # Sums over the rows

    def _sum_block(self, block: str, _: Sequence[str]) -> None:
        """The sums of one block of columns, over all rows, in buffers; then into the outputs."""
        code, ops = self.code, self.loops.ops
        end = code.value(f"add nsw i64 {block}, {self.sum_columns}")
        end = code.call("smin", "i64", end, "%stop")

        def clear(column: str, _: Sequence[str]) -> None:
            for i in self.sums:
                self._store(self._sum(i, column, block), ops[i].dtype, zero_of(ops[i].dtype), self._group())

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
        total = combine(self.code, "add", dtype, self._load(address, dtype, note), value)
        self._store(address, dtype, total, note)


def _start(op: Op) -> str:
    """What a reduction over a row starts from."""
    if op.name == "row_sum":
        return zero_of(op.dtype)
    if op.dtype in FLOATS:
        return number(float("-inf" if op.name == "row_max" else "inf"), TYPES[op.dtype])
    bits = 8 * SIZES[op.dtype]
    low, high = (0, 2**bits - 1) if op.dtype == "uint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return str(low if op.name == "row_max" else high)


def _fold(code: Code, op: Op, total: str, value: str) -> str:
    if op.name == "row_sum":  # in any order, or it could not run in vectors
        return combine(code, "add", op.dtype, total, value, flags="reassoc" if op.dtype in FLOATS else "")
    return combine(code, op.name, op.dtype, total, value)


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
