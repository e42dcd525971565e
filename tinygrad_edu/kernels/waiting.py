"""How threads wait for each other and for work without Python: machine code, and what it needs of the system."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy

from .blas import address_of

# The memory that the threads share is an array of 64-bit words, 8 to a cache line. Lines 0 to 2 are the barrier: how
# often it has opened; how many threads have arrived; the addresses of the system's functions `yield` and `usleep`, and
# of those that wait for and post a semaphore. Line 2 + i is worker i's: its state; the job: function, threads, arrays,
# scalars; its semaphore; and its state before it was claimed.
LINE = 8
SYSTEM = 2 * LINE
SEMAPHORE, _SLEPT = 5, 6
# A worker's states. AWAY: in Python. IDLE: looks for work. ASLEEP: waits for its semaphore. CLAIMED: about to be given
# the job. BUSY: has it. LEAVE: is to go back to Python.
AWAY, _IDLE, _ASLEEP, _CLAIMED, _BUSY, _LEAVE = range(6)
# Turns of waiting: so many within the thread, about 1 us, then so many that offer the core to others, about 1 ms: more
# of the first cost more where threads share a core, and gain nothing where they do not
_SPINS, _YIELDS = 40, 2000
PATIENCE = 200  # turns that a worker looks for the next job before it sleeps: tens of microseconds

_PAUSE = {"x86_64": "call void @llvm.x86.sse2.pause()", "aarch64": "call void @llvm.aarch64.hint(i32 1)"}


def barrier_text(machine: str = "") -> str:
    """LLVM text of `void @barrier(ptr shared, i64 threads)`, which returns once that many threads are in it, and of
    `void @relax(ptr shared, i64 turn)`, what a waiting thread does in its turn-th turn.

    What a thread has written before a barrier, all threads read after it. A barrier of one thread does not look at
    `shared`. A thread that waits for long offers its core to others at each turn, and later sleeps in between: those it
    waits for may be without a core.
    """
    pause = _PAUSE.get(machine or _machine_name(), "")
    declaration = pause.replace("call", "declare").replace("i32 1", "i32")
    return f"""{declaration}
