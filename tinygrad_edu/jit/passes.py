"""Passes: small functions from a program to a program that does the same with less.

A program is a list of calls on variables that are written once, so each pass is one walk over the list. Calls that
draw random numbers or look at values (kinds "random" and "effect") stay, in their order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy

from ..autograd import Primitive, primitives
from ..kernels.loops import COLUMNS, DTYPES
from ..kernels.registry import is_contiguous
from .fusion import is_view, pattern_of, product_of
from .program import Call, Program, Variable, typed
from .sparse import by_rows

KEPT = ("random", "effect")


def optimize(program: Program, join: bool, product: Callable[[Call], Any] = product_of) -> Program:
    """All passes, in their order. `join`: whether there is machine code, in which arrays are made in their places in a
    joined one, and read by rows, and convolutions need no zeros around their images. `product` says whether machine
    code does a matrix product."""
    program = without_repetitions(lowered(program, product))
    program = frugal(without_dead_code(without_borders(program) if join else program))
    return joined(by_rows(program), product) if join else program


def without_dead_code(program: Program) -> Program:
    """Leaves out the calls whose results nobody uses."""
    needed = {end for end in program.ends() if type(end) is Variable}
    calls = []
    for call in reversed(program.calls):
        if call.primitive.kind in KEPT or not needed.isdisjoint(call.makes()):
            calls.append(call)
            needed.update(call.reads())
    inputs = {variable: source for variable, source in program.inputs.items() if variable in needed}
    return replace(program, inputs=inputs, calls=calls[::-1])


def without_repetitions(program: Program) -> Program:
    """Computes equal calls (the same primitive, operands and attributes) once.

    What a checkpoint computes again is not taken from what it computed first: that would keep it in memory.
    """
    known: dict[Any, Call] = {}
    same: dict[Variable, Variable] = {}
    calls = []
    for call in program.calls:
        call = renamed(call, same)
        key = _identity(call)
        first = known.get(key) if key is not None else None
        if first is None:
            calls.append(call)
            if key is not None:
                known[key] = call
        else:
            same.update(zip(call.makes(), first.makes(), strict=True))
    return replace(program, calls=calls, **_renamed_ends(program, same))


def _identity(call: Call) -> Any:
    """What makes two calls equal, or None for one that is equal to no other."""
    if call.primitive.kind in KEPT:
        return None
    attributes = tuple((name, typed(value)) for name, value in sorted(call.attributes.items()))
    key = call.primitive, call.scope, tuple(map(typed, call.operands)), attributes
    try:
        hash(key)
    except TypeError:
        return None
    return key


def lowered(program: Program, product: Callable[[Call], Any] = product_of) -> Program:
    """Replaces calls by simpler ones that fuse or go to BLAS: x @ w + b that is no `product` itself, reductions over
    all axes of a matrix, `split`, whose parts are places in memory that nothing has to run for, and on CUDA batch
    normalization."""
    calls: list[Call] = []
    for call in program.calls:
        calls.extend((call,) if product(call) is not None else _LOWER.get(call.primitive.name, _unchanged)(call))
    return replace(program, calls=calls)


def without_borders(program: Program) -> Program:
    """Convolves images, and not images with zeros around them: the convolution's own padding is larger by these."""
    makers = {v: call for call in program.calls for v in call.makes()}
    calls: list[Call] = []
    for call in program.calls:
        before = makers.get(call.operands[0]) if call.primitive.name in ("_conv", "_conv_kernel") else None
        if before is not None and _adds_zeros(before):
            geometry, widths = call.attributes["geometry"], before.attributes["widths"][1:-1]
            padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(widths, geometry.padding, strict=True))
            attributes = call.attributes | {"geometry": geometry._replace(padding=padding)}
            call = replace(call, operands=(*before.operands, call.operands[1]), attributes=attributes)
        calls.append(call)
    return replace(program, calls=calls)


def _adds_zeros(call: Call) -> bool:
    """Whether a call puts zeros around images."""
    if call.primitive.name != "_pad" or type(call.attributes["value"]) not in (int, float):
        return False
    first, *_, last = call.attributes["widths"]
    return call.attributes["value"] == 0 and first == last == (0, 0)


def frugal(program: Program) -> Program:
    """Of two products of matrices that follow each other, such as the gradients of an input and of a weight, makes that
    one first after which more memory is free: the other may lie there."""
    calls, roots = list(program.calls), program.roots()
    ends = {roots[end] for end in program.ends() if type(end) is Variable}
    last = {roots[v]: call for call in calls for v in call.reads()}

    def freed(call: Call, other: Call) -> int:
        """The bytes of what nobody reads afterwards, nor the other."""
        read = {roots[v] for v in call.reads()} - {roots[v] for v in other.reads()} - ends - program.inputs.keys()
        return sum(v.nbytes for v in read if last[v] is call)

    products = [i for i, call in enumerate(calls) if call.primitive.name == "_matmul"]
    for i, j in itertools.pairwise(products):
        first, second = calls[i], calls[j]
        between = calls[i + 1 : j]
        if (
            all(call.outputs is not None and is_view(call) for call in between)
            and all(roots[v] is not first.outputs for call in (*between, second) for v in call.reads())
            and freed(second, first) > freed(first, second)
        ):
            calls[i : j + 1] = [*between, second, first]
    return replace(program, calls=calls)


def is_joined(call: Call) -> bool:
    """Whether arrays are joined so that loops can make each in its place in the result: not in very short stretches."""
    y = call.outputs
    if call.primitive.name != "_concatenate" or not is_contiguous(y):
        return False
    fits = y.dtype.name in DTYPES and y.dtype.isnative and all(type(v) is Variable for v in call.operands)
    return fits and all(
        v.dtype == y.dtype and v.size and not any(step % v.dtype.itemsize for step in v.strides) and _is_long(call, v)
        for v in call.operands
    )


