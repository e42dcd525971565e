"""What stands for arrays and numbers while `jit` records a function: their values are not there to be read.

`state.trace` is the recording in progress, or None. The functions here are all that the rest of the package needs to
know of it.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..backend import Array
from ..errors import TraceError, message
from ..state import state

_PACKAGE = str(Path(__file__).parents[1])


def user_line() -> str:
    """Where the user's own code is: `train.py:12 'if loss > 1.0:'`, the innermost line outside of this package."""
    frame: Any = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    name = frame.f_code.co_filename
    line = linecache.getline(name, frame.f_lineno).strip()
    return f"{Path(name).name}:{frame.f_lineno}" + (f" {line!r}" if line else "")


def refuse(expected: str, received: str, hint: str) -> NoReturn:
    raise TraceError(message(f"jit, at {user_line()}", expected, received, hint))


_INSTEAD = "return the value from the jitted function and read it there, or leave this function without jit."
_READINGS = {
    "__bool__": ("no control flow on a traced value", "a truth value", "use tg.where, tg.maximum or tg.check_."),
    "__float__": ("no Python number of a traced value", "float() or int()", _INSTEAD),
    "__int__": ("no Python number of a traced value", "float() or int()", _INSTEAD),
    "__index__": ("no index made of a traced value", "one", "index with the tensor itself, or use tg.take."),
    "__repr__": ("no printing of a traced value", "print() or str()", _INSTEAD),
    "__array__": ("no NumPy call on a traced value", "one", "use the function of tinygrad_edu."),
    "item": ("no Python number of a traced value", "item()", _INSTEAD),
    "tolist": ("no Python numbers of a traced value", "tolist()", _INSTEAD),
    "view": ("no NumPy array of a traced value", "numpy()", _INSTEAD),
    "get": ("no copy on the host of a traced value", "one", _INSTEAD),
    "nonzero": ("no shape that depends on traced values", "a boolean mask as an index", "use tg.where."),
    "__setitem__": ("no writing into a traced value", "x[key] = value", "use tg.index_put or tg.scatter_add."),
}


class _Unreadable:
    """Refuses everything that would need the value, and names the user's line."""

    __slots__ = ()
    __array_ufunc__ = None  # makes NumPy leave `array * tracer` to us
    recorder: Any

    def _reading(self, expected: str, received: str, hint: str) -> NoReturn:
        if self.recorder.closed:
            hint = "return it from the function; attributes and globals keep nothing of a jitted call."
            refuse("no use of a traced value after its call", "one that was kept", hint)
        refuse(expected, received, hint)


def _refusal(name: str) -> Callable[..., NoReturn]:
    return lambda self, *args, **keywords: self._reading(*_READINGS[name])


for _name in _READINGS:
    setattr(_Unreadable, _name, _refusal(_name))


class Tracer(_Unreadable):
    """Stands for an array in a trace: its shape, dtype and strides are known, its value is for the trace only.

    Operators and methods are those of Tensor; `ops/bind.py` attaches them.

    Attributes:
        recorder: the trace that it belongs to.
        stands_for: the array of the first call, which is a real one.
        variable: what the program calls it.
        stale: whether it is captured memory that `assign_` has given another value since.
    """

    __slots__ = ("recorder", "stale", "stands_for", "variable")
    shape: Any
    ndim: Any
    size: Any
    dtype: Any
    strides: Any
    device: Any
    base = None

    def __init__(self, trace: Any, array: Array, variable: Any):
        self.recorder, self.stands_for, self.variable, self.stale = trace, array, variable, False

    def __len__(self) -> int:
        return len(self.stands_for)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def copy(self) -> Tracer:
        """Itself: a traced value never changes."""
        return self


def _known(name: str) -> property:
    return property(lambda self: getattr(self.stands_for, name))


for _name in ("shape", "ndim", "size", "dtype", "strides", "device"):
    setattr(Tracer, _name, _known(_name))


class HostNumber(_Unreadable):
    """Stands for a Python number in a trace: a learning rate, a step count. Its arithmetic is recorded and done again,
    on Python numbers, at each call.

    Attributes:
        name: its name in the program.
        value: the number of the first call.
    """

    __slots__ = ("name", "recorder", "value")

    def __init__(self, trace: Any, value: float, name: str):
        self.recorder, self.value, self.name = trace, value, name

    def __neg__(self) -> Any:
        return self.recorder.host_call("-{}", lambda a: -a, self)

    def __abs__(self) -> Any:
        return self.recorder.host_call("abs({})", abs, self)

    def _compared(self, other: object) -> NoReturn:
        self._reading(*_READINGS["__bool__"])

    __lt__ = __le__ = __gt__ = __ge__ = _compared
    __eq__ = __ne__ = _compared  # type: ignore[assignment]
    __hash__ = object.__hash__


class Number:
    """An attribute that holds a Python number which a jitted function reads, and may set, anew at each call."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        value = owner.__dict__[self.name]
        return value if state.trace is None else state.trace.read_number(owner, self.name, value)

    def __set__(self, owner: Any, value: Any) -> None:
        if state.trace is None or self.name not in owner.__dict__:
            owner.__dict__[self.name] = value
        else:
            state.trace.write_number(owner, self.name, value)


def on_host(function: Callable[..., float], *numbers: Any) -> Any:
    """`function(*numbers)`, on Python numbers; in a trace it is called again at each call."""
    if any(type(n) is HostNumber for n in numbers):
        return state.trace.host_call(None, function, *numbers)
    return function(*numbers)


def check_array(array: Array, look: Callable[[Array], None]) -> None:
    """Calls `look(array)`, which raises if the values are wrong; in a trace it is called again at each call."""
    if state.trace is None:
        look(array)
    else:
        state.trace.inspect(array, look)


def live(array: Array) -> Array:
    """`array` as it is read here: in a trace a tracer of its current value, so that nothing is computed unseen."""
    return array if state.trace is None else state.trace.lift(array)
