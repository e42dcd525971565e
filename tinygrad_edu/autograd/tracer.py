"""What stands for arrays and numbers while `jit` records a function: their values are not there to be read.

`state.trace` is the recording in progress, or None. The functions here are all that the rest of the package needs to
know of it.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy

from ..backend import Array
from ..errors import TraceError, message
from ..state import state

_LIBRARIES = tuple(f"{Path(file).parent}{os.sep}" for file in (Path(__file__).parent, numpy.__file__))


def user_line() -> str:
    """Where the user's own code is: `train.py:12 'if loss > 1.0:'`, the innermost line outside of this package (and of
    NumPy)."""
    frame: Any = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    name = frame.f_code.co_filename
    line = linecache.getline(name, frame.f_lineno).strip()
    return f"{Path(name).name}:{frame.f_lineno}" + (f" {line!r}" if line else "")


def refuse(expected: str, received: str, hint: str) -> NoReturn:
    error = TraceError(message(f"jit, at {user_line()}", expected, received, hint))
    if state.trace is not None:
        state.trace.refused = error  # which `except Exception` must not hide
    raise error


_INSTEAD = "return the value from the jitted function and read it there, or leave this function without jit."
_READINGS = {
    "__bool__": ("no control flow on a traced value", "a truth value", "use tg.where, tg.maximum or tg.minimum."),
    "__float__": ("no Python number of a traced value", "float() or int()", _INSTEAD),
    "__int__": ("no Python number of a traced value", "float() or int()", _INSTEAD),
    "__round__": ("no Python number of a traced value", "round()", _INSTEAD),
    "__index__": ("no index or size made of a traced value", "one", "index with the tensor itself, or use tg.take."),
    "__repr__": ("no printing of a traced value", "print() or str()", _INSTEAD),
    "__format__": ("no printing of a traced value", "a format string", _INSTEAD),
    "__array__": ("no NumPy call on a traced value", "one", "use the function of tinygrad_edu."),
    "item": ("no Python number of a traced value", "item()", _INSTEAD),
    "tolist": ("no Python numbers of a traced value", "tolist()", _INSTEAD),
    "view": ("no NumPy array of a traced value", "numpy()", _INSTEAD),
    "get": ("no copy on the host of a traced value", "one", _INSTEAD),
    "nonzero": ("no shape that depends on traced values", "a boolean mask as an index", "use tg.where."),
    "__setitem__": ("no writing into a traced value", "x[key] = value", "use tg.index_put or tg.scatter_add."),
}


def _refuse_reading(name: str, hint: str = "") -> NoReturn:
    expected, received, usual = _READINGS[name]
    refuse(expected, received, hint or usual)


def readable(array: Array, reading: str) -> Array:
    """`array`, whose values a tensor is about to show; while `jit` records, also those from outside are refused, for
    the recording could not follow them."""
    if type(array) is Tracer:
        array._reading(reading)
    if state.trace is not None:
        _refuse_reading(reading)
    return array


class _Unreadable:
    """Refuses everything that would need the value, and names the user's line."""

    __slots__ = ()
    __array_priority__ = 1000.0  # makes NumPy leave `array * tracer` to us, and ask us for an array elsewhere
    hint = ""
    recorder: Any

    def check_open(self) -> None:
        """Raises TraceError outside of the recording."""
        if self.recorder.closed:
            hint = "return it from the function; attributes and globals keep nothing of a jitted call."
            refuse("no use of a traced value after its call", "one that was kept", hint)
        if state.trace is not self.recorder:
            refuse("no use of a traced value outside of its recording", "one in another thread", _INSTEAD)

    def _reading(self, name: str) -> NoReturn:
        self.check_open()
        _refuse_reading(name, self.hint)


def _refusal(name: str) -> Callable[..., NoReturn]:
    return lambda self, *args, **keywords: self._reading(name)


for _name in _READINGS:
    setattr(_Unreadable, _name, _refusal(_name))


