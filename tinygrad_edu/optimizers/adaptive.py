"""Rules that scale the step of each element by the gradients it has seen, besides those of `rules.py`."""

from __future__ import annotations

import itertools
import operator
from typing import Any, Unpack

from .. import ops
from ..autograd import on_host
from .base import Optimizer, State, at_least_zero, share
from .options import Options
from .rules import Moments
from .schedules import LearningRateSchedule


class Adagrad(Optimizer):
    """Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011):

        a = a + g^2                                     which begins with initial_accumulator_value
        p = p - learning_rate * g / sqrt(a + epsilon)

    PyTorch adds its epsilon outside of the root, and begins with 0.

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([4.0], requires_grad=True)
    >>> optimizer = tg.optimizers.Adagrad(learning_rate=1.0, initial_accumulator_value=0.0).build([w])
    >>> optimizer.minimize((w * w).sum())
    >>> w
    tensor([3.], requires_grad=True)
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.initial_accumulator_value = at_least_zero(
            self.where, "initial_accumulator_value", initial_accumulator_value
        )
        self.epsilon = at_least_zero(self.where, "epsilon", epsilon)

    never_negative = (*Optimizer.never_negative, "accumulator")

    def init(self, parameter: Any) -> State:
        return {"accumulator": ops.zeros_like(parameter) + self.initial_accumulator_value}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        accumulator = state["accumulator"] + gradient * gradient
        move = learning_rate * gradient / ops.sqrt(accumulator + self.epsilon)
        return parameter - move, {"accumulator": accumulator}


class Adadelta(Optimizer):
    """Zeiler, "ADADELTA: an adaptive learning rate method" (2012), where the learning rate is 1:

    v = rho * v + (1 - rho) * g^2
    d = sqrt(u + epsilon) / sqrt(v + epsilon) * g
    u = rho * u + (1 - rho) * d^2
    p = p - learning_rate * d
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.rho = share(self.where, "rho", rho)
        self.epsilon = at_least_zero(self.where, "epsilon", epsilon)

    never_negative = (*Optimizer.never_negative, "velocity", "moves")

    def init(self, parameter: Any) -> State:
        return {"velocity": ops.zeros_like(parameter), "moves": ops.zeros_like(parameter)}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        v = state["velocity"] + (gradient * gradient - state["velocity"]) * (1.0 - self.rho)
        move = ops.sqrt(state["moves"] + self.epsilon) / ops.sqrt(v + self.epsilon) * gradient
        moves = state["moves"] + (move * move - state["moves"]) * (1.0 - self.rho)
        return parameter - learning_rate * move, {"velocity": v, "moves": moves}


class Adamax(Moments):
    """Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 7.1: Adam by the largest gradient.

        m = beta_1 * m + (1 - beta_1) * g
        u = max(beta_2 * u, |g|)
        p = p - learning_rate / (1 - beta_1^step) * m / (u + epsilon)

    PyTorch adds its epsilon to |g|.
    """

    never_negative = (*Optimizer.never_negative, "largest")

    def init(self, parameter: Any) -> State:
        return {"momentum": ops.zeros_like(parameter), "largest": ops.zeros_like(parameter)}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        m = state["momentum"] + (gradient - state["momentum"]) * (1.0 - self.beta_1)
        u = ops.maximum(self.beta_2 * state["largest"], abs(gradient))
        rate = learning_rate / (1.0 - self.beta_1**step)
        return parameter - rate * m / (u + self.epsilon), {"momentum": m, "largest": u}


class Nadam(Moments):
    """Dozat, "Incorporating Nesterov momentum into Adam" (2016), with a momentum that grows:

        b(t) = beta_1 * (1 - 0.96^t / 2)            its share at step t
        B(t) = b(1) * b(2) * ... * b(t)
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g^2
        n = b(step + 1) / (1 - B(step + 1)) * m + (1 - b(step)) / (1 - B(step)) * g
        p = p - learning_rate * n / (sqrt(v / (1 - beta_2^step)) + epsilon)

    Dozat and PyTorch let it grow 250 times as slowly: 0.96^(t / 250).
    """

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        m, v = self.moments(gradient, state)
        now, following = (self.beta_1 * (1.0 - 0.5 * 0.96**t) for t in (step, step + 1))
        product = self.beta_1**step * on_host(_growth, step)
        of_momentum = learning_rate * following / (1.0 - product * following)
        of_gradient = learning_rate * (1.0 - now) / (1.0 - product)
        move = (of_momentum * m + of_gradient * gradient) / (ops.sqrt(v / (1.0 - self.beta_2**step)) + self.epsilon)
        return parameter - move, {"momentum": m, "velocity": v}


_GROWTH = list(itertools.accumulate((1.0 - 0.5 * 0.96**t for t in range(1, 1000)), operator.mul))


def _growth(step: float) -> float:
    """The product of 1 - 0.96^t / 2 for t from 1 to `step`; the factors after the table are 1 in float64."""
    return _GROWTH[min(int(step), len(_GROWTH)) - 1]
