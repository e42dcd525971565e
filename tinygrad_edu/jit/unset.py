"""Unset: arrays of the shape, dtype and strides of what a call returns, with zeros for values.

A recording needs no more of large arrays: the plan computes them, and looks at those that are checked. Zeros are memory
that is not there before it is written.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..autograd import Primitive
from ..kernels.registry import has_compiler, outputs_of

LARGE = 1 << 14
"""Elements from which on a call is not worth computing."""


def made_up(primitive: Primitive, xp: Any, *operands: Any, **attributes: Any) -> Any:
    """What `forward` returns, with values only where they are as easily had. It looks at none."""
    if primitive.kind == "effect":
        return None
    with numpy.errstate(all="ignore"):
        y = unset(primitive, list(operands), attributes)
        return primitive.forward(xp, *operands, **attributes) if y is None else y


def unset(primitive: Primitive, operands: list[Any], attributes: dict[str, Any]) -> Any:
    """What `forward` returns for these operands, but for its values; None if it is as easily computed."""
    arrays = [a for a in operands if type(a) is numpy.ndarray]
    if not arrays or not all(a.dtype.isnative and a.size for a in arrays):
        return None
    if hasattr(primitive.forward, "recipe"):
        return _by_recipe(primitive, operands, attributes)
    if primitive.kind == "elementwise":
        return _elementwise(primitive, operands, attributes, arrays)
    if primitive.name == "_matmul" and len(arrays) == 2:
        return _product(*arrays)
    return None


def _by_recipe(primitive: Primitive, operands: list[Any], attributes: dict[str, Any]) -> Any:
    there = [a for a in operands if a is not None]
    if not has_compiler() or not all(type(a) is numpy.ndarray for a in there) or sum(a.size for a in there) < LARGE:
        return None
    forms = outputs_of(primitive.forward.recipe, operands, attributes)  # type: ignore[attr-defined]
    return forms and primitive.forward.returned([form and numpy.zeros(*form) for form in forms])  # type: ignore[attr-defined]


def _elementwise(primitive: Primitive, operands: list[Any], attributes: dict[str, Any], arrays: list[Any]) -> Any:
    """By the dtype that a single element gives; arrays in C order give one in C order."""
    shape = numpy.broadcast_shapes(*(a.shape for a in arrays))
    if math.prod(shape) < LARGE or not all(a.flags.c_contiguous for a in arrays):
        return None
    one = [numpy.ones((1,) * a.ndim, a.dtype) if type(a) is numpy.ndarray else a for a in operands]
    y = primitive.forward(numpy, *one, **attributes)
    new = type(y) is numpy.ndarray and y.ndim == len(shape) and not any(y is a for a in one)
    return numpy.zeros(shape, y.dtype) if new else None


def _product(a: Any, b: Any) -> Any:
    fits = a.ndim == b.ndim >= 2 and a.dtype == b.dtype and a.shape[-1] == b.shape[-2]
    if not fits or a.size + b.size < LARGE or not (a.ndim == 2 or (a.flags.c_contiguous and b.flags.c_contiguous)):
        return None
    lead = numpy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return numpy.zeros((*lead, a.shape[-2], b.shape[-1]), a.dtype)
