"""CUDA C of fused loops: one kernel, or two where it adds up columns.

No kernel has a race. Each element of an output is written by one thread, which has read before what is read at that
place (an output may be an input that is run through in the same way); the values of a row are written after a barrier
behind the first pass over it, and sums of columns go to memory of their own that a second kernel reads. Sums are taken
in an order that depends on shapes alone, so the same program gives the same bits each time, on each card.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..loops import REDUCTIONS, ROW_REDUCTIONS, Loops, Op, check, levels
from ..phases import Pass, passes_of, phases_of
from ..steps import SIZES
from .steps import HELPERS, ROUNDED, TYPES, cast, combine, compute, constant, lowest, rounder

THREADS = 256
"""Of a block."""
VECTOR = 16
"""Bytes that a thread reads or writes at once."""
MOST = 4
"""Numbers that a thread takes at once, at most."""
WARP = 32
ROW_OF_WARP = 1024
"""Columns of a row up to which one warp takes it; beyond, a block does."""
BLOCKS = 512
"""To divide the rows of column sums for: a few for each multiprocessor of a large card."""
LEAST_ROWS = 64
"""Rows that a block adds up at least."""
_TALL = THREADS // WARP

_HEAD = """
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };
"""
_OVER_WARP = """
template <typename T, typename F> __device__ T over_warp(T value, F combined) {
    for (int distance = 16; distance; distance /= 2)
        value = combined(value, (T)__shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}
"""


class Launched(NamedTuple):
    """A kernel of a source: its name, and in how many blocks of how many threads it runs."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]


class Source(NamedTuple):
    """What runs a group of loops.

    Attributes:
        text: CUDA C.
        kernels: in their order. Their parameters are pointers to the arrays, inputs before outputs, to memory for
            partial sums, to the scalars (doubles), and the place of each scalar among these (int).
        partial: bytes of memory for partial sums.
    """

    text: str
    kernels: tuple[Launched, ...]
    partial: int


def width_of(loops: Loops) -> int:
    """How many neighbours a thread can take at once, in one read or write for each array, if the addresses of arrays
    are multiples of `VECTOR`."""
    if loops.has({"column_sum": 1, "take": 1}):
        return 1
    by_row = {
        op.value for op, kind in zip(loops.ops, levels(loops), strict=True) if (op.name, kind) == ("store", "row")
    }
    wide = [o for o in loops.inputs if o.strides[-1]] + [o for i, o in enumerate(loops.outputs) if i not in by_row]
    width = min(MOST, VECTOR // max((SIZES[o.dtype] for o in wide), default=1))
    fits = all(o.strides[-1] == 1 and not any(s % width for s in o.strides[:-1]) for o in wide)
    return width if fits and loops.columns % width == 0 else 1


def source_of(loops: Loops, name: str, width: int) -> Source:
    """The source of loops that run over `width` columns at once. Raises ValueError as `loops.check` does."""
    check(loops)
    return _Writer(loops, name, width).source()


def source_of_several(loops: Loops, lengths: Sequence[int], name: str, width: int) -> Source:
    """The source of one kernel for several groups of arrays, one group's after the other's in the parameters: for each
    the same flat loops, but of that length."""
    check(loops)
    return _Writer(loops, name, width, lengths).source()


def is_flat(loops: Loops) -> bool:
    """Whether loops run over neighbours only, so that several of them can be one kernel."""
    steps = {operand.strides[-1] for operand in (*loops.inputs, *loops.outputs)}
    return (
        len(loops.shape) == 1 and steps <= {0, 1} and loops.columns < 2**31 and not loops.has(REDUCTIONS | {"take": 1})
    )


class _Writer:
    def __init__(self, loops: Loops, name: str, width: int, lengths: Sequence[int] = ()):
        self.loops, self.name, self.width, self.lengths = loops, name, width, lengths
        self.kinds = levels(loops)
        self.phases = phases_of(loops)
        self.passes = passes_of(loops, self.kinds, self.phases, 0)
        self.operands = (*loops.inputs, *loops.outputs)
        self.sums = [i for i, op in enumerate(loops.ops) if op.name == "column_sum"]
        self.lines: list[str] = []

    def source(self) -> Source:
        halves = sorted({operand.dtype for operand in self.loops.outputs} & {*ROUNDED})
        text = "".join([HELPERS, _HEAD, *map(rounder, halves)])
        if self.sums:
            return self._by_columns(text)
        return self._by_rows(text + _OVER_WARP) if self.loops.has(ROW_REDUCTIONS) else self._by_elements(text)

    def add(self, line: str) -> None:
        self.lines.append("    " + line)

    def _function(self, name: str, threads: int, lines: Sequence[str]) -> str:
        groups = [f"_{k}" for k in range(len(self.lengths))] or [""]
        parameters = [f"{pointer}{group}" for group in groups for pointer in self._pointers()]
        parameters += ["double* partial", "const double* scalars"]
        parameters += [f"int slot{i}" for i in range(self.loops.scalars)]
        head = f'extern "C" __global__ __launch_bounds__({threads}) void {name}({", ".join(parameters)}) {{'
        return "\n".join([head, *lines, "}", ""])

    def _pointers(self) -> Iterator[str]:
        for i, operand in enumerate(self.operands):
            const = "const " if i < len(self.loops.inputs) else ""
            yield f"{const}{TYPES[operand.dtype]}* array{i}"

    # Where things are

    def _index(self, count: int) -> str:
        """A type that counts so far."""
        return "unsigned" if count < 2**31 else "unsigned long long"

    def _row_starts(self) -> None:
        """Pointers to where the row `row` begins in each array, and its places along the outer axes."""
        outer = self.loops.shape[:-1]
        rest = "row"
        for axis in reversed(range(len(outer))):
            last = axis == 0
            self.add(f"const long long place{axis} = {rest if last else f'{rest} % {outer[axis]}'};")
            if not last:
                self.add(f"const {self._index(self.loops.rows)} rest{axis} = {rest} / {outer[axis]};")
                rest = f"rest{axis}"
        for i, operand in enumerate(self.operands):
            steps = [f" + place{axis} * {s}" for axis, s in enumerate(operand.strides[:-1]) if s]
            const = "const " if i < len(self.loops.inputs) else ""
            self.add(f"{const}{TYPES[operand.dtype]}* at{i} = array{i}{''.join(steps)};")

    def _once(self) -> None:
        """The steps that are the same all along a row."""
        for i, op in enumerate(self.loops.ops):
            if self.kinds[i] != "uniform" or op.name in ("store", *REDUCTIONS):
                continue
            if op.name == "index":
                value = f"place{op.number}"
            elif op.name == "scalar":
                value = cast(f"scalars[slot{op.number}]", "float64", op.dtype)
            elif op.name in ("load", "take"):
                value = self._read(op, "0")
            else:
                value = self._computed(op)
            self._define(i, value)

    def _define(self, i: int, value: str) -> None:
        self.add(f"const {TYPES[self.loops.ops[i].dtype]} v{i} = {value};")

    def _computed(self, op: Op) -> str:
        if op.name == "constant":
            return constant(op)
        return compute(op, [f"v{a}" for a in op.args], self.loops.ops[op.args[-1]].dtype)

    def _read(self, op: Op, column: str) -> str:
        operand, start = self.loops.inputs[op.number], f"at{op.number}"
        if op.name == "take":
            start = f"({start} + v{op.args[0]} * {operand.step})"
        return f"{start}[{self._offset(column, operand.strides[-1])}]"

    @staticmethod
    def _offset(column: str, stride: int) -> str:
        return "0" if not stride else column if stride == 1 else f"(long long){column} * {stride}"

    # Some columns of a row

    def _columns(self, here: Pass, after: Sequence[str] = ()) -> None:
        """The element-level steps of a pass at `width` columns from `column` on, and `after` for each of them."""
        ops, wide = self.loops.ops, self.width > 1
        if wide:
            for i in sorted(here.steps):
                if ops[i].name == "load":
                    pack = f"Pack<{TYPES[ops[i].dtype]}, {self.width}>"
                    self.add(f"const {pack} in{i} = *(const {pack}*)(at{ops[i].number} + column);")
            for i in here.stores:
                self.add(f"Pack<{TYPES[ops[i].dtype]}, {self.width}> out{ops[i].number};")
            self.add("#pragma unroll")
            self.add(f"for (int k = 0; k < {self.width}; ++k) {{")
        for i in sorted(here.steps):
            if ops[i].name == "index":
                self._define(i, "column + k" if wide else "column")
            elif ops[i].name in ("load", "take"):
                self._define(i, f"in{i}.at[k]" if wide else self._read(ops[i], "column"))
            else:
                self._define(i, self._computed(ops[i]))
        for line in after:
            self.add(line)
        for i in here.stores:
            number = ops[i].number
            if wide:
                self.add(f"out{number}.at[k] = v{ops[i].args[0]};")
            else:
                place = self._offset("column", self.loops.outputs[number].strides[-1])
                self.add(f"at{len(self.loops.inputs) + number}[{place}] = v{ops[i].args[0]};")
        if wide:
            self.add("}")
            for i in here.stores:
                number = ops[i].number
                pack = f"Pack<{TYPES[ops[i].dtype]}, {self.width}>"
                self.add(f"*({pack}*)(at{len(self.loops.inputs) + number} + column) = out{number};")

    # Kernels

    def _by_elements(self, text: str) -> Source:
        """A thread for each `width` neighbours."""
        if self.lengths:
            return self._by_groups(text)
        pieces = self.loops.columns // self.width
        count = self.loops.rows * pieces
        index = self._index(count)
        self.add(f"const {index} i = ({index})blockIdx.x * {THREADS} + threadIdx.x;")
        self.add(f"if (i >= {count}) return;")
        self.add(f"const {index} row = i / {pieces};")
        self.add(f"const long long column = (long long)(i % {pieces}){f' * {self.width}' if self.width > 1 else ''};")
        self._row_starts()
        self._once()
        for here in self.passes:
            self._columns(here)
        text += self._function(self.name, THREADS, self.lines)
        return Source(text, (Launched(self.name, (-(-count // THREADS),), (THREADS,)),), 0)

    def _by_groups(self, text: str) -> Source:
        """A thread for each `width` neighbours of one group of arrays."""
        counts = [-(-length // self.width) for length in self.lengths]
        ends = [*itertools.accumulate(-(-count // THREADS) for count in counts)]
        for pointer in self._pointers():
            self.add(f"{pointer};")
        self.add("unsigned block = blockIdx.x, count;")
        self._choose(0, counts, [0, *ends])
        self.add(f"const unsigned i = block * {THREADS} + threadIdx.x;")
        self.add("if (i >= count) return;")
        self.add(f"const long long column = (long long)i * {self.width};")
        self._row_starts()
        self._once()
        for here in self.passes:
            self._columns(here)
        text += self._function(self.name, THREADS, self.lines)
        return Source(text, (Launched(self.name, (ends[-1],), (THREADS,)),), 0)

    def _choose(self, first: int, counts: Sequence[int], starts: Sequence[int]) -> None:
        """Finds the group of a block, by halves: its arrays, how much there is to do, and the block's number in it."""
        half = len(counts) // 2
        if half:
            self.add(f"if (block < {starts[half]}) {{")
            self._choose(first, counts[:half], starts[: half + 1])
            self.add("} else {")
            self._choose(first + half, counts[half:], starts[half:])
            self.add("}")
            return
        chosen = [f"array{i} = array{i}_{first};" for i in range(len(self.operands))]
        self.add(" ".join([*chosen, f"count = {counts[0]}; block -= {starts[0]};"]))

    def _by_rows(self, text: str) -> Source:
        """A warp for each row, or a block if it is long."""
        columns, rows = self.loops.columns, self.loops.rows
        by_warp = columns <= ROW_OF_WARP
        threads = WARP if by_warp else THREADS if columns <= 4 * ROW_OF_WARP else 4 * THREADS
        index = self._index(rows)
        if by_warp:
            self.add(f"const {index} row = ({index})blockIdx.x * {_TALL} + threadIdx.y;")
            self.add(f"if (row >= {rows}) return;")
        else:
            self.add(f"const {index} row = blockIdx.x;")
        self._row_starts()
        self._once()
        for phase, here in enumerate(self.passes):
            self._row_level(phase)
            self._pass(here, threads)
        self._row_level(len(self.passes))
        stores = [op for i, op in enumerate(self.loops.ops) if op.name == "store" and self.kinds[i] == "row"]
        if stores:
            written = [f"at{len(self.loops.inputs) + op.number}[0] = v{op.args[0]};" for op in stores]
            self.add(f"if (threadIdx.x == 0) {{ {' '.join(written)} }}")
        text += self._function(self.name, THREADS if by_warp else threads, self.lines)
        grid, block = ((-(-rows // _TALL),), (WARP, _TALL)) if by_warp else ((rows,), (threads,))
        return Source(text, (Launched(self.name, grid, block),), 0)

    def _row_level(self, phase: int) -> None:
        """The row-level steps that can be computed after so many passes, once each."""
        for i, op in enumerate(self.loops.ops):
            if self.kinds[i] == "row" and op.name not in ("store", *REDUCTIONS) and self.phases[i] == phase:
                self._define(i, self._computed(op))

    def _pass(self, here: Pass, threads: int) -> None:
        ops = self.loops.ops
        for i in here.reductions:
            self.add(f"{TYPES[ops[i].dtype]} r{i} = {lowest(ops[i])};")
        folded = [f"r{i} = {_folded(ops[i], f'r{i}', f'v{ops[i].args[0]}')};" for i in here.reductions]
        step = threads * self.width
        first = "threadIdx.x" if self.width == 1 else f"threadIdx.x * {self.width}"
        index = "int" if self.loops.columns < 2**31 - step else "long long"
        self.add(f"for ({index} column = {first}; column < {self.loops.columns}; column += {step}) {{")
        self._columns(here, folded)
        self.add("}")
        for i in here.reductions:
            self._over_threads(i, threads)

    def _over_threads(self, i: int, threads: int) -> None:
        """Defines the value of a reduction from those of the threads of a row."""
        op = self.loops.ops[i]
        type = TYPES[op.dtype]
        combined = f"[]({type} a, {type} b) -> {type} {{ return {_folded(op, 'a', 'b')}; }}"
        self.add(f"r{i} = over_warp(r{i}, {combined});")
        if threads > WARP:
            self.add(f"__shared__ {type} of_warps{i}[{threads // WARP}];")
            self.add(f"if (threadIdx.x % {WARP} == 0) of_warps{i}[threadIdx.x / {WARP}] = r{i};")
            self.add("__syncthreads();")
            self.add(f"r{i} = of_warps{i}[0];")
            self.add(f"for (int k = 1; k < {threads // WARP}; ++k) {{")
            self.add(f"const {type} other = of_warps{i}[k];")
            self.add(f"r{i} = {_folded(op, f'r{i}', 'other')};")
            self.add("}")
        self._define(i, f"r{i}")

    def _by_columns(self, text: str) -> Source:
        """A block for 32 columns and a part of the rows. With several parts, a second kernel adds up their sums."""
        loops, ops = self.loops, self.loops.ops
        tiles = max(1, -(-loops.columns // WARP))
        parts = max(1, min(-(-BLOCKS // tiles), loops.rows // LEAST_ROWS))
        share = -(-loops.rows // parts)
        index = self._index(loops.rows + _TALL)
        for i in self.sums:
            self.add(f"{TYPES[ops[i].dtype]} r{i} = 0;")
        self.add(f"const int column = blockIdx.x * {WARP} + threadIdx.x;")
        self.add(f"const {index} first = ({index})blockIdx.y * {share}, behind = first + {share};")
        self.add(f"const {index} stop = behind < {loops.rows} ? behind : {loops.rows};")
        self.add(f"if (column < {loops.columns})")
        self.add(f"for ({index} row = first + threadIdx.y; row < stop; row += {_TALL}) {{")
        self._row_starts()
        self._once()
        folded = [f"r{i} = {combine('add', ops[i].dtype, f'r{i}', f'v{ops[i].args[0]}')};" for i in self.sums]
        for here in self.passes:
            self._columns(here, folded)
        self.add("}")
        for i in self.sums:
            self.add(f"__shared__ {TYPES[ops[i].dtype]} of_rows{i}[{_TALL}][{WARP}];")
            self.add(f"of_rows{i}[threadIdx.y][threadIdx.x] = r{i};")
        self.add("__syncthreads();")
        self.add(f"if (threadIdx.y != 0 || column >= {loops.columns}) return;")
        for i in self.sums:
            self.add(f"for (int k = 1; k < {_TALL}; ++k) {{")
            self.add(f"const {TYPES[ops[i].dtype]} other = of_rows{i}[k][threadIdx.x];")
            self.add(f"r{i} = {combine('add', ops[i].dtype, f'r{i}', 'other')};")
            self.add("}")
        stores = [op for op in ops if op.name == "store" and op.args[0] in self.sums]
        kernels = [Launched(self.name, (tiles, parts), (WARP, _TALL))]
        if parts == 1:
            self._write_sums(stores)
            return Source(text + self._function(self.name, THREADS, self.lines), tuple(kernels), 0)
        memory = {  # each sum has room for doubles
            i: f"(({TYPES[ops[i].dtype]}*)(partial + {k * parts * loops.columns}LL))" for k, i in enumerate(self.sums)
        }
        for i in self.sums:
            self.add(f"{memory[i]}[blockIdx.y * {loops.columns}LL + column] = r{i};")
        text += self._function(self.name, THREADS, self.lines)
        self.lines = []
        self.add(f"const int column = blockIdx.x * {THREADS} + threadIdx.x;")
        self.add(f"if (column >= {loops.columns}) return;")
        for i in self.sums:
            type = TYPES[ops[i].dtype]
            self.add(f"{type} r{i} = 0;")
            self.add(f"for (int k = 0; k < {parts}; ++k) {{")
            self.add(f"const {type} other = {memory[i]}[k * {loops.columns}LL + column];")
            self.add(f"r{i} = {combine('add', ops[i].dtype, f'r{i}', 'other')};")
            self.add("}")
        self._write_sums(stores)
        text += self._function(f"{self.name}_sums", THREADS, self.lines)
        kernels.append(Launched(f"{self.name}_sums", (-(-loops.columns // THREADS),), (THREADS,)))
        return Source(text, tuple(kernels), 8 * len(self.sums) * parts * loops.columns)

    def _write_sums(self, stores: Sequence[Op]) -> None:
        for op in stores:
            number = len(self.loops.inputs) + op.number
            place = self._offset("column", self.operands[number].strides[-1])
            self.add(f"array{number}[{place}] = r{op.args[0]};")


def _folded(op: Op, total: str, value: str) -> str:
    return combine("add" if op.name == "row_sum" else op.name, op.dtype, total, value)
