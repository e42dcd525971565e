"""One pool of threads for the whole process: native functions that all threads run together, and Python functions
mapped over blocks.

A worker waits in machine code, without Python's lock: some tens of microseconds after its last work it still looks for
more and answers within a microsecond, then it sleeps until it is woken. No worker starts before there is work for it.
"""

from __future__ import annotations

import atexit
import contextvars
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy

from ..errors import check_integer, message
from .waiting import AWAY, LINE, PATIENCE, SEMAPHORE, SYSTEM, Native

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Here(threading.local):
    inside = False  # whether this thread is computing for `map`; what it starts itself then runs in it alone


class _Share:
    """One worker's part of a `map`. Whoever claims it first has it: the worker, or the caller once all is done."""

    def __init__(self, task: Callable[[], object]):
        self._task = task
        self._context = contextvars.copy_context()  # so that the caller's numpy.errstate holds in the worker
        self._claimed = threading.Lock()
        self._ended = threading.Event()

    def work(self) -> None:
        if self._claimed.acquire(blocking=False):
            try:
                self._context.run(self._task)
            finally:
                self._ended.set()

    def finish(self) -> None:
        if not self._claimed.acquire(blocking=False):
            self._ended.wait()


class _Pool:
    """`size - 1` workers, each started when it is first needed. Only one thread at a time calls `run` or `map`.

    A Ctrl-C may end either between any two lines: a worker that was woken in vain finds nothing and waits again.
    """

    def __init__(self, size: int):
        self.size = size
        self.stopped = False
        self.native: Native | None = None
        self.workers: list[threading.Thread] = []
        self.places = [threading.Lock() for _ in range(size - 1)]  # each locked for good by the worker that has it
        self.gates = [threading.Lock() for _ in range(size - 1)]  # locked; where workers wait without machine code
        self.shares: list[_Share | None] = [None] * (size - 1)
        for gate in self.gates:
            gate.acquire()
        words = numpy.zeros(LINE * (size + 3), numpy.int64)
        start = -words.ctypes.data // words.itemsize % LINE  # of a cache line
        self.shared = words[start : start + LINE * (size + 2)]
        self.address = ctypes.c_void_p(self.shared.ctypes.data)

    def run(self, function: Any, threads: int, arrays: Any, scalars: Any) -> None:
        if self.native is None:
            native = _native()
            self.shared[SYSTEM : SYSTEM + 4] = native.system.addresses
            self.shared[3 * LINE + SEMAPHORE :: LINE] = [native.system.semaphore() for _ in self.gates]
            self.native = native
        patience = 0
        while self.native.lead(self.address, function, threads, arrays, scalars, patience):
            for index in range(threads - 1):
                if self.shared[LINE * (index + 3)] == AWAY:
                    self.wake(index)
            patience = 2 * patience or PATIENCE

    def map(self, task: Callable[[], object], helpers: int) -> None:
        shares = [_Share(task) for _ in range(helpers)]
        try:
            for index, share in enumerate(shares):
                self.shares[index] = share
                self.wake(index)
                if self.native is not None:
                    self.native.summon(self.address, index + 1)
            task()
        finally:
            for share in shares:
                share.finish()

    def wake(self, index: int) -> None:
        """Starts a worker, or lets it go on from its gate."""
        while len(self.workers) <= index:
            worker = threading.Thread(target=self._work, args=(len(self.workers),), daemon=True)
            worker.start()
            self.workers.append(worker)
        if self.gates[index].locked():  # and stays so: nobody else releases it
            self.gates[index].release()

    def _work(self, index: int) -> None:
        if not self.places[index].acquire(blocking=False):
            return  # a Ctrl-C came between the start of an earlier worker and its entry in the list
        _here.inside = True
        while not self.stopped:
            if self.native is None:
                self.gates[index].acquire()
            else:
                self.native.follow(self.address, index + 1, PATIENCE)
            share, self.shares[index] = self.shares[index], None
            if share is not None:
                share.work()

    def stop(self) -> None:
        self.stopped = True
        for index, worker in enumerate(self.workers):
            self.wake(index)
            if self.native is not None:
                self.native.summon(self.address, index + 1)
            worker.join()


