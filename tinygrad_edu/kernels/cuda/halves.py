"""Recipes under mixed precision: what their products multiply is rounded to 16 bits once, by the kernels that write it
or, if it is an operand of the recipe, at the beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...errors import message
from ...state import state
from ..gemm import Gemm
from ..loops import HALVES, Builder, Operand
from ..native import Launch
from ..registry import Made, Recipe, is_contiguous
from .launches import Moved, Product, Step
from .steps import TYPES

FACTORS = "uint16"
"""The dtype of arrays in between that hold factors of 16 bits: NumPy has no bfloat16, and nothing reads them as numbers
but products."""


def half_of(dtype: str) -> str:
    """The dtype of 16 bits to which factors of that dtype are rounded now; "" if they stay."""
    return state.matmul_precision if dtype == "float32" and state.matmul_precision in HALVES else ""


def factors(made: Made) -> Made:
    """An array that kernels write for products alone, as `defines` says."""
    shape, dtype = made
    return shape, FACTORS if half_of(dtype) else dtype


def defines(dtype: str) -> tuple[tuple[str, str], ...]:
    """For kernels that write factors of products, if these are not of the kernel's dtype: see `factors.cuh`."""
    half = half_of(dtype)
    return (("FACTOR", TYPES[half]), ("TO_FACTOR", f"to_{half}")) if half else ()


def with_rounded_factors(recipe: Recipe, operands: Sequence[Any]) -> Recipe:
    """The recipe whose products of float32 multiply 16 bits: arrays of FACTORS, and rounded copies of operands without
    gaps, which nothing writes. Products of others stay, and round their factors themselves. Offsets of factors are
    given as for float32. Raises ValueError for a product of an array of FACTORS and such another one.
    """
    half, copies, rounding, copied = half_of("float32"), dict[int, int](), list[Step](), list[Made]()
    forms = [*operands, *recipe.outputs, *recipe.between]
    rounded = {slot for slot, made in enumerate(forms) if slot >= len(operands) and made and made[1] == FACTORS}
    whole = (slot for slot, a in enumerate(operands) if a is not None and is_contiguous(a))
    sizes = {slot: math.prod(operands[slot].shape) for slot in whole}

    def factor(slot: int) -> int:
        if slot in rounded:
            return slot
        if slot not in copies:
            copies[slot] = len(forms) + len(copies)
            copied.append(((sizes[slot],), FACTORS))
            rounding.append(_rounding(slot, copies[slot], sizes[slot], half))
        return copies[slot]

    def is_rounded(step: Step) -> bool:
        if not isinstance(step, Gemm) or step.dtype != "float32":
            return False
        is_known = {step.a, step.b} <= rounded | sizes.keys()
        if not is_known and {step.a, step.b} & rounded:
            raise ValueError(message("recipe", "two factors of 16 bits", repr(step)))
        return is_known

    def step_in_halves(step: Step) -> Step:
        if is_rounded(step):
            assert isinstance(step, Gemm)
            return Product(replace(step, a=factor(step.a), b=factor(step.b)), factors=half)
        if isinstance(step, Moved) and is_rounded(step.step):
            a, b, c = step.offsets
            return Moved(step_in_halves(step.step), (a // 2, b // 2, c, 0))  # type: ignore[arg-type]
        return step

    steps = [step_in_halves(step) for step in recipe.tasks]
    return Recipe(recipe.outputs, (*rounding, *steps), (*recipe.between, *copied))


def _rounding(source: int, target: int, size: int, half: str) -> Launch:
    loops = Builder((size,), "float32")
    loops.store(loops.cast(loops.load(Operand("float32", (1,))), half), Operand(half, (1,)))
    return Launch(loops.finish(), (source, target))
