"""Kernels written by hand: each file `NAME.cu` of this folder beside the recipes in `NAME.py` that launch them. What
several of them need is in files `NAME.cuh`, which they include."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from ..loops import HALVES
from .compiled import OPTIONS
from .steps import rounder

_INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)


class Written(NamedTuple):
    """A launch of a function in a file of this folder.

    Attributes:
        module, function: the file's name without its ending, and the function's.
        grid, block: how many blocks of how many threads.
        arrays: the slots of its first parameters, which are pointers; None gives a null pointer.
        numbers: its further parameters; integers come as `long long`, floats as `double`.
        defines: names for the preprocessor and their values; each combination is compiled for itself.
    """

    module: str
    function: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arrays: tuple[int | None, ...]
    numbers: tuple[int | float, ...] = ()
    defines: tuple[tuple[str, Any], ...] = ()

    def bound(self, places: Sequence[int], device: int) -> Callable[[], None]:
        """A function that launches it on arrays at these addresses, in the stream in use."""
        function = _module(self.module, self.defines, device).get_function(self.function)
        numbers = [numpy.float64(n) if isinstance(n, float) else numpy.int64(n) for n in self.numbers]
        arguments = (*map(numpy.uint64, places), *numbers)
        return functools.partial(function, self.grid, self.block, arguments)


def source_of(module: str, defines: Sequence[tuple[str, Any]] = ()) -> str:
    """The text of a file, with these names defined, the function of `steps.rounder` that is a value of one, and what it
    includes of this folder."""
    lines = [f"#define {name} {value}" for name, value in defines]
    lines += [rounder(dtype) for dtype in HALVES if any(value == f"to_{dtype}" for _, value in defines)]
    return "\n".join([*lines, _INCLUDE.sub(lambda found: _text(found[1]), _text(f"{module}.cu"))])


def _text(file: str) -> str:
    return Path(__file__).with_name(file).read_text(encoding="utf-8")


@functools.lru_cache(1024)
def _module(module: str, defines: tuple[tuple[str, Any], ...], device: int) -> Any:
    """The file, compiled for a device, which is in use."""
    import cupy

    return cupy.RawModule(code=source_of(module, defines), options=OPTIONS)
