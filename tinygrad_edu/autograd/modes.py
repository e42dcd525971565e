"""Turning the recording of the graph off and on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..state import Switch


class _Mode:
    """A context manager and decorator that sets `grad_enabled` while it lasts; it may be entered again inside
    itself."""

    def __init__(self, enabled: bool):
        self._enabled = enabled
        self._entered: list[Switch] = []

    def __enter__(self) -> None:
        self._entered.append(Switch("grad_enabled", self._enabled))

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **keywords: Any) -> Any:
            with Switch("grad_enabled", self._enabled):
                return function(*args, **keywords)

        return wrapped


def no_grad() -> _Mode:
    """Records no graph, in a `with` block or as the decorator `@no_grad()`.

    >>> import tinygrad_edu as tg
    >>> x = tg.tensor([1.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     (x * 2.0).requires_grad
    False
    """
    return _Mode(False)


def enable_grad() -> _Mode:
    """Records the graph again inside of `no_grad`, in a `with` block or as the decorator `@enable_grad()`."""
    return _Mode(True)
