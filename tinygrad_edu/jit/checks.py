"""Checks of values that a recording makes anew at each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Primitive
from ..backend import Array
from ..kernels.registry import compiled


@compiled("checks.are_outside")
def _outside(xp: Any, a: Array, *, low: float, high: float) -> Array:
    """Whether a value is not from `low` to `high`, or NaN."""
    return xp.asarray(bool(a.size) and ~((a.min() >= low) & (a.max() <= high)))


def _refuse_if(xp: Any, wrong: Array) -> None:
    if wrong:
        raise ValueError("a value that the function refuses")


def _look_at(xp: Any, a: Array, *, look: Callable[[Array], None]) -> None:
    look(a)


outside = Primitive(_outside, "opaque")
refuse_if = Primitive(_refuse_if, "effect")
inspect = Primitive(_look_at, "effect")
