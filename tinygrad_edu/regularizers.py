"""Penalties on weights and on outputs, with Keras's names, arguments and formulas; a model adds them to its loss.

`Dense(8, kernel_regularizer="l2")` takes a name, `L2(1e-4)` an object, and any function of one tensor that returns one
number will do. `activity_regularizer` is for what a layer computes.
"""

from __future__ import annotations

from typing import Any

from . import ops
from .autograd import settled
from .errors import ShapeError, check_number, choice, message
from .registry import Configured, as_json, found

__all__ = [
    "L1", "L1L2", "L2", "REGULARIZERS", "OrthogonalRegularizer", "Regularizer", "get", "l1", "l1_l2", "l2",
    "orthogonal_regularizer", "serialize",
]  # fmt: skip


class Regularizer(Configured):
    """The base class of one's own: a subclass defines `__call__(weight)`, which returns one number, and keeps the
    arguments of its constructor in attributes of the same names.

    >>> import tinygrad_edu as tg
    >>> class Largest(tg.regularizers.Regularizer):
    ...     def __call__(self, weight):
    ...         return abs(weight).max()
    >>> Largest()(tg.tensor([1.0, -2.0]))
    tensor(2.)
    """

    def __call__(self, weight: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(weight)")


class L1L2(Regularizer):
    """l1 * sum(|w|) + l2 * sum(w * w).

    >>> import tinygrad_edu as tg
    >>> tg.regularizers.L1L2(l1=1.0, l2=0.5)(tg.tensor([1.0, -2.0]))
    tensor(5.5)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1, self.l2 = (
            check_number(type(self).__name__, name, value, "of at least 0", lambda v: v >= 0)
            for name, value in (("l1", l1), ("l2", l2))
        )

    def __call__(self, weight: Any) -> Any:
        settled(self)
        terms = [self.l1 * ops.sum(ops.absolute(weight))] if self.l1 else []
        terms += [self.l2 * ops.sum(ops.square(weight))] if self.l2 else []
        return terms[0] + terms[1] if len(terms) == 2 else terms[0] if terms else ops.sum(weight) * 0.0


class L1(L1L2):
    """l1 * sum(|w|)."""

    def __init__(self, l1: float = 0.01):
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """l2 * sum(w * w)."""

    def __init__(self, l2: float = 0.01):
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


SHORTEST = 1e-7
"""The length below which a vector has no direction."""


class OrthogonalRegularizer(Regularizer):
    """factor * mean(|cosine|) of the angles between every two rows of a matrix (n, m): 0 if all are orthogonal.

    A row shorter than 1e-7, so that it has no direction, is divided by that instead of by its length.

    Args:
        factor: what the mean is multiplied by.
        mode: "rows", or "columns" for the angles between those.

    Raises ShapeError for what is no matrix, or one of a single row (column), which Keras makes NaN of.

    >>> import tinygrad_edu as tg
    >>> tg.regularizers.OrthogonalRegularizer(factor=1.0)(tg.tensor([[2.0, 0.0], [3.0, 4.0]]))
    tensor(0.6)
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        where = type(self).__name__
        self.factor = check_number(where, "factor", factor, "of at least 0", lambda v: v >= 0)
        if mode not in ("rows", "columns"):
            raise choice(where, "mode", mode, ("rows", "columns"))
        self.mode = mode

    def __call__(self, weight: Any) -> Any:
        settled(self)
        vectors = self.mode.removesuffix("s")
        if weight.ndim != 2 or weight.shape[self.mode == "columns"] < 2:
            expected = f"a matrix of at least two {self.mode}"
            hint = f"there is no angle between a {vectors} and another." if weight.ndim == 2 else ""
            raise ShapeError(message(type(self).__name__, expected, f"shape {tuple(weight.shape)}", hint))
        rows = weight if self.mode == "rows" else ops.transpose(weight)
        unit = rows / ops.maximum(ops.norm(rows, axis=1, keepdims=True), SHORTEST)
        n = rows.shape[0]
        others = 1.0 - ops.eye(n, dtype=weight.dtype, device=weight.device)
        return self.factor * ops.sum(ops.absolute(unit @ ops.transpose(unit)) * others) / (n * (n - 1))


l1, l2, l1_l2 = L1, L2, L1L2  # names that programs written for Keras use as well
orthogonal_regularizer = OrthogonalRegularizer
REGULARIZERS: dict[str, type[Regularizer]] = {
    "l1": L1,
    "l2": L2,
    "l1l2": L1L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
}


def get(regularizer: Any, where: str = "regularizers.get") -> Any:
    """The regularizer of that name, or of `{"name": ..., "config": {...}}`; None, an object or a function is given
    back as it is.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    form = "a regularizer, its name or a function of a tensor"
    return None if regularizer is None else found(where, "regularizer", regularizer, REGULARIZERS, form)


def serialize(regularizer: Any) -> Any:
    """What `get` makes the regularizer of again, as JSON; one's own is written by its name, which `load_model` looks up
    in `custom_objects`. Raises ValueError for a lambda, which has none."""
    return None if regularizer is None else as_json("regularizers.serialize", regularizer, REGULARIZERS)
