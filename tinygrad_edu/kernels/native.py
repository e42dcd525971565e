"""Native programs: a list of fused loops and matrix products as one function of machine code, run by all threads.

Every thread runs the whole list, of each large step its own share and of the small ones nothing (thread 0 does those
alone), with a barrier wherever a step needs what other threads have done. How a step is divided depends on shapes and
on the number of threads only, so the same program gives the same bits each time.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy

from ..errors import message
from . import blas, llvm, pool
from .cache import Code
from .loops import REDUCTIONS, SOURCES, TRANSCENDENTAL, Loops, levels, split

# What a step is thought to take on one thread, in nanoseconds, which need not be more than roughly right
_PER_FLOP, _PER_GEMM_FLOP, _PER_BYTE, _PER_CALL = 0.03, 0.01, 0.05, 10.0
_TRANSCENDENTAL = 20  # additions in the time of one such function
_WORTH_SHARING = 4_000.0  # of one step: beyond, all threads share it
_WORTH_WAKING = 30_000.0  # saved in all: beyond, a program uses the pool, whose workers may have to be woken
_BRIEF = 20_000.0  # of a whole program: within, Python's lock is kept, for another thread may hold it for 5 ms

_SMALL = 300_000  # multiplications; larger products always call BLAS
_LANES = {"float32": 16, "float64": 8}
_ROWS = 4  # of a small product, computed together


@dataclass(frozen=True)
class Launch:
    """Fused loops over the arrays in those slots of the table of pointers, inputs before outputs, and with the numbers
    in those slots of the table of scalars."""

    loops: Loops
    arrays: tuple[int, ...]
    scalars: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.loops.inputs) + len(self.loops.outputs), self.loops.scalars)
        if (len(self.arrays), len(self.scalars)) != expected:
            slots = f"{len(self.arrays)} and {len(self.scalars)}"
            raise ValueError(message("Launch", "{} arrays and {} scalars".format(*expected), slots))

    @property
    def reads(self) -> tuple[int, ...]:
        return self.arrays[: len(self.loops.inputs)]

    @property
    def writes(self) -> tuple[int, ...]:
        return self.arrays[len(self.loops.inputs) :]


@dataclass(frozen=True)
class Gemm:
    """c = alpha * a @ b + beta * c for row-major matrices in slots of the table of pointers.

    a is (m, k), or (k, m) if it is transposed first; b is (k, n) or (n, k); c is (m, n) and read only if beta is not
    0. `lda`, `ldb` and `ldc` count the elements from one row in memory to the next. There are `batch` such products;
    `strides` count the elements from one to the next in a, b and c. Raises ValueError for what does not fit.
    """

    dtype: str
    m: int
    n: int
    k: int
    a: int
    b: int
    c: int
    transpose_a: bool
    transpose_b: bool
    lda: int
    ldb: int
    ldc: int
    alpha: float = 1.0
    beta: float = 0.0
    batch: int = 1
    strides: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.dtype not in _LANES:
            raise ValueError(message("Gemm", "float32 or float64", self.dtype))
        if min(self.m, self.n, self.k, self.batch, *self.strides) < 0:
            raise ValueError(message("Gemm", "no negative sizes or strides", repr(self)))
        widths = (self.m if self.transpose_a else self.k, self.k if self.transpose_b else self.n, self.n)
        if any(step < width for step, width in zip((self.lda, self.ldb, self.ldc), widths, strict=True)):
            raise ValueError(message("Gemm", f"lda, ldb, ldc of at least {widths}", repr(self)))
        if self.batch > 1 and self.strides[2] < (self.m - 1) * self.ldc + self.n:
            raise ValueError(message("Gemm", "results of a batch that do not overlap", repr(self)))

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.a, self.b, self.c) if self.beta else (self.a, self.b)

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.c,)


Step = Launch | Gemm


# Work


def flops(step: Step) -> int:
    """The arithmetic of a step, in operations on numbers; a function such as `exp` counts as one."""
    return _operations(step, 1)


def traffic(step: Step) -> int:
    """The bytes that a step reads and writes, each element once."""
    if isinstance(step, Gemm):
        sizes = (step.m * step.k, step.k * step.n, step.m * step.n * (2 if step.beta else 1))
        moved = sum(size * (step.batch if stride else 1) for size, stride in zip(sizes, step.strides, strict=True))
        return moved * llvm.SIZES[step.dtype]
    loops = step.loops
    kinds = {op.value: level for op, level in zip(loops.ops, levels(loops), strict=True) if op.name == "store"}
    written = {"row": loops.rows, "column": loops.columns}
    total = 0
    for operand in loops.inputs:
        elements = prod(size for size, stride in zip(loops.shape, operand.strides, strict=True) if stride)
        total += elements * llvm.SIZES[operand.dtype]
    for number, operand in enumerate(loops.outputs):
        total += written.get(kinds[number], prod(loops.shape)) * llvm.SIZES[operand.dtype]
    return total


def _operations(step: Step, transcendental: int) -> int:
    if isinstance(step, Gemm):
        return 2 * step.m * step.n * step.k * step.batch
    loops, total = step.loops, 0
    for op, level in zip(loops.ops, levels(loops), strict=True):
        if op.name not in SOURCES and op.name != "store" and level != "uniform":
            times = loops.rows if level == "row" and op.name not in REDUCTIONS else prod(loops.shape)
            total += times * (transcendental if op.name in TRANSCENDENTAL else 1)
    return total


def _nanoseconds(step: Step) -> float:
    per_flop = _PER_GEMM_FLOP if isinstance(step, Gemm) else _PER_FLOP
    return _PER_CALL + per_flop * _operations(step, _TRANSCENDENTAL) + _PER_BYTE * traffic(step)


def _small(gemm: Gemm) -> bool:
    """Whether loops of our own are about as fast as a call of BLAS, whose cost does not show in `called` alone: a
    program without such calls starts faster. The times, in nanoseconds, are fitted to measurements (AVX-512)."""
    lanes, products = _LANES[gemm.dtype], gemm.m * gemm.n * gemm.k
    own = 25 + 0.27 * max(gemm.m, _ROWS) * -(-gemm.n // lanes) * gemm.k + 0.45 * gemm.k * gemm.n * gemm.transpose_b
    called = 150 + 0.28 * products / lanes
    return products <= _SMALL and own <= 1.3 * called


# Programs


class Program:
    """Machine code and the tables it works on.

    `pointers` (int64) and `scalars` (float64) are its own arrays, one entry for each slot; write the addresses and
    numbers that change into them before `run`. `threads` says how many threads it uses, `text` is its LLVM text. If it
    is one, `call` is what runs it: a function and its arguments. One thread at a time may run it; different programs
    may run at the same time.
    """

    def __init__(self, text: str, slots: int, scalars: int, threads: int, brief: bool):
        self.text, self.threads = text, threads
        self._code = Code(text, ["program"])
        self._table = numpy.zeros(slots + 3, numpy.int64)
        self.pointers = self._table[:slots]
        self.scalars = numpy.zeros(max(1, scalars))
        if library := blas.find():
            self._table[slots : slots + 2] = library.sgemm, library.dgemm
            if library.set_threads:
                self._table[slots + 2] = blas.one_thread_state().ctypes.data
        self._tables = ctypes.c_void_p(self._table.ctypes.data), ctypes.c_void_p(self.scalars.ctypes.data)
        self._address = ctypes.c_void_p(self._code.addresses["program"])
        prototype = ctypes.PYFUNCTYPE if brief else ctypes.CFUNCTYPE
        types = [ctypes.c_int64] * 2 + [ctypes.c_void_p] * 3
        alone = prototype(None, *types)(self._code.addresses["program"])
        self.call = (alone, ctypes.c_int64(0), ctypes.c_int64(1), *self._tables, None)

    def run(self) -> None:
        """Runs all steps on what the tables point to, and returns when they are done."""
        if self.threads == 1:
            function, *arguments = self.call
            function(*arguments)
        else:
            pool.run(self._address, self.threads, *self._tables)


def program(steps: Sequence[Step], threads: int | None = None, buffers: Sequence[int] | None = None) -> Program:
    """The steps, in their order, as one program for that many threads (as many as the pool has, if not given).

    `buffers` says for each slot in which piece of memory its array lies; only arrays in different pieces are known
    not to overlap, and without it none are. Fewer threads are used where the work is not worth it or the pool has
    fewer when the program runs. Raises ImportError without llvmlite, RuntimeError if a product needs a BLAS and none
    was found.
    """
    slots = 1 + max((slot for step in steps for slot in (*step.reads, *step.writes)), default=-1)
    scalars = 1 + max((slot for step in steps if isinstance(step, Launch) for slot in step.scalars), default=-1)
    large = [step for step in steps if isinstance(step, Gemm) and not _small(step)]
    library = blas.find()
    if large and library is None:
        raise RuntimeError(message("program", "a BLAS library for large products", f"none, for {large[0]}"))
    threads = pool.threads() if threads is None else threads
    shared = [threads > 1 and _shared(step) for step in steps]
    times = [_nanoseconds(step) for step in steps]
    saved = sum(time for time, share in zip(times, shared, strict=True) if share) * (1 - 1 / threads)
    if saved < _WORTH_WAKING or not any(shared):
        threads, shared = 1, [False] * len(steps)
    guarded = bool(large and library and library.set_threads)
    text = _text(steps, shared, _barriers(steps, shared, buffers), threads, slots, guarded)
    return Program(text, slots, scalars, threads, sum(times) < _BRIEF)


def _shared(step: Step) -> bool:
    """Whether all threads take part in a step."""
    if _nanoseconds(step) < _WORTH_SHARING:
        return False
    if isinstance(step, Launch):
        _, length, granularity = split(step.loops)
        return length > granularity
    library = blas.find()  # one that cannot be told to use one thread divides its products itself
    return _small(step) or (library is not None and library.set_threads is not None)


def _barriers(steps: Sequence[Step], shared: Sequence[bool], buffers: Sequence[int] | None) -> list[bool]:
    """Whether a barrier stands before each step: one does where a step that other threads take part in, since the
    last barrier, writes what this one reads or writes, or reads what it writes."""

    def memory(slots: Sequence[int]) -> set[int]:
        return {buffers[slot] if buffers is not None else 0 for slot in slots}

    found: list[bool] = []
    since: list[tuple[set[int], set[int], bool]] = []
    for step, share in zip(steps, shared, strict=True):
        reads, writes = memory(step.reads), memory(step.writes)
        needed = any(
            (share or other_share) and (writes & (other_reads | other_writes) or reads & other_writes)
            for other_reads, other_writes, other_share in since
        )
        found.append(needed)
        since = [*([] if needed else since), (reads, writes, share)]
    return found


# Text

# Where the share of thread i (and with it that of thread i - 1) begins or ends: `length` in equal parts, of whole
# pieces of that granularity.
_BOUND = """
define internal i64 @bound(i64 %i, i64 %threads, i64 %length, i64 %granularity) alwaysinline {
  %less = sub i64 %granularity, 1
  %more = add i64 %length, %less
  %pieces = udiv i64 %more, %granularity
  %product = mul i64 %pieces, %i
  %piece = udiv i64 %product, %threads
  %position = mul i64 %piece, %granularity
  %beyond = icmp ugt i64 %position, %length
  %bound = select i1 %beyond, i64 %length, i64 %position
  ret i64 %bound
}
"""


def _text(
    steps: Sequence[Step],
    shared: Sequence[bool],
    barriers: Sequence[bool],
    threads: int,
    slots: int,
    guarded: bool = False,
) -> str:
    """The module. The same steps always give the same text. If `guarded`, BLAS is told to use one thread meanwhile."""
    functions: dict[Any, tuple[str, str]] = {}  # what each is made of: its name and text
    code = llvm.Code()
    state = _slot(code, slots + 2) if guarded else ""
    if guarded:
        code.add(f"call void @one_thread(ptr {state}, i64 1)")
    for step, share, barrier in zip(steps, shared, barriers, strict=True):
        # the slots do not count: equal steps on other arrays share a function
        made_of = step.loops if isinstance(step, Launch) else (replace(step, a=0, b=0, c=0), share and threads)
        if made_of not in functions:
            name = f"step{len(functions)}"
            text = llvm.text(step.loops, name) if isinstance(step, Launch) else _gemm(step, name, threads, share)
            functions[made_of] = name, text.replace(f"define void @{name}(", f"define internal void @{name}(")
        if barrier:
            code.add("call void @barrier(ptr %shared, i64 %threads)")
        label = f"next{next(code.names)}"
        if not share and threads > 1:
            code.add(f"br i1 %first, label %only.{label}, label %{label}")
            code.lines.append(f"only.{label}:")
        who = "i64 %thread, i64 %threads" if share else "i64 0, i64 1"
        if isinstance(step, Launch):
            _call_launch(code, step, functions[made_of][0], who)
        else:
            places = ", ".join(f"ptr {_slot(code, slot)}" for slot in (step.a, step.b, step.c))
            function = _slot(code, slots + (step.dtype == "float64"))
            code.add(f"call void @{functions[made_of][0]}({who}, {places}, ptr {function})")
        code.label(label)
    if guarded:
        code.add(f"call void @one_thread(ptr {state}, i64 -1)")
    tables = [len(step.arrays) for step in steps if isinstance(step, Launch)]
    numbers = [len(step.scalars) for step in steps if isinstance(step, Launch)]
    main = [
        "define void @program(i64 %thread, i64 %threads, ptr %arrays, ptr %scalars, ptr %shared) {",
        f"  %table = alloca [{max(tables, default=1)} x ptr]",
        f"  %numbers = alloca [{max(numbers, default=1)} x double]",
        "  %first = icmp eq i64 %thread, 0",
        *code.lines,
        "  ret void",
        "}",
    ]
    parts = [_BOUND, pool.barrier_text() if threads > 1 else "", blas.ONE_THREAD_TEXT if guarded else ""]
    return _joined([*parts, *(text for _, text in functions.values()), "\n".join(main)])


def _slot(code: llvm.Code, slot: int, table: str = "arrays", type: str = "ptr") -> str:
    place = code.value(f"getelementptr {type}, ptr %{table}, i64 {slot}")
    return code.value(f"load {type}, ptr {place}")


def _call_launch(code: llvm.Code, step: Launch, name: str, who: str) -> None:
    for i, slot in enumerate(step.arrays):
        value = _slot(code, slot)
        code.add(f"store ptr {value}, ptr {code.value(f'getelementptr ptr, ptr %table, i64 {i}')}")
    for i, slot in enumerate(step.scalars):
        value = _slot(code, slot, "scalars", "double")
        code.add(f"store double {value}, ptr {code.value(f'getelementptr double, ptr %numbers, i64 {i}')}")
    start, stop = _share(code, who, *split(step.loops)[1:])
    code.add(f"call void @{name}(ptr %table, ptr %numbers, i64 {start}, i64 {stop})")


def _share(code: llvm.Code, who: str, length: int, granularity: int) -> tuple[str, str]:
    """The first position of a thread's share of `length`, and the one after its last."""
    thread, threads = (word.removeprefix("i64 ") for word in who.split(", "))
    after = code.value(f"add i64 {thread}, 1")
    start, stop = (
        code.value(f"call i64 @bound(i64 {i}, i64 {threads}, i64 {length}, i64 {granularity})") for i in (thread, after)
    )
    return start, stop


