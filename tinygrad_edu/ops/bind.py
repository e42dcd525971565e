"""Attaches operators and methods to Tensor. It is imported last, when every operation exists."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy

from ..autograd import HostNumber, Tensor, Tracer, on_host
from ..errors import GradientError, message
from ..state import state
from . import device, elementwise, indexing, linalg, reductions, shape, sorting

OPERATORS: dict[str, Callable[..., Any]] = {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "pow": elementwise.power,
    "matmul": linalg.matmul,
    "and": elementwise.logical_and,
    "or": elementwise.logical_or,
    "xor": elementwise.logical_xor,
}

ARITHMETIC: dict[str, tuple[str, Callable[..., Any]]] = {
    "add": ("{} + {}", operator.add),
    "sub": ("{} - {}", operator.sub),
    "mul": ("{} * {}", operator.mul),
    "truediv": ("{} / {}", operator.truediv),
    "floordiv": ("{} // {}", operator.floordiv),
    "mod": ("{} % {}", operator.mod),
    "pow": ("({}) ** {}", operator.pow),  # -2 ** n would be -(2 ** n)
}
"""What traced Python numbers do among themselves."""

COMPARISONS: dict[str, Callable[..., Any]] = {
    "eq": elementwise.equal,
    "ne": elementwise.not_equal,
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
}

UNARY: dict[str, Callable[..., Any]] = {
    "neg": elementwise.negative,
    "abs": elementwise.absolute,
    "invert": elementwise.logical_not,
}

METHODS: tuple[Callable[..., Any], ...] = (
    *(elementwise.astype, elementwise.exp, elementwise.log, elementwise.sqrt, elementwise.tanh, elementwise.clip),
    *(elementwise.square, elementwise.round),
    *(reductions.sum, reductions.mean, reductions.max, reductions.min, reductions.prod, reductions.var, reductions.std),
    *(reductions.any, reductions.all, reductions.argmax, reductions.argmin, reductions.cumsum),
    *(reductions.cumprod, sorting.sort, sorting.argsort),
    *(shape.reshape, shape.ravel, shape.swapaxes, shape.squeeze, shape.expand_dims, shape.repeat, shape.diagonal),
    *(linalg.dot, linalg.trace, indexing.take, device.to),
)


def _unary(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: operation(self)


def _binary(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: operation(self, other)


def _reflected(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: operation(other, self)


def _in_place(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    def assign(self: Tensor, other: Any) -> Any:
        if self.requires_grad and self.is_leaf and not state.grad_enabled:
            hint = "tensors are values, this would make another one; overwrite it by w.assign_(w - ...)."
            raise GradientError(message(f"in-place {name}", "no parameter under no_grad", "one", hint))
        return operation(self, other)

    return assign


def _method(operation: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **keywords: Any) -> Any:
        return operation(self, *args, **keywords)

    method.__name__ = operation.__name__
    method.__doc__ = operation.__doc__
    return method


def _transpose(self: Tensor, *axes: Any) -> Any:
    """The axes in another order, reversed by default: `x.transpose()`, `x.transpose(1, 0)` or `x.transpose((1, 0))`."""
    return shape.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)


def _on_numbers(
    text: str, on_numbers: Callable[..., Any], operation: Callable[..., Any] | None, reflected: bool
) -> Callable[..., Any]:
    """An operator of a traced number: arithmetic with numbers, an operation with arrays."""

    def apply(self: HostNumber, other: Any) -> Any:
        a, b = (other, self) if reflected else (self, other)
        if isinstance(other, (numpy.generic, numpy.ndarray)) and other.ndim == 0:
            # in NumPy's precision, as without jit, but the result is to be weak: a Python number
            return on_host(lambda a, b: on_numbers(a, b).item(), a, b)
        if isinstance(other, (int, float, HostNumber)):
            return self._computed(text, on_numbers, a, b)
        return NotImplemented if operation is None else operation(a, b)

    return apply


def _of_tracer(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Tracer: it refuses a tracer that was kept."""

    @functools.wraps(method)
    def checked(self: Tracer, *args: Any, **keywords: Any) -> Any:
        self.check_open()
        return method(self, *args, **keywords)

    return checked


def bind() -> tuple[str, ...]:
    """Returns the names of the methods and operators that tensors have now."""
    methods: dict[str, Callable[..., Any]] = {"__getitem__": _binary(indexing.getitem), "transpose": _transpose}
    for name, operation in OPERATORS.items():
        methods |= {f"__{name}__": _binary(operation), f"__r{name}__": _reflected(operation)}
    methods |= {f"__{name}__": _binary(operation) for name, operation in COMPARISONS.items()}
    methods |= {f"__{name}__": _unary(operation) for name, operation in UNARY.items()}
    methods |= {operation.__name__: _method(operation) for operation in METHODS}
    for name, method in methods.items():
        setattr(Tensor, name, method)
        setattr(Tracer, name, _of_tracer(method))
    for kind, transpose in ((Tensor, _transpose), (Tracer, _of_tracer(_transpose))):
        setattr(kind, "T", property(transpose, doc="The tensor with its axes reversed."))
    for name, operation in OPERATORS.items():
        setattr(Tensor, f"__i{name}__", _in_place(name, operation))
    for name, (text, on_numbers) in ARITHMETIC.items():
        on_arrays = OPERATORS.get(name)
        setattr(HostNumber, f"__{name}__", _on_numbers(text, on_numbers, on_arrays, reflected=False))
        setattr(HostNumber, f"__r{name}__", _on_numbers(text, on_numbers, on_arrays, reflected=True))
    return tuple(methods)


BOUND = bind()
