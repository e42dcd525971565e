"""Activation functions by Keras's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import choice, message

Activation = Callable[[Any], Any]


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2, limited to [0, 1]: the slope of `tg.sparse_plus`."""
    return 0.5 * ops.hard_tanh(x) + 0.5


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The nearest probabilities to x along an axis; other than in softmax, many are 0.

    They are max(x - t, 0) with the t for which they add up to 1. The k largest of x stay above 0, for the largest k at
    which 1 + k * (the k-th) exceeds the sum of them (Martins and Astudillo, "From softmax to sparsemax", 2016).

    >>> import tinygrad_edu as tg
    >>> sparsemax(tg.tensor([0.5, 1.0, -3.0]))
    tensor([0.25, 0.75, 0.  ])
    """
    x = x - ops.max(x, axis, keepdims=True)  # which changes nothing, but for the rounding of the sums
    n = x.shape[axis]
    counts = ops.reshape(ops.arange(1, n + 1, dtype=x.dtype, device=x.device), (n, *[1] * (x.ndim - 1 - axis % x.ndim)))
    ordered = ops.sort(x, axis, descending=True)
    stays = 1.0 + counts * ordered > ops.cumsum(ordered, axis)
    total = ops.where(stays, ordered, 0.0).sum(axis=axis, keepdims=True)
    t = (total - 1.0) / stays.astype(x.dtype).sum(axis=axis, keepdims=True)
    return ops.relu(x - t)


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
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
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
