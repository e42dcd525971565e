"""What weights must be after each step of an optimizer, with Keras's names, arguments and formulas.

`Dense(8, kernel_constraint="non_neg")` takes a name, `MaxNorm(3.0)` an object, and any function of one tensor that
returns another of its shape will do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import ops
from .autograd import settled
from .errors import check_integers, check_number, message
from .registry import Configured, as_json, found

__all__ = [
    "CONSTRAINTS", "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get", "max_norm", "min_max_norm",
    "non_neg", "serialize", "unit_norm",
]  # fmt: skip

Axes = int | list[int]

EPSILON = 1e-7
"""Added to lengths that others are divided by."""


class Constraint(Configured):
    """The base class of one's own: a subclass defines `__call__(weight)`, which returns the nearest weight that is
    allowed, and keeps the arguments of its constructor in attributes of the same names.

    It is called on the new value of a parameter in each step of an optimizer, not on its initial value. Each weight of
    a layer has an argument for it, such as `kernel_constraint`; for a tensor of one's own set its `constraint` before
    the optimizer is built.

    >>> import tinygrad_edu as tg
    >>> class Small(tg.constraints.Constraint):
    ...     def __call__(self, weight):
    ...         return weight.clip(-1.0, 1.0)
    >>> w = tg.tensor([0.5, 1.5], requires_grad=True)
    >>> w.constraint = Small()
    >>> tg.optimizers.SGD(0.5).build([w]).minimize(-w.sum())
    >>> w.detach()
    tensor([1., 1.])
    """

    def __call__(self, weight: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(weight)")


class NonNeg(Constraint):
    """max(w, 0).

    >>> import tinygrad_edu as tg
    >>> tg.constraints.NonNeg()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __call__(self, weight: Any) -> Any:
        return ops.maximum(weight, 0.0)


class _OfNorms(Constraint):
    """What looks at norms along an axis, or along several as one.

    For the kernel of `Dense`, (inputs, units), the axis 0 gives a norm to each unit; for that of `Conv2D` [0, 1, 2]
    gives one to each filter.
    """

    axis: Axes

    def _norms(self, weight: Any) -> Any:
        settled(self)
        axes = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        return ops.norm(weight, axis=axes, keepdims=True)


class MaxNorm(_OfNorms):
    """w * min(norm, max_value) / (norm + 1e-7): scales what is longer than `max_value` down to it. Srivastava et al.,
    "Dropout: a simple way to prevent neural networks from overfitting" (2014).

    Args:
        max_value: the largest norm.
        axis: an axis, or a list of axes, along which the norm is taken: 0 for the kernel of `Dense`, [0, 1, 2] for that
            of `Conv2D`.

    >>> import tinygrad_edu as tg
    >>> tg.constraints.MaxNorm(25.0)(tg.tensor([[30.0, 8.0], [40.0, 0.0]]))
    tensor([[15.,  8.],
            [20.,  0.]])
    """

    def __init__(self, max_value: float = 2.0, axis: Any = 0):
        self.max_value = check_number("MaxNorm", "max_value", max_value, "of at least 0", lambda v: v >= 0)
        self.axis = _axes("MaxNorm", axis)

    def __call__(self, weight: Any) -> Any:
        norms = self._norms(weight)
        return weight * (ops.minimum(norms, self.max_value) / (norms + EPSILON))


class UnitNorm(_OfNorms):
    """w / (norm + 1e-7), with the norm along `axis`; see `MaxNorm`.

    >>> import tinygrad_edu as tg
    >>> tg.constraints.UnitNorm(axis=1)(tg.tensor([[3.0, 4.0]]))
    tensor([[0.6, 0.8]])
    """

    def __init__(self, axis: Any = 0):
        self.axis = _axes("UnitNorm", axis)

    def __call__(self, weight: Any) -> Any:
        return weight / (self._norms(weight) + EPSILON)


class MinMaxNorm(_OfNorms):
    """w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (norm + 1e-7), with the norm along `axis`;
    see `MaxNorm`. A `rate` below 1 moves the norm only that far towards the bounds in each step.

    >>> import tinygrad_edu as tg
    >>> tg.constraints.MinMaxNorm(16.0, 25.0)(tg.tensor([[30.0, 4.0, 20.0], [40.0, 0.0, 0.0]]))
    tensor([[15., 16., 20.],
            [20.,  0.,  0.]])
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0):
        self.min_value = check_number("MinMaxNorm", "min_value", min_value, "of at least 0", lambda v: v >= 0)
        wanted = f"of at least {self.min_value:g}"
        self.max_value = check_number("MinMaxNorm", "max_value", max_value, wanted, lambda v: v >= self.min_value)
        self.rate = check_number("MinMaxNorm", "rate", rate, "in [0, 1]", lambda v: 0 <= v <= 1)
        self.axis = _axes("MinMaxNorm", axis)

    def __call__(self, weight: Any) -> Any:
        norms = self._norms(weight)
        wanted = self.rate * ops.clip(norms, self.min_value, self.max_value) + (1.0 - self.rate) * norms
        return weight * (wanted / (norms + EPSILON))


def _axes(where: str, axis: Any) -> Axes:
    """An axis, or several as a list."""
    wanted = "axis to be an integer or a list of integers"
    found = check_integers(where, wanted, axis if isinstance(axis, Iterable) else [axis])
    if not found:
        raise TypeError(message(where, wanted, repr(axis)))
    return list(found) if isinstance(axis, Iterable) else found[0]


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm  # as programs for Keras call them
CONSTRAINTS: dict[str, type[Constraint]] = {
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
}


def get(constraint: Any, where: str = "constraints.get") -> Any:
    """The constraint of that name ("max_norm" or "MaxNorm"), or of `{"name": ..., "config": {...}}`; None, an object or
    a function is given back as it is.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    form = "a constraint, its name or a function of a tensor"
    return None if constraint is None else found(where, "constraint", constraint, CONSTRAINTS, form)


def serialize(constraint: Any) -> Any:
    """What `get` makes the constraint of again, as JSON; one's own is written by its name, which `load_model` looks up
    in `custom_objects`. Raises ValueError for a lambda, which has none."""
    return None if constraint is None else as_json("constraints.serialize", constraint, CONSTRAINTS)
