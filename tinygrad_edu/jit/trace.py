"""Trace: runs a function once, for real, and records every primitive that it calls as a `Program`.

Nothing changes before the end: `assign_`, `.grad` and counters are noted, and what the function reads after them is
the new value. So an error or an interrupt leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy

from ..autograd import HostNumber, Primitive, Tensor, Tracer, cast, refuse, user_line
from ..backend import Array, array_module, default_generator
from ..errors import GradientError, TraceError, message
from ..state import Switch
from .program import Argument, Attribute, Call, Captured, Gradient, HostCall, Program, Scalar, Variable, leaves, rebuild

Window = tuple[int, tuple[int, ...], tuple[int, ...], Any]
"""A part of an array's memory: offset in bytes, shape, strides, dtype."""


def _window_of(xp: Any, a: Array, *, window: Window) -> Array:
    """A part of the memory of `a`."""
    offset, shape, strides, dtype = window
    if xp is numpy:
        return numpy.ndarray(shape, dtype, a, offset, strides)
    return xp.ndarray(shape, dtype, a.data + offset, strides)


def _write_into(xp: Any, a: Array, value: Any, *, window: Window) -> Array:
    """A copy of `a`, laid out as it is, with `value` in a part of its memory."""
    y = xp.copy(a, order="K")
    _window_of(xp, y, window=window)[...] = value
    return y


def _look_at(xp: Any, a: Array, *, look: Callable[[Array], None]) -> None:
    look(a)


_window = Primitive(_window_of, "view")
_written = Primitive(_write_into, "opaque", promotes=False)
_inspect = Primitive(_look_at, "effect")


class _Memory:
    """An array that was there before the call (or an argument), and its value at this point of the trace."""

    def __init__(self, target: Any, array: Any, current: Tracer):
        self.target, self.array, self.current = target, array, current
        self.windows: dict[Window, Tracer] = {}
        self.written = False


