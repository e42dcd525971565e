"""Launches on CUDA: kernels and matrix products on tables of addresses, and the numbers they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy

from ...state import state
from ..entry import Given
from ..gemm import Gemm
from ..loops import Builder, Operand
from ..native import Launch
from .blas import alignment_of, plan_of
from .compiled import are_aligned, kernel_of, kernel_of_several
from .text import VECTOR
from .together import Several, together
from .written import Written


class Product(NamedTuple):
    """A product of factors that are of that dtype, if they are not the result's, to whose rows the vector in the slot
    `bias` is added, if there is one."""

    gemm: Gemm
    bias: int | None = None
    factors: str = ""


Unmoved: TypeAlias = Launch | Gemm | Product | Written


class Moved(NamedTuple):
    """A step whose arrays lie so many bytes behind the starts of their slots."""

    step: Unmoved
    offsets: tuple[int, ...]


Step: TypeAlias = Unmoved | Moved


def on(step: Step, slots: Sequence[int | None]) -> Step:
    """The same for other slots, by those it had."""
    if isinstance(step, Moved):
        return Moved(on(step.step, slots), step.offsets)  # type: ignore[arg-type]
    new = tuple(None if slot is None else slots[slot] for slot in slots_of(step))
    if isinstance(step, Gemm):
        return step.on(*new)  # type: ignore[arg-type]
    if isinstance(step, Product):
        return step._replace(gemm=step.gemm.on(*new[:3]), bias=new[3])  # type: ignore[arg-type]
    return step._replace(arrays=new) if isinstance(step, Written) else replace(step, arrays=new)  # type: ignore[arg-type]


def slots_of(step: Step) -> tuple[int | None, ...]:
    """Of its arrays."""
    if isinstance(step, Moved):
        return slots_of(step.step)
    if isinstance(step, Product):
        return *slots_of(step.gemm), step.bias
    return (step.a, step.b, step.c) if isinstance(step, Gemm) else step.arrays


def plain(step: Step) -> Launch | Gemm | None:
    """The loops or the product that a step is; None for a kernel that is written by hand."""
    if isinstance(step, Moved):
        return plain(step.step)
    if isinstance(step, Product):
        return step.gemm
    return None if isinstance(step, Written) else step


def _plan_of(product: Gemm, alignment: int, device: int, precision: str, bias: int, is_rounded: bool) -> Any:
    """The plan; None if there is none with a bias."""
    try:
        return plan_of(product, alignment, device, precision, bias, is_rounded)
    except RuntimeError:
        if not bias:
            raise
        return None


def _plus_row(product: Gemm) -> Launch:
    """Adds a vector to each row of the result, which is the slots 0 and 2."""
    rows, row = Operand(product.dtype, (product.ldc, 1)), Operand(product.dtype, (0, 1))
    loops = Builder((product.batch * product.m, product.n), product.dtype)
    loops.store(loops.apply("add", loops.load(rows), loops.load(row)), rows)
    return Launch(loops.finish(), (0, 1, 2))


class Launches:
    """Steps on arrays at the addresses in `pointers`, one for each slot; write those that do not change into them
    before the first `run`.

    Args:
        steps: in their order.
        slots: how many there are.
        given: for each array that `run` gets the slots that it goes to, and the bytes from its start.
        numbers: the table of numbers that the steps' scalars are places in, if they have any.
    """

    def __init__(self, steps: Sequence[Step], slots: int, given: Given, numbers: Numbers | None = None):
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
        placed = [(step, self._places(step)) for step in self.steps]
        steps = together([(step.step if isinstance(step, Moved) else step, places) for step, places in placed])
        bound = [self._prepared(step, places, device) for step, places in steps]
        self._memory = cupy.empty(max(1, *(need for need, _ in bound)) if bound else 1, numpy.uint8)
        self._launches = [launch(self._memory.data.ptr) for _, launch in bound]

    def _places(self, step: Step) -> list[int]:
        """The addresses of its arrays; 0 for one that is not there."""
        places = [0 if slot is None else self.pointers[slot] for slot in slots_of(step)]
        return [at + more for at, more in zip(places, step.offsets, strict=True)] if isinstance(step, Moved) else places

    def _in_turn(
        self, steps: Sequence[tuple[Unmoved, list[int]]], device: int
    ) -> tuple[int, Callable[[int], Callable[[], None]]]:
        """Of several steps and their places, as `_prepared` has it of one."""
        prepared = [self._prepared(step, places, device) for step, places in steps]

        def bound(memory: int) -> Callable[[], None]:
            launches = [launch(memory) for _, launch in prepared]

            def launch() -> None:
                for part in launches:
                    part()

            return launch

        return max(need for need, _ in prepared), bound

    def _prepared(
        self, step: Unmoved | Several, places: list[int], device: int
    ) -> tuple[int, Callable[[int], Callable[[], None]]]:
        """The bytes of memory that a step needs for itself, and what makes of their address its launch."""
        if isinstance(step, Written):
            launch = step.bound(places, device)
            return 0, lambda memory: launch
        if isinstance(step, Gemm):
            return self._prepared(Product(step), [*places, 0], device)
        if isinstance(step, Product):
            a, b, c, bias = places
            how = alignment_of(a, b, c), device, step.factors or state.matmul_precision, bias, bool(step.factors)
            plan = None if bias % VECTOR else _plan_of(step.gemm.on(0, 1, 2), *how)
            if plan is None:  # cuBLASLt may not take a bias at such an address, or in that dtype
                product = step._replace(bias=None)
                return self._in_turn([(product, [a, b, c, 0]), (_plus_row(step.gemm), [c, bias, c])], device)
            return plan.workspace, lambda memory: partial(plan.launch, a, b, c, memory)
        if isinstance(step, Several):
            kernel = kernel_of_several(step.loops, step.lengths, step.width, device)
        else:
            kernel = kernel_of(step.loops, are_aligned(places), device)
        numbers = self._numbers
        address = numbers.address if numbers else 0
        return kernel.source.partial, lambda memory: kernel.bound(places, memory, address, step.scalars)


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
