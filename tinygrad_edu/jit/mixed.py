"""Mixed precision on CUDA: factors of matrix products are rounded to 16 bits once, by the loops that make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy

from ..autograd import primitives
from .fusion import is_dense, is_view
from .program import Call, Program, Variable, new_variable


def half(name: str) -> numpy.dtype[Any]:
    """The dtype of 16 bits with that name; NumPy has no bfloat16 of its own."""
    if name == "float16":
        return numpy.dtype(name)
    import ml_dtypes

    return numpy.dtype(ml_dtypes.bfloat16)


def with_rounded_factors(program: Program, dtype: numpy.dtype[Any], product: Callable[[Call], Any]) -> Program:
    """The program whose products of float32 multiply factors of that dtype, so far as `product` says that machine code
    does them; their results are float32 as before."""
    views = {call.outputs: call for call in program.calls if is_view(call)}
    rounded: dict[Variable, Variable] = {}
    calls: list[Call] = []

    def factor(v: Variable, like: Call) -> Variable:
        """What is multiplied in place of `v`: of a view that is the whole, such as a transpose, the view of the rounded
        whole, so that all products share that. It keeps its layout only if it has no gaps."""
        if v not in rounded:
            view = views.get(v)
            if view is not None and view.operands[0].size == v.size and is_dense(view.operands[0]):
                whole = factor(view.operands[0], like)
                strides = tuple(step * dtype.itemsize // v.dtype.itemsize for step in v.strides)
                rounded[v] = Variable(v.shape, dtype, strides, v.view)
                calls.append(replace(view, operands=(whole, *view.operands[1:]), outputs=rounded[v]))
            else:
                rounded[v] = _laid_out_as(v, dtype)
                attributes = {"dtype": dtype, "source": v.dtype}
                calls.append(Call(primitives["convert"], (v,), attributes, rounded[v], like.xp, scope=like.scope))
        return rounded[v]

    for call in program.calls:
        if product(call) is not None and call.outputs.dtype == "float32":
            a, b, *bias = call.operands
            call = replace(call, operands=(factor(a, call), factor(b, call), *bias))
        calls.append(call)
    return replace(program, calls=calls)


def _laid_out_as(v: Variable, dtype: numpy.dtype[Any]) -> Variable:
    strides = v.strides if is_dense(v) else new_variable(v.shape, v.dtype.name).strides
    return Variable(v.shape, dtype, tuple(step * dtype.itemsize // v.dtype.itemsize for step in strides))
