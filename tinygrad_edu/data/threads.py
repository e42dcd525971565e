"""Work ahead in threads: prefetching, and functions called side by side.

Threads talk through `SimpleQueue` alone: it is written in C, so that Ctrl-C cannot leave a lock of it locked. They are
daemons, so that a program can end while an iterator is left half-way.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Any

from ..state import state


def prefetched(
    source: Generator[Any, None, None],
    size: int,
    interrupt: Callable[[], None] = lambda: None,
    completes: Callable[[], bool] = lambda: False,
) -> Generator[Any, None, None]:
    """The elements of `source`, of which a thread makes up to `size` ahead, and which it closes.

    The thread ends when iteration does. If that is before the end, `interrupt` is called, to make a `source` that waits
    return; if `completes` says so, the thread first makes as many as it may, so that how many it makes is no matter of
    time. An exception of `source` is raised here, as it is, unless nobody asks for that element any more.
    """
    results: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
    places: SimpleQueue[bool] = SimpleQueue()  # True for each element that may be made, False at the end
    is_wanted = True

    def work() -> None:
        try:
            while places.get() and is_wanted:
                results.put((True, next(source)))
        except StopIteration:
            results.put((False, None))
        except BaseException as error:
            results.put((False, error))
        finally:
            source.close()

    for _ in range(size):
        places.put(True)
    thread = new_thread("prefetch", work)
    goes_on = True
    try:
        thread.start()
        while goes_on:
            goes_on, found = results.get()
            if goes_on:
                places.put(True)
                yield found
    finally:
        is_wanted = completes()
        places.put(False)
        if goes_on:
            interrupt()
        join(thread)
    if found is not None:
        try:
            raise found
        finally:
            del found  # it holds this frame by its traceback


def called_ahead(source: Iterator[Any], function: Callable[[int, Any], Any], threads: int) -> Iterator[Any]:
    """`function(number, element)` of each element, in order, computed by that many threads."""
    tasks: SimpleQueue[Any] = SimpleQueue()
    is_wanted = True

    def work() -> None:
        while (task := tasks.get()) is not None:
            number, element, result = task
            try:
                if is_wanted:
                    result.put((function(number, element), None))
            except BaseException as error:
                result.put((None, error))
            del task, element, result

    def wait() -> Any:
        found, error = pending.popleft().get()
        if error is not None:
            try:
                raise error
            finally:
                del error
        return found

    pool = [new_thread("map", work) for _ in range(threads)]
    pending: deque[SimpleQueue[Any]] = deque()
    try:
        for thread in pool:
            thread.start()
        for number, element in enumerate(source):
            result: SimpleQueue[Any] = SimpleQueue()
            pending.append(result)
            tasks.put((number, element, result))
            if len(pending) > threads:  # one is taken while all threads work
                yield wait()
        while pending:
            yield wait()
    finally:
        is_wanted = False
        for _ in pool:
            tasks.put(None)
        for thread in pool:
            join(thread)


def new_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    """A thread with the default dtype and device and the modes of this one, and its context, as `numpy.errstate`."""
    names = ("dtype", "device", "grad_enabled", "debug", "matmul_precision")
    found = [getattr(state, name) for name in names]

    def adopt() -> None:
        for name, value in zip(names, found, strict=True):
            setattr(state, name, value)
        work()

    return threading.Thread(target=contextvars.copy_context().run, args=(adopt,), name=name, daemon=True)


def join(thread: threading.Thread) -> None:
    if thread.is_alive():  # not if Ctrl-C came as it was about to start
        thread.join()
