"""Launches on CUDA: kernels and matrix products on tables of addresses, and the numbers they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ...state import state
from ..entry import Given
from ..gemm import Gemm
from ..native import Launch
from .blas import alignment_of, plan_of
from .compiled import are_aligned, kernel_of

Step = Launch | Gemm


class Launches:
    """Steps on arrays at the addresses in `pointers`, one for each slot; write those that do not change into them
    before the first `run`.

    Args:
        steps: in their order.
        slots: how many there are.
        given: for each array that `run` gets the slots that it goes to, and the bytes from its start.
        numbers: the table of numbers that the steps' scalars are places in.
    """

    def __init__(self, steps: Sequence[Step], slots: int, given: Given, numbers: Numbers):
        self.steps, self.pointers = steps, [0] * slots
        self._given, self._numbers = given, numbers
        self._launches: list[Callable[[], None]] = []
        self._bound_for: Any = None  # the addresses of the given arrays, and the precision

    def run(self, *arrays: Any) -> None:
        """Queues all steps in the stream in use."""
        addresses = tuple(array.data.ptr for array in arrays)
        if (addresses, state.matmul_precision) != self._bound_for:
            for start, places in zip(addresses, self._given, strict=True):
                for slot, offset in places:
                    self.pointers[slot] = start + offset
            self._bind()
            self._bound_for = addresses, state.matmul_precision
        for launch in self._launches:
            launch()

    def _bind(self) -> None:
        """Makes the launches for the addresses in `pointers`. All work in the same memory, one after the other."""
        import cupy

        device = cupy.cuda.Device().id
        parts = [(step, self._part(step, device)) for step in self.steps]
        need = [part.workspace if isinstance(step, Gemm) else part.source.partial for step, part in parts]
        self._memory = cupy.empty(max(1, *need) if need else 1, numpy.uint8)
        at = self._memory.data.ptr
        self._launches = [self._bound(step, part, at) for step, part in parts]

    def _part(self, step: Step, device: int) -> Any:
        """What runs a step: the plan of a product, or a kernel."""
        if isinstance(step, Gemm):
            return plan_of(step.on(0, 1, 2), alignment_of(*self._places(step)), device, state.matmul_precision)
        return kernel_of(step.loops, are_aligned(self._places(step)), device)

    def _places(self, step: Step) -> list[int]:
        slots = (step.a, step.b, step.c) if isinstance(step, Gemm) else step.arrays
        return [self.pointers[slot] for slot in slots]

    def _bound(self, step: Step, part: Any, memory: int) -> Callable[[], None]:
        if isinstance(step, Gemm):
            a, b, c = self._places(step)
            return lambda: part.launch(a, b, c, memory)
        bound: Callable[[], None] = part.bound(self._places(step), memory, self._numbers.address, step.scalars)
        return bound


class Numbers:
    """Numbers of the host (doubles) and the place of random numbers, in a device's memory: what is recorded in a graph
    reads them there. They come as a kernel's arguments, which needs no transfer and waits for nothing.

    Attributes:
        address: of the numbers.
        place: address of the seed, the stream and the offset of random numbers.
    """

    AT_ONCE = 16
    """Numbers that one launch sets."""

    def __init__(self, count: int):
        import cupy

        self._memory = cupy.empty(count + 3, numpy.float64)
        self.place: int = self._memory.data.ptr
        self.address: int = self.place + 24
        self._set = cupy.RawKernel(_set_text(self.AT_ONCE), "set")

    def set(self, numbers: Sequence[float], place: tuple[int, int, int]) -> None:
        """Queues that what follows in the stream in use reads these."""
        words = [numpy.uint64(self.place), *map(numpy.uint64, place)]
        for first in range(0, max(1, len(numbers)), self.AT_ONCE):
            part = [numpy.float64(number) for number in numbers[first : first + self.AT_ONCE]]
            rest = [numpy.float64(0)] * (self.AT_ONCE - len(part))
            self._set((1,), (1,), (*words, numpy.int32(first), numpy.int32(len(part)), *part, *rest))


def _set_text(count: int) -> str:
    """One thread writes all, so there is no race."""
    parameters = "".join(f", double n{i}" for i in range(count))
    lines = [f"if (count > {i}) numbers[first + {i}] = n{i};" for i in range(count)]
    return "\n".join(
        [
            'extern "C" __global__ void set(unsigned long long* place, unsigned long long seed,',
            f"unsigned long long stream, unsigned long long offset, int first, int count{parameters}) {{",
            "double* numbers = (double*)(place + 3);",
            "place[0] = seed; place[1] = stream; place[2] = offset;",
            *lines,
            "}",
        ]
    )