class Tracer(_Unreadable):
    """Stands for an array in a trace: its shape, dtype and strides are known, its value is for the trace only.

    Operators and methods are those of Tensor; `ops/bind.py` attaches them.

    Attributes:
        recorder: the trace that it belongs to.
        stands_for: a real array of that layout.
        variable: what the program calls it.
    """

    __slots__ = ("recorder", "stands_for", "variable")
    shape: Any
    ndim: Any
    size: Any
    dtype: Any
    strides: Any
    device: Any
    base: Any
    __add__: Any
    __getitem__: Any

    def __init__(self, trace: Any, array: Array, variable: Any):
        self.recorder, self.stands_for, self.variable = trace, array, variable

    def __len__(self) -> int:
        return len(self.stands_for)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def copy(self) -> Tracer:
        """The same values in C order: itself if it has that, for a traced value never changes."""
        return self if self.stands_for.flags.c_contiguous else self.recorder.in_c_order(self)

    def __iadd__(self, other: Any) -> Tracer:  # type: ignore[misc]
        """The sum, laid out as this array: where NumPy would overwrite it."""
        y = self + other
        return y if y.strides == self.strides else self.recorder.laid_out_as(self, y)


def _known(name: str) -> property:
    return property(lambda self: getattr(self.stands_for, name))


for _name in ("shape", "ndim", "size", "dtype", "strides", "base", "device"):
    setattr(Tracer, _name, _known(_name))


class HostNumber(_Unreadable):
    """Stands for a Python number in a trace: a learning rate, a step count. Its arithmetic is recorded and done again,
    on Python numbers, at each call.

    Attributes:
        name: its name in the program.
        value: the number of the first call.
    """

    __slots__ = ("name", "recorder", "value")
    __index__: Callable[..., Any]
    hint = "compute with it (+ - * / // % ** abs), or pass it by keyword: then each value is recorded anew."

    def __init__(self, trace: Any, value: float, name: str):
        self.recorder, self.value, self.name = trace, value, name

    def _computed(self, text: str | None, function: Callable[..., Any], *operands: Any) -> Any:
        self.check_open()
        return self.recorder.host_call(text, function, *operands)

    def __neg__(self) -> Any:
        return self._computed("-{}", lambda a: -a, self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self._computed("abs({})", abs, self)

    def _compared(self, other: object) -> NoReturn:
        self._reading("__bool__")

    __lt__ = __le__ = __gt__ = __ge__ = _compared
    __eq__ = __ne__ = _compared
    __hash__ = object.__hash__


class Number:
    """An attribute that holds a Python number which a jitted function reads, and may set, anew at each call."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        values = owner.__dict__["_numbers"]
        return values[self.name] if state.trace is None else state.trace.read_number(values, self.name)

    def __set__(self, owner: Any, value: Any) -> None:
        # in a dict of their own, so that a recording need not hold the owner
        values = owner.__dict__.setdefault("_numbers", {})
        if state.trace is None or self.name not in values:
            values[self.name] = value
        else:
            state.trace.write_number(values, self.name, value)


def on_host(function: Callable[..., float], *numbers: Any) -> Any:
    """`function(*numbers)`, on Python numbers; in a trace it is called again at each call."""
    for n in numbers:
        if type(n) is HostNumber:
            return n._computed(None, function, *numbers)
    return function(*numbers)


def decided(function: Callable[..., Any], *numbers: Any) -> Any:
    """`function(*numbers)` as a Python value, which may decide what is done: a recording holds for calls with the same
    value."""
    return function(*numbers) if state.trace is None else state.trace.decide(function, *numbers)


def check_array(array: Array, look: Callable[[Array], None]) -> None:
    """Calls `look(array)`, which raises if the values are wrong; in a trace it is called again at each call."""
    if state.trace is None:
        look(array)
    else:
        state.trace.inspect(array, look)


def check_range(array: Array, low: float, high: float, look: Callable[[Array], None]) -> None:
    """The same for a `look` that raises if, and only if, a value is not from `low` to `high`. What a jitted function
    does again is a quick test, and only where that fails it is called with all values, for `look` to raise."""
    if state.trace is None:
        look(array)
    else:
        state.trace.inspect(array, look, low, high)


def settled(owner: Any, *names: str) -> None:
    """Says that what follows depends on the plain attributes of `owner` (numbers and texts), and on those of these
    names: where one has changed, a jitted function is traced anew."""
    if state.trace is not None:
        state.trace.note_settings(owner, names)


def live(array: Array) -> Array:
    """`array` as it is read here: in a trace a tracer of its current value, so that nothing is computed unseen."""
    return array if state.trace is None else state.trace.lift(array)
