"""Optimizer: what all optimizers have in common. A subclass is two short functions, `init` and `apply`."""

from __future__ import annotations

import functools
import math
import warnings
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy

from .. import ops
from ..autograd import Number, Owner, Tensor, cast, decided, live, on_host, settled, uninterrupted
from ..backend import Device, device, to_device, to_host
from ..errors import GradientError, ShapeError, TraceError, check_cast, check_names, check_number, message
from ..jit import jit, weakly
from ..state import state
from .clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from .groups import Group, Member, members
from .options import Option, Options, checked
from .schedules import LearningRateSchedule
from .segments import LARGE, Segment, State, Update

_owners: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Optimizer]]] = {}
"""Which optimizer a parameter belongs to, by the parameter's id."""


class Optimizer(Owner):
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
        options: clipping, accumulation of gradients, averages of the parameters, a name: see `Options`.

    Raises TypeError for an option that there is not, ValueError for a value out of range or two ways of clipping.

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([4.0], requires_grad=True)
    >>> optimizer = tg.optimizers.SGD(learning_rate=0.25).build([w])
    >>> for _ in range(2):
    ...     optimizer.minimize((w * w).sum())
    >>> w
    tensor([1.], requires_grad=True)
    """

    iterations = Number()
    _accumulated = Number()
    _learning_rate = Number()
    _schedule: LearningRateSchedule | None = None
    never_negative: tuple[str, ...] = ("iterations", "learning_rate", "accumulated")
    """The names in the state whose numbers are at least 0."""
    elementwise = True
    """Whether `apply` does the same to each element, whatever the parameter's shape."""
    takes_function = False
    """Whether `minimize` is given a function that returns the loss, to call it several times."""

    clipnorm, clipvalue, global_clipnorm = Option(), Option(), Option()
    use_ema, ema_momentum, ema_overwrite_frequency = Option(), Option(), Option()
    gradient_accumulation_steps, name = Option(), Option()

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule,
        weight_decay: float | None = None,
        **options: Unpack[Options],
    ):
        kind = type(self).__name__
        self._options = checked(kind, options)
        self.where = kind + (f" {self.name!r}" if self.name else "")
        self.learning_rate = learning_rate
        self.weight_decay = 0.0
        if weight_decay is not None:
            self.weight_decay = at_least_zero(self.where, "weight_decay", weight_decay)
        self._undecayed: tuple[list[Tensor], tuple[str, ...]] = ([], ())
        self._start()

    def _start(self) -> None:
        """The state before `build`."""
        self.parameters: list[Tensor] = []
        self.states: list[dict[str, Tensor]] = []
        self._groups: list[Group] = []
        self._segments: list[Segment] = []
        self.iterations = self._accumulated = 0
        self._update = jit(weakly(self._updated))

    @property
    def learning_rate(self) -> float:
        """The rate of the next step, by the schedule if there is one, which counts the calls of `step`, also those that
        only gather gradients. Setting it to a number where a schedule gives it raises TypeError."""
        if self._schedule is None:
            return self._learning_rate
        calls = self.iterations * (self.gradient_accumulation_steps or 1) + self._accumulated
        return on_host(functools.partial(_scheduled, self.where, self._schedule), calls)

    @learning_rate.setter
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        if isinstance(value, LearningRateSchedule):
            self._schedule, self._learning_rate = value, 0.0
        elif self._schedule is not None:
            hint = "make the optimizer with a number, and let a callback change it."
            found = f"{value!r} in place of {self._schedule!r}"
            raise TypeError(message(self.where, "another schedule as learning_rate", found, hint))
        elif isinstance(value, type):
            expected = "learning_rate to be a number or a schedule"
            raise TypeError(message(self.where, expected, repr(value), f"write {value.__name__}(...)."))
        else:
            self._learning_rate = on_host(functools.partial(at_least_zero, self.where, "learning_rate"), value)

    def _no_lr(self, *value: Any) -> Any:
        raise AttributeError(message(self.where, "learning_rate", "lr, the name that Keras 2 had"))

    lr = property(_no_lr, _no_lr)  # an attribute of this name would be set, and change nothing

    # What a subclass defines

    def init(self, parameter: Any) -> State:
        """The state of a parameter before the first step."""
        return {}

    def apply(self, parameter: Any, gradient: Any, state: State, learning_rate: float, step: int) -> tuple[Any, State]:
        """The parameter and its state after step number `step`, the first being 1."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply(...)")

    # Use

    def exclude_from_weight_decay(
        self, var_list: Iterable[Tensor] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leaves out parameters from weight decay: these, and those whose name contains one of these texts, such as
        "bias" or "gamma" (in Keras regular expressions). Each call replaces the one before. Call it before `build`, and
        `build` with names, as `fit` does.

        Raises ValueError after `build`, TypeError for what is no tensor or text.
        """
        where = f"{self.where} exclude_from_weight_decay"
        if self.parameters:
            raise ValueError(message(where, "a call before build", "one after it"))
        tensors = list(var_list or ())
        names = var_names if isinstance(var_names, str) else tuple(var_names or ())
        if not all(isinstance(t, Tensor) for t in tensors):
            raise TypeError(message(where, "var_list to be tensors", repr(tensors)))
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(message(where, "var_names to be a list of texts", repr(names)))
        self._undecayed = tensors, names

    def build(self, parameters: Iterable[Any], shared: bool = False) -> Optimizer:
        """Gives the optimizer the parameters to train, and returns it.

        Args:
            parameters: tensors; a mapping of names to tensors, such as `dict(model.named_parameters())`; or groups,
                each `{"params": one of these, "rate": a factor on the learning rate, "weight_decay": in place of the
                optimizer's}`, where the last two may be left out.
            shared: whether they may belong to several optimizers, as those of models that have layers in common do:
                each goes on with its own state.

        Once built, it accepts the same parameters again, and changes nothing. Raises ValueError if there is none, if
        one comes twice or belongs to another optimizer, or if this one has others already; TypeError if one is no
        tensor that requires grad.

        >>> import tinygrad_edu as tg
        >>> base, head = (tg.tensor([1.0], requires_grad=True) for _ in range(2))
        >>> optimizer = tg.optimizers.SGD(0.5).build([{"params": [base], "rate": 0.1}, {"params": [head]}])
        >>> optimizer.minimize(base.sum() + head.sum())
        >>> base.item(), head.item()
        (0.949..., 0.5)
        """
        found = members(self.where, parameters)
        chosen = [member.parameter for member in found]
        if self.parameters:
            self._check_same(found)
            return self
        self._check_parameters(chosen, shared)
        self._groups = [self._group_of(member) for member in found]
        for p in chosen:
            _owners[id(p)] = (weakref.ref(p, functools.partial(_forget, id(p))), weakref.ref(self))
        self.parameters = chosen
        self._lay_out()
        return self

    def _check_same(self, found: list[Member]) -> None:
        """Raises ValueError unless these are the parameters that the optimizer has, in whatever order."""
        known = {id(p): group for p, group in zip(self.parameters, self._groups, strict=True)}
        if sorted(id(member.parameter) for member in found) != sorted(known):
            hint = "make a new optimizer for each model; after changing trainable, compile again."
            raise ValueError(message(self.where, "the parameters it was built with", "others", hint))
        if any(m.group != Group() and self._group_of(m) != known[id(m.parameter)] for m in found):
            raise ValueError(message(self.where, "the groups it was built with", "others", "release() it first."))

    def _check_parameters(self, chosen: list[Any], shared: bool) -> None:
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

    def _group_of(self, member: Member) -> Group:
        """The group of a parameter; without weight decay if it was excluded."""
        tensors, names = self._undecayed
        if names and member.name is None:
            hint = "build(dict(model.named_parameters())), or exclude tensors: var_list."
            raise ValueError(message(self.where, "names, to exclude some from weight decay", "tensors alone", hint))
        excluded = any(t is member.parameter for t in tensors) or any(name in str(member.name) for name in names)
        return member.group._replace(weight_decay=0.0) if excluded else member.group

    def _lay_out(self) -> None:
        """Puts small parameters of one kind and group together, and makes the state."""
        together: dict[Any, list[Tensor]] = {}
        groups = {id(p): group for p, group in zip(self.parameters, self._groups, strict=True)}
        for p in self.parameters:
            apart = not self.elementwise or p.size >= LARGE or p.constraint is not None
            together.setdefault(id(p) if apart else (p.device, p.dtype, groups[id(p)]), []).append(p)
        self._segments = [Segment(found, self._state_of, groups[id(found[0])]) for found in together.values()]
        states = {id(p): part for segment in self._segments for p, part in segment.parts}
        self.states = [states[id(p)] for p in self.parameters]

    def _state_of(self, parameter: Any) -> State:
        """The state before the first step: the rule's, and what the options need."""
        own = self.init(parameter)
        if self.gradient_accumulation_steps is not None:
            own["gradient_sum"] = ops.zeros_like(parameter)
        if self.use_ema:
            own["ema"] = parameter.copy()
        return own

    def release(self) -> None:
        """Lets go of the parameters, so that another optimizer can train them. Forgets the state."""
        for p in self.parameters:
            _owners.pop(id(p), None)
        self._start()

    def minimize(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`: backward, `step`, `zero_grad`."""
        loss.backward()
        self.step()
        self.zero_grad()

    def step(self) -> None:
        """Updates every parameter that has a gradient. Raises ValueError before `build`, GradientError before
        `backward`."""
        if not self.parameters:
            hint = "for example optimizer.build(model.trainable_weights)."
            raise ValueError(message(self.where, "build(parameters) before step()", "no parameters", hint))
        gradients = [p.grad for p in self.parameters]
        if all(g is None for g in gradients):
            hint = "call loss.backward() first, or minimize(loss)."
            raise GradientError(message(f"{self.where} step", "gradients", "parameters without any", hint))
        # as tensors: jit takes an array without axes for a number
        gradients = [None if g is None else g.detach() for g in gradients]
        try:
            self._update(gradients)
        except TraceError as error:
            if state.trace is not None:  # that of a step in which this one is
                raise
            warnings.warn(f"{self.where} runs without jit: {error}", stacklevel=3)  # minimize's caller
            self._update = weakly(self._updated)
            self._update(gradients)

    def _updated(self, gradients: list[Tensor | None]) -> None:
        """One step; under `jit`, so that it runs as few loops and changes all or nothing."""
        changes, counts = self._changes([None if g is None else g.data for g in gradients])
        self._change(changes, **counts)

    def _changes(self, gradients: list[Any]) -> tuple[list[tuple[Tensor, Any]], dict[str, Any]]:
        """What a step by these gradients makes of the parameters and their states, and of the counts."""
        settled(self, "_segments", "_schedule")
        found = {id(p): g for p, g in zip(self.parameters, gradients, strict=True)}
        apart = self.clipnorm is not None
        updates = [update for segment in self._segments for update in segment.updates(found, apart)]
        calls = self.gradient_accumulation_steps
        if calls is not None:
            updates = [update._replace(gradient=_gathered(update)) for update in updates]
            if decided(lambda before: before + 1 < calls, self._accumulated):
                sums = [(update.state["gradient_sum"], update.gradient) for update in updates]
                return sums, {"_accumulated": self._accumulated + 1}
            updates = [update._replace(gradient=update.gradient / calls) for update in updates]
        step, rate = self.iterations + 1, self.learning_rate
        changes: list[tuple[Tensor, Any]] = []
        for update in self._clipped(updates):
            changes += self._constrained(update, self._averaged(update, self._moved(update, rate, step)))
        if calls is None:
            return changes, {"iterations": step}
        emptied = [(update.state["gradient_sum"], 0.0) for update in updates]
        return changes + emptied, {"iterations": step, "_accumulated": 0}

    def _clipped(self, updates: list[Update]) -> list[Update]:
        gradients = [update.gradient for update in updates]
        if self.clipnorm is not None:
            gradients = clip_by_norm(gradients, self.clipnorm)
        elif self.global_clipnorm is not None:
            gradients, _ = clip_by_global_norm(gradients, self.global_clipnorm)
        elif self.clipvalue is not None:
            gradients = clip_by_value(gradients, self.clipvalue)
        return [update._replace(gradient=g) for update, g in zip(updates, gradients, strict=True)]

    def _moved(self, update: Update, rate: Any, step: Any) -> list[tuple[Tensor, Any]]:
        """What the rule changes: the parameter first."""
        if update.gradient is None:
            return []
        value, gradient, own, group = update
        rate = rate if group.rate == 1.0 else rate * group.rate
        decay = self.weight_decay if group.weight_decay is None else group.weight_decay
        array = live(value.data)
        if decay:
            array = array - array * (decay * rate)
        own = {name: t for name, t in own.items() if name not in ("gradient_sum", "ema")}
        before = {name: live(t.data) for name, t in own.items()}
        array, new = self.apply(array, gradient, before, rate, step)
        return [(value, array), *((t, new[name]) for name, t in own.items())]

    def _averaged(self, update: Update, changes: list[tuple[Tensor, Any]]) -> list[tuple[Tensor, Any]]:
        """These changes and that of the average, with which the parameter is overwritten where that is due."""
        if not self.use_ema:
            return changes
        (_, array), *rest = changes or [(update.value, live(update.value.data))]
        share = on_host(functools.partial(_share, self.ema_momentum), self.iterations)
        ema = update.state["ema"]
        average = live(ema.data) * share + array * (1.0 - share)
        every = self.ema_overwrite_frequency
        if every is not None and decided(lambda before: (before + 1) % every == 0, self.iterations):
            array = average
        return [(update.value, array), *rest, (ema, average)]

    def _constrained(self, update: Update, changes: list[tuple[Tensor, Any]]) -> list[tuple[Tensor, Any]]:
        """These changes, with what the parameter's constraint makes of its new value; ShapeError for another shape."""
        if update.value.constraint is None or not changes:
            return changes
        (parameter, array), *rest = changes
        constraint = decided(lambda: parameter.constraint)
        settled(constraint)
        made = constraint(Tensor(array))
        found = made.data if isinstance(made, Tensor) else made
        if getattr(found, "shape", None) != parameter.shape:
            received = f"shape {found.shape}" if hasattr(found, "shape") else type(found).__name__
            raise ShapeError(message(f"{self.where} constraint", f"a tensor of shape {parameter.shape}", received))
        return [(parameter, found), *rest]

    def _change(self, changes: list[tuple[Tensor, Any]], **counts: Any) -> None:
        """Makes these changes and those of the counts, all or none."""
        current = [live(t.data) for t, _ in changes]  # which are about to change
        for i, (t, array) in enumerate(changes):
            if getattr(array, "shape", t.shape) != t.shape:  # a number fits any
                raise ShapeError(message(f"{self.where} apply", f"an array of shape {t.shape}", f"shape {array.shape}"))
            if any(array is a for a in current):
                changes[i] = t, cast(array, array.dtype)
        with uninterrupted():
            for t, array in changes:
                t.assign_(array)
            for name, number in counts.items():
                setattr(self, name, number)

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for p in self.parameters:
            p.grad = None

    # Averages

    def swap_ema(self) -> None:
        """Exchanges the parameters and their averages: to evaluate with the averages, and, called again, to go back and
        train on. Raises ValueError without `use_ema`, or before `build`."""
        if not self.use_ema or not self.parameters:
            received = "no parameters" if self.use_ema else "use_ema=False"
            raise ValueError(message(f"{self.where} swap_ema", "averages of parameters: use_ema=True, build", received))
        self._change([change for p, own in self._parts() for change in _swapped(p, own["ema"])])

    def finalize_variable_values(self, var_list: Iterable[Tensor] | None = None) -> None:
        """Ends a training: with `use_ema`, these parameters, or all, become their averages. `fit` calls it."""
        chosen = None if var_list is None else {id(p) for p in var_list}
        if self.use_ema:
            wanted = [(p, own["ema"]) for p, own in self._parts() if chosen is None or id(p) in chosen]
            self._change([(p, live(average.data)) for p, average in wanted])

    def _parts(self) -> list[tuple[Tensor, dict[str, Tensor]]]:
        return list(zip(self.parameters, self.states, strict=True))

    # State and devices

    def state_dict(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """The number of steps, the learning rate and copies of the state, as NumPy arrays: "0.momentum" and so on."""
        values = {name: numpy.array(number) for name, number in self._numbers_in_state().items()}
        return values | {name: numpy.array(to_host(t.data)) for name, t in self._named_state().items()}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned: all or nothing. Build the optimizer first.

        Raises ValueError that lists every missing, unexpected and mis-shaped name.
        """
        arrays = {name: v.data if isinstance(v, Tensor) else numpy.asarray(v) for name, v in values.items()}
        own = self._named_state()
        shapes = dict.fromkeys(self._numbers_in_state(), ()) | {name: t.shape for name, t in own.items()}
        check_names(f"{self.where} load_state_dict", shapes, {name: a.shape for name, a in arrays.items()})
        where = f"{self.where} load_state_dict"
        for name, array in arrays.items():
            least = 0 if name.split(".")[-1] in self.never_negative else -math.inf
            if array.dtype.kind not in "fiu" or not bool(((array >= least) & (abs(array) < math.inf)).all()):
                raise ValueError(
                    message(where, f"{name} of finite numbers{' of at least 0' if least == 0 else ''}", f"{array}")
                )
        iterations = int(check_cast(where, "iterations", arrays["iterations"], "int64"))
        accumulated = int(check_cast(where, "accumulated", arrays.get("accumulated", numpy.array(0)), "int64"))
        if accumulated >= (self.gradient_accumulation_steps or 1):
            expected = f"accumulated below {self.gradient_accumulation_steps}, the steps of an update"
            raise ValueError(message(where, expected, str(accumulated)))
        cast = [(t, to_device(check_cast(where, name, arrays[name], t.dtype), t.device)) for name, t in own.items()]
        self.iterations, self._accumulated = iterations, accumulated
        if self._schedule is None:
            self.learning_rate = float(arrays["learning_rate"])
        for t, array in cast:
            t.assign_(array)

    def _numbers_in_state(self) -> dict[str, float]:
        values = {"iterations": self.iterations, "learning_rate": self.learning_rate}
        return values if self.gradient_accumulation_steps is None else values | {"accumulated": self._accumulated}

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


def _scheduled(where: str, schedule: LearningRateSchedule, step: int) -> float:
    return at_least_zero(where, f"the learning rate of {type(schedule).__name__}", schedule(step))


def at_least_zero(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "of at least 0", lambda v: v >= 0)


def share(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "in [0, 1)", lambda v: 0 <= v < 1)


def _owner(parameter: Tensor) -> Optimizer | None:
    return _owners[id(parameter)][1]() if id(parameter) in _owners else None


def _forget(key: int, _: object) -> None:
    """Called when a parameter is freed: its id may be given to another tensor."""
    _owners.pop(key, None)


def _gathered(update: Update) -> Any:
    """The sum of the gradients since the last update."""
    before = live(update.state["gradient_sum"].data)
    return before if update.gradient is None else before + update.gradient


def _swapped(a: Tensor, b: Tensor) -> list[tuple[Tensor, Any]]:
    """The changes that exchange two values."""
    return [(a, live(b.data)), (b, live(a.data))]


def _share(momentum: float, iterations: int) -> float:
    """What an average keeps of itself: nothing in the first step."""
    return momentum if iterations else 0.0
