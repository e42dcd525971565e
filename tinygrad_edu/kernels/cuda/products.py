"""Products of (stacks of) matrices that do not lie as cuBLASLt takes them: they are copied first."""

from __future__ import annotations

from typing import Any

import numpy

from ..registry import Recipe, are_floats, strided
from .blas import product_of
from .copies import copy, form, is_copied


@strided
def matmul(a: Any, b: Any) -> Recipe | None:
    """Of `_matmul`; None for what needs no copy, which is a product of its own."""
    if not are_floats(a, b) or min(a.ndim, b.ndim) < 2 or not is_copied(a, b):
        return None
    stack = numpy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c, factors = form((*stack, a.shape[-2], b.shape[-1]), a.dtype), (a, b)
    wrong: tuple[int, ...]
    for wrong in ((), (0,), (1,), (0, 1)):
        left, right = (form(x.shape, x.dtype) if i in wrong else x for i, x in enumerate(factors))
        product = product_of(left, right, c)
        if product is not None:
            break
    if product is None or not wrong:
        return None
    at = [3 + wrong.index(i) if i in wrong else i for i in (0, 1)]
    copies = [copy(factors[i], i, at[i]) for i in wrong]
    between = tuple((tuple(factors[i].shape), a.dtype.name) for i in wrong)
    return Recipe(((c.shape, a.dtype.name),), (*copies, product.on(at[0], at[1], 2)), between)
