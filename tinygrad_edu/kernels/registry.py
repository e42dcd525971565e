"""Which operations have kernels: forward functions that stay the definition, and recipes that do the same faster.

    @primitive("gemm", saves=("x", "kernel"))
    @compiled("convolution.forward")
    def _conv(xp, x, kernel, *, output, geometry):
        ...

says that `forward` of `kernels/convolution.py` returns a recipe for such arrays, or None where the definition is as
good; on CUDA it is that of `kernels/cuda/convolution.py`. Recorded steps take the recipe's tasks into their machine
code; in eager mode they are a program of their own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy

from . import blas, pool
from .memory import address, scratch

if TYPE_CHECKING:
    from .native import Program

RECORDED = {"_matmul": "products.matmul", "_reshape": "copies.reshaped", "_sum": "pooling.over_pixels"}
"""The recipes of primitives whose definition is as fast in eager mode, for recorded steps."""
WORTH_CALLING = 200_000.0
"""Nanoseconds, as `native` estimates them, from which on a call in eager mode is worth a program of its own. That takes
LLVM 20 to 150 ms and saves each call about as much as it takes itself. This must not depend on how often a shape was
met: a run that is resumed starts to count anew, and its numbers would differ in the last place."""
PROGRAMS = 256
"""How many programs eager mode keeps, those used last."""


Made: TypeAlias = tuple[tuple[int, ...], str]


class Recipe(NamedTuple):
    """Shapes and dtypes of what is made, and the tasks (on CUDA the steps) that make it: their slots are the numbers of
    the operands, then of the outputs, then of what is needed in between.

    An output that nobody needs is None.
    """

    outputs: tuple[Made | None, ...]
    tasks: tuple[Any, ...]
    between: tuple[Made, ...] = ()


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


def compiled(
    path: str, arranged: Callable[..., Any] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a forward function the recipe `module.function` of this folder; `arranged` makes of the outputs what the
    function returns, if that is more than an array or a tuple of arrays."""

    def decorate(definition: Callable[..., Any]) -> Callable[..., Any]:
        def defined(xp: Any, *arrays: Any, **attributes: Any) -> Any:
            return _in_order(xp, definition(xp, *arrays, **attributes))

        def returned(made: Sequence[Any]) -> Any:
            return arranged(*made) if arranged else made[0] if len(made) == 1 else tuple(made)

        @functools.wraps(definition)
        def forward(xp: Any, *arrays: Any, **attributes: Any) -> Any:
            made = None
            if xp is not numpy:
                from .cuda import recipes

                made = recipes.run(path, arrays, attributes)
            elif has_compiler():
                made = run(path, arrays, attributes)
            return returned(made) if made is not None else defined(xp, *arrays, **attributes)

        forward.recipe, forward.returned = path, returned  # type: ignore[attr-defined]
        return forward

    return decorate


def _in_order(xp: Any, made: Any) -> Any:
    """The same with each array as kernels make it, its elements in their order: a plan relies on that."""
    if isinstance(made, tuple):
        return tuple(_in_order(xp, part) for part in made)
    if made is None:
        return None
    return xp.ascontiguousarray(made) if made.ndim else xp.asarray(made)