_here = _Here()
_lock = threading.RLock()  # held by the thread that uses the pool
_pool: _Pool | None = None
_size: int | None = None


def threads() -> int:
    """How many threads compute, the caller's included.

    Unless `set_threads` said otherwise: TINYGRAD_EDU_THREADS, else OMP_NUM_THREADS, else the cores that this process
    may use. Raises ValueError if TINYGRAD_EDU_THREADS is not a positive integer.
    """
    global _size
    if _size is None:
        _size = _default_threads()
    return _size


def set_threads(count: int | None) -> None:
    """Sets how many threads compute, the caller's included; None goes back to the default.

    Waits for work in flight. Raises TypeError or ValueError unless `count` is an integer of at least 1, RuntimeError
    within a function that `map` calls.
    """
    global _size
    if count is not None:
        count = check_integer("set_threads", "the number of threads", count, 1)
    if _here.inside:
        raise RuntimeError(message("set_threads", "a call outside pool.map", "one within a function that it calls"))
    with _lock:
        _size = count
        if _pool is not None and _pool.size != threads():
            _stop()


def run(function: Any, count: int, arrays: Any, scalars: Any) -> None:
    """Runs a native function on `count` threads, or as many as there are, and returns when all have ended.

    `function` is the address, as a `ctypes.c_void_p`, of `void f(i64 thread, i64 threads, ptr arrays, ptr scalars,
    ptr barrier)`; thread 0 is the caller's. A second caller waits until the first is done. Within a function that
    `map` calls, `f` runs in the calling thread alone, with `threads` 1. After Ctrl-C all of it has run, or nothing.
    Raises ImportError without llvmlite.
    """
    if _here.inside:
        _native().lead(None, function, 1, arrays, scalars, 0)
        return
    with _lock:
        pool = _the_pool()
        pool.run(function, min(count, pool.size), arrays, scalars)


def map(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[function(item) for item in items]`, shared out between the threads.

    Of several exceptions, the one of the earliest item is raised; items after it may not have been computed. A second
    caller waits until the first is done. Within a function that `map` itself calls, all runs in the calling thread.
    """
    todo = list(items)
    helpers = min(len(todo), threads()) - 1
    if helpers < 1 or _here.inside:
        return [function(item) for item in todo]
    results: list[Any] = [None] * len(todo)
    errors: dict[int, BaseException] = {}
    numbers = iter(range(len(todo)))  # each goes to one thread

    def task() -> None:
        for number in numbers:
            try:
                results[number] = function(todo[number])
            except BaseException as error:
                errors[number] = error
            if errors:
                return

    with _lock:
        try:
            _here.inside = True
            _the_pool().map(task, helpers)
        finally:
            _here.inside = False
    if errors:
        raise errors[min(errors)]
    return results


def _the_pool() -> _Pool:
    global _pool
    if _pool is None:
        _pool = _Pool(threads())
    return _pool


def _default_threads() -> int:
    chosen = os.environ.get("TINYGRAD_EDU_THREADS", "").strip()
    if chosen:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise ValueError(message("TINYGRAD_EDU_THREADS", "an integer of at least 1", repr(chosen)))
        return int(chosen)
    openmp = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list: one number for each level
    if openmp.isdecimal() and int(openmp) > 0:
        return int(openmp)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_native = functools.cache(Native)


def _stop() -> None:
    global _pool
    with _lock:
        pool, _pool = _pool, None
        if pool is not None:
            pool.stop()


def _forked() -> None:
    """The child of a fork has none of the threads."""
    global _lock, _pool
    _lock, _pool = threading.RLock(), None


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