define internal void @relax(ptr %shared, i64 %turn) noinline {{
  {pause}
  %long = icmp uge i64 %turn, {_SPINS}
  br i1 %long, label %offer, label %end
offer:
  %very.long = icmp uge i64 %turn, {_SPINS + _YIELDS}
  br i1 %very.long, label %nap, label %give
give:
  {_load("yield", "shared", SYSTEM)}
  %given = call i32 %yield()
  br label %end
nap:
  {_load("sleep", "shared", SYSTEM + 1)}
  %slept = call i32 %sleep(i32 50)
  br label %end
end:
  ret void
}}
define internal void @barrier(ptr %shared, i64 %threads) noinline {{
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %arrived = getelementptr i64, ptr %shared, i64 {LINE}
  %opened = load atomic i64, ptr %shared acquire, align 8
  %earlier = atomicrmw add ptr %arrived, i64 1 acq_rel
  %others = sub i64 %threads, 1
  %last = icmp eq i64 %earlier, %others
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %arrived monotonic, align 8
  %next = add i64 %opened, 1
  store atomic i64 %next, ptr %shared release, align 8
  ret void
wait:
  %turn = phi i64 [ 0, %arrive ], [ %turns, %again ]
  %now = load atomic i64, ptr %shared acquire, align 8
  %closed = icmp eq i64 %now, %opened
  br i1 %closed, label %again, label %done
again:
  %turns = add i64 %turn, 1
  call void @relax(ptr %shared, i64 %turn)
  br label %wait
done:
  ret void
}}
"""


def _load(name: str, base: str, word: int, type: str = "ptr") -> str:
    return f"%{name}.place = getelementptr i64, ptr %{base}, i64 {word}\n  %{name} = load {type}, ptr %{name}.place"


def _store(value: str, base: str, word: int) -> str:
    place = f"{value.split()[1]}.{base}"
    return f"{place} = getelementptr i64, ptr %{base}, i64 {word}\n  store {value}, ptr {place}"


def _machine_name() -> str:
    name = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name.lower())


# lead: the caller's part. Claims the workers (one that is away: puts all back and returns 1, and nothing has happened),
# gives each the job, does its own share and waits for theirs. It is one call, so no Ctrl-C comes between.
# follow: a worker's part. Does what it is given until it is told to leave.
# summon: tells a worker to leave.
_NATIVE = f"""
define i64 @lead(ptr %shared, ptr %function, i64 %threads, ptr %arrays, ptr %scalars, i64 %patience) {{
  br label %claim
claim:
  %i = phi i64 [ 1, %0 ], [ %i.next, %claimed ]
  %more = icmp ult i64 %i, %threads
  br i1 %more, label %try, label %publish
try:
  %turn = phi i64 [ 0, %claim ], [ %turn.next, %again ]
  %line = call ptr @line(ptr %shared, i64 %i)
  %idle.pair = cmpxchg ptr %line, i64 {_IDLE}, i64 {_CLAIMED} acq_rel acquire
  %idle = extractvalue {{ i64, i1 }} %idle.pair, 1
  br i1 %idle, label %claimed, label %not.idle
not.idle:
  %asleep.pair = cmpxchg ptr %line, i64 {_ASLEEP}, i64 {_CLAIMED} acq_rel acquire
  %asleep = extractvalue {{ i64, i1 }} %asleep.pair, 1
  br i1 %asleep, label %claimed, label %away
claimed:
  %was = phi i64 [ {_IDLE}, %try ], [ {_ASLEEP}, %not.idle ]
  {_store("i64 %was", "line", _SLEPT)}
  %i.next = add i64 %i, 1
  br label %claim
away:
  %waited = icmp uge i64 %turn, %patience
  br i1 %waited, label %undo, label %again
again:
  %turn.next = add i64 %turn, 1
  call void @relax(ptr %shared, i64 %turn)
  br label %try
undo:
  %u = phi i64 [ %i, %away ], [ %u.next, %put.back ]
  %u.next = sub i64 %u, 1
  %all.undone = icmp eq i64 %u.next, 0
  br i1 %all.undone, label %failed, label %put.back
put.back:
  %u.line = call ptr @line(ptr %shared, i64 %u.next)
  {_load("u.was", "u.line", _SLEPT, "i64")}
  store atomic i64 %u.was, ptr %u.line release, align 8
  br label %undo
failed:
  ret i64 1
publish:
  %p = phi i64 [ 1, %claim ], [ %p.next, %given ]
  %p.more = icmp ult i64 %p, %threads
  br i1 %p.more, label %give, label %own
give:
  %p.line = call ptr @line(ptr %shared, i64 %p)
  {_store("ptr %function", "p.line", 1)}
  {_store("i64 %threads", "p.line", 2)}
  {_store("ptr %arrays", "p.line", 3)}
  {_store("ptr %scalars", "p.line", 4)}
  {_load("p.was", "p.line", _SLEPT, "i64")}
  store atomic i64 {_BUSY}, ptr %p.line release, align 8
  %p.sleeps = icmp eq i64 %p.was, {_ASLEEP}
  br i1 %p.sleeps, label %rouse, label %given
rouse:
  call void @post(ptr %shared, ptr %p.line)
  br label %given
given:
  %p.next = add i64 %p, 1
  br label %publish
own:
  call void %function(i64 0, i64 %threads, ptr %arrays, ptr %scalars, ptr %shared)
  br label %join
join:
  %j = phi i64 [ 1, %own ], [ %j.next, %joined ]
  %j.more = icmp ult i64 %j, %threads
  br i1 %j.more, label %look, label %done
look:
  %j.turn = phi i64 [ 0, %join ], [ %j.turn.next, %working ]
  %j.line = call ptr @line(ptr %shared, i64 %j)
  %j.state = load atomic i64, ptr %j.line acquire, align 8
  %busy = icmp eq i64 %j.state, {_BUSY}
  br i1 %busy, label %working, label %joined
working:
  %j.turn.next = add i64 %j.turn, 1
  call void @relax(ptr %shared, i64 %j.turn)
  br label %look
joined:
  %j.next = add i64 %j, 1
  br label %join
done:
  ret i64 0
}}
define void @follow(ptr %shared, i64 %index, i64 %patience) {{
  %line = call ptr @line(ptr %shared, i64 %index)
  %ignored = cmpxchg ptr %line, i64 {AWAY}, i64 {_IDLE} acq_rel acquire
  br label %look
look:
  %turn = phi i64 [ 0, %0 ], [ 0, %work ], [ %turn.next, %wait ], [ 0, %doze ], [ 0, %sleep ]
  %state = load atomic i64, ptr %line acquire, align 8
  switch i64 %state, label %idle [ i64 {_BUSY}, label %work
                                   i64 {_LEAVE}, label %leave
                                   i64 {_ASLEEP}, label %sleep ]
work:
  {_load("function", "line", 1)}
  {_load("threads", "line", 2, "i64")}
  {_load("arrays", "line", 3)}
  {_load("scalars", "line", 4)}
  call void %function(i64 %index, i64 %threads, ptr %arrays, ptr %scalars, ptr %shared)
  store atomic i64 {_IDLE}, ptr %line release, align 8
  br label %look
idle:
  %long = icmp ugt i64 %turn, %patience
  br i1 %long, label %doze, label %wait
wait:
  %turn.next = add i64 %turn, 1
  call void @relax(ptr %shared, i64 %turn)
  br label %look
doze:
  %pair = cmpxchg ptr %line, i64 {_IDLE}, i64 {_ASLEEP} acq_rel acquire
  br label %look
sleep:
  {_load("semaphore", "line", SEMAPHORE)}
  {_load("wait.function", "shared", SYSTEM + 2)}
  %waited = call i64 %wait.function(ptr %semaphore, i64 -1)
  br label %look
leave:
  store atomic i64 {AWAY}, ptr %line release, align 8
  ret void
}}
define void @summon(ptr %shared, i64 %index) {{
  %line = call ptr @line(ptr %shared, i64 %index)
  %state = atomicrmw xchg ptr %line, i64 {_LEAVE} acq_rel
  %asleep = icmp eq i64 %state, {_ASLEEP}
  br i1 %asleep, label %rouse, label %end
rouse:
  call void @post(ptr %shared, ptr %line)
  br label %end
end:
  ret void
}}
define internal void @post(ptr %shared, ptr %line) {{
  {_load("semaphore", "line", SEMAPHORE)}
  {_load("function", "shared", SYSTEM + 3)}
  %posted = call i64 %function(ptr %semaphore, i64 1, ptr null)
  ret void
}}
define internal ptr @line(ptr %shared, i64 %index) {{
  %number = add i64 %index, 2
  %word = mul i64 %number, {LINE}
  %place = getelementptr i64, ptr %shared, i64 %word
  ret ptr %place
}}
"""


class System:
    """What the threads need of the operating system, as addresses.

    The functions are called alike everywhere, with arguments that some of them do not take: `yield()`,
    `usleep(microseconds)`, `wait(semaphore, for ever)`, `post(semaphore, 1, null)`.
    """

    def __init__(self) -> None:
        self._kept: list[Any] = []
        if sys.platform == "win32":
            self._library: Any = ctypes.WinDLL("kernel32")
        else:
            self._library = ctypes.CDLL(None)
        names = {
            "win32": ["SwitchToThread", "Sleep", "WaitForSingleObject", "ReleaseSemaphore"],  # Sleep: in milliseconds
            "darwin": ["sched_yield", "usleep", "dispatch_semaphore_wait", "dispatch_semaphore_signal"],
        }.get(sys.platform, ["sched_yield", "usleep", "sem_wait", "sem_post"])
        self.addresses = [address_of(getattr(self._library, name)) for name in names]

    def semaphore(self) -> int:
        """A new one, of count 0, kept as long as this object."""
        if sys.platform == "win32":
            return self._made("CreateSemaphoreW", None, 0, 0x7FFFFFFF, None)
        if sys.platform == "darwin":
            return self._made("dispatch_semaphore_create", ctypes.c_ssize_t(0))
        memory = numpy.zeros(LINE, numpy.int64)  # at least as large as any system's sem_t
        self._kept.append(memory)
        self._library.sem_init(ctypes.c_void_p(memory.ctypes.data), 0, 0)
        return int(memory.ctypes.data)

    def _made(self, function: str, *arguments: Any) -> int:
        create = getattr(self._library, function)
        create.restype = ctypes.c_void_p
        return int(create(*arguments))


class Native:
    """The functions of the text above, which wait and run without Python's lock."""

    def __init__(self) -> None:
        from .cache import Code  # loaded when threads start, with all that writes machine code

        self.code = Code(barrier_text() + _NATIVE, ["lead", "follow", "summon"])
        self.system = System()
        word, pointer, at = ctypes.c_int64, ctypes.c_void_p, self.code.addresses
        self.lead = ctypes.CFUNCTYPE(word, pointer, pointer, word, pointer, pointer, word)(at["lead"])
        self.follow = ctypes.CFUNCTYPE(None, pointer, word, word)(at["follow"])
        self.summon = ctypes.CFUNCTYPE(None, pointer, word)(at["summon"])
