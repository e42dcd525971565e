"""The update rules, a class each, with Keras's names, arguments, defaults and formulas."""

from __future__ import annotations

from typing import Any, Unpack

from .. import ops
from ..errors import check_bool, check_number
from .base import Optimizer, State, at_least_zero, share
from .options import Options
from .schedules import LearningRateSchedule


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    p = p - learning_rate * g                       without momentum
    m = momentum * m - learning_rate * g
    p = p + m                                       with momentum (Polyak, 1964)
    p = p + momentum * m - learning_rate * g        with nesterov (Nesterov, 1983)
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.momentum = check_number(self.where, "momentum", momentum, "in [0, 1]", lambda v: 0 <= v <= 1)
        self.nesterov = check_bool(self.where, "nesterov", nesterov)

    def init(self, parameter: Any) -> State:
        return {"momentum": ops.zeros_like(parameter)} if self.momentum else {}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        move = gradient * -learning_rate
        if not self.momentum:
            return parameter + move, {}
        momentum = self.momentum * state["momentum"] + move
        if self.nesterov:
            return parameter + self.momentum * momentum + move, {"momentum": momentum}
        return parameter + momentum, {"momentum": momentum}


class Lion(Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms" (2023): each element moves by the learning rate.

        p = p - learning_rate * sign(beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g

    The paper takes learning rates 3 to 10 times smaller than those of AdamW, and a weight decay that much larger.

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([4.0, -0.1], requires_grad=True)
    >>> tg.optimizers.Lion(learning_rate=0.5).build([w]).minimize((w * w).sum())
    >>> w
    tensor([3.5, 0.4], requires_grad=True)
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.beta_1 = check_number(self.where, "beta_1", beta_1, "in (0, 1]", lambda v: 0 < v <= 1)
        self.beta_2 = share(self.where, "beta_2", beta_2)

    def init(self, parameter: Any) -> State:
        return {"momentum": ops.zeros_like(parameter)}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        direction = ops.sign(self.beta_1 * state["momentum"] + (1.0 - self.beta_1) * gradient)
        momentum = self.beta_2 * state["momentum"] + (1.0 - self.beta_2) * gradient
        return parameter - learning_rate * direction, {"momentum": momentum}


class RMSprop(Optimizer):
    """Hinton, "Neural networks for machine learning", lecture 6e (2012); centered as in Graves (2013).

        v = rho * v + (1 - rho) * g^2
        a = rho * a + (1 - rho) * g                                 if centered, else a = 0
        m = momentum * m + learning_rate * g / sqrt(v - a^2 + epsilon)
        p = p - m

    PyTorch adds its epsilon outside of the root.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.rho = share(self.where, "rho", rho)
        self.momentum = check_number(self.where, "momentum", momentum, "in [0, 1]", lambda v: 0 <= v <= 1)
        self.epsilon = at_least_zero(self.where, "epsilon", epsilon)
        self.centered = check_bool(self.where, "centered", centered)

    never_negative = (*Optimizer.never_negative, "velocity")

    def init(self, parameter: Any) -> State:
        names = ("velocity", *["average"] * self.centered, *["momentum"] * bool(self.momentum))
        return {name: ops.zeros_like(parameter) for name in names}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        new = {"velocity": state["velocity"] + (gradient * gradient - state["velocity"]) * (1.0 - self.rho)}
        variance = new["velocity"]
        if self.centered:
            new["average"] = state["average"] + (gradient - state["average"]) * (1.0 - self.rho)
            variance = variance - new["average"] * new["average"]
        move = learning_rate * gradient / ops.sqrt(variance + self.epsilon)
        if self.momentum:
            move = new["momentum"] = self.momentum * state["momentum"] + move
        return parameter - move, new


class Moments(Optimizer):
    """What is of Adam's kind: it follows the averages of the gradient and of its square."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.beta_1 = share(self.where, "beta_1", beta_1)
        self.beta_2 = share(self.where, "beta_2", beta_2)
        self.epsilon = at_least_zero(self.where, "epsilon", epsilon)

    never_negative = (*Optimizer.never_negative, "velocity")

    def init(self, parameter: Any) -> State:
        return {"momentum": ops.zeros_like(parameter), "velocity": ops.zeros_like(parameter)}

    def moments(self, gradient: Any, state: State) -> tuple[Any, Any]:
        """Both averages after this gradient."""
        momentum = state["momentum"] + (gradient - state["momentum"]) * (1.0 - self.beta_1)
        velocity = state["velocity"] + (gradient * gradient - state["velocity"]) * (1.0 - self.beta_2)
        return momentum, velocity


class Adam(Moments):
    """Kingma and Ba, "Adam: a method for stochastic optimization" (2015), in the form that ends its section 2:

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g^2
        p = p - learning_rate * sqrt(1 - beta_2^step) / (1 - beta_1^step) * m / (sqrt(v) + epsilon)

    With `amsgrad` the root is that of the largest v so far: Reddi, Kale and Kumar, "On the convergence of Adam and
    beyond" (2018). PyTorch adds its epsilon after the correction of v, so there it is larger by
    1 / sqrt(1 - beta_2^step).
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, **options)
        self.amsgrad = check_bool(self.where, "amsgrad", amsgrad)

    never_negative = (*Moments.never_negative, "velocity_hat")

    def init(self, parameter: Any) -> State:
        hat = {"velocity_hat": ops.zeros_like(parameter)} if self.amsgrad else {}
        return super().init(parameter) | hat

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        m, v = self.moments(gradient, state)
        new = {"momentum": m, "velocity": v}
        if self.amsgrad:
            v = new["velocity_hat"] = ops.maximum(state["velocity_hat"], v)
        rate = learning_rate * (1.0 - self.beta_2**step) ** 0.5 / (1.0 - self.beta_1**step)
        return parameter - rate * m / (ops.sqrt(v) + self.epsilon), new


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: Loshchilov and Hutter, "Decoupled weight decay regularization"
    (2019)."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **options)