def _joined(texts: Sequence[str]) -> str:
    """One module of several: each declaration once, and numbers of metadata and attributes that do not clash."""
    declared: dict[str, None] = {}
    attributes: dict[str, int] = {}
    lines: list[str] = []
    notes = 0
    for text in texts:
        own = {
            int(number): attributes.setdefault(words, len(attributes))
            for number, words in re.findall(r"^attributes #(\d+) = (.*)$", text, re.MULTILINE)
        }
        used = 1 + max(map(int, re.findall(r"!(\d+)", text)), default=-1)
        for line in _renumbered("#", own.__getitem__, _renumbered("!", notes.__add__, text)).splitlines():
            if line.startswith("declare"):
                declared[line] = None
            elif not line.startswith("attributes"):
                lines.append(line)
        notes += used
    ends = [f"attributes #{number} = {words}" for words, number in attributes.items()]
    return "\n".join([*declared, *lines, *ends, ""])


def _renumbered(sign: str, new: Callable[[int], int], text: str) -> str:
    return re.sub(rf"{sign}(\d+)\b", lambda match: f"{sign}{new(int(match[1]))}", text)


# Matrix products


# On loops: LLVM would unroll them further, which takes it a second and gains nothing
_HINTS = """
!0 = distinct !{!0, !1, !2}
!1 = !{!"llvm.loop.unroll.count", i32 4}
!2 = !{!"llvm.loop.vectorize.enable", i1 false}
!3 = distinct !{!3, !2, !4}
!4 = !{!"llvm.loop.unroll.disable"}
"""


