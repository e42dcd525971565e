"""Rules that look at a parameter as a whole."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from .. import ops
from ..autograd import Tensor
from ..errors import check_bool, check_integer, check_number, message
from .base import Optimizer, State, at_least_zero, share
from .groups import Group, Member, members
from .options import Options
from .rules import Moments
from .schedules import LearningRateSchedule


class Lamb(Moments):
    """You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2019). For each parameter:

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g^2
        u = m / (1 - beta_1^step) / (sqrt(v / (1 - beta_2^step)) + epsilon)
        p = p - learning_rate * |p| / |u| * u           where |p| is not 0, else p - learning_rate * u

    |p| and |u| are norms. The paper adds the weight decay to u; here it is apart, as in other rules.
    """

    elementwise = False

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        m, v = self.moments(gradient, state)
        root = ops.sqrt(v / (1.0 - self.beta_2**step)) + self.epsilon
        update = m / (1.0 - self.beta_1**step) / root
        size, length = ops.norm(parameter), ops.norm(update)
        ratio = ops.where(size > 0.0, size / ops.where(length > 0.0, length, 1.0), 1.0)
        return parameter - learning_rate * ratio * update, {"momentum": m, "velocity": v}


class Muon(Optimizer):
    """Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024): a matrix moves in all directions
    alike. For matrices, that is parameters of two axes:

        m = momentum * m + g
        u = g + momentum * m                                        with nesterov, else u = m
        x = u / (|u| + 1e-7), transposed if it has more rows than columns
        x = muon_a * x + (muon_b * x x^T + muon_c * (x x^T)^2) x    ns_steps times (Newton and Schulz)
        p = p - learning_rate * rms_rate * sqrt(max(rows, columns)) * x

    The steps bring all singular values near 1. With rms_rate (Liu et al., "Muon is scalable for LLM training", 2025)
    the learning rate and the weight decay of AdamW fit; None leaves the two factors before x out. PyTorch computes x in
    bfloat16, and multiplies it by sqrt(max(1, rows / columns)) unless told otherwise.

    All other parameters follow Adam, with `learning_rate * adam_lr_ratio`, `adam_beta_1`, `adam_beta_2`, `epsilon` and
    `adam_weight_decay`: biases, the kernels of convolutions, and matrices whose name says so. The kernel of the output
    layer ought to be among these.

    Args:
        exclude_layers: regular expressions; a matrix in whose name one is found follows Adam. The names are those of
            `model.named_parameters()`, such as "layers.2.kernel", which `fit` gives; where `build` is given tensors
            alone there are none. In Keras they hold the names of the layers.
        exclude_embeddings: whether a matrix in whose name is "embedding" follows Adam.
    """

    elementwise = False

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        exclude_layers: Iterable[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1.0,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Unpack[Options],
    ):
        super().__init__(learning_rate, weight_decay, **options)
        self.adam_beta_1 = share(self.where, "adam_beta_1", adam_beta_1)
        self.adam_beta_2 = share(self.where, "adam_beta_2", adam_beta_2)
        self.adam_weight_decay = at_least_zero(self.where, "adam_weight_decay", adam_weight_decay or 0.0)
        self.epsilon = at_least_zero(self.where, "epsilon", epsilon)
        self.exclude_layers = _expressions(self.where, exclude_layers or [])
        self.exclude_embeddings = check_bool(self.where, "exclude_embeddings", exclude_embeddings)
        self.muon_a, self.muon_b, self.muon_c = (
            check_number(self.where, name, value, "", lambda _: True)
            for name, value in (("muon_a", muon_a), ("muon_b", muon_b), ("muon_c", muon_c))
        )
        self.adam_lr_ratio = at_least_zero(self.where, "adam_lr_ratio", adam_lr_ratio)
        self.momentum = share(self.where, "momentum", momentum)
        self.ns_steps = check_integer(self.where, "ns_steps", ns_steps, 0)
        self.nesterov = check_bool(self.where, "nesterov", nesterov)
        self.rms_rate = None if rms_rate is None else at_least_zero(self.where, "rms_rate", rms_rate)

    never_negative = (*Optimizer.never_negative, "velocity")

    def _start(self) -> None:
        super()._start()
        self._by_adam: list[Tensor] = []

    def init(self, parameter: Any) -> State:
        by_adam = any(parameter is p.data for p in self._by_adam)
        names = ("momentum", *["velocity"] * by_adam)
        return {name: ops.zeros_like(parameter) for name in names}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        if "velocity" in state:
            return self._adam(parameter, gradient, state, learning_rate * self.adam_lr_ratio, step)
        m = self.momentum * state["momentum"] + gradient
        move = self._orthogonal(gradient + self.momentum * m if self.nesterov else m)
        if self.rms_rate is not None:
            learning_rate = learning_rate * (self.rms_rate * math.sqrt(max(parameter.shape)))
        return parameter - learning_rate * move, {"momentum": m}

    def _adam(self, parameter: Any, gradient: Any, state: State, rate: float, step: int) -> tuple[Any, State]:
        m = state["momentum"] + (gradient - state["momentum"]) * (1.0 - self.adam_beta_1)
        v = state["velocity"] + (gradient * gradient - state["velocity"]) * (1.0 - self.adam_beta_2)
        rate = rate * (1.0 - self.adam_beta_2**step) ** 0.5 / (1.0 - self.adam_beta_1**step)
        return parameter - rate * m / (ops.sqrt(v) + self.epsilon), {"momentum": m, "velocity": v}

    def _orthogonal(self, x: Any) -> Any:
        is_tall = x.shape[0] > x.shape[1]
        if is_tall:
            x = ops.transpose(x)
        x = x / (ops.norm(x) + 1e-7)
        for _ in range(self.ns_steps):
            products = x @ ops.transpose(x)
            x = self.muon_a * x + (self.muon_b * products + self.muon_c * (products @ products)) @ x
        return ops.transpose(x) if is_tall else x

    def build(self, parameters: Iterable[Any], shared: bool = False) -> Optimizer:
        """As of all optimizers. Raises ValueError if an expression of `exclude_layers` is in no name, too."""
        parameters = parameters if isinstance(parameters, Mapping) else list(parameters)
        found = members(self.where, parameters)
        for expression in self.exclude_layers:
            if not any(member.name is not None and re.search(expression, member.name) for member in found):
                names = ", ".join(str(member.name) for member in found if member.name is not None)
                hint = "build(dict(model.named_parameters())) gives names."
                raise ValueError(message(self.where, f"parameters named {expression!r}", names or "no names", hint))
        if not self.parameters:
            self._by_adam = [member.parameter for member in found if self._follows_adam(member)]
        return super().build(parameters, shared)

    def _follows_adam(self, member: Member) -> bool:
        name = member.name or ""
        is_embedding = self.exclude_embeddings and "embedding" in name.lower()
        is_excluded = any(re.search(expression, name) for expression in self.exclude_layers)
        return is_embedding or is_excluded or getattr(member.parameter, "ndim", 2) != 2

    def _group_of(self, member: Member) -> Group:
        group = super()._group_of(member)
        if group.weight_decay is None and any(p is member.parameter for p in self._by_adam):
            group = group._replace(weight_decay=self.adam_weight_decay)
        return group


def _expressions(where: str, given: Iterable[str]) -> list[str]:
    """A list of regular expressions; ValueError for one that is none, TypeError for what is no list of texts."""
    expressions = list(given)
    if isinstance(given, str) or not all(isinstance(text, str) for text in expressions):
        raise TypeError(message(where, "exclude_layers to be a list of texts", repr(given)))
    for text in expressions:
        try:
            re.compile(text)
        except re.error as error:
            expected = "exclude_layers to be regular expressions"
            raise ValueError(message(where, expected, repr(text), f"{error}.")) from error
    return expressions
