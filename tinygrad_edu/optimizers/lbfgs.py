"""L-BFGS, a quasi-Newton method: it looks at the loss several times in each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .. import ops
from ..autograd import Tensor, uninterrupted
from ..backend import Array, Device, device, to_device
from ..errors import check_integer, choice, message
from .base import Optimizer, at_least_zero
from .groups import Group, Member

Evaluation = Callable[[Array], tuple[float, Array]]
"""Gives the loss and its gradient where the parameters, as one flat array, are so."""


class LBFGS(Optimizer):
    """Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989), as PyTorch has it (with
    the names lr, max_iter, max_eval, tolerance_grad, line_search_fn). For small models and all data in one batch.

    A step makes up to `max_iterations` moves: each goes along the gradient, multiplied by what the last `history_size`
    moves tell of the inverse Hessian. So it needs the loss more than once: `minimize` is given a function that returns
    it. `fit(batch_size=len(x))` does so; its steps are not recorded by jit, for they depend on the values. Each look at
    the loss is a call of the model: `Dropout` draws anew, so that a line search compares what differs by more than the
    weights, and `BatchNormalization` counts the batch again. All parameters lie on one device; there is no weight decay
    and no clipping.

    Args:
        learning_rate: the share of each move that is made, and with a line search where that begins.
        max_iterations: the moves of a step at most.
        max_evaluations: how often a step asks for the loss before it ends; 5/4 of max_iterations if not given.
        tolerance_gradient: a step ends when no element of the gradient is larger.
        tolerance_change: a step ends when no parameter, or the loss, changes by more.
        history_size: the moves to remember; each needs the memory of all parameters, twice.
        line_search: None, or "strong_wolfe": the length of each move is sought until the loss and its slope have
            fallen enough (Wolfe, 1969).

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([-1.0, 1.0], dtype="float64", requires_grad=True)
    >>> optimizer = tg.optimizers.LBFGS(line_search="strong_wolfe", max_iterations=50).build([w])
    >>> optimizer.minimize(lambda: 100.0 * (w[1] - w[0] ** 2) ** 2 + (1.0 - w[0]) ** 2)
    >>> print(w.detach().numpy().round(3))
    [1. 1.]
    """

    elementwise = False
    takes_function = True

    def __init__(
        self,
        learning_rate: float = 1.0,
        max_iterations: int = 20,
        max_evaluations: int | None = None,
        tolerance_gradient: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search: str | None = None,
    ):
        super().__init__(learning_rate)
        self.max_iterations = check_integer(self.where, "max_iterations", max_iterations, 1)
        if max_evaluations is None:
            max_evaluations = self.max_iterations * 5 // 4
        self.max_evaluations = check_integer(self.where, "max_evaluations", max_evaluations, 1)
        self.tolerance_gradient = at_least_zero(self.where, "tolerance_gradient", tolerance_gradient)
        self.tolerance_change = at_least_zero(self.where, "tolerance_change", tolerance_change)
        self.history_size = check_integer(self.where, "history_size", history_size, 1)
        if line_search not in (None, "strong_wolfe"):
            raise choice(self.where, "line_search", line_search, ["strong_wolfe"])
        self.line_search = line_search

    def _start(self) -> None:
        super()._start()
        self.memory = Memory()

    def _group_of(self, member: Member) -> Group:
        if member.group != Group():
            raise ValueError(message(self.where, "groups without a rate and a weight_decay", f"{member.group}"))
        if member.parameter.constraint is not None:
            raise ValueError(message(self.where, "parameters without constraints", f"{member.parameter.constraint}"))
        return super()._group_of(member)

    def minimize(self, loss: Callable[[], Tensor]) -> None:  # type: ignore[override]
        """One step: several moves down the gradient of what `loss()` returns.

        `loss` may call `backward` itself, as PyTorch's closures do, and may then be under `tg.jit`. If it raises, all
        is as before. Raises TypeError if it is a tensor.
        """
        if isinstance(loss, Tensor) or not callable(loss):
            hint = "for example minimize(lambda: loss_of(model(x), y))."
            raise TypeError(message(f"{self.where} minimize", "a function that returns the loss", _kind(loss), hint))
        if not self.parameters:
            raise ValueError(message(self.where, "build(parameters) before minimize()", "no parameters"))
        start = _flat([p.data for p in self.parameters])
        try:
            end, memory = self._searched(lambda at: self._evaluated(loss, at), start)
        except BaseException:
            with uninterrupted():
                self._place(start)
            raise
        with uninterrupted():
            self._place(end)
            self.memory = memory
            self.iterations += 1
        self.zero_grad()

    def step(self) -> None:
        """Raises TypeError: gradients alone are not enough."""
        raise TypeError(message(self.where, "minimize(function)", "step()"))

    def _searched(self, evaluate: Evaluation, at: Array) -> tuple[Array, Memory]:
        """Where the moves of a step lead, and what they teach."""
        memory = self.memory.copy()
        value, gradient = evaluate(at)
        evaluations, rate = 1, self.learning_rate
        if _largest(gradient) <= self.tolerance_gradient:
            return at, memory
        for iteration in range(1, self.max_iterations + 1):
            before, length = value, rate
            if memory.gradient is None or memory.move is None:
                direction = -gradient
                length = min(1.0, 1.0 / float(abs(gradient).sum())) * rate
            else:
                memory.learn(memory.move, gradient - memory.gradient, self.history_size)
                direction = memory.direction(gradient)
            memory.gradient, memory.move = gradient, direction * length
            slope = _dot(gradient, direction)
            if slope > -self.tolerance_change:
                break
            if self.line_search:
                line = Line(evaluate, at, direction)
                found = line.strong_wolfe(
                    Point(0.0, value, gradient, slope),
                    length,
                    self.max_evaluations - evaluations,
                    self.tolerance_change,
                )
                value, gradient, memory.move = found.value, found.gradient, direction * found.length
                evaluations += line.evaluations
            at = at + memory.move
            if not self.line_search and iteration < self.max_iterations:
                value, gradient = evaluate(at)
                evaluations += 1
            if evaluations >= self.max_evaluations or _largest(gradient) <= self.tolerance_gradient:
                break
            if _largest(memory.move) <= self.tolerance_change or abs(value - before) < self.tolerance_change:
                break
        return at, memory

    def _evaluated(self, loss: Callable[[], Tensor], at: Array) -> tuple[float, Array]:
        """The loss and its gradient where the parameters are `at`."""
        self._place(at)
        self.zero_grad()
        value = loss()
        if not isinstance(value, Tensor):
            raise TypeError(message(f"{self.where} minimize", "a function that returns a tensor", _kind(value)))
        if all(p.grad is None for p in self.parameters):
            value.backward()
        gradients = [ops.zeros_like(p.data) if p.grad is None else p.grad.data for p in self.parameters]
        return value.item(), _flat(gradients)

    def _place(self, at: Array) -> None:
        """Gives the parameters the values in a flat array."""
        start = 0
        for p in self.parameters:
            p.assign_(at[start : start + p.size].reshape(p.shape))
            start += p.size

    # State and devices

    def _named_state(self) -> dict[str, Tensor]:
        return self.memory.named()

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned: all or nothing. Build the optimizer first."""
        kept, self.memory = self.memory, Memory()
        if "move" in values:
            count = sum(name.startswith("moves.") for name in values)
            room = [_flat([p.data for p in self.parameters]) for _ in range(2 * count + 2)]
            self.memory = Memory(room[0], room[1], list(zip(room[2::2], room[3::2], strict=True)))
        try:
            super().load_state_dict(values)
        except BaseException:
            self.memory = kept
            raise

    def to(self, target: str | Device) -> Optimizer:
        super().to(target)
        move, gradient, *pairs = [to_device(t.data, device(target)) for t in self.memory.named().values()] or [None] * 2
        self.memory = Memory(move, gradient, list(zip(pairs[::2], pairs[1::2], strict=True)))
        return self


