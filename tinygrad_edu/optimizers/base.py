"""Optimizer: what all optimizers have in common. A subclass is two short functions, `init` and `apply`."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from ..autograd import Number, Tensor, live, on_host, settled
from ..backend import Device, device, to_device, to_host
from ..errors import GradientError, check_cast, check_names, check_number, message

State = dict[str, Any]
"""What an optimizer keeps per parameter: names and arrays of the parameter's shape."""

_owners: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Optimizer]]] = {}
"""Which optimizer a parameter belongs to, by the parameter's id."""


class Optimizer:
    """The base class. `build` gives it parameters, `minimize(loss)` makes one step.

    A subclass defines `init(parameter)`, the state at the start, and `apply(parameter, gradient, state,
    learning_rate, step)`, which returns the new parameter and state. Both see arrays and use only operators and
    primitives.

    Args:
        learning_rate: the size of a step; may be set again at any time.
        weight_decay: shrinks each parameter by this share of the learning rate at each step, apart from the gradient.

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([4.0], requires_grad=True)
    >>> optimizer = tg.optimizers.SGD(learning_rate=0.25).build([w])
    >>> for _ in range(2):
    ...     optimizer.minimize((w * w).sum())
    >>> w
    tensor([1.], requires_grad=True)
    """

    iterations = Number()
    _learning_rate = Number()
    never_negative: tuple[str, ...] = ("iterations", "learning_rate")
    """The names in the state whose numbers are at least 0."""

    def __init__(self, learning_rate: float, weight_decay: float | None = None):
        self.where = type(self).__name__
        self.learning_rate = learning_rate
        self.weight_decay = 0.0
        if weight_decay is not None:
            self.weight_decay = at_least_zero(self.where, "weight_decay", weight_decay)
        self.parameters: list[Tensor] = []
        self.states: list[dict[str, Tensor]] = []
        self.iterations = 0

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = on_host(functools.partial(at_least_zero, self.where, "learning_rate"), value)

    # What a subclass defines

    def init(self, parameter: Any) -> State:
        """The state of a parameter before the first step."""
        return {}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        """The parameter and its state after step number `step`, the first being 1."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply(...)")

    # Use

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Gives the optimizer the parameters to train, and returns it.

        Raises ValueError if there is none, if one comes twice or belongs to another optimizer, or if this one has
        others already; TypeError if one is no tensor that requires grad.
        """
        chosen = list(parameters)
        if self.parameters:
            if [id(p) for p in chosen] != [id(p) for p in self.parameters]:
                hint = "make a new optimizer for each model; after changing trainable, compile again."
                raise ValueError(message(self.where, "the parameters it was built with", "others", hint))
            return self
        if not chosen:
            hint = "build the model first: call it once, or give it an input_shape."
            raise ValueError(message(self.where, "at least one parameter", "none", hint))
        for p in chosen:
            if not isinstance(p, Tensor) or not p.requires_grad or not p.is_leaf:
                found = f"{p.dtype}{list(p.shape)}" if isinstance(p, Tensor) else type(p).__name__
                raise TypeError(message(self.where, "leaf tensors that require grad", found))
            owner = _owner(p)
            if owner is not None and owner is not self:
                hint = "one optimizer trains a parameter; release() the other."
                raise ValueError(
                    message(self.where, "parameters of no other optimizer", f"some of {owner.where}", hint)
                )
        if len({id(p) for p in chosen}) < len(chosen):
            raise ValueError(message(self.where, "each parameter once", f"{len(chosen)} with some of them twice"))
        for p in chosen:
            _owners[id(p)] = (weakref.ref(p, functools.partial(_forget, id(p))), weakref.ref(self))
        self.parameters = chosen
        self.states = [{name: Tensor(array) for name, array in self.init(p.data).items()} for p in chosen]
        return self

    def release(self) -> None:
        """Lets go of the parameters, so that another optimizer can train them. Forgets the state."""
        for p in self.parameters:
            _owners.pop(id(p), None)
        self.parameters, self.states, self.iterations = [], [], 0

    def minimize(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`: backward, `step`, `zero_grad`."""
        loss.backward()
        self.step()
        self.zero_grad()

    def step(self) -> None:
        """Updates every parameter that has a gradient. Raises ValueError before `build`, GradientError before
        `backward`."""
        if not self.parameters:
            raise ValueError(message(self.where, "build(parameters) before step()", "no parameters"))
        if all(p.grad is None for p in self.parameters):
            hint = "call loss.backward() first, or minimize(loss)."
            raise GradientError(message(f"{self.where} step", "gradients", "parameters without any", hint))
        settled(self)
        step, new_values = self.iterations + 1, []
        for p, state in zip(self.parameters, self.states, strict=True):
            if p.grad is None:
                continue
            array = live(p.data)
            if self.weight_decay:
                array = array - array * (self.weight_decay * self._learning_rate)
            old = {name: live(t.data) for name, t in state.items()}
            array, new = self.apply(array, live(p.grad.data), old, self._learning_rate, step)
            new_values += [(p, array), *((t, new[name]) for name, t in state.items())]
        # all is computed before anything changes: an interrupt or an error above leaves no half a step
        for t, array in new_values:
            t.assign_(array)
        self.iterations = step

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    # State and devices

    def state_dict(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """The number of steps, the learning rate and copies of the state, as NumPy arrays: "0.momentum" and so on."""
        values = {"iterations": numpy.array(self.iterations), "learning_rate": numpy.array(self._learning_rate)}
        return values | {name: numpy.array(to_host(t.data)) for name, t in self._named_state().items()}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned: all or nothing. Build the optimizer first.

        Raises ValueError that lists every missing, unexpected and mis-shaped name.
        """
        arrays = {name: v.data if isinstance(v, Tensor) else numpy.asarray(v) for name, v in values.items()}
        own = self._named_state()
        shapes = {"iterations": (), "learning_rate": ()} | {name: t.shape for name, t in own.items()}
        check_names(f"{self.where} load_state_dict", shapes, {name: a.shape for name, a in arrays.items()})
        where = f"{self.where} load_state_dict"
        for name, array in arrays.items():
            least = 0 if name.split(".")[-1] in self.never_negative else -math.inf
            if array.dtype.kind not in "fiu" or not bool(((array >= least) & (abs(array) < math.inf)).all()):
                raise ValueError(
                    message(where, f"{name} of finite numbers{' of at least 0' if least == 0 else ''}", f"{array}")
                )
        iterations = int(check_cast(where, "iterations", arrays["iterations"], "int64"))
        cast = [(t, to_device(check_cast(where, name, arrays[name], t.dtype), t.device)) for name, t in own.items()]
        self.learning_rate, self.iterations = float(arrays["learning_rate"]), iterations
        for t, array in cast:
            t.assign_(array)

    def _named_state(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": t for i, state in enumerate(self.states) for name, t in state.items()}

    def to(self, target: str | Device) -> Optimizer:
        """Moves the state to a device, to follow a model that was moved; returns the optimizer."""
        chosen = device(target)
        for t in self._named_state().values():
            t.data = to_device(t.data, chosen)
        return self

    def __repr__(self) -> str:
        return f"<{self.where} learning_rate={self._learning_rate:g}>"


def at_least_zero(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "of at least 0", lambda v: v >= 0)


def share(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "in [0, 1)", lambda v: 0 <= v < 1)


def _owner(parameter: Tensor) -> Optimizer | None:
    return _owners[id(parameter)][1]() if id(parameter) in _owners else None


def _forget(key: int, _: object) -> None:
    """Called when a parameter is freed: its id may be given to another tensor."""
    _owners.pop(key, None)
