"""Devices, and the array module (NumPy or CuPy) that computes on each."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy

from ..errors import DeviceError, message
from ..state import Switch, state
from .memory import explain_shortage

Array: TypeAlias = Any
"""A `numpy.ndarray` or a `cupy.ndarray`."""

_DOCTOR = "tinygrad-edu doctor tells more; device='auto' falls back to the CPU."


@dataclass(frozen=True)
class Device:
    """Where an array lives: `Device("cpu")` or `Device("cuda", 0)`; `str()` gives "cpu" or "cuda:0"."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @property
    def xp(self) -> ModuleType:
        """The array module of this device."""
        return numpy if self.kind == "cpu" else importlib.import_module("cupy")

    def active(self) -> AbstractContextManager[Any]:
        """For a `with` block that makes or computes arrays here: CuPy works on its current device."""
        return contextlib.nullcontext() if self.kind == "cpu" else self.xp.cuda.Device(self.index)


CPU = Device("cpu")


@functools.cache
def cuda_status() -> tuple[bool, str]:
    """Whether CUDA works here, found out once by a 2x2 product that really runs, and the reason in words."""
    try:
        import cupy

        if not cupy.cuda.is_available():
            return False, "CuPy is installed but sees no CUDA device (is there an NVIDIA driver?)"
        ones = cupy.ones((2, 2), dtype="float32")
        total = float((ones @ ones).sum())
    except ImportError as error:
        return False, f"CuPy cannot be imported ({error}); pip install 'tinygrad_edu[cuda13]'"
    except Exception as error:  # CuPy fails late and in many ways: a missing library, an old driver, a busy device
        return False, f"CuPy is installed but a 2x2 product failed: {type(error).__name__}: {error}"
    if total != 8.0:
        return False, f"CuPy computed {total} where a 2x2 product sums to 8.0"
    explain_shortage()
    return True, f"CuPy {cupy.__version__} works on {cupy.cuda.runtime.getDeviceCount()} CUDA device(s)"


@functools.cache
def _automatic() -> Device:
    works, reason = cuda_status()
    chosen = Device("cuda") if works else CPU
    print(f"tinygrad_edu: device 'auto' is {chosen}: {reason}", file=sys.stderr)
    return chosen


def device(name: str | Device) -> Device:
    """The device of that name: "cpu", "cuda", "cuda:1", or "auto" (CUDA where it works, and says once why it chose).

    Raises ValueError for another name and DeviceError for a CUDA device that cannot be used.

    >>> import tinygrad_edu as tg
    >>> str(tg.device("cpu"))
    'cpu'
    """
    if isinstance(name, Device):
        return name
    if name == "cpu":
        return CPU
    if name == "auto":
        return _automatic()
    kind, _, index = str(name).partition(":")
    if kind != "cuda" or not (index.isdigit() or name == "cuda"):
        raise ValueError(message("device", "'cpu', 'cuda', 'cuda:N' or 'auto'", repr(name)))
    works, reason = cuda_status()
    if not works:
        raise DeviceError(message("device", "a usable CUDA device", f"none: {reason}", _DOCTOR))
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if int(index or 0) >= count:
        raise DeviceError(message("device", f"a CUDA device below {count}", repr(name)))
    return Device("cuda", int(index or 0))


def use_device(name: str | Device) -> Switch:
    """Sets the default device of this thread, for good or for a `with` block.

    >>> import tinygrad_edu as tg
    >>> with tg.use_device("cpu"):
    ...     print(tg.zeros((2,)).device)
    cpu
    """
    return Switch("device", device(name))


def default_device() -> Device:
    """The device on which this thread makes new tensors; the CPU unless `use_device` said otherwise."""
    return state.device or CPU


def chosen_device(name: str | Device | None) -> Device:
    """The device of that name, the default one for None."""
    return default_device() if name is None else device(name)


_HOST_TYPES = {numpy.ndarray, float, int}  # those that operands mostly have; others are looked at more closely


def array_module(*arrays: Any) -> ModuleType:
    """NumPy, or CuPy if any of `arrays` is CuPy's."""
    for array in arrays:
        if type(array) not in _HOST_TYPES:
            array = getattr(array, "stands_for", array)  # what is behind a tracer
            if type(array).__module__.partition(".")[0] == "cupy":
                return sys.modules["cupy"]
    return numpy


def special_functions(xp: ModuleType) -> ModuleType:
    """The module of special functions (erf and the like) that belongs to the array module `xp`."""
    return importlib.import_module("scipy.special" if xp is numpy else "cupyx.scipy.special")


def failures_raise(xp: ModuleType) -> AbstractContextManager[Any]:
    """For a `with` block in which linear algebra that fails raises LinAlgError, as NumPy's always does."""
    return contextlib.nullcontext() if xp is numpy else importlib.import_module("cupyx").errstate(linalg="raise")


def device_of(array: Array) -> Device:
    """The device that holds `array`."""
    return CPU if array_module(array) is numpy else Device("cuda", array.device.id)


def to_device(array: Array, target: Device) -> Array:
    """`array` on `target`: itself if it is there already, else a copy."""
    source = device_of(array)
    if source == target:
        return array
    if hasattr(array, "stands_for"):  # a tracer, which records it
        return array.to(target)
    if target.kind == "cpu":
        return array.get()
    with target.active():
        return target.xp.asarray(array)


def to_host(array: Array) -> numpy.ndarray[Any, Any]:
    """`array` as a NumPy array: itself if it is one, else a copy (which waits for the device)."""
    return to_device(array, CPU)


def synchronize(target: str | Device | None = None) -> None:
    """Waits until the work queued on a device (the default one if not given) is done. The CPU never queues."""
    chosen = chosen_device(target)
    if chosen.kind == "cuda":
        chosen.xp.cuda.Device(chosen.index).synchronize()


def memory_in_use(target: str | Device | None = None) -> int:
    """Bytes in use on a device: live arrays in CuPy's memory pool, or on the CPU the resident memory of this process.

    On a CPU without /proc (macOS) the figure is the peak of the resident memory.
    """
    chosen = chosen_device(target)
    if chosen.kind == "cuda":
        with chosen.active():
            return int(chosen.xp.get_default_memory_pool().used_bytes())
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        resource = importlib.import_module("resource")
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