def strided(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Marks the rule of a recipe that looks at strides: its arrays may lie in any order."""
    rule.strided = True  # type: ignore[attr-defined]
    return rule


def by_rows(*positions: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks the rule of a recipe that looks at the strides of the arrays at these positions: only their last axis has
    to lie in order."""

    def mark(rule: Callable[..., Any]) -> Callable[..., Any]:
        rule.by_rows = positions  # type: ignore[attr-defined]
        return rule

    return mark


def lies_as_taken(rule: Callable[..., Any], position: int, a: Any) -> bool:
    """Whether the array lies as the rule of a recipe takes it."""
    if a is None or hasattr(rule, "strided") or is_contiguous(a):
        return True
    size: int = a.dtype.itemsize
    rows = position in getattr(rule, "by_rows", ()) and a.strides[-1] == size
    return rows and all(stride % size == 0 for stride in a.strides)


def recipe(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> Recipe | None:
    """The recipe for such arrays, if there is one; it is made from shapes, dtypes and strides only."""
    rule = _rule(path)
    there = [a for a in arrays if a is not None]
    if not all(a.dtype.isnative and 0 not in a.shape for a in there):
        return None
    if not all(lies_as_taken(rule, i, a) for i, a in enumerate(arrays)):
        return None
    made: Recipe | None = rule(*arrays, **attributes)
    if made and any(task.kernel.calls_blas for task in made.tasks) and blas.find() is None:
        return None
    return made


def outputs_of(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> tuple[Made | None, ...] | None:
    """Shapes and dtypes of what a primitive with that recipe makes of NumPy arrays, if the recipe is for such."""
    if not hasattr(_rule(path), "strided"):
        arrays = [a if a is None or is_contiguous(a) else numpy.empty(a.shape, a.dtype) for a in arrays]
    made = recipe(path, arrays, attributes)
    return made and made.outputs


@functools.cache
def _rule(path: str) -> Callable[..., Any]:
    module, _, function = path.partition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(f".{module}", __package__), function)
    return found


def are_floats(*arrays: Any) -> bool:
    """Whether those that are there are float32, or all float64."""
    return {a.dtype.name for a in arrays if a is not None} in ({"float32"}, {"float64"})


def is_contiguous(a: Any) -> bool:
    """Whether the elements lie in memory in their order, without gaps."""
    expected = a.dtype.itemsize
    for n, stride in zip(a.shape[::-1], a.strides[::-1], strict=True):
        if n > 1 and stride != expected:
            return False
        expected *= n
    return True


# Eager mode


def run(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> list[Any] | None:
    """The outputs of the recipe for these arrays; None if there is none, or so little to do that it is not worth it."""
    if not all(a is None or type(a) is numpy.ndarray for a in arrays):
        return None
    rule = _rule(path)
    arrays = [a if lies_as_taken(rule, i, a) else a.copy() for i, a in enumerate(arrays)]  # takes less than the rest
    forms = tuple(None if a is None else (a.shape, a.dtype, a.strides) for a in arrays)
    entry = _entry(path, forms, tuple(attributes.items()), pool.threads())
    if entry is None:
        return None
    recipe, program = entry.recipe, entry.take()
    made = [None if form is None else numpy.empty(*form) for form in recipe.outputs]
    between = [numpy.empty(*form) for form in recipe.between]
    slots = [0 if a is None else address(a) for a in (*arrays, *made, *between)]
    program.pointers[:] = slots[: len(program.pointers)]
    program.work_in(scratch(program.scratch_bytes))
    try:
        program.run()
    finally:
        entry.idle.append(program)
    return made


class Form(NamedTuple):
    """All that recipes see of an array."""

    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class _Entry(NamedTuple):
    """A recipe as programs for that many threads. Each runs for one caller at a time and nobody waits for another's,
    which might be waiting itself: for the pool, whose owner is calling this here."""

    recipe: Recipe
    threads: int
    idle: list[Program]

    def take(self) -> Program:
        from . import native

        with contextlib.suppress(IndexError):
            return self.idle.pop()
        return native.program(self.recipe.tasks, self.threads, scratch=False)


@functools.lru_cache(PROGRAMS)
def _entry(path: str, forms: Any, attributes: Any, threads: int) -> _Entry | None:
    from . import native

    made = recipe(path, [form and Form(*form) for form in forms], dict(attributes))
    if made is None or sum(map(native.nanoseconds, made.tasks)) < WORTH_CALLING:
        return None
    there = [*forms, *made.outputs, *made.between]
    slots = [None if form is None else slot for slot, form in enumerate(there)]
    return _Entry(made._replace(tasks=tuple(task.on(slots) for task in made.tasks)), threads, [])