def _gemm(gemm: Gemm, name: str, threads: int, share: bool) -> str:
    """The function that does a thread's share of a product: some of the batch, of the rows, or of the columns."""
    code, type = llvm.Code(), llvm.TYPES[gemm.dtype]
    lanes, items, rows, columns = _LANES[gemm.dtype], ("0", str(gemm.batch)), ("0", str(gemm.m)), ("0", str(gemm.n))
    if share and gemm.batch >= threads:
        items = _share(code, "i64 %thread, i64 %threads", gemm.batch, 1)
    elif share and (gemm.m >= gemm.n or _small(gemm)):
        rows = _share(code, "i64 %thread, i64 %threads", gemm.m, _ROWS)
    elif share:
        columns = _share(code, "i64 %thread, i64 %threads", gemm.n, lanes)
    height = code.value(f"sub i64 {rows[1]}, {rows[0]}")
    width = code.value(f"sub i64 {columns[1]}, {columns[0]}")

    def item(number: str, _: Sequence[str]) -> None:
        starts = (
            (rows[0], 1 if gemm.transpose_a else gemm.lda, "0", 0),
            (columns[0], gemm.ldb if gemm.transpose_b else 1, "0", 0),
            (rows[0], gemm.ldc, columns[0], 1),
        )
        a, b, c = (
            _at(code, type, f"%{matrix}", (number, stride), (first, step), (second, one))
            for matrix, stride, (first, step, second, one) in zip("abc", gemm.strides, starts, strict=True)
        )
        if _small(gemm):
            _small_gemm(code, gemm, a, b, c, height if share else str(gemm.m))
        else:
            _call_blas(code, gemm, a, b, c, height, width)

    empty = [code.value(f"icmp eq i64 {size}, 0") for size in (height, width)]
    code.add(f"br i1 {code.value(f'or i1 {empty[0]}, {empty[1]}')}, label %end, label %begin")
    code.lines.append("begin:")
    _loop(code, *items, 1, item)
    code.label("end")
    head = f"define internal void @{name}(i64 %thread, i64 %threads, ptr %a, ptr %b, ptr %c, ptr %function) {{"
    panel = [f"  %panel = alloca [{gemm.k * lanes} x {type}], align 64"] if _packs(gemm) else []
    return "\n".join([*code.declared, head, *panel, *code.lines, "  ret void", "}", _HINTS])