class Memory:
    """What the moves so far tell of the curvature.

    Attributes:
        move: the last one, flat; None before the first.
        gradient: where it began.
        pairs: earlier moves, each with the change of the gradient over it.
    """

    def __init__(self, move: Any = None, gradient: Any = None, pairs: list[tuple[Array, Array]] | None = None):
        self.move, self.gradient, self.pairs = move, gradient, pairs or []

    def copy(self) -> Memory:
        return Memory(self.move, self.gradient, list(self.pairs))

    def learn(self, move: Array, change: Array, size: int) -> None:
        """Keeps a pair, if it tells of a convex function, and the last `size` only."""
        if _dot(change, move) > 1e-10:
            self.pairs = [*self.pairs, (move, change)][-size:]

    def direction(self, gradient: Array) -> Array:
        """The inverse Hessian times the negative gradient (Nocedal and Wright, "Numerical optimization", 2006,
        algorithm 7.4)."""
        direction = -gradient
        shares: list[tuple[float, float]] = []
        for move, change in reversed(self.pairs):
            curvature = _dot(change, move)
            shares.append((curvature, _dot(move, direction) / curvature))
            direction = direction - shares[-1][1] * change
        if shares:
            _, change = self.pairs[-1]
            direction = direction * (shares[0][0] / _dot(change, change))
        for (move, change), (curvature, share) in zip(self.pairs, reversed(shares), strict=True):
            direction = direction + (share - _dot(change, direction) / curvature) * move
        return direction

    def named(self) -> dict[str, Tensor]:
        """The arrays by the names they have in the state of the optimizer."""
        if self.move is None:
            return {}
        arrays = {"move": self.move, "gradient": self.gradient}
        for i, pair in enumerate(self.pairs):
            arrays |= {f"moves.{i}": pair[0], f"changes.{i}": pair[1]}
        return {name: Tensor(array) for name, array in arrays.items()}


