"""Work ahead in threads: prefetching, and functions called side by side."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from ..state import state


def prefetched(
    source: Generator[Any, None, None], size: int, interrupt: Callable[[], None] = lambda: None
) -> Iterator[Any]:
    """The elements of `source`, of which a thread makes up to `size` ahead.

    The thread ends when iteration does. If that is before the end, `interrupt` is called, to make a `source` that waits
    return. An exception of `source` is raised here, as it is.
    """
    results: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    free, stopped = threading.Semaphore(size), threading.Event()

    def work(settings: tuple[Any, Any]) -> None:
        adopt(settings)
        try:
            while free.acquire() and not stopped.is_set():
                results.put((True, next(source)))
        except StopIteration:
            results.put((False, None))
        except BaseException as error:
            results.put((False, error))
        finally:
            source.close()

    # A daemon, so that a program can end while an iterator is left half-way.
    thread = threading.Thread(target=work, args=(settings(),), name="prefetch", daemon=True)
    thread.start()
    goes_on = True
    try:
        while goes_on:
            goes_on, found = results.get()
            if goes_on:
                free.release()
                yield found
    finally:
        stopped.set()
        free.release()
        if goes_on:
            interrupt()
        thread.join()
    if found is not None:
        try:
            raise found
        finally:
            del found  # it holds this frame by its traceback


def called_ahead(source: Iterator[Any], function: Callable[[int, Any], Any], threads: int) -> Iterator[Any]:
    """`function(number, element)` of each element, in order, computed by that many threads."""
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, "map", adopt, (settings(),))
    pending: deque[Future[Any]] = deque()
    try:
        for number, element in enumerate(source):
            pending.append(pool.submit(function, number, element))
            if len(pending) > threads:  # one is taken while all threads work
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def settings() -> tuple[Any, Any]:
    """What a new thread takes over from this one."""
    return state.dtype, state.device


def adopt(settings: tuple[Any, Any]) -> None:
    state.dtype, state.device = settings