def _call_blas(code: llvm.Code, gemm: Gemm, a: str, b: str, c: str, height: str, width: str) -> None:
    library = blas.find()
    assert library is not None  # `program` has looked
    type, integer = llvm.TYPES[gemm.dtype], f"i{library.bits}"
    sizes = [height, width, str(gemm.k)]
    if library.bits == 32:
        sizes = [code.value(f"trunc i64 {size} to i32") for size in sizes]
    forms = [blas.TRANSPOSED if transposed else blas.PLAIN for transposed in (gemm.transpose_a, gemm.transpose_b)]
    arguments = [
        *(f"i32 {flag}" for flag in (blas.ROW_MAJOR, *forms)),
        *(f"{integer} {size}" for size in sizes),
        f"{type} {llvm.number(gemm.alpha, type)}",
        *(f"ptr {a}", f"{integer} {gemm.lda}", f"ptr {b}", f"{integer} {gemm.ldb}"),
        f"{type} {llvm.number(gemm.beta, type)}",
        *(f"ptr {c}", f"{integer} {gemm.ldc}"),
    ]
    code.add(f"call void %function({', '.join(arguments)})")


def _packs(gemm: Gemm) -> bool:
    return _small(gemm) and gemm.transpose_b


def _small_gemm(code: llvm.Code, gemm: Gemm, a: str, b: str, c: str, height: str) -> None:
    """A vector's worth of columns after the other; of each, some rows at a time."""
    lanes = _LANES[gemm.dtype]
    rest = gemm.n % lanes

    def columns(j: str, lanes: int) -> None:
        if gemm.transpose_b:
            _pack(code, gemm, b, j, lanes)
        at_a_time = min(_ROWS, gemm.m)
        pieces = code.value(f"udiv i64 {height}, {at_a_time}")
        whole = code.value(f"mul i64 {pieces}, {at_a_time}")
        _loop(code, "0", whole, at_a_time, lambda i, _: _tile(code, gemm, (a, b, c), i, at_a_time, j, lanes))
        if at_a_time > 1:
            _loop(code, whole, height, 1, lambda i, _: _tile(code, gemm, (a, b, c), i, 1, j, lanes))

    if gemm.n >= lanes:
        _loop(code, "0", str(gemm.n - rest), lanes, lambda j, _: columns(j, lanes))
    if rest:
        columns(str(gemm.n - rest), rest)