class Point(NamedTuple):
    """A place on a line: how far it is, and the loss there with its gradient and its slope along the line."""

    length: float
    value: float
    gradient: Array
    slope: float


class Line:
    """The loss along a direction.

    Attributes:
        evaluations: at how many places it was asked for.
    """

    def __init__(self, evaluate: Evaluation, at: Array, direction: Array):
        self.evaluate, self.at, self.direction = evaluate, at, direction
        self.evaluations = 0

    def __call__(self, length: float) -> Point:
        self.evaluations += 1
        value, gradient = self.evaluate(self.at + self.direction * length)
        return Point(length, value, gradient, _dot(gradient, self.direction))

    def strong_wolfe(self, start: Point, length: float, limit: int, tolerance: float) -> Point:
        """A point where the loss has fallen by 1e-4 of what the slope at the start promises, and the slope is at most
        0.9 of that one (Nocedal and Wright, algorithm 3.5); after `limit` trials the lowest so far."""
        before, point = start, self(length)
        for trial in range(limit):
            if _is_high(point, start) or (trial > 1 and point.value >= before.value):
                return self._zoomed(start, before, point, limit - trial, tolerance)
            if _is_flat(point, start):
                return point
            if point.slope >= 0:
                return self._zoomed(start, before, point, limit - trial, tolerance)
            least = point.length + 0.01 * (point.length - before.length)
            before, point = point, self(_lowest(before, point, least, 10.0 * point.length))
        return min(start, point, key=_value)

    def _zoomed(self, start: Point, first: Point, second: Point, limit: int, tolerance: float) -> Point:
        """Such a point between two (Nocedal and Wright, algorithm 3.6)."""
        low, high = sorted((first, second), key=_value)
        largest, near = _largest(self.direction), False
        for _ in range(limit):
            left, right = sorted((low.length, high.length))
            if (right - left) * largest < tolerance:
                break
            length, margin = _lowest(low, high, left, right), 0.1 * (right - left)
            was_near, near = near, min(right - length, length - left) < margin
            if near and (was_near or not left < length < right):  # no progress: away from the end
                length = right - margin if right - length < length - left else left + margin
                near = False
            point = self(length)
            if _is_high(point, start) or point.value >= low.value:
                low, high = sorted((low, point), key=_value)
            elif _is_flat(point, start):
                return point
            else:
                low, high = point, low if point.slope * (high.length - low.length) >= 0 else high
        return low


def _is_high(point: Point, start: Point) -> bool:
    return point.value > start.value + 1e-4 * point.length * start.slope


def _is_flat(point: Point, start: Point) -> bool:
    return abs(point.slope) <= -0.9 * start.slope


def _lowest(a: Point, b: Point, least: float, most: float) -> float:
    """Where the cubic with these values and slopes has its minimum (Nocedal and Wright, 3.59), within bounds; the
    middle of them if it has none."""
    if a.length > b.length:
        a, b = b, a
    if a.length < b.length:
        sum_ = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.length - b.length)
        square = sum_ * sum_ - a.slope * b.slope
        root = math.sqrt(square) if square >= 0 else math.nan
        over, under = b.slope + root - sum_, b.slope - a.slope + 2.0 * root
        share = over / under if under else math.copysign(math.inf, over)  # a straight line: as far as may be
        if not math.isnan(share):
            return min(max(b.length - (b.length - a.length) * share, least), most)
    return (least + most) / 2.0


def _value(point: Point) -> float:
    return point.value


def _dot(a: Array, b: Array) -> float:
    return float(a @ b)


def _largest(array: Array) -> float:
    return float(abs(array).max())


def _flat(arrays: list[Array]) -> Array:
    return ops.concatenate([ops.ravel(a) for a in arrays])


def _kind(value: object) -> str:
    return f"one {type(value).__name__}"
