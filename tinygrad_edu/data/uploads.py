"""Uploads: batches on their way to a CUDA device while it works on the one before."""

from __future__ import annotations

import itertools
from typing import Any

import numpy

from ..backend import Device, to_device
from ..tree import leaves, mapped

ALIGNMENT = 256
"""Bytes: where an array in packed memory begins, so that kernels read several neighbours at once."""
NUMBERS = "?bBhHiIlLqQefdFD"
"""The dtypes of NumPy that CuPy has; it refuses others."""


class Uploads:
    """Moves batches, trees of arrays, to a device; texts and None stay as they are.

    The NumPy arrays of a batch for CUDA are packed into page-locked memory. A stream of its own, which need not wait
    for what is computed, sends them to a buffer on the device, from where the stream that computes copies them into
    new memory: that is short beside the way from the host. There are two such pairs of buffers, used in turn.

    Why nothing is overwritten while it is in use: CuPy's pool gives freed memory at once to the next that asks in the
    same stream, whose work runs in order. So all memory here is allocated, and at last read, in the computing stream.
    The other stream waits for `taken` before it writes: what the memory was used for until then, be it by its last
    owner. The computing stream waits for `sent` before it reads, and with that before all that it does later. And the
    host waits for `sent` before it packs another batch, and by `wait` before it lets go of the buffers.
    """

    def __init__(self, device: Device):
        self.device = device
        self._buffers: list[_Buffers] = []  # the next one comes first
        self._stream: Any = None
        if device.kind == "cuda":
            with device.active():
                self._stream = device.xp.cuda.Stream(non_blocking=True)

    def __call__(self, batch: Any) -> Any:
        arrays = [a for a in leaves(batch) if self._is_sent(a)]
        with self.device.active():
            sent = iter(self._sent(arrays) if arrays else ())
        return mapped(lambda a: next(sent) if self._is_sent(a) else placed(a, self.device), batch)

    def wait(self) -> None:
        """Waits until all is sent."""
        if self._stream is not None:
            self._stream.synchronize()

    def _is_sent(self, a: Any) -> bool:
        return self._stream is not None and isinstance(a, numpy.ndarray) and a.dtype.char in NUMBERS

    def _sent(self, arrays: list[Any]) -> list[Any]:
        """The arrays in new memory of the current stream; it waits for them, the host does not."""
        cuda, ndarray = self.device.xp.cuda, self.device.xp.ndarray
        *starts, size = itertools.accumulate((-(-a.nbytes // ALIGNMENT) * ALIGNMENT for a in arrays), initial=0)
        forms = [(a.shape, a.dtype.newbyteorder("="), start) for a, start in zip(arrays, starts, strict=True)]
        buffers, computing = self._next(size), cuda.get_current_stream()
        for a, (shape, dtype, start) in zip(arrays, forms, strict=True):
            numpy.ndarray(shape, dtype, buffers.host, start)[...] = a
        self._stream.wait_event(buffers.taken)
        buffers.there.copy_from_host_async(buffers.host.ctypes.data, size, self._stream)
        buffers.sent.record(self._stream)
        computing.wait_event(buffers.sent)
        memory = cuda.alloc(size)
        memory.copy_from_device_async(buffers.there, size, computing)
        buffers.taken.record(computing)
        return [ndarray(shape, dtype, memory + start) for shape, dtype, start in forms]

    def _next(self, size: int) -> _Buffers:
        """Buffers of at least that size, in which nothing waits to be sent."""
        buffers = self._buffers.pop(0) if len(self._buffers) == 2 else None
        if buffers is not None:
            buffers.sent.synchronize()
        if buffers is None or buffers.host.size < size:
            buffers = _Buffers(self.device.xp.cuda, size)
        self._buffers.append(buffers)
        return buffers


class _Buffers:
    """Room for a batch.

    Attributes:
        host: page-locked memory.
        there: as much memory on the device, of the current stream.
        sent: after the copy from one to the other.
        taken: after all use of `there` so far.
    """

    def __init__(self, cuda: Any, size: int):
        self.host = numpy.frombuffer(cuda.alloc_pinned_memory(size), numpy.uint8, size)
        self.there = cuda.alloc(size)
        self.sent, self.taken = (cuda.Event(disable_timing=True) for _ in range(2))
        self.taken.record()


def placed(array: Any, device: Device | None) -> Any:
    """An array on a device; texts and None as they are, and all where no device is given."""
    return array if array is None or device is None or array.dtype == object else to_device(array, device)