def _is_long(call: Call, part: Variable) -> bool:
    axis = call.attributes["axis"]
    return axis == 0 or math.prod(part.shape[axis:]) >= COLUMNS


def joined(program: Program, product: Callable[[Call], Any] = product_of) -> Program:
    """Copies what is joined but cannot be made in its place alone: inputs, what Python calls make, what is joined
    twice, what lies there in several stretches."""
    roots, calls = program.roots(), list[Call]()
    makers = {v: call for call in program.calls for v in call.makes() if v.view is None}
    taken: set[Variable] = set()
    for call in program.calls:
        operands = list(call.operands)
        for i, a in enumerate(operands if is_joined(call) else ()):
            root = roots[a]
            maker = makers.get(root)
            fits = call.attributes["axis"] == 0 and root.size == a.size and is_contiguous(a) and is_contiguous(root)
            is_made = maker and (pattern_of(maker) is not None or product(maker) is not None)
            if is_made and fits and root not in taken:
                taken.add(root)
                continue
            operands[i] = copy = Variable(a.shape, a.dtype, call.outputs.strides)
            attributes = {"dtype": a.dtype, "source": a.dtype}
            calls.append(Call(primitives["convert"], (a,), attributes, copy, call.xp, scope=call.scope))
        calls.append(replace(call, operands=tuple(operands)) if is_joined(call) else call)
    return replace(program, calls=calls)


def _unchanged(call: Call) -> Iterable[Call]:
    return (call,)


def _lower_linear(call: Call) -> Iterable[Call]:
    x, weight, bias = call.operands
    y = call.outputs
    product = Variable(y.shape, y.dtype, y.strides)
    yield Call(primitives["_matmul"], (x, weight), {}, product, call.xp, scope=call.scope)
    yield Call(primitives["add"], (product, bias), {}, y, call.xp, scope=call.scope)


def _lower_full_reduction(call: Call) -> Iterable[Call]:
    """First along the last axis, then over the rest: two steps that can run by rows."""
    (a,) = call.operands
    axes, y = call.attributes["axes"], call.outputs
    if not axes:
        return (Call(primitives["convert"], (a,), {"dtype": y.dtype, "source": a.dtype}, y, call.xp, scope=call.scope),)
    if len(axes) != a.ndim or a.ndim < 2 or a.size == 0 or call.attributes["keepdims"]:
        return (call,)
    shape = a.shape[:-1]
    strides = [y.dtype.itemsize]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)
    rows = Variable(shape, y.dtype, tuple(strides))
    first = Call(call.primitive, (a,), {"axes": (a.ndim - 1,), "keepdims": False}, rows, call.xp, scope=call.scope)
    rest = {"axes": tuple(range(a.ndim - 1)), "keepdims": False}
    return (first, *_lower_full_reduction(Call(call.primitive, (rows,), rest, y, call.xp, scope=call.scope)))


def _lower_mean(call: Call) -> Iterable[Call]:
    """The sum, divided by the number of elements."""
    (a,), y = call.operands, call.outputs
    if a.dtype != y.dtype or not a.size:
        return (call,)
    total = Variable(y.shape, y.dtype, y.strides)
    first = Call(primitives["_sum"], (a,), call.attributes, total, call.xp, scope=call.scope)
    second = Call(primitives["divide"], (total, a.size // max(1, y.size)), {}, y, call.xp, scope=call.scope)
    return (*_lower_full_reduction(first), second)


def _lower_batch_norm(call: Call) -> Iterable[Call]:
    """On CUDA the moments alone: y is computed by what fuses with it."""
    x, weight, bias = call.operands
    (y, *found), residuals = call.outputs
    if call.xp is numpy or call.attributes["axis"] != x.ndim - 1:
        yield call
        return
    average, inverse = residuals
    epsilon = {"epsilon": call.attributes["epsilon"]}
    yield Call(primitives["_moments"], (x,), epsilon, (*found, *residuals), call.xp, scope=call.scope)
    for name, part in (("subtract", average), ("multiply", inverse), ("multiply", weight), ("add", bias)):
        made = y if part is bias else Variable(y.shape, y.dtype, y.strides)
        yield Call(primitives[name], (x, part), {}, made, call.xp, scope=call.scope)
        x = made


def _part_of(xp: Any, a: Any, *, start: int, stop: int, axis: int) -> Any:
    return a[(slice(None),) * axis + (slice(start, stop),)]


_part = Primitive(_part_of, "view")


def _lower_split(call: Call) -> Iterable[Call]:
    """Each part by itself."""
    ends, axis = call.attributes["ends"], call.attributes["axis"]
    for start, stop, part in zip((0, *ends[:-1]), ends, call.outputs, strict=True):
        place = {"start": start, "stop": stop, "axis": axis}
        yield Call(_part, call.operands, place, part, call.xp, scope=call.scope)


_LOWER = {
    "_batch_norm": _lower_batch_norm,
    "_linear": _lower_linear,
    "_mean": _lower_mean,
    "_split": _lower_split,
    **dict.fromkeys(("_sum", "_max", "_min"), _lower_full_reduction),
}


def renamed(call: Call, names: dict[Variable, Variable]) -> Call:
    """The call on other variables."""
    if names.keys().isdisjoint(call.reads()):
        return call
    return replace(call, operands=tuple(names.get(a, a) if type(a) is Variable else a for a in call.operands))


def _renamed_ends(program: Program, names: dict[Variable, Variable]) -> dict[str, Any]:
    def new(end: Any) -> Any:
        return names.get(end, end) if type(end) is Variable else end

    return {
        "results": [new(end) for end in program.results],
        "writes": [(target, new(end)) for target, end in program.writes],
    }
