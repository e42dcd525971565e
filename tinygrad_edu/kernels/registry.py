"""Which operations have kernels: forward functions that stay the definition, and recipes that do the same faster.

    @primitive("gemm", saves=("x", "kernel"))
    @compiled("convolution.forward")
    def _conv(xp, x, kernel, *, output, geometry):
        ...

says that `forward` of `kernels/convolution.py` returns a recipe for such arrays, or None where the definition is as
good. Recorded steps take the recipe's tasks into their machine code; in eager mode they are a program of their own.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

if TYPE_CHECKING:
    from .native import Program, Task

WORTH_CALLING = 200_000
"""Operations or bytes from which on a call in eager mode is worth a program of its own."""
PROGRAMS = 256
"""How many programs eager mode keeps, those used last."""


class Recipe(NamedTuple):
    """Shapes and dtypes of what is made, and the tasks that make it: their slots are the numbers of the operands, and
    then of the outputs."""

    outputs: tuple[tuple[tuple[int, ...], str], ...]
    tasks: tuple[Task, ...]


def has_compiler() -> bool:
    """Whether llvmlite is here and not turned off by TINYGRAD_EDU_FAST=0."""
    return os.environ.get("TINYGRAD_EDU_FAST") != "0" and _can_compile()


@functools.cache
def _can_compile() -> bool:
    try:
        import llvmlite  # noqa: F401
    except ImportError:
        return False
    return True


def compiled(path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a forward function the recipe `module.function` of this folder."""

    def decorate(definition: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(definition)
        def forward(xp: Any, *arrays: Any, **attributes: Any) -> Any:
            if xp is numpy and has_compiler():
                made = run(path, arrays, attributes)
                if made is not None:
                    return made
            return definition(xp, *arrays, **attributes)

        forward.recipe = path  # type: ignore[attr-defined]
        return forward

    return decorate


def recipe(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> Recipe | None:
    """The recipe for such arrays, if there is one; it is made from shapes and dtypes only."""
    if not all(is_contiguous(a) and a.dtype.isnative and 0 not in a.shape for a in arrays):
        return None
    module, _, function = path.partition(".")
    return getattr(importlib.import_module(f".{module}", __package__), function)(*arrays, **attributes)


def is_contiguous(a: Any) -> bool:
    """Whether the elements lie in memory in their order, without gaps."""
    expected = a.dtype.itemsize
    for n, stride in zip(a.shape[::-1], a.strides[::-1], strict=True):
        if n > 1 and stride != expected:
            return False
        expected *= n
    return True


# Eager mode


def run(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> Any:
    """What the recipe makes of the arrays; None if there is none, or so little to do that it is not worth it."""
    if not all(type(a) is numpy.ndarray for a in arrays):
        return None
    forms = tuple((a.shape, a.dtype, a.strides) for a in arrays)
    entry = _entry(path, forms, tuple(attributes.items()), _threads())
    if entry is None:
        return None
    outputs, program, lock = entry
    made = tuple(numpy.empty(shape, dtype) for shape, dtype in outputs)
    with lock:
        program.pointers[:] = [a.ctypes.data for a in (*arrays, *made)]
        program.run()
    return made if len(made) > 1 else made[0]


def _threads() -> int:
    from .pool import threads

    return threads()


class _Form(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...]


@functools.lru_cache(PROGRAMS)
def _entry(path: str, forms: Any, attributes: Any, threads: int) -> tuple[Any, Program, threading.Lock] | None:
    from . import native

    made = recipe(path, [_Form(*form) for form in forms], dict(attributes))
    if made is None or sum(native.flops(task) + native.traffic(task) for task in made.tasks) < WORTH_CALLING:
        return None
    return made.outputs, native.program(made.tasks, threads), threading.Lock()
