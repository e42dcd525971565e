"""Large work in eager mode: an operation of several steps, or the gradient rules of one, as fused loops.

NumPy runs `g * (1 - y * y)` as three loops, each through memory, and has no vector code for `erf`. Such a function is
recorded once, as a whole step is under `jit`, and becomes machine code: what is element-wise for arrays of any length,
what does the same with each row for any number of rows, all else for its shapes, dtypes and strides. LLVM takes some
tens of milliseconds for that (the disk keeps the result), so there must be enough work to be worth the wait. This
depends on the shapes alone, never on how often a call was made: equal calls give equal bits, also after a resumption.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from numpy import ndarray

from ..autograd import Primitive, Spec
from ..kernels import pool
from ..kernels.registry import has_compiler
from ..state import Switch
from ..tree import leaves, mapped, rebuild
from .program import Program, typed
from .step import FAILURES

KINDS = ("elementwise", "reduction", "composite")
"""Of primitives that become loops."""
OPERATIONS = 256
"""How many are kept in each thread, those used last; and of how many it is known that they are left to NumPy."""
FORMED = (ndarray, Spec)
"""What has a shape and a dtype."""
CONSTANT = ("epsilon", "smoothing")
"""Attributes that are numbers which do not change from call to call."""


class _Here(threading.local):
    def __init__(self) -> None:
        self.operations: OrderedDict[Any, Callable[[list[Any]], Any]] = OrderedDict()
        self.refused: OrderedDict[Any, None] = OrderedDict()


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
    return len({a.shape for a in parts if type(a) in FORMED}) == 1


def _run(
    primitive: Primitive, which: Any, function: Callable[..., Any], given: Sequence[Any], attributes: dict[str, Any]
) -> Any:
    parts = list(leaves(given))
    changing = (value for name, value in attributes.items() if name not in CONSTANT)
    if float in map(type, (*parts, *changing)):  # which may be another one in each call
        return None
    arrays, shape = [a for a in parts if type(a) is ndarray], None
    in_order = all(a.flags.c_contiguous for a in arrays)
    if in_order and primitive.kind == "elementwise" and _are_alike(parts):
        shape = arrays[0].shape  # all of them are as good
        parts = [_flat(a) if type(a) in FORMED else a for a in parts]
        arrays = [a for a in parts if type(a) is ndarray]
    length = max((a.ndim, *a.shape[:1]) for a in arrays)[-1] if in_order else 0

    def recorded(parts: Sequence[Any]) -> tuple[Program, Any] | None:
        return _recorded(function, given, parts, attributes)

    operation = _operation(which, parts, attributes, length, recorded) if length > 1 else None
    operation = operation or _operation(which, parts, attributes, 0, recorded)
    made = None if operation is None else operation(arrays)
    return made if shape is None else mapped(lambda y: None if y is None else y.reshape(shape), made)


def _flat(a: Any) -> Any:
    return a.reshape(-1) if type(a) is ndarray else Spec((math.prod(a.shape),), a.dtype)


def _operation(
    which: Any, parts: Sequence[Any], attributes: dict[str, Any], length: int, recorded: Callable[[Sequence[Any]], Any]
) -> Callable[[list[Any]], Any] | None:
    """What does it for such arrays, made now or kept from an earlier call: if there is a `length`, for all that differ
    in this length of their first axis only. None if nothing does."""
    from . import operation

    key = (
        which,
        pool.threads(),
        *(_form(a, length) if type(a) in FORMED else typed(a) for a in parts),
        *map(typed, attributes.items()),
    )
    operations, refused = _here.operations, _here.refused
    try:
        if key in operations:
            operations.move_to_end(key)
            return operations[key]
        if key in refused:
            refused.move_to_end(key)
            return None
    except TypeError:  # something that cannot be hashed
        return None
    made = operation.of_any_length(parts, length, recorded) if length else operation.of_one_shape(recorded(parts))
    kept: OrderedDict[Any, Any] = refused if made is None else operations
    kept[key] = made
    if len(kept) > OPERATIONS:
        kept.popitem(last=False)
    return made


def _form(a: Any, length: int) -> tuple[Any, ...]:
    """What two arrays have in common that are treated alike."""
    shape = (..., *a.shape[1:]) if length and a.shape[:1] == (length,) else a.shape
    return type(a), shape, a.dtype, None if length or type(a) is Spec else a.strides


def _recorded(
    function: Callable[..., Any], given: Sequence[Any], parts: Sequence[Any], attributes: dict[str, Any]
) -> tuple[Program, Any] | None:
    """The function of these parts of what is given as a program, with the form of what it returns; None if it looks at
    values, which are not the real ones, or the parts are wrong: the function itself says how."""
    from .trace import Trace

    def of_arrays(*tracers: Any) -> Any:
        rest = iter(tracers)
        return function(*rebuild(given, (next(rest) if type(a) is ndarray else a for a in parts)), **attributes)

    trace = Trace()
    try:
        with Switch("grad_enabled", False), numpy.errstate(all="ignore"):
            kinds = trace.run(of_arrays, tuple(a for a in parts if type(a) is ndarray), {})
    except FAILURES:
        return None
    return trace.program, kinds
