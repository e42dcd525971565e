"""Native programs: fused loops, matrix products and kernels as one function of machine code, run by all threads.

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
from . import blas, llvm, pool, waiting
from .cache import Code
from .entry import INCREF, Given, builtin, entry_text
from .gemm import Gemm, gemm_text, is_small, share_of
from .language import Kernel
from .loops import REDUCTIONS, SOURCES, TRANSCENDENTAL, Loops, levels, split
from .memory import address, buffer

# What a step is thought to take on one thread, in nanoseconds, which need not be more than roughly right
_PER_FLOP, _PER_GEMM_FLOP, _PER_BYTE, _PER_CALL = 0.03, 0.01, 0.05, 10.0
_TRANSCENDENTAL = 20  # additions in the time of one such function
_WORTH_SHARING = 4_000.0  # of one step: beyond, all threads share it
_WORTH_WAKING = 30_000.0  # saved in all: beyond, a program uses the pool, whose workers may have to be woken
_INLINED = 40  # steps of a program; beyond, they are functions apart: LLVM's time grows faster than a function
_LONG = 400  # steps of a program; beyond, what calls them is not optimised, which takes longer than it saves
MANY = 1 << 24  # elements of a loop that gets its length when it runs: so many that it is worth sharing
_BRIEF = 20_000.0  # of a whole program: within, Python's lock is kept, for another thread may hold it for 5 ms


@dataclass(frozen=True)
class Launch:
    """Fused loops over the arrays in those slots of the table of pointers, inputs before outputs, and with the numbers
    in those slots of the table of scalars. A single loop may be as long as the number in the slot `length` says."""

    loops: Loops
    arrays: tuple[int, ...]
    scalars: tuple[int, ...] = ()
    length: int | None = None

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
class Task:
    """A kernel on arrays in those slots of the table of pointers.

    Attributes:
        kernel: what is done.
        arrays: for each of its arrays the parameter, the dtype and the slot; None for one that is not there.
        numbers: its other parameters, which are constants: numbers, or named tuples of them.
        length, granularity: what `start` and `stop` divide, by how many at a time.
        operations, traffic: arithmetic and bytes, as `flops` and `traffic` have them.
        scratch: elements of memory that a thread needs for itself.
    """

    kernel: Kernel
    arrays: tuple[tuple[str, str, int | None], ...]
    numbers: tuple[tuple[str, Any], ...]
    length: int
    operations: int
    traffic: int
    granularity: int = 1
    scratch: int = 0

    @property
    def reads(self) -> tuple[int, ...]:
        return tuple(slot for name, _, slot in self.arrays if slot is not None and name not in self.kernel.writes)

    @property
    def writes(self) -> tuple[int, ...]:
        return tuple(slot for name, _, slot in self.arrays if slot is not None and name in self.kernel.writes)

    @property
    def scratch_bytes(self) -> int:
        """For each thread, whole cache lines."""
        return -(-8 * self.scratch // 64) * 64

    def given(self, numbers: Sequence[tuple[str, Any]]) -> Task:
        """The same with further numbers."""
        return replace(self, numbers=(*self.numbers, *numbers))

    def on(self, slots: Sequence[int | None]) -> Task:
        """The same for other slots, by those it had."""
        arrays = ((name, dtype, slot if slot is None else slots[slot]) for name, dtype, slot in self.arrays)
        return replace(self, arrays=tuple(arrays))


Step = Launch | Gemm | Task


# Work


def flops(step: Step) -> int:
    """The arithmetic of a step, in operations on numbers; a function such as `exp` counts as one."""
    return _operations(step, 1)


def traffic(step: Step) -> int:
    """The bytes that a step reads and writes, each element once."""
    if isinstance(step, Task):
        return step.traffic
    if isinstance(step, Gemm):
        sizes = (step.m * step.k, step.k * step.n, step.m * step.n * (2 if step.beta else 1))
        moved = sum(size * (step.batch if stride else 1) for size, stride in zip(sizes, step.strides, strict=True))
        return moved * numpy.dtype(step.dtype).itemsize
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
    if isinstance(step, Task):
        return step.operations
    if isinstance(step, Gemm):
        return 2 * step.m * step.n * step.k * step.batch
    loops, total = step.loops, 0
    for op, level in zip(loops.ops, levels(loops), strict=True):
        if op.name not in SOURCES and op.name != "store" and level != "uniform":
            times = loops.rows if level == "row" and op.name not in REDUCTIONS else prod(loops.shape)
            total += times * (transcendental if op.name in TRANSCENDENTAL else 1)
    return total


def nanoseconds(step: Step) -> float:
    """What a step is thought to take on one thread."""
    per_flop = _PER_FLOP if isinstance(step, Launch) else _PER_GEMM_FLOP
    return _PER_CALL + per_flop * _operations(step, _TRANSCENDENTAL) + _PER_BYTE * traffic(step)


# Programs


class Program:
    """Machine code and the tables it works on.

    `pointers` (int64) and `scalars` (float64) are its own arrays, one entry for each slot; write the addresses and
    numbers that change into them before `run`, but for those that it is `given`. One thread at a time may run it;
    different programs may run at the same time.

    Attributes:
        text: its LLVM text.
        threads: how many it uses.
        is_brief: whether one thread runs it and keeps Python's lock.
        enter: a builtin function of the arrays that it is given; it runs the program if that is brief.
        call: what then runs a program of one thread that is not: a function and its arguments.
        scratch_bytes: of the memory that it works in; see `work_in`.
    """

    def __init__(self, text: str, slots: int, scalars: int, threads: int, brief: bool, scratch: int = 0):
        self.text, self.threads, self.is_brief = text, threads, brief
        code = Code(text, ["program", "enter"])
        self._table = numpy.zeros(slots + 6, numpy.int64)
        self.pointers = self._table[:slots]
        self.scalars = numpy.zeros(max(1, scalars))
        if library := blas.find():
            self._table[slots : slots + 2] = library.sgemm, library.dgemm
            if library.set_threads:
                self._table[slots + 2] = blas.one_thread_state().ctypes.data
        self._slots, self.scratch_bytes = slots, threads * scratch
        self._table[slots + 4 :] = self.scalars.ctypes.data, INCREF
        self._tables = ctypes.c_void_p(self._table.ctypes.data), ctypes.c_void_p(self.scalars.ctypes.data)
        self._address = ctypes.c_void_p(code.addresses["program"])
        self.enter = builtin(code.addresses["enter"], self._table, code, self.scalars)
        types = [ctypes.c_int64] * 2 + [ctypes.c_void_p] * 3
        alone = ctypes.CFUNCTYPE(None, *types)(code.addresses["program"])
        self.call = (alone, ctypes.c_int64(0), ctypes.c_int64(1), *self._tables, None)

    def work_in(self, scratch: Any) -> None:
        """Gives it `scratch_bytes` to work in, an array at a multiple of 64."""
        self._scratch = scratch
        self._table[self._slots + 3] = address(scratch)

    def run(self, *arrays: Any) -> None:
        """Runs all steps on these arrays and what the tables point to, and returns when they are done."""
        self.enter(*arrays)
        if self.threads > 1:
            pool.run(self._address, self.threads, *self._tables)
        elif not self.is_brief:
            function, *arguments = self.call
            function(*arguments)


Place = tuple[int, int, int]
"""Where an array lies: the number of a piece of memory, the first byte in it and the one behind the last."""


def program(
    steps: Sequence[Step],
    threads: int | None = None,
    places: Sequence[Place] | None = None,
    scratch: bool = True,
    given: Given = (),
) -> Program:
    """The steps, in their order, as one program for that many threads (as many as the pool has, if not given).

    `places` says for each slot where its array lies, so that arrays are known not to overlap; without it none are.
    `given` says which arrays `run` gets, and where they belong. Without `scratch` it has to be told what to `work_in`.
    Fewer threads are used where the work is not worth it or the pool has fewer when the program runs. Raises
    ImportError without llvmlite, RuntimeError if a product needs a BLAS and none was found.
    """
    used = [slot for step in steps for slot in (*step.reads, *step.writes)]
    used += [step.length for step in steps if isinstance(step, Launch) and step.length is not None]
    slots = 1 + max(used, default=-1)
    scalars = 1 + max((slot for step in steps if isinstance(step, Launch) for slot in step.scalars), default=-1)
    large = [step for step in steps if _calls_blas(step)]
    library = blas.find()
    if large and library is None:
        raise RuntimeError(message("program", "a BLAS library for large products", f"none, for {large[0]}"))
    threads = pool.threads() if threads is None else threads
    shared = [threads > 1 and _shared(step) for step in steps]
    times = [nanoseconds(step) for step in steps]
    saved = sum(time for time, share in zip(times, shared, strict=True) if share) * (1 - 1 / threads)
    if saved < _WORTH_WAKING or not any(shared):
        threads, shared = 1, [False] * len(steps)
    guarded = bool(large and library and library.set_threads)
    brief = threads == 1 and sum(times) < _BRIEF
    scratch_bytes = max((step.scratch_bytes for step in steps if isinstance(step, Task)), default=0)
    text = _text(steps, shared, _barriers(steps, shared, places), threads, slots, guarded, scratch_bytes)
    text += entry_text(given, slots + 4, brief)
    made = Program(text, slots, scalars, threads, brief, scratch_bytes)
    if scratch:
        made.work_in(buffer(made.scratch_bytes))
    return made


def _calls_blas(step: Step) -> bool:
    return step.kernel.calls_blas if isinstance(step, Task) else isinstance(step, Gemm) and not is_small(step)


def _shared(step: Step) -> bool:
    """Whether all threads take part in a step."""
    if nanoseconds(step) < _WORTH_SHARING:
        return False
    if isinstance(step, Launch):
        _, length, granularity = split(step.loops)
        return length > granularity
    if isinstance(step, Task) and step.length <= step.granularity:
        return False
    library = blas.find()  # one that cannot be told to use one thread divides its products itself
    return not _calls_blas(step) or (library is not None and library.set_threads is not None)


def _barriers(steps: Sequence[Step], shared: Sequence[bool], places: Sequence[Place] | None) -> list[bool]:
    """Whether a barrier stands before each step: one does where a step that other threads take part in, since the
    last barrier, writes what this one reads or writes, or reads what it writes."""

    def overlap(some: Sequence[int], others: Sequence[int]) -> bool:
        if places is None:
            return bool(some and others)
        pairs = ((places[a], places[b]) for a in some for b in others)
        return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a, b in pairs)

    found: list[bool] = []
    since: list[tuple[Step, bool]] = []
    for step, share in zip(steps, shared, strict=True):
        needed = any(
            overlap(step.writes, (*other.reads, *other.writes)) or overlap(step.reads, other.writes)
            for other, other_share in since
            if share or other_share
        )
        found.append(needed)
        since = [*([] if needed else since), (step, share)]
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
    scratch: int = 0,
) -> str:
    """The module. The same steps always give the same text. If `guarded`, BLAS is told to use one thread meanwhile.
    `scratch` are the bytes that each thread has for itself, in all steps the same: others may be in another step."""
    functions: dict[Any, str] = {}  # by what they are made of
    names: dict[str, str] = {}  # by their text; those of loops of different lengths may be the same
    code = llvm.Code()
    state = _slot(code, slots + 2) if guarded else ""
    if guarded:
        code.add(f"call void @one_thread(ptr {state}, i64 1)")
    for step, share, barrier in zip(steps, shared, barriers, strict=True):
        # the slots do not count: equal steps on other arrays share a function
        made_of = _made_of(step, threads if share else 1)
        if made_of not in functions:
            text = _function(step, "step", threads, share)
            functions[made_of] = names.setdefault(text, f"step{len(names)}")
        name = functions[made_of]
        if barrier:
            code.add("call void @barrier(ptr %shared, i64 %threads)")
        label = f"next{next(code.names)}"
        if not share and threads > 1:
            code.add(f"br i1 %first, label %only.{label}, label %{label}")
            code.lines.append(f"only.{label}:")
        who = "i64 %thread, i64 %threads" if share else "i64 0, i64 1"
        if isinstance(step, Launch):
            _call_launch(code, step, name, who)
        elif isinstance(step, Task):
            _call_task(code, step, name, who, slots, scratch)
        else:
            places = ", ".join(f"ptr {_slot(code, slot)}" for slot in (step.a, step.b, step.c))
            function = _slot(code, slots + (step.dtype == "float64"))
            code.add(f"call void @{name}({who}, {places}, ptr {function})")
        code.label(label)
    if guarded:
        code.add(f"call void @one_thread(ptr {state}, i64 -1)")
    tables = [len(step.arrays) for step in steps if isinstance(step, Launch)]
    numbers = [len(step.scalars) for step in steps if isinstance(step, Launch)]
    plain = " optnone noinline" if len(steps) > _LONG else ""
    main = [
        f"define void @program(i64 %thread, i64 %threads, ptr %arrays, ptr %scalars, ptr %shared){plain} {{",
        f"  %table = alloca [{max(tables, default=1)} x ptr]",
        f"  %numbers = alloca [{max(numbers, default=1)} x double]",
        "  %first = icmp eq i64 %thread, 0",
        *code.lines,
        "  ret void",
        "}",
    ]
    waits = threads > 1 or any(isinstance(step, Task) and step.kernel.exchanges for step in steps)
    parts = [_BOUND, waiting.barrier_text() if waits else "", blas.ONE_THREAD_TEXT if guarded else ""]
    steps_text = (_internal(text, name, len(steps) > _INLINED) for text, name in names.items())
    return _joined([*parts, *steps_text, "\n".join(main)])


def _internal(text: str, name: str, apart: bool) -> str:
    """The text with its function `step` by that name, which no other module sees, and `apart` from what calls it."""
    head = r"^define (internal )?void @step\((.*)\)"
    inline = " noinline" if apart else ""
    return re.sub(head, rf"define internal void @{name}(\2){inline}", text, flags=re.MULTILINE)


def _made_of(step: Step, threads: int) -> Any:
    """What the function of a step depends on."""
    if isinstance(step, Launch):
        return step.loops
    if isinstance(step, Gemm):
        return replace(step, a=0, b=0, c=0), threads
    return step.kernel, tuple((name, dtype) for name, dtype, _ in step.arrays), step.numbers


def _function(step: Step, name: str, threads: int, share: bool) -> str:
    if isinstance(step, Launch):
        return llvm.text(step.loops, name)
    if isinstance(step, Gemm):
        return gemm_text(step, name, threads, share)
    return step.kernel.text(name, {parameter: dtype for parameter, dtype, _ in step.arrays}, dict(step.numbers))


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
    _, length, granularity = split(step.loops)
    given = length if step.length is None else _slot(code, step.length, type="i64")
    start, stop = share_of(code, who, given, granularity)
    code.add(f"call void @{name}(ptr %table, ptr %numbers, i64 {start}, i64 {stop})")


def _call_task(code: llvm.Code, step: Task, name: str, who: str, slots: int, scratch: int) -> None:
    start, stop = share_of(code, who, step.length, step.granularity)
    thread = who.partition(",")[0].removeprefix("i64 ")
    before = code.value(f"mul i64 {thread}, {scratch}")
    own = code.value(f"getelementptr i8, ptr {_slot(code, slots + 3)}, i64 {before}")
    arrays = ("null" if slot is None else _slot(code, slot) for *_, slot in step.arrays)
    places = [own, _slot(code, slots), _slot(code, slots + 1), "%shared"]
    given = [*(f"ptr {place}" for place in places), who.partition(", ")[2], *(f"ptr {place}" for place in arrays)]
    code.add(f"call void @{name}(i64 {start}, i64 {stop}, {', '.join(given)})")


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
