"""Penalties on weights, with Keras's names, arguments and formulas; a model adds them to its loss.

`Dense(8, kernel_regularizer="l2")` takes a name, `L2(1e-4)` an object, and any function of one tensor that returns one
number will do.
"""

from __future__ import annotations

from typing import Any

from . import ops
from .autograd import settled
from .errors import check_number, message
from .registry import as_json, made


class L1L2:
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

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this regularizer again."""
        return {"l1": self.l1, "l2": self.l2}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The regularizer that `get_config` described."""
        return cls(**config)


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


l1, l2, l1_l2 = L1, L2, L1L2  # names that programs written for Keras use as well
REGULARIZERS: dict[str, type[L1L2]] = {"l1": L1, "l2": L2, "l1l2": L1L2}


def get(regularizer: Any, where: str = "regularizers.get") -> Any:
    """The regularizer of that name, or of `{"name": ..., "config": {...}}`; None, an object or a function is given
    back as it is.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    if isinstance(regularizer, (dict, str)):
        return made(where, "regularizer", regularizer, REGULARIZERS)
    if isinstance(regularizer, type) or not (regularizer is None or callable(regularizer)):
        hint = f"write {regularizer.__name__}()." if isinstance(regularizer, type) else ""
        raise TypeError(message(where, "a regularizer, its name or a function of a tensor", repr(regularizer), hint))
    return regularizer


def serialize(regularizer: Any) -> Any:
    """What `get` makes the regularizer of again, as JSON; one's own is written by its name, which `load_model` looks up
    in `custom_objects`. Raises ValueError for a lambda, which has none."""
    return None if regularizer is None else as_json("regularizers.serialize", regularizer, REGULARIZERS)
