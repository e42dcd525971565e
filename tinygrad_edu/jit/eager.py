"""Large work in eager mode: an operation of several steps, or the gradient rules of one, as fused loops.

NumPy runs `g * (1 - y * y)` as three loops, each through memory, and has no vector code for `erf`. Such a function is
recorded once, as a whole step is under `jit`, and becomes machine code: what is element-wise for arrays of any length,
all else for its shapes, dtypes and strides. LLVM takes some tens of milliseconds for that (the disk keeps the result),
so there must be enough work to be worth the wait. This depends on the shapes alone, never on how often a call was
made: equal calls give equal bits, also after a resumption.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from numpy import ndarray

from ..autograd import Primitive
from ..kernels import pool
from ..kernels.registry import has_compiler
from ..state import Switch
from ..tree import leaves, rebuild
from .step import FAILURES

KINDS = ("elementwise", "reduction", "composite")
"""Of primitives that become loops."""
OPERATIONS = 256
"""How many are kept in each thread, those used last."""
CONSTANT = ("epsilon", "smoothing")
"""Attributes that are numbers which do not change from call to call."""
FEW = 16
"""Elements of the arrays with which an element-wise function is recorded."""


class _Here(threading.local):
    def __init__(self) -> None:
        self.operations: OrderedDict[Any, Callable[[list[Any]], Any] | None] = OrderedDict()


_here = _Here()


def forward(primitive: Primitive, arrays: Sequence[Any], attributes: dict[str, Any]) -> Any:
    """What a primitive makes of arrays; None where its own function is as fast."""
    if primitive.kind not in KINDS or primitive.has_residuals or not has_compiler():
        return None
    if primitive.is_single and _are_alike(arrays):
        return None
    return _run(primitive, primitive.forward, primitive, arrays, attributes)


def rules(
    primitive: Primitive, needs: Sequence[bool], residuals: Any, g: Any, y: Any, args: Sequence[Any], attributes: Any
) -> list[Any] | None:
    """The gradients of those arguments that need one; None where the rules themselves are as fast."""
    if primitive.kind not in KINDS or not has_compiler():
        return None

    def gradients(residuals: Any, *parts: Any, **attributes: Any) -> list[Any]:
        if primitive.vjps is None:
            found = primitive.joint(list(needs), residuals, *parts, **attributes)
            return [d if need else None for d, need in zip(found, needs, strict=True)]
        return [rule(*parts, **attributes) if need else None for rule, need in zip(primitive.vjps, needs, strict=False)]

    which = primitive.vjps or primitive.joint, *needs
    found: list[Any] | None = _run(primitive, which, gradients, (residuals, g, y, *args), attributes)
    return found


def _are_alike(parts: Sequence[Any]) -> bool:
    return len({a.shape for a in parts if hasattr(a, "shape")}) == 1


def _run(
    primitive: Primitive, which: Any, function: Callable[..., Any], given: Sequence[Any], attributes: dict[str, Any]
) -> Any:
    parts = list(leaves(given))
    changing = (value for name, value in attributes.items() if name not in CONSTANT)
    if float in map(type, (*parts, *changing)):  # which may be another one in each call
        return None
    arrays = [a for a in parts if type(a) is ndarray]
    any_length = primitive.kind == "elementwise" and _are_alike(arrays) and all(a.flags.c_contiguous for a in arrays)
    forms = [a if type(a) is not ndarray else a.dtype if any_length else (a.shape, a.strides, a.dtype) for a in parts]
    key = (which, pool.threads(), any_length, *forms, *attributes.items())
    operations = _here.operations
    try:
        operation = operations[key]
        operations.move_to_end(key)
    except KeyError:
        operation = operations[key] = _recorded(any_length, function, given, attributes)
        if len(operations) > OPERATIONS:
            operations.popitem(last=False)
    except TypeError:  # something that cannot be hashed
        return None
    return None if operation is None else operation(arrays)


def _recorded(
    any_length: bool, function: Callable[..., Any], given: Sequence[Any], attributes: dict[str, Any]
) -> Callable[[list[Any]], Any] | None:
    """The function as loops; None if there are none, or they are not worth it."""
    from . import operation
    from .trace import Trace

    def of_arrays(*tracers: Any) -> Any:
        rest = iter(tracers)
        parts = (next(rest) if type(a) is ndarray else a for a in leaves(given))
        return function(*rebuild(given, parts), **attributes)

    arrays = [a for a in leaves(given) if type(a) is ndarray]
    if any_length:
        arrays = [numpy.zeros(FEW, a.dtype) for a in arrays]
    trace = Trace()
    try:
        with Switch("grad_enabled", False), numpy.errstate(all="ignore"):
            kinds = trace.run(of_arrays, tuple(arrays), {})
    except FAILURES:  # it looks at values, which are not the real ones: the function itself says what is wrong
        return None
    return (operation.of_any_length if any_length else operation.of_one_shape)(trace.program, kinds)
