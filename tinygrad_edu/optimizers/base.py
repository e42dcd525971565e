"""Optimizer: what all optimizers have in common. A subclass is two short functions, `init` and `apply`."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy

from .. import ops
from ..autograd import Number, Tensor, cast, live, on_host, settled, uninterrupted
from ..backend import Array, Device, array_module, device, to_device, to_host
from ..errors import GradientError, ShapeError, TraceError, check_cast, check_names, check_number, message
from ..jit import jit, weakly
from ..state import state
from .schedules import LearningRateSchedule

State = dict[str, Any]
"""What an optimizer keeps per parameter: names and arrays of the parameter's shape."""

LARGE = 1 << 15
"""Elements from which on a parameter is updated by itself; smaller ones lie together in one array."""

_owners: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Optimizer]]] = {}
"""Which optimizer a parameter belongs to, by the parameter's id."""


class Optimizer:
    """The base class. `build` gives it parameters, `minimize(loss)` makes one step.

    A subclass defines `init(parameter)`, the state at the start, and `apply(parameter, gradient, state,
    learning_rate, step)`, which returns the new parameter and state. Both see arrays and use only operators and
    primitives, and are recorded by `jit`: one that branches on `step` runs without, and slower, which a warning says.
    Parameters that are small are laid into one array, and `apply` sees many of them as one; a rule that is not
    element-wise says so by `elementwise = False`.

    Args:
        learning_rate: the size of a step, or a schedule (`optimizers.schedules`) that gives it for each; may be set
            again at any time.
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
    _schedule: LearningRateSchedule | None = None
    never_negative: tuple[str, ...] = ("iterations", "learning_rate")
    """The names in the state whose numbers are at least 0."""
    elementwise = True
    """Whether `apply` does the same to each element, whatever the parameter's shape."""

    def __init__(self, learning_rate: float | LearningRateSchedule, weight_decay: float | None = None):
        self.where = type(self).__name__
        self.learning_rate = learning_rate
        self.weight_decay = 0.0
        if weight_decay is not None:
            self.weight_decay = at_least_zero(self.where, "weight_decay", weight_decay)
        self.parameters: list[Tensor] = []
        self.states: list[dict[str, Tensor]] = []
        self.iterations = 0
        self._segments: list[Segment] = []
        self._update = jit(weakly(self._updated))

    @property
    def learning_rate(self) -> float:
        """The rate of the next step. Setting it to a number where a schedule gives it raises TypeError."""
        if self._schedule is None:
            return self._learning_rate
        return on_host(functools.partial(_scheduled, self.where, self._schedule), self.iterations)

    @learning_rate.setter
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        if isinstance(value, LearningRateSchedule):
            self._schedule, self._learning_rate = value, 0.0
        elif self._schedule is not None:
            hint = "make the optimizer with a number, and let a callback change it."
            found = f"{value!r} in place of {self._schedule!r}"
            raise TypeError(message(self.where, "another schedule as learning_rate", found, hint))
        else:
            self._learning_rate = on_host(functools.partial(at_least_zero, self.where, "learning_rate"), value)

    # What a subclass defines

    def init(self, parameter: Any) -> State:
        """The state of a parameter before the first step."""
        return {}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        """The parameter and its state after step number `step`, the first being 1."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply(...)")

    # Use

    def build(self, parameters: Iterable[Tensor], shared: bool = False) -> Optimizer:
        """Gives the optimizer the parameters to train, and returns it.

        Raises ValueError if there is none, if one comes twice or belongs to another optimizer, or if this one has
        others already; TypeError if one is no tensor that requires grad. `shared` ones may belong to several, as those
        of models that have layers in common: each goes on with its own state.
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
            if owner is not None and owner is not self and not shared:
                hint = "release() the other, or say build(parameters, shared=True) if both are to train them."
                raise ValueError(
                    message(self.where, "parameters of no other optimizer", f"some of {owner.where}", hint)
                )
        if len({id(p) for p in chosen}) < len(chosen):
            raise ValueError(message(self.where, "each parameter once", f"{len(chosen)} with some of them twice"))
        for p in chosen:
            _owners[id(p)] = (weakref.ref(p, functools.partial(_forget, id(p))), weakref.ref(self))
        self.parameters = chosen
        self._lay_out()
        return self

    def _lay_out(self) -> None:
        """Puts small parameters of one kind together, and makes the state."""
        together: dict[Any, list[int]] = {}
        for i, p in enumerate(self.parameters):
            apart = not self.elementwise or p.size >= LARGE or p.constraint is not None
            together.setdefault(i if apart else (p.device, p.dtype), []).append(i)
        self._segments = [Segment([self.parameters[i] for i in numbers], self.init) for numbers in together.values()]
        states = {id(p): part for segment in self._segments for p, part in segment.parts}
        self.states = [states[id(p)] for p in self.parameters]

    def release(self) -> None:
        """Lets go of the parameters, so that another optimizer can train them. Forgets the state."""
        for p in self.parameters:
            _owners.pop(id(p), None)
        self.parameters, self.states, self.iterations, self._segments = [], [], 0, []
        self._update = jit(weakly(self._updated))

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
        gradients = [None if p.grad is None else p.grad.data for p in self.parameters]
        try:
            self._update(gradients)
        except TraceError as error:
            if state.trace is not None:  # that of a step in which this one is
                raise
            warnings.warn(f"{self.where} runs without jit: {error}", stacklevel=3)  # minimize's caller
            self._update = weakly(self._updated)
            self._update(gradients)

    def _updated(self, gradients: list[Any]) -> None:
        """One step; under `jit`, so that it runs as few loops and changes all or nothing."""
        settled(self, "_schedule")
        changes: list[tuple[Tensor, Any]] = []
        step, rate = self.iterations + 1, self.learning_rate
        found = {id(p): g for p, g in zip(self.parameters, gradients, strict=True)}
        for segment in self._segments:
            for value, gradient, own in segment.updates(found):
                array = live(value.data)
                if self.weight_decay:
                    array = array - array * (self.weight_decay * rate)
                before = {name: live(t.data) for name, t in own.items()}
                array, new = self.apply(array, gradient, before, rate, step)
                if value.constraint is not None:
                    array = constrained(f"{self.where} constraint", value, array)
                changes += [(value, array), *((t, new[name]) for name, t in own.items())]
        for i, (t, array) in enumerate(changes):
            if getattr(array, "shape", t.shape) != t.shape:  # a number fits any
                raise ShapeError(message(f"{self.where} apply", f"an array of shape {t.shape}", f"shape {array.shape}"))
            if any(array is live(other.data) for other, _ in changes):  # which is about to change
                changes[i] = t, cast(array, array.dtype)
        with uninterrupted():
            for t, array in changes:
                t.assign_(array)
            self.iterations = step

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    # State and devices

    def state_dict(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """The number of steps, the learning rate and copies of the state, as NumPy arrays: "0.momentum" and so on."""
        values = {"iterations": numpy.array(self.iterations), "learning_rate": numpy.array(self.learning_rate)}
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
        self.iterations = iterations
        if self._schedule is None:
            self.learning_rate = float(arrays["learning_rate"])
        for t, array in cast:
            t.assign_(array)

    def _named_state(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": t for i, state in enumerate(self.states) for name, t in state.items()}

    def to(self, target: str | Device) -> Optimizer:
        """Moves the state to a device, to follow a model that was moved; returns the optimizer."""
        chosen = device(target)
        values = [{name: to_device(t.data, chosen) for name, t in state.items()} for state in self.states]
        for p in self.parameters:
            p.data = to_device(p.data, chosen)
        self._lay_out()
        for own, value in zip(self.states, values, strict=True):
            for name, t in own.items():
                t.assign_(value[name])
        return self

    def __repr__(self) -> str:
        return f"<{self.where} learning_rate={self._schedule or format(self._learning_rate, 'g')}>"


class Segment:
    """Parameters that are updated as one, and their state: small ones as stretches of one flat array, or a single
    one.

    Attributes:
        value: all parameters; the only one itself, where there is one.
        state: of `value`.
        parts: each parameter with its part of the state.
    """

    def __init__(self, parameters: list[Tensor], init: Callable[[Array], State]):
        self.parameters = parameters
        if len(parameters) == 1:
            self.value = parameters[0]
        else:
            first = parameters[0].data
            self.value = Tensor(array_module(first).concatenate([p.data.reshape(-1) for p in parameters]))
        self.state = {name: Tensor(array) for name, array in init(self.value.data).items()}
        self.parts = [(self.value, self.state)]
        if len(parameters) > 1:
            self.parts = [(p, {name: Tensor(t.data) for name, t in self.state.items()}) for p in parameters]
            self._tie(range(len(parameters)))

    def _tie(self, numbers: Iterable[int]) -> None:
        """Makes those parameters, and the parts of the state, stretches of the flat arrays."""
        self._stretches = self._cut(self.value.data)
        for i in numbers:
            self.parameters[i].data = self._stretches[i]
        for name, t in self.state.items():
            for (_, own), stretch in zip(self.parts, self._cut(t.data), strict=True):
                own[name].data = stretch

    def __deepcopy__(self, memo: dict[int, Any]) -> Segment:
        """A copy whose parameters lie in its own flat array: copies of views would be apart."""
        other = Segment.__new__(Segment)
        memo[id(self)] = other
        other.__dict__ = copy.deepcopy(self.__dict__, memo)
        if len(self.parameters) > 1:
            other._tie([i for i, p in enumerate(self.parameters) if p.data is self._stretches[i]])
        return other

    def _cut(self, array: Array) -> list[Array]:
        """The stretches of a flat array that belong to the parameters, in their shapes."""
        ends = list(itertools.accumulate(p.size for p in self.parameters))
        starts = [0, *ends[:-1]]
        return [array[i:j].reshape(p.shape) for i, j, p in zip(starts, ends, self.parameters, strict=True)]

    def _is_whole(self) -> bool:
        """Whether the parameters still lie where they were put; `detach`, for jit notes what is asked for a tensor."""
        return all(p.detach().data is a for p, a in zip(self.parameters, self._stretches, strict=True))

    def updates(self, gradients: dict[int, Any]) -> Iterator[tuple[Tensor, Any, dict[str, Tensor]]]:
        """What to update, with its gradient and state: all at once, or one by one where a gradient is missing or a
        parameter was given another array."""
        given = [gradients[id(p)] for p in self.parameters]
        if len(given) > 1 and not any(g is None for g in given) and self._is_whole():
            yield self.value, ops.concatenate([ops.ravel(g) for g in given]), self.state
            return
        for (p, own), g in zip(self.parts, given, strict=True):
            if g is not None:
                yield p, g, own


def _scheduled(where: str, schedule: LearningRateSchedule, step: int) -> float:
    return at_least_zero(where, f"the learning rate of {type(schedule).__name__}", schedule(step))


def constrained(where: str, parameter: Tensor, array: Any) -> Any:
    """What the parameter's constraint makes of its new value. Raises ShapeError for another shape."""
    made = parameter.constraint(Tensor(array))
    found = made.data if isinstance(made, Tensor) else made
    if getattr(found, "shape", None) != parameter.shape:
        received = f"shape {found.shape}" if hasattr(found, "shape") else type(found).__name__
        raise ShapeError(message(where, f"a tensor of shape {parameter.shape}", received))
    return found


def at_least_zero(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "of at least 0", lambda v: v >= 0)


def share(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "in [0, 1)", lambda v: 0 <= v < 1)


def _owner(parameter: Tensor) -> Optimizer | None:
    return _owners[id(parameter)][1]() if id(parameter) in _owners else None


def _forget(key: int, _: object) -> None:
    """Called when a parameter is freed: its id may be given to another tensor."""
    _owners.pop(key, None)