def _pack(code: llvm.Code, gemm: Gemm, b: str, j: str, lanes: int) -> None:
    """Those columns of a transposed b, which are not neighbours in memory, as rows of %panel."""
    type = llvm.TYPES[gemm.dtype]

    def row(k: str, _: Sequence[str]) -> None:
        first = _at(code, type, b, (j, gemm.ldb), (k, 1))
        for lane in range(lanes):
            value = code.value(f"load {type}, ptr {_at(code, type, first, (str(lane), gemm.ldb))}")
            code.add(f"store {type} {value}, ptr {_at(code, type, '%panel', (k, lanes), (str(lane), 1))}")

    _loop(code, "0", str(gemm.k), 1, row)


def _tile(code: llvm.Code, gemm: Gemm, places: tuple[str, str, str], i: str, rows: int, j: str, lanes: int) -> None:
    """Rows from i and columns from j on of c, each row of them a vector that stays in a register."""
    a, b, c = places
    number = llvm.TYPES[gemm.dtype]
    vector, kind = f"<{lanes} x {number}>", f"v{lanes}f{8 * llvm.SIZES[gemm.dtype]}"
    align = llvm.SIZES[gemm.dtype]
    code.declared[f"declare {vector} @llvm.fmuladd.{kind}({vector}, {vector}, {vector})"] = None

    def multiply_add(x: str, y: str, z: str) -> str:
        return code.value(f"call {vector} @llvm.fmuladd.{kind}({vector} {x}, {vector} {y}, {vector} {z})")

    def all_lanes(value: str) -> str:
        first = code.value(f"insertelement {vector} poison, {number} {value}, i64 0")
        return code.value(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer")

    def products(k: str, totals: Sequence[str]) -> list[str]:
        if gemm.transpose_b:
            place = _at(code, number, "%panel", (k, lanes))
        else:
            place = _at(code, number, b, (k, gemm.ldb), (j, 1))
        row = code.value(f"load {vector}, ptr {place}, align {align}")
        sums = []
        for r, total in enumerate(totals):
            down, along = (1, gemm.lda) if gemm.transpose_a else (gemm.lda, 1)
            place = _at(code, number, a, (i, down), (str(r), down), (k, along))
            sums.append(multiply_add(all_lanes(code.value(f"load {number}, ptr {place}")), row, total))
        return sums

    sums = _loop(code, "0", str(gemm.k), 1, products, [(vector, "zeroinitializer")] * rows)
    for r, total in enumerate(sums):
        place = _at(code, number, c, (i, gemm.ldc), (str(r), gemm.ldc), (j, 1))
        if gemm.alpha != 1:
            total = code.value(f"fmul {vector} {total}, {all_lanes(llvm.number(gemm.alpha, number))}")
        if gemm.beta:
            old = code.value(f"load {vector}, ptr {place}, align {align}")
            total = multiply_add(all_lanes(llvm.number(gemm.beta, number)), old, total)
        code.add(f"store {vector} {total}, ptr {place}, align {align}")


def _at(code: llvm.Code, type: str, base: str, *steps: tuple[str, int]) -> str:
    """The address so many elements after `base`: the sum of the products of a value and a number."""
    for position, stride in steps:
        if stride and position != "0":
            offset = position if stride == 1 else code.value(f"mul i64 {position}, {stride}")
            base = code.value(f"getelementptr {type}, ptr {base}, i64 {offset}")
    return base


def _loop(
    code: llvm.Code,
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
    more = code.value(f"icmp ult i64 {i}, {stop}")
    code.add(f"br i1 {more}, label %{label}.body, label %{label}.exit")
    code.lines.append(f"{label}.body:")
    following = body(i, names) or ()
    code.label(f"{label}.latch")
    code.add(f"{i}.next = add i64 {i}, {step}")
    code.add(f"br label %{label}, !llvm.loop !{0 if carried else 3}")
    code.lines.append(f"{label}.exit:")
    code.lines[place:place] = [
        f"  {name} = phi {type} [ {start}, %{label}.entry ], [ {value}, %{label}.latch ]"
        for name, (type, start), value in zip(names, carried, following, strict=True)
    ]
    return names
