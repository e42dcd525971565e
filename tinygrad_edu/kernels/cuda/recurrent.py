"""What LSTM, GRU and the simple RNN have in common on CUDA: a product and a kernel of `recurrent.cu` a step, products
over all steps before and behind these."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..gemm import Gemm
from ..loops import Builder, Operand
from ..native import Launch
from ..registry import Made, Recipe
from ..steps import SIZES
from . import halves
from .launches import Moved, Step
from .steps import TYPES
from .written import Written

THREADS = 128
"""Of a block: few, for a step has few elements, which are to be spread over a card."""
MOST = 1 << 31
"""Units of all rows, which a kernel counts in 32 bits."""


def slots(first: int, made: Sequence[Made | None]) -> list[Any]:
    """The slot of each array, from that one on; None for one that is not made."""
    numbers = itertools.count(first)
    return [None if form is None else next(numbers) for form in made]


def recipe(made: Sequence[Made | None], outputs: int, steps: Sequence[Step]) -> Recipe:
    """That makes these, the first of which are outputs."""
    there = tuple(form for form in made if form is not None)
    return Recipe(there[:outputs], tuple(steps), there[outputs:])


class Network(NamedTuple):
    """The sizes of a call, and the steps that are made of them. Arrays are given by their slots; how they lie is said
    in `recurrent.cu`."""

    dtype: str
    batch: int
    time: int
    features: int
    units: int
    gates: int
    reverse: bool

    @classmethod
    def of(cls, x: Any, recurrent: Any, reverse: bool) -> Network | None:
        """None if it is too large."""
        (batch, time, features), (units, columns) = x.shape, recurrent.shape
        found = cls(x.dtype.name, batch, time, features, units, columns // units, reverse)
        return found if batch * units < MOST else None

    def by_step(self, blocks: int) -> Made:
        """An array of so many columns for each unit, at each step."""
        return (self.time, self.batch, blocks * self.units), self.dtype

    def by_row(self, blocks: int) -> Made:
        """The same, a row of the batch after the other."""
        return (self.batch, self.time, blocks * self.units), self.dtype

    def once(self, blocks: int) -> Made:
        """The same for a single step."""
        return (self.batch, blocks * self.units), self.dtype

    def rounded(self, made: Made) -> Made | None:
        """Such an array again, in 16 bits for products; None if these take the array itself."""
        return halves.factors(made) if halves.half_of(self.dtype) else None

    @property
    def states(self) -> Made:
        return (self.time + 1, self.batch, self.units), self.dtype

    @property
    def first(self) -> Made:
        """What `first_steps` writes."""
        return (self.batch,), "int64"

    def gradients(self, needs: tuple[bool, ...], x: Any, kernel: Any, recurrent: Any, *more: Any) -> tuple[Any, ...]:
        """The gradients that are made: of these, of the bias and of the initial states; only the states' are always."""
        shapes = (*(tuple(a.shape) for a in (x, kernel, recurrent)), *more)
        needed = (*needs[:4], *(True for _ in shapes[4:]))
        return tuple((shape, self.dtype) if need else None for shape, need in zip(shapes, needed, strict=True))

    def at(self, t: int) -> int:
        """Where in x a step is."""
        return self.time - 1 - t if self.reverse else t

    def step(self, function: str, arrays: tuple[int | None, ...], t: int, *numbers: int) -> Written:
        blocks = -(-self.batch * self.units // THREADS)
        defines = (("REAL", TYPES[self.dtype]), *halves.defines(self.dtype))
        sizes = (self.batch, self.time, self.units, t, self.at(t), *numbers)
        return Written("recurrent", function, (blocks,), (THREADS,), arrays, sizes, defines)

    def moved(self, step: Gemm | Launch, *elements: int) -> Moved:
        return Moved(step, tuple(count * SIZES[self.dtype] for count in elements))

    def projection(self, x: int, kernel: int, projected: int) -> Gemm:
        """x @ kernel."""
        rows, features, columns = self.batch * self.time, self.features, self.gates * self.units
        return Gemm(self.dtype, rows, columns, features, x, kernel, projected, False, False, features, columns, columns)

    def state_products(self, h0: int, h: int, recurrent: int, product: int, blocks: int, first: int = 0) -> list[Step]:
        """For each step h[t] @ recurrent, of so many blocks of columns from that one on; of step 0 with h0, if that is
        not where h begins."""
        n, skipped = self.batch * self.units, first * self.units
        of_h = Gemm(
            self.dtype, self.batch, blocks * self.units, self.units, h, recurrent, product, False, False,
            self.units, self.gates * self.units, blocks * self.units,
        )  # fmt: skip
        return [self.moved(of_h if t else of_h.on(h0, recurrent, product), t * n, skipped, 0) for t in range(self.time)]

    def cotangent_products(self, d: int, recurrent: int, product: int, blocks: int, first: int = 0) -> list[Step]:
        """For each step d[:, at] @ recurrent.T, of so many blocks of columns from that one on."""
        columns, skipped = self.gates * self.units, first * self.units
        of_d = Gemm(
            self.dtype, self.batch, self.units, blocks * self.units, d, recurrent, product, False, True,
            self.time * columns, columns, self.units,
        )  # fmt: skip
        return [self.moved(of_d, self.at(t) * columns + skipped, skipped, 0) for t in range(self.time)]

    def first_steps(self, mask: int, first: int) -> Launch:
        """The first step of each row that is not masked, the number of steps if there is none."""
        loops = Builder((self.batch, self.time), self.dtype)
        keep, t = loops.load(Operand("bool", (self.time, 1))), loops.index(1)
        t = loops.apply("subtract", self.time - 1, t) if self.reverse else t
        loops.store(loops.reduce("row_min", loops.apply("where", keep, t, self.time)), Operand("int64", (1, 0)))
        return Launch(loops.finish(), (mask, first))

    def added(self, to: int, product: int) -> Launch:
        """to += product, (batch, units)."""
        loops, whole = Builder((self.batch * self.units,), self.dtype), Operand(self.dtype, (1,))
        loops.store(loops.apply("add", loops.load(whole), loops.load(whole)), whole)
        return Launch(loops.finish(), (to, product, to))

    def input_gradients(
        self, d: int, factors: int, x: int, kernel: int, into: tuple[int, int, int], needs: tuple[bool, ...]
    ) -> list[Step]:
        """The gradients of x, kernel and bias, as far as they are needed; `factors` is d as products take it."""
        dx, dk, db = into
        rows, columns, features = self.batch * self.time, self.gates * self.units, self.features
        of_x = Gemm(self.dtype, rows, features, columns, factors, kernel, dx, False, True, columns, columns, features)
        of_kernel = Gemm(self.dtype, features, columns, rows, x, factors, dk, True, False, features, columns, columns)
        steps: list[Step] = [of_x, of_kernel, self.sums(d, db)]
        return [step for step, needed in zip(steps, (needs[0], needs[1], needs[3]), strict=True) if needed]

    def kernel_gradient(self, before: int, d: int, dr: int, blocks: int, first: int = 0) -> Moved:
        """The recurrent kernel's gradient, of so many blocks of columns from that one on."""
        columns, skipped = self.gates * self.units, first * self.units
        product = Gemm(
            self.dtype, self.units, blocks * self.units, self.batch * self.time, before, d, dr, True, False,
            self.units, columns, columns,
        )  # fmt: skip
        return self.moved(product, 0, skipped, skipped)

    def sums(self, d: int, db: int, row: int = 0) -> Moved:
        """The sums of columns, into that row."""
        columns = self.gates * self.units
        loops, rows = Builder((self.batch * self.time, columns), self.dtype), Operand(self.dtype, (columns, 1))
        loops.store(loops.reduce("column_sum", loops.load(rows)), Operand(self.dtype, (0, 1)))
        return self.moved(Launch(loops.finish(), (d, db)), 0, row * columns)
