"""Rows of the table: an operation, what it should compute, and sample inputs, all as data.

A sample describes its arrays (`R(2, 3)`: real numbers of that shape) and is turned into arrays where it is used, for a
dtype, always with the same numbers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from ..backend import seed

SEED = 0
Move = Callable[[Any], Any]


@dataclass(frozen=True)
class Draw:
    """An array to be made: random numbers of a kind ("f", "i", "b") and shape, or given values.

    `layout` says how it lies in memory: "" in rows, "T" transposed, "S" with gaps, "N" backward.
    """

    kind: str
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    layout: str = ""
    values: Any = None

    def make(self, random: numpy.random.Generator, dtype: Any, domain: tuple[float, float], move: Move) -> Any:
        low, high = (domain[0] if self.low is None else self.low), (domain[1] if self.high is None else self.high)
        shape = {"T": self.shape[::-1], "S": (*self.shape[:-1], 2 * math.prod(self.shape[-1:]))}.get(
            self.layout, self.shape
        )
        if self.values is not None:
            made = numpy.array(self.values)
        elif self.kind == "f":
            made = numpy.asarray(random.uniform(low, high, shape)).astype("float32")
        elif self.kind == "i":
            made = numpy.asarray(random.integers(math.ceil(low), math.floor(high) + 1, shape))
        else:
            made = numpy.asarray(random.uniform(0, 1, shape) < 0.6)
        made = move(made.astype(dtype) if self.kind == "f" else made)
        if self.layout == "T":
            return made.T
        if self.layout == "S":
            return made[..., ::2]
        return made[::-1, ..., ::-1] if self.layout == "N" else made


def R(*shape: int, low: float | None = None, high: float | None = None, layout: str = "") -> Draw:
    """Real numbers between the bounds, by default those of the row's domain."""
    return Draw("f", shape, low, high, layout)


def Z(*shape: int, low: float | None = None, high: float | None = None, layout: str = "") -> Draw:
    """Integers, bounds included."""
    return Draw("i", shape, low, high, layout)


def B(*shape: int) -> Draw:
    """Booleans, about three of five true."""
    return Draw("b", shape)


def V(values: Any) -> Draw:
    """An array of the given values."""
    array = numpy.asarray(values)
    return Draw(array.dtype.kind, array.shape, values=values)


@dataclass(frozen=True)
class Sample:
    """One call: arguments, in which each Draw stands for an array, keywords, how often to differentiate (`order`)."""

    args: tuple[Any, ...]
    keywords: dict[str, Any]
    order: int = 2

    @property
    def cost(self) -> int:
        return sum(math.prod(draw.shape) for draw in draws(self.args))


def S(*args: Any, **keywords: Any) -> Sample:
    return Sample(args, keywords)


def S0(*args: Any, **keywords: Any) -> Sample:
    """A sample for the forward pass only: infinite values, or no gradient in the mathematics."""
    return Sample(args, keywords, order=0)


def draws(value: Any) -> Iterator[Draw]:
    """The Draws in a value, also inside of lists and tuples."""
    if isinstance(value, Draw):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from draws(item)


def fill(value: Any, arrays: Iterator[Any]) -> Any:
    """The value with the next of `arrays` in place of each Draw."""
    if isinstance(value, Draw):
        return next(arrays)
    if isinstance(value, (list, tuple)):
        return type(value)(fill(item, arrays) for item in value)
    return value


@dataclass(frozen=True)
class Row:
    """An operation of the table.

    Attributes:
        name: the function's name in `tinygrad_edu`.
        function: the operation.
        reference: what it should compute, by NumPy and SciPy alone, in float64.
        samples: the calls to try.
        order: how often it can be differentiated (a sample may say less).
        domain: bounds of the random numbers.
        slack: how many rounding errors the result may be off by, in units of the largest magnitude (at least 1).
        random: whether it draws random numbers; then it is called with the seed SEED.
    """

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    samples: tuple[Sample, ...]
    order: int = 2
    domain: tuple[float, float] = (-2.0, 2.0)
    slack: float = 8.0
    random: bool = False

    def arrays(self, number: int, dtype: Any = "float64", move: Move = lambda array: array) -> list[Any]:
        """The arrays of a sample, by its number. `move` puts an array on a device, where it gets its layout."""
        random = numpy.random.default_rng([zlib.crc32(self.name.encode()), number])
        return [draw.make(random, dtype, self.domain, move) for draw in draws(self.samples[number].args)]

    def call(self, number: int, arrays: Sequence[Any]) -> Any:
        """The operation on a sample, with `arrays` (or tensors) as its arrays."""
        sample = self.samples[number]
        if self.random:
            seed(SEED)
        return self.function(*fill(sample.args, iter(arrays)), **sample.keywords)

    def expected(self, number: int, arrays: Sequence[Any]) -> Any:
        """What the operation should give for NumPy arrays; floating ones are taken in float64."""
        sample = self.samples[number]
        wide = [a.astype("float64") if a.dtype.kind == "f" else a for a in arrays]
        with numpy.errstate(all="ignore"):
            return self.reference(*fill(sample.args, iter(wide)), **sample.keywords)

    def sample_order(self, number: int) -> int:
        """How often a sample can be differentiated: 0 if it has no floating array or the operation has no gradient."""
        sample = self.samples[number]
        floats = any(draw.kind == "f" for draw in draws(sample.args))
        return min(self.order, sample.order) if floats else 0
