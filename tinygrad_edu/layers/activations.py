"""Activation functions by Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import choice, message

Activation = Callable[[Any], Any]

ACTIVATIONS: dict[str, Activation | None] = {
    "celu": ops.celu,
    "elu": ops.elu,
    "exponential": ops.exp,
    "gelu": ops.gelu,
    "glu": ops.glu,
    "hard_shrink": ops.hard_shrink,
    "hard_sigmoid": ops.hard_sigmoid,
    "hard_silu": ops.hard_swish,
    "hard_swish": ops.hard_swish,
    "hard_tanh": ops.hard_tanh,
    "leaky_relu": ops.leaky_relu,
    "linear": None,
    "log_sigmoid": ops.log_sigmoid,
    "log_softmax": ops.log_softmax,
    "mish": ops.mish,
    "relu": ops.relu,
    "relu6": ops.relu6,
    "selu": ops.selu,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "soft_shrink": ops.soft_shrink,
    "softmax": ops.softmax,
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "sparse_plus": ops.sparse_plus,
    "squareplus": ops.squareplus,
    "swish": ops.silu,
    "tanh": ops.tanh,
    "tanh_shrink": ops.tanh_shrink,
}


def get(activation: Any, where: str) -> Activation | None:
    """The function of that name; a function is given back as it is; None and "linear" are None, which changes nothing.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise choice(where, "activation", activation, ACTIVATIONS)
        return ACTIVATIONS[activation]
    if activation is not None and not callable(activation):
        raise TypeError(message(where, "activation to be a name or a function of one tensor", repr(activation)))
    return activation


def name_of(activation: Activation | None) -> str | None:
    """The name under which `get` finds the function; for one's own "custom:" and its name."""
    if activation is None:
        return None
    for name, function in ACTIVATIONS.items():
        if function is activation:
            return name
    return f"custom:{getattr(activation, '__name__', type(activation).__name__)}"