class Trace:
    """A recording in progress. `run` makes it; the other methods are called by primitives and tensors.

    Attributes:
        program: what has been recorded.
        watched: tensors that the program depends on, with what must stay the same: data and requires_grad.
        gradients: tensors whose `.grad` was read or set, with whether there was one at the start.
        closed: whether the call is over, so that tracers are no longer of use.
    """

    def __init__(self) -> None:
        self.program = Program()
        self.watched: dict[int, tuple[Tensor, Any, bool]] = {}
        self.gradients: dict[int, tuple[Tensor, bool]] = {}
        self.closed = False
        self._memories: dict[int, _Memory] = {}
        self._captured: dict[int, Tracer] = {}
        self._grads: dict[int, tuple[Tensor | None, Tensor | None]] = {}  # at the start, and now
        self._numbers: dict[tuple[int, str], tuple[Attribute, Any, Any]] = {}  # where, at the start, and now
        self._draws: dict[Any, Call] = {}
        self._kept: list[Any] = []  # objects whose id is a key above

    def run(self, function: Callable[..., Any], arguments: Any, keywords: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Calls the function on tracers of `arguments`.

        Returns the tree of the types of its results, the values of the results, and the values to write.
        """
        try:
            stand_ins = rebuild(arguments, map(self._argument, range(len(list(leaves(arguments)))), leaves(arguments)))
            with Switch("trace", self):
                result = function(*stand_ins, **keywords)
                values = self._finish(result)
        finally:
            self.closed = True
        count = len(self.program.results)
        return rebuild(result, map(type, leaves(result))), values[:count], values[count:]

    def _argument(self, position: int, a: Any) -> Any:
        if isinstance(a, Tensor):
            return Tensor(self._input(a.data, Argument(position)))
        if is_number(a):
            a = a.item() if hasattr(a, "item") else a
            return self._host(HostCall(f"a{position}", None, (position,)), a)  # type: ignore[arg-type]
        return self._input(a, Argument(position)) if hasattr(a, "dtype") else a

    def _input(self, array: Array, source: Any) -> Tracer:
        variable = Variable(array.shape, array.dtype, array.strides)
        self.program.inputs[variable] = source
        tracer = Tracer(self, array, variable)
        if type(source) is not Captured:
            self._memories[id(tracer)] = _Memory(source, tracer, tracer)
            self._kept.append(tracer)
        return tracer

    # Arrays that come in

    def lift_arguments(self, args: Any, arrays: list[Any]) -> list[Any]:
        """The arrays of a primitive's arguments, as tracers."""
        for a in args:
            if type(a) is Tensor and type(a.data) is not Tracer:
                self._watch(a)
        return [self.lift(a) if hasattr(a, "dtype") else a for a in arrays]

    def _watch(self, tensor: Tensor) -> None:
        if tensor.node is not None and tensor.requires_grad:
            hint = "detach() it, or compute it inside of the jitted function."
            where = f"jit, at {user_line()}"
            raise GradientError(
                message(where, "no tensor from a graph outside", f"one made by {tensor.node.primitive.label}", hint)
            )
        self.watched.setdefault(id(tensor), (tensor, tensor.data, tensor.requires_grad))

    def lift(self, array: Array) -> Tracer:
        """The tracer of the current value of an array, which may be a part of a larger one."""
        if type(array) is Tracer:
            if array.recorder is not self:
                hint = "return it from the function; attributes and globals keep nothing of a jitted call."
                refuse("no use of a traced value after its call", "one that was kept", hint)
            memory = self._memories.get(id(array))
            return array if memory is None else memory.current
        memory, window = self._place(array)
        if window is None:
            return memory.current
        if window not in memory.windows:
            tracer = self.record(_window, [memory.current], {"window": window})
            memory.windows[window] = self._captured[id(tracer)] = tracer
        return memory.windows[window]

    def _place(self, array: Array) -> tuple[_Memory, Window | None]:
        """The memory that an array is in, and which part of it, None for the whole."""
        owner = array
        while isinstance(owner.base, type(array)):
            owner = owner.base
        memory = self._memories.get(id(owner))
        if memory is None:
            tracer = self._input(owner, Captured(owner))
            memory = self._memories[id(owner)] = _Memory(Captured(owner), owner, tracer)
            self._captured[id(tracer)] = tracer
        if array is owner:
            return memory, None
        window = (_address(array) - _address(owner), array.shape, array.strides, array.dtype)
        return memory, None if window == (0, owner.shape, owner.strides, owner.dtype) else window

    def is_captured(self, tracer: Tracer) -> bool:
        """Whether it is memory from outside, which `assign_` may overwrite."""
        return id(tracer) in self._captured

    def check_inside(self, where: str, output: Tensor) -> None:
        """Raises GradientError for a tensor that was not computed in this trace."""
        if type(output.data) is not Tracer:
            hint = "compute it inside of the jitted function."
            raise GradientError(message(f"{where}, at {user_line()}", "a tensor of this jitted call", "another", hint))

    def forbid(self, expected: str, received: str, hint: str) -> NoReturn:
        """Raises TraceError, which names the user's line."""
        refuse(expected, received, hint)

    # What is recorded

    def record(self, primitive: Primitive, operands: list[Any], attributes: dict[str, Any]) -> Any:
        """Runs a primitive's forward on the values of the operands, and returns tracers of what it returns."""
        for name, value in attributes.items():
            self._check_static(primitive, name, value)
        values = [_value(a) for a in operands]
        place = default_generator.state
        xp = array_module(*values)
        with Switch("trace", None):
            y = primitive.forward(xp, *values, **{name: _value(value) for name, value in attributes.items()})
        arrays = [a for a in operands if type(a) is Tracer]
        outputs = rebuild(y, (self._output(part, arrays) for part in leaves(y)))
        call = Call(
            primitive,
            tuple(_operand(a) for a in operands),
            {name: _operand(value) for name, value in attributes.items()},
            rebuild(outputs, (None if t is None else t.variable for t in leaves(outputs))),
            xp,
        )
        if primitive.kind == "random":
            first = self._draws.setdefault(place, call)
            call.redraws = None if first is call else first
        self.program.calls.append(call)
        return outputs

    def _output(self, y: Any, operands: list[Tracer]) -> Tracer | None:
        if y is None:
            return None
        y = numpy.asarray(y) if isinstance(y, (numpy.generic, float, int)) else y
        base = next((a.variable for a in operands if array_module(y).may_share_memory(y, a.stands_for)), None)
        return Tracer(self, y, Variable(y.shape, y.dtype, y.strides, base))

    def _check_static(self, primitive: Primitive, name: str, value: Any) -> None:
        for part in leaves(value):
            nested = type(part) is HostNumber and part is not value
            if nested or isinstance(part, (Tensor, Tracer)) or (hasattr(part, "shape") and hasattr(part, "dtype")):
                hint = "give it to the operation as an argument."
                found = f"an array in {name!r}"
                where = f"jit, {primitive.label} at {user_line()}"
                raise TraceError(message(where, "attributes that are no arrays", found, hint))

    def inspect(self, array: Array, look: Callable[[Array], None]) -> None:
        self.record(_inspect, [self.lift(array)], {"look": look})

    def copy(self, array: Array, dtype: Any) -> Tracer:
        """A copy in that dtype."""
        return cast(self.lift(array), dtype)

    # What is changed at the end

    def assign(self, tensor: Tensor, value: Any) -> None:
        """Notes that the memory of `tensor` is given another value, which is what later reads see."""
        array = tensor.data
        memory: _Memory | None
        if type(array) is Tracer:
            memory, window = self._memories.get(id(array)), None
            if memory is None:
                hint = "make it outside of the jitted function; tensors are values here."
                refuse("assign_ to a tensor from outside", "one made in the jitted function", hint)
        else:
            self._watch(tensor)
            memory, window = self._place(array)
        old = memory.current
        value = self.lift(value) if hasattr(value, "dtype") else value
        layout = (0, old.shape, old.strides, old.dtype)
        if window is None and type(value) is Tracer and layout == (0, value.shape, value.strides, value.dtype):
            new = value
        else:
            new = self.record(_written, [old, value], {"window": window or layout})
        for tracer in (old, *memory.windows.values()):
            tracer.stale = True
        memory.windows.clear()
        memory.current, memory.written = Tracer(self, new.stands_for, new.variable), True
        self._captured[id(memory.current)] = memory.current

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        if type(tensor.data) is Tracer:
            return tensor._grad
        if id(tensor) not in self._grads:
            real = tensor._grad
            self.gradients[id(tensor)] = (tensor, real is not None)
            read = None if real is None else Tensor(self._input(real.data, Gradient(tensor)))
            self._grads[id(tensor)] = read, read
        return self._grads[id(tensor)][1]

    def write_grad(self, tensor: Tensor, gradient: Tensor | None) -> None:
        if type(tensor.data) is Tracer:
            tensor._grad = gradient
        else:
            self.read_grad(tensor)
            self._grads[id(tensor)] = self._grads[id(tensor)][0], gradient

    # Python numbers

    def read_number(self, owner: Any, name: str, value: float) -> Any:
        if (id(owner), name) not in self._numbers:
            self._kept.append(owner)
            values = owner.__dict__
            number = self._host(HostCall(f"h{len(self.program.host)}", lambda: values[name], ()), value)
            self._numbers[id(owner), name] = Attribute(owner, name), number, number
        return self._numbers[id(owner), name][2]

    def write_number(self, owner: Any, name: str, value: Any) -> None:
        self.read_number(owner, name, owner.__dict__[name])
        self._numbers[id(owner), name] = *self._numbers[id(owner), name][:2], value

    def host_call(self, text: str | None, function: Callable[..., Any], *operands: Any) -> HostNumber:
        """A Python number computed from others, now and at each call."""
        value = function(*map(_value, operands))
        call = HostCall(f"h{len(self.program.host)}", function, tuple(map(_operand, operands)), text)
        return self._host(call, value)

    def _host(self, call: HostCall, value: Any) -> HostNumber:
        self.program.host.append(call)
        return HostNumber(self, value, call.name)

    # The end

    def _finish(self, result: Any) -> list[Any]:
        """Completes the program; returns the values of its ends."""
        ends: list[Any] = [self._end(leaf) for leaf in leaves(result)]
        count = len(ends)
        targets: list[Any] = []
        for memory in self._memories.values():
            if memory.written:
                targets.append(memory.target)
                ends.append(memory.current)
        for key, (first, gradient) in self._grads.items():
            if gradient is not first:
                targets.append(Gradient(self.gradients[key][0]))
                ends.append(None if gradient is None else self.lift(gradient.data))
        for target, first_number, number in self._numbers.values():
            if number is not first_number:
                targets.append(target)
                ends.append(number)
        operands = [_operand(end) for end in ends]
        self.program.results = operands[:count]
        self.program.writes = list(zip(targets, operands[count:], strict=True))
        return [_value(end) for end in ends]

    def _end(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            leaf = leaf.data
        return self.lift(leaf) if hasattr(leaf, "dtype") else leaf


def is_number(a: Any) -> bool:
    """Whether an argument is a number, not an array: Python's, NumPy's scalars, and 0-d NumPy arrays."""
    if isinstance(a, (bool, numpy.bool_)):
        return False
    return isinstance(a, (int, float, numpy.generic)) or (type(a) is numpy.ndarray and a.ndim == 0)


def _value(a: Any) -> Any:
    """What stands behind a tracer or a traced number."""
    return a.stands_for if type(a) is Tracer else a.value if type(a) is HostNumber else a


def _operand(a: Any) -> Any:
    """What a program calls a tracer or a traced number."""
    return a.variable if type(a) is Tracer else Scalar(a.name) if type(a) is HostNumber else a


def _address(array: Array) -> int:
    return int(array.ctypes.data if isinstance(array, numpy.ndarray) else array.data.ptr)
