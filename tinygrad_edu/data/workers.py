"""Worker processes of a DataLoader: each makes every n-th batch of a pass and sends it through a pipe.

A worker stops at a full pipe until the loader reads, and the loader reads from one worker after the other: so batches
come in order, and no locks, queues or shared memory are needed that a killed process could leave behind. (Shared memory
was slower than a pipe that the buffers of arrays go through as they are.)
"""

from __future__ import annotations

import pickle
import signal
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import message
from ..state import default_dtype, use_dtype
from ..tree import mapped
from .elements import Order, as_element, rows_of, stacked
from .streams import all_streams

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


@dataclass
class Reading:
    """How a batch is made of the numbers of its samples."""

    data: Any
    is_tree: bool  # of arrays; else the data has `__getitem__`
    collate_fn: Callable[[list[Any]], Any] | None

    def __call__(self, numbers: Any, key: int, batch: int) -> Any:
        """The batch; what draws random numbers draws from the streams of the pass `key` and of that batch."""
        if self.is_tree and self.collate_fn is None:
            return rows_of(self.data, numbers)
        try:
            with all_streams(key, batch):
                numbers = numbers.tolist() if isinstance(numbers, numpy.ndarray) else numbers
                if self.is_tree:
                    samples = [rows_of(self.data, number) for number in numbers]
                else:
                    samples = [self.data[number] for number in numbers]
                if self.collate_fn is not None:
                    return as_element("DataLoader", self.collate_fn(samples))
                return stacked("DataLoader", [as_element("DataLoader", sample) for sample in samples])
        except Exception as error:
            error.add_note(f"DataLoader: while making batch {batch}")
            raise


def pickled(reading: Reading) -> bytes:
    """For the workers, with this thread's default dtype. Raises TypeError for what cannot be pickled."""
    from multiprocessing.reduction import ForkingPickler

    try:
        return bytes(ForkingPickler.dumps((reading, default_dtype())))
    except Exception as error:
        hint = "define classes and functions at the top level of a module, or set num_workers=0."
        expected = "a dataset and a collate_fn that can be pickled for worker processes"
        raise TypeError(message("DataLoader", expected, str(error), hint)) from error


@dataclass(frozen=True)
class Pass:
    """The samples of one pass: their numbers in order, cut into batches; and its key."""

    order: Order | list[Any]
    batch_size: int
    drop_last: bool
    key: int

    def __len__(self) -> int:
        return count_batches(len(self.order), self.batch_size, self.drop_last)

    def batch(self, number: int) -> Any:
        return self.order[number * self.batch_size : (number + 1) * self.batch_size]


def count_batches(samples: int, batch_size: int, drop_last: bool) -> int:
    return samples // batch_size if drop_last else -(-samples // batch_size)


UNGUARDED = 13
"""The exit code of a worker that would start workers, as it runs a script without the guard."""


class Workers:
    """Processes that make batches of one pass after the other."""

    def __init__(self, count: int):
        import multiprocessing

        if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker, which runs the script anew
            raise SystemExit(UNGUARDED)
        # Forks of a process with threads (BLAS has some) can hang, so workers start anew.
        context = multiprocessing.get_context("spawn")
        self.processes: list[Any] = []
        self.pipes: list[Connection] = []
        self.digest = b""  # of what the workers have
        try:
            for number in range(count):
                ours, theirs = context.Pipe()
                self.pipes.append(ours)
                process = context.Process(target=work, args=(theirs, number, count), daemon=True)
                process.start()
                self.processes.append(process)
                theirs.close()  # the end of the worker is the end of the pipe
        except BaseException:
            self.close()
            raise

    def batches(self, reading: bytes, this: Pass) -> Generator[Any, None, None]:
        """The batches of a pass, in order; `reading` is pickled, and sent if it is not what the workers have."""
        from hashlib import blake2b

        digest = blake2b(reading).digest()
        is_new, self.digest = digest != self.digest, digest
        for number in range(len(self.pipes)):
            self._reach(number, lambda pipe: pipe.send((this, is_new)))
            if is_new:
                self._reach(number, lambda pipe: pipe.send_bytes(reading))
        for batch in range(len(this)):
            number = batch % len(self.pipes)
            is_right, found = self._reach(number, receive)
            if not is_right:
                raise found
            yield found

    def _reach(self, number: int, exchange: Callable[[Connection], Any]) -> Any:
        try:
            return exchange(self.pipes[number])
        except (EOFError, ConnectionError):
            process = self.processes[number]
            process.join(5.0)
            found = f"its end with exit code {process.exitcode}"
            if process.exitcode == UNGUARDED:
                hint = "a script must start training under `if __name__ == '__main__':`."
            elif process.exitcode == 1:
                hint = "its error is printed above."
            elif process.exitcode == -9:
                hint = "it was killed, perhaps for want of memory: use fewer workers or smaller batches."
            else:
                hint = "num_workers=0 shows where."
            error = RuntimeError(message("DataLoader", f"data from worker {number}", found, hint))
        raise error

    def interrupt(self) -> None:
        """Ends the processes at once; a thread that waits for one gets an error."""
        for process in self.processes:
            process.terminate()

    def close(self) -> None:
        """Ends the processes: those that are idle as they see their pipes closed, the others soon after."""
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(5.0)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self.pipes, self.processes = [], []


def work(pipe: Connection, worker: int, workers: int) -> None:
    """What a worker process does: batches of one pass after the other, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the loader ends its workers
    payload = b""  # what is not yet unpickled
    try:
        while True:
            this, is_new = pipe.recv()
            payload = pipe.recv_bytes() if is_new else payload
            for batch in range(worker, len(this), workers):
                try:
                    if payload:
                        reading, dtype = unpickled(payload)
                        use_dtype(dtype)
                        payload = b""
                    found = reading(this.batch(batch), this.key, batch)
                except Exception as error:
                    return send_error(pipe, error, worker)
                send(pipe, (True, found))
    except (EOFError, ConnectionError):
        return None


def unpickled(payload: bytes) -> Any:
    """What `pickled` took. Raises AttributeError, with advice, for a class or function that a worker does not find."""
    try:
        return pickle.loads(payload)
    except AttributeError as error:
        expected = "a dataset and a collate_fn that a worker process can import"
        hint = (
            "put the class or function into a module; notebooks, and what `if __name__ == '__main__'` guards, are none."
        )
        raise AttributeError(message("DataLoader", expected, str(error), hint)) from None


def send_error(pipe: Connection, error: Exception, worker: int) -> None:
    """Sends the error, or where it cannot be pickled a RuntimeError, with the traceback as a note."""
    where = f"in DataLoader worker {worker}:\n" + "".join(traceback.format_exception(error))
    try:
        error.add_note(where)
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(where)
    send(pipe, (False, error))


def send(pipe: Connection, value: Any) -> None:
    """Sends arrays as they lie in memory; `send` of a pipe would copy them into a pickle."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    pipe.send((head, [part.nbytes for part in parts]))
    for part in parts:
        pipe.send_bytes(part)


def receive(pipe: Connection) -> Any:
    head, sizes = pipe.recv()
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        pipe.recv_bytes_into(buffer)
    return mapped(_with_own_dtype, pickle.loads(head, buffers=buffers))


def _with_own_dtype(leaf: Any) -> Any:
    """NumPy's own object for the dtype, which is faster to tell; pickle makes an equal one."""
    return leaf.view(numpy.dtype(leaf.dtype.str)) if isinstance(leaf, numpy.ndarray) else leaf
