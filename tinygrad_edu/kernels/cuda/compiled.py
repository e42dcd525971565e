"""Fused loops as compiled kernels, bound to arrays and ready to be launched."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy

from ..loops import Loops
from .text import VECTOR, Source, source_of, source_of_several, width_of

OPTIONS = ("--std=c++17", "--fmad=false")
"""Products and sums are rounded one by one, as eager mode does it."""


class Kernel:
    """The kernels of some loops, compiled for the device in use.

    Attributes:
        source: what was compiled.
    """

    def __init__(self, source: Source):
        import cupy

        self.source = source
        module = cupy.RawModule(code=source.text, options=OPTIONS)
        self._functions = [module.get_function(launched.name) for launched in source.kernels]

    def bound(self, arrays: Sequence[int], partial: int, scalars: int, slots: Sequence[int]) -> Callable[[], None]:
        """A function that launches them on arrays at these addresses, in the stream in use.

        `partial` is the address of so many bytes as the source says, `scalars` that of doubles, `slots` where among
        these the scalars are.
        """
        pointers = [numpy.uint64(at) for at in (*arrays, partial, scalars)]
        arguments = (*pointers, *map(numpy.int32, slots))
        parts = [
            (function, launched.grid, launched.block)
            for function, launched in zip(self._functions, self.source.kernels, strict=True)
            if 0 not in launched.grid
        ]

        def launch() -> None:
            for function, grid, block in parts:
                function(grid, block, arguments)

        return launch


@functools.lru_cache(4096)
def kernel_of(loops: Loops, aligned: bool, device: int) -> Kernel:
    """The kernels of these loops for a device, which is in use; `aligned`: whether the addresses of all arrays are
    multiples of `VECTOR`."""
    return Kernel(source_of(loops, "loops", width_of(loops) if aligned else 1))


@functools.lru_cache(4096)
def kernel_of_several(loops: Loops, lengths: tuple[int, ...], width: int, device: int) -> Kernel:
    """The kernel that does the same to several groups of arrays, as `text.source_of_several` has it."""
    return Kernel(source_of_several(loops, lengths, "loops", width))


def are_aligned(addresses: Sequence[int]) -> bool:
    return all(at % VECTOR == 0 for at in addresses)
