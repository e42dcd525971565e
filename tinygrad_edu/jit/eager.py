"""Large work in eager mode: an operation of several steps, or the gradient rules of one, as fused loops.

NumPy runs `g * (1 - y * y)` as three loops, each through memory, and has no vector code for `erf`. Such a function is
recorded once for shapes, dtypes and strides, as a whole step is under `jit`, and becomes machine code. LLVM takes some
tens of milliseconds for that (the disk keeps the result), so there must be enough work to be worth the wait. This
depends on the shapes alone, never on how often a call was made: equal calls give equal bits, also after a resumption.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..autograd import Primitive
from ..errors import TraceError
from ..kernels import pool
from ..kernels.registry import has_compiler
from ..state import Switch
from ..tree import leaves, rebuild

if TYPE_CHECKING:
    from .operation import Operation

KINDS = ("elementwise", "reduction", "composite")
"""Of primitives that become loops."""
OPERATIONS = 256
"""How many are kept in each thread, those used last."""


class _Here(threading.local):
    def __init__(self) -> None:
        self.operations: OrderedDict[Any, Operation | None] = OrderedDict()


_here = _Here()


def forward(primitive: Primitive, arrays: Sequence[Any], attributes: dict[str, Any]) -> Any:
    """What a primitive makes of arrays; None where its own function is as fast."""
    if primitive.kind not in KINDS or primitive.has_residuals or not has_compiler():
        return None
    if primitive.is_single and len({a.shape for a in arrays if hasattr(a, "shape")}) == 1:
        return None
    return _run(primitive.forward, primitive, arrays, attributes)


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

    what = primitive.vjps or primitive.joint, *needs
    found: list[Any] | None = _run(what, gradients, (residuals, g, y, *args), attributes)
    return found


def _run(what: Any, function: Callable[..., Any], given: Sequence[Any], attributes: dict[str, Any]) -> Any:
    parts = list(leaves(given))
    if float in map(type, parts):  # which may be another one in each call
        return None
    arrays = [a for a in parts if type(a) is numpy.ndarray]
    forms = [(a.shape, a.strides, a.dtype) if type(a) is numpy.ndarray else a for a in parts]
    key = (what, pool.threads(), *forms, *attributes.items())
    operations = _here.operations
    try:
        operation = operations[key]
        operations.move_to_end(key)
    except KeyError:
        operation = operations[key] = _recorded(function, given, arrays, attributes)
        if len(operations) > OPERATIONS:
            operations.popitem(last=False)
    except TypeError:  # something that cannot be hashed
        return None
    return None if operation is None else operation(arrays)


def _recorded(
    function: Callable[..., Any], given: Sequence[Any], arrays: list[Any], attributes: dict[str, Any]
) -> Operation | None:
    """The function as a plan; None if that is not worth it."""
    from .operation import Operation, is_worth
    from .trace import Trace

    def of_arrays(*tracers: Any) -> Any:
        rest = iter(tracers)
        parts = (next(rest) if type(a) is numpy.ndarray else a for a in leaves(given))
        return function(*rebuild(given, parts), **attributes)

    trace = Trace()
    try:
        with Switch("grad_enabled", False):
            kinds = trace.run(of_arrays, tuple(arrays), {})
    except TraceError:  # it looks at values
        return None
    return Operation(trace.program, kinds) if is_worth(trace.program) else None
