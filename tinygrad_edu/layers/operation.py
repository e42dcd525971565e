"""Methods and operators of tensors, on symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import choice
from ..ops.bind import BOUND
from .base import Layer
from .symbolic import Symbol

METHODS = tuple(name for name in BOUND if name not in ("__eq__", "__ne__", "to"))
"""Symbols are compared by identity, and are on no device."""


class Operation(Layer):
    """A method or operator of tensors as a layer: what `symbol + 1` or `symbol.mean(axis=1)` calls.

    >>> import tinygrad_edu as tg
    >>> x = tg.layers.Input((3,))
    >>> 2.0 * x[:, :2]
    <Symbol (None, 2) float32>
    """

    def __init__(self, method: str, **options: Any):
        super().__init__(**options)
        if method not in METHODS:
            raise choice(self.where, "method", method, METHODS)
        self.method = method

    def call(self, inputs: Any, *args: Any, **keywords: Any) -> Any:
        return getattr(inputs, self.method)(*args, **keywords)


def _on_symbols(name: str) -> Callable[..., Any]:
    def method(self: Symbol, *args: Any, **keywords: Any) -> Any:
        return Operation(name)(self, *args, **keywords)

    method.__name__ = name
    return method


for _name in METHODS:
    setattr(Symbol, _name, _on_symbols(_name))
