"""Program: what a trace has recorded. One straight list of primitive calls, and what goes in and comes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy

from ..autograd import Primitive, Tensor, refuse
from ..backend import Array
from ..tree import leaves


@dataclass(eq=False, slots=True)
class Variable:
    """An array of the program: one input, or one output of one call. It is never written twice.

    Attributes:
        shape, dtype, strides: as NumPy has them.
        view: for a part of an operand's memory, the position of that operand in the call that made it.
    """

    shape: tuple[int, ...]
    dtype: numpy.dtype[Any]
    strides: tuple[int, ...]
    view: int | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


def new_variable(shape: tuple[int, ...], dtype: str) -> Variable:
    """One that lies in memory in its order."""
    kind = numpy.dtype(dtype)
    return Variable(shape, kind, tuple(kind.itemsize * math.prod(shape[i + 1 :]) for i in range(len(shape))))


@dataclass(frozen=True, slots=True)
class Scalar:
    """A Python number of the program, by its name."""

    name: str


@dataclass(eq=False, slots=True)
class Call:
    """One call of a primitive.

    Attributes:
        operands: Variables, Scalars, Python numbers and None.
        attributes: the keyword arguments; numbers among them may be Scalars.
        outputs: a Variable, or tuples of Variables and None, nested as `forward` returns them.
        xp: the array module.
        scope: 0, or a number for what a checkpoint computed again.
        redraws: for random numbers drawn again, the call that drew them first.
    """

    primitive: Primitive
    operands: tuple[Any, ...]
    attributes: dict[str, Any]
    outputs: Any
    xp: Any
    scope: int = 0
    redraws: Call | None = None

    def reads(self) -> Iterator[Variable]:
        return (a for a in self.operands if type(a) is Variable)

    def makes(self) -> Iterator[Variable]:
        return (v for v in leaves(self.outputs) if v is not None)


@dataclass(frozen=True, slots=True)
class Argument:
    """An input: the array at that place of the (flattened) arguments."""

    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """An input: an array that existed before the call, such as a parameter's. It is read anew at each call."""

    array: Array


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """An input or a target: the `.grad` of a tensor."""

    tensor: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """A target: the Python number of that name among `values`."""

    values: dict[str, Any]
    name: str


@dataclass(frozen=True, slots=True)
class HostCall:
    """A Python number computed on the host: `name = function(*operands)`; `text` is how it can be written inline."""

    name: str
    function: Callable[..., Any]
    operands: tuple[Any, ...]
    text: str | None = None


@dataclass(slots=True)
class Program:
    """Everything that one traced call did, in order.

    Attributes:
        inputs: where each Variable comes from that no call makes.
        host: the arithmetic on Python numbers; it needs no arrays and comes first.
        calls: the primitives, in the order in which they were called.
        writes: what is changed at the end: (target, the Variable, Scalar or number to put there).
        results: the (flattened) results.
    """

    inputs: dict[Variable, Any] = field(default_factory=dict)
    host: list[HostCall] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    writes: list[tuple[Any, Any]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)

    def gradients(self) -> list[Tensor]:
        """The tensors whose `.grad` it reads."""
        return [source.tensor for source in self.inputs.values() if type(source) is Gradient]

    def roots(self) -> dict[Variable, Variable]:
        """For each variable the one that holds its memory: itself, or what it is a view of."""
        found = {variable: variable for variable in self.inputs}
        for call in self.calls:
            for v in call.makes():
                found[v] = v if v.view is None else found[call.operands[v.view]]
        return found

    def before(self, operand: Any) -> Callable[[], Any]:
        """A function that computes a Python number of the program before a call, from attributes."""
        if type(operand) is not Scalar:
            return lambda: operand
        call = next(call for call in self.host if call.name == operand.name)
        if call.function is None:
            hint = "pass it by keyword: then each value is recorded anew."
            refuse("decisions by numbers that attributes hold", "an argument", hint)
        compute, parts = call.function, [self.before(part) for part in call.operands]
        return lambda: compute(*(part() for part in parts))

    def ends(self) -> Iterator[Any]:
        """What must be known at the end: the results and what is written."""
        yield from self.results
        yield from (value for _, value in self.writes)


def typed(value: Any) -> Any:
    """What tells constants apart: True, 1 and 1.0 are equal, and so are 0.0 and -0.0, but not the same."""
    if isinstance(value, (tuple, frozenset)):
        return type(value), *map(typed, value)
    return (type(value), repr(value)) if isinstance(value, float) else (type(value), value)
