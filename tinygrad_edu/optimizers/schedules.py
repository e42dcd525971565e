"""Learning rates that change from step to step, with Keras's names, arguments and formulas.

`SGD(learning_rate=CosineDecay(0.1, 1000))` asks the schedule before each step, with the number of steps made so far. A
constant rate is a number; a schedule by epochs, or by how well the training goes, is a callback.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..errors import check_bool, check_integer, check_number, message


class LearningRateSchedule:
    """The base class: a subclass defines `__call__(step)`, the rate for the step after so many, 0 for the first.

    It is plain Python on numbers, called anew at each step, also of a jitted one.

    >>> import tinygrad_edu as tg
    >>> class Harmonic(tg.optimizers.schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 1.0 / (step + 1)
    >>> w = tg.tensor([8.0], requires_grad=True)
    >>> optimizer = tg.optimizers.SGD(Harmonic()).build([w])
    >>> for _ in range(2):
    ...     optimizer.minimize(w.sum())
    >>> w, round(optimizer.learning_rate, 3)
    (tensor([6.5], requires_grad=True), 0.333)
    """

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(step)")

    def _rate(self, name: str, value: Any) -> float:
        return check_number(type(self).__name__, name, value, "of at least 0", lambda v: v >= 0)

    def _positive(self, name: str, value: Any) -> float:
        return check_number(type(self).__name__, name, value, "above 0", lambda v: v > 0)

    def _steps(self, name: str, value: Any, least: int = 1) -> int:
        return check_integer(type(self).__name__, name, value, least)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] after up to boundaries[i] steps, then the next; the last of `values`, one more, after them all.

    >>> [PiecewiseConstantDecay([1, 3], [0.1, 0.01, 0.001])(step) for step in range(5)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]):
        where = type(self).__name__
        self.boundaries = [self._steps("each of boundaries", boundary, 0) for boundary in boundaries]
        self.values = [self._rate("each of values", value) for value in values]
        if len(self.values) != len(self.boundaries) + 1:
            found = f"{len(self.values)} for {len(self.boundaries)} boundaries"
            raise ValueError(message(where, "values, one more than boundaries", found))
        if any(a >= b for a, b in itertools.pairwise(self.boundaries)):
            raise ValueError(message(where, "boundaries that increase", f"{self.boundaries}"))

    def __call__(self, step: int) -> float:
        return self.values[sum(step > boundary for boundary in self.boundaries)]


class _Decay(LearningRateSchedule):
    """From a rate on, over so many steps, by a rate of decay."""

    def __init__(self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False):
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps("decay_steps", decay_steps)
        self.decay_rate = self._rate("decay_rate", decay_rate)
        self.staircase = check_bool(type(self).__name__, "staircase", staircase)

    def _periods(self, step: int) -> float:
        return step // self.decay_steps if self.staircase else step / self.decay_steps


class ExponentialDecay(_Decay):
    """initial_learning_rate * decay_rate^(step / decay_steps); with `staircase` the exponent is rounded down, so that
    the rate falls in steps.

    >>> [ExponentialDecay(1.0, decay_steps=2, decay_rate=0.5, staircase=True)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._periods(step)


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); with `staircase` the quotient is rounded down."""

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1.0 + self.decay_rate * self._periods(step))


class PolynomialDecay(LearningRateSchedule):
    """(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps)^power + end_learning_rate, and the end
    after that. With `cycle`, decay_steps is multiplied by as much as `step` needs."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ):
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps("decay_steps", decay_steps)
        self.end_learning_rate = self._rate("end_learning_rate", end_learning_rate)
        self.power = self._positive("power", power)
        self.cycle = check_bool(type(self).__name__, "cycle", cycle)

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * max(1, -(-step // self.decay_steps)) if self.cycle else self.decay_steps
        left = (1.0 - min(step, steps) / steps) ** self.power
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine wave, from a peak to `alpha` times it, and that after: Loshchilov and Hutter, "SGDR: stochastic
    gradient descent with warm restarts" (2017).

    Args:
        initial_learning_rate: the peak; with `warmup_target` where the warm-up begins.
        decay_steps: the steps of the decay, after the warm-up.
        alpha: the last rate, as a share of the peak.
        warmup_target: the peak, to which the rate climbs in a line over `warmup_steps`; None for no warm-up.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        *,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._steps("decay_steps", decay_steps)
        self.alpha = self._rate("alpha", alpha)
        self.warmup_target = None if warmup_target is None else self._rate("warmup_target", warmup_target)
        self.warmup_steps = self._steps("warmup_steps", warmup_steps, 0)
        if warmup_target is None and warmup_steps:
            found = f"warmup_steps={warmup_steps} without one"
            raise ValueError(message(type(self).__name__, "a warmup_target, the rate after the warm-up", found))

    def __call__(self, step: int) -> float:
        peak, first = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            peak, first = self.warmup_target, self.warmup_steps
        if step < first:
            return line(self.initial_learning_rate, peak, step / first)
        return peak * wave(1.0, self.alpha, (step - first) / self.decay_steps)


class CosineDecayRestarts(LearningRateSchedule):
    """`CosineDecay` again and again: each period `t_mul` times as long as the one before, each peak `m_mul` times as
    high above `alpha`. Loshchilov and Hutter (2017)."""

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ):
        self.initial_learning_rate = self._rate("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = self._steps("first_decay_steps", first_decay_steps)
        self.t_mul = check_number(type(self).__name__, "t_mul", t_mul, "of at least 1", lambda v: v >= 1)
        self.m_mul = self._rate("m_mul", m_mul)
        self.alpha = self._rate("alpha", alpha)

    def __call__(self, step: int) -> float:
        period, length, gone = 0, float(self.first_decay_steps), float(step)
        if self.t_mul == 1.0:
            period, gone = divmod(step, self.first_decay_steps)
        while gone >= length:
            period, gone, length = period + 1, gone - length, length * self.t_mul
        height = (1.0 - self.alpha) * self.m_mul**period
        return self.initial_learning_rate * (self.alpha + wave(height, 0.0, gone / length))


class Warmup(LearningRateSchedule):
    """A line from `start` to another schedule's first rate, or to a constant one, and then that, from its beginning.

    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017).

    >>> [Warmup(0.1, warmup_steps=2)(step) for step in range(4)]
    [0.0, 0.05, 0.1, 0.1]
    """

    def __init__(self, schedule: LearningRateSchedule | float, warmup_steps: int, start: float = 0.0):
        self.schedule = schedule if isinstance(schedule, LearningRateSchedule) else self._rate("schedule", schedule)
        self.warmup_steps = self._steps("warmup_steps", warmup_steps)
        self.start = self._rate("start", start)

    def __call__(self, step: int) -> float:
        after = max(0, step - self.warmup_steps)
        rate = self.schedule(after) if isinstance(self.schedule, LearningRateSchedule) else self.schedule
        return rate if step >= self.warmup_steps else line(self.start, rate, step / self.warmup_steps)


class OneCycle(LearningRateSchedule):
    """Up and down once, both by half a cosine wave: Smith and Topin, "Super-convergence: very fast training of neural
    networks using large learning rates" (2018), in two phases as in PyTorch.

    Args:
        max_learning_rate: the peak.
        total_steps: of the whole training; the last rate holds after that.
        pct_start: the share of them that lies before the peak.
        div_factor: the first rate is max_learning_rate / div_factor.
        final_div_factor: the last rate is the first one / final_div_factor.

    Raises ValueError where either phase would have no step.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ):
        where = type(self).__name__
        self.max_learning_rate = self._rate("max_learning_rate", max_learning_rate)
        self.total_steps = self._steps("total_steps", total_steps)
        self.pct_start = check_number(where, "pct_start", pct_start, "between 0 and 1", lambda v: 0 < v < 1)
        self.div_factor = self._positive("div_factor", div_factor)
        self.final_div_factor = self._positive("final_div_factor", final_div_factor)
        if not 0 < pct_start * total_steps - 1 < total_steps - 1:
            found = f"pct_start={pct_start:g} of {total_steps}"
            raise ValueError(message(where, "total_steps with more than one of them before the peak", found))

    def __call__(self, step: int) -> float:
        first = self.max_learning_rate / self.div_factor
        peak, last = self.pct_start * self.total_steps - 1.0, self.total_steps - 1.0
        if step <= peak:
            return wave(first, self.max_learning_rate, step / peak)
        return wave(self.max_learning_rate, first / self.final_div_factor, (step - peak) / (last - peak))


def line(start: float, end: float, share: float) -> float:
    """That share of the way between two rates."""
    return start + (end - start) * share


def wave(start: float, end: float, share: float) -> float:
    """That share of the way between two rates, along half a cosine wave, and the end beyond."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
