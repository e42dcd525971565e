"""Trace: runs a function once, and records every primitive that it calls as a `Program`.

What takes long is not computed, and what follows from it is computed from zeros: only layouts matter, unless the trace
shall find out where the function fails. Nothing changes before the end: `assign_`, `.grad` and counters are noted, and
what the function reads after them is the new value. So an error or an interrupt leaves everything as it was.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn

import numpy

from ..autograd import HostNumber, Primitive, Tensor, Tracer, cast, changes, next_sequence, refuse, user_line
from ..backend import Array, array_module, default_generator
from ..errors import GradientError, TraceError, message
from ..state import Switch, state
from ..tree import leaves, rebuild
from .arguments import is_array, is_number
from .checks import inspect, outside, refuse_if
from .program import Argument, Attribute, Call, Captured, Gradient, HostCall, Program, Scalar, Variable
from .unset import made_up

Window = tuple[int, tuple[int, ...], tuple[int, ...], Any]
"""A part of an array's memory: offset in bytes, shape, strides, dtype."""


def _window_of(xp: Any, a: Array, *, window: Window) -> Array:
    """A part of the memory of `a`."""
    offset, shape, strides, dtype = window
    if xp is not numpy:
        return xp.ndarray(shape, dtype, a.data + offset, strides)
    if not a.flags.c_contiguous:
        a = a.transpose(sorted(range(a.ndim), key=lambda i: -a.strides[i]))
    return numpy.ndarray(shape, dtype, a, offset, strides)


def _write_into(xp: Any, a: Array, value: Any, *, window: Window) -> Array:
    """A copy of `a`, laid out as it is, with `value` in a part of its memory."""
    y = xp.copy(a, order="K")
    _window_of(xp, y, window=window)[...] = value
    return y


def _in_c_order(xp: Any, a: Array) -> Array:
    return a.copy()


def _laid_out_as(xp: Any, a: Array, value: Array) -> Array:
    y = xp.empty_like(a)
    y[...] = value
    return y


_window = Primitive(_window_of, "view")
_written = Primitive(_write_into, "opaque", promotes=False)
_copied = Primitive(_in_c_order, "opaque", promotes=False)
_moved = Primitive(_laid_out_as, "opaque", promotes=False)


class _Memory:
    """An array that was there before the call (or an argument), and its value at this point of the trace.

    Attributes:
        layout: the window that is the whole.
        first: the whole at the start.
        current: the whole now, but for what is `pending`: windows and what was written there.
        windows: parts of what is there now.
        writes: for each `assign_` when it was, and the first byte and the one behind the last that it changed.
        changes: what has been written, by windows, in the order of the writes.
    """

    def __init__(self, target: Any, array: Any, first: Tracer):
        self.target, self.array, self.first, self.current = target, array, first, first
        self.layout: Window = (0, array.shape, array.strides, array.dtype)
        self.pending: list[tuple[Window, Any]] = []
        self.windows: dict[Window, Tracer] = {}
        self.writes: list[tuple[int, int, int]] = []
        self.changes: dict[Window, Any] = {}

    def is_written(self, window: Window, since: int = 0) -> bool:
        """Whether any byte of a window was changed after that time."""
        low, high = _bytes(window)
        return any(when > since and start < high and low < end for when, start, end in self.writes)


class Settings(NamedTuple):
    """The public attributes of an object that a recording used.

    Attributes:
        owner: a reference to the object.
        names: of numbers, texts, functions, and collections of them.
        read: gets the class and these, as a tuple.
        values: what they were.
        arrays: the tensors and arrays, by name.
    """

    owner: weakref.ref[Any]
    names: list[str]
    read: Callable[[Any], tuple[Any, ...]]
    values: tuple[Any, ...]
    arrays: dict[str, Any]

    def with_defaults(self) -> Settings:
        """With the numbers and texts that the object has from its class, but may be given as its own."""
        owner = self.owner()
        found = dict(item for kind in type(owner).__mro__ for item in vars(kind).items() if item[0][0] != "_")
        new = [name for name, value in found.items() if isinstance(value, _PLAIN) and name not in vars(owner)]
        names = [*self.names, *(name for name in new if name not in self.names)]
        read = attrgetter("__class__", *names)
        return self._replace(names=names, read=read, values=(*self.values, *read(owner)[1 + len(self.names) :]))


class Trace:
    """A recording in progress. `run` makes it; the other methods are called by primitives and tensors.

    Attributes:
        exact: whether all values are computed and looked at.
        program: what has been recorded.
        watched: tensors that the program depends on, with what must stay the same: data and requires_grad.
        gradients: tensors whose `.grad` was read or set, with its layout at the start, None if there was none.
        settings: the attributes of objects that the function used, in the end of those that are still there.
        decisions: functions that compute a Python value from numbers as they are before a call, with that of this call.
        refused: what it was told that cannot be recorded, whether it cared or not.
        closed: whether the call is over, so that tracers are no longer of use.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        self.program = Program()
        self.watched: dict[int, tuple[Tensor, Any, bool]] = {}
        self.gradients: dict[int, tuple[Tensor, Any]] = {}
        self.settings: dict[int, Settings] = {}
        self.decisions: list[tuple[Callable[[], Any], Any]] = []
        self.refused: TraceError | None = None
        self.closed = False
        self._memories: dict[int, _Memory] = {}  # by the array that owns it
        self._views: dict[int, tuple[_Memory, Window, Tracer]] = {}  # which tracers are parts of a memory
        self._made: dict[int, Tensor] = {}  # tensors that the function itself made, on arrays that are no tracers
        self._constants: dict[int, Array] = {}  # arrays that it made
        self._grads: dict[int, tuple[Tensor | None, Tensor | None]] = {}  # at the start, and now
        self._numbers: dict[tuple[int, str], tuple[Attribute, Any, Any]] = {}  # where, at the start, and now
        self._computed: dict[Any, HostNumber] = {}  # the arithmetic of Python numbers that was done before
        self._draws: dict[Any, Call] = {}
        self._kept: list[Any] = []  # objects whose id is a key above
        self._written: dict[int, _Memory] = {}
        self._closing: list[Callable[[], Any]] = []
        self._scopes = self._scope = 0

    def run(self, function: Callable[..., Any], arguments: Any, keywords: dict[str, Any]) -> Any:
        """Calls the function on tracers of `arguments`; returns the tree of the kinds of its results."""
        drawn = _outside_draws()
        stand_ins = rebuild(arguments, map(self._argument, range(len(list(leaves(arguments)))), leaves(arguments)))
        try:
            state.trace = self
            result = function(*stand_ins, **keywords)
            if self.refused is not None:
                raise self.refused
            if drawn != _outside_draws():
                hint = "use tg.normal, tg.uniform and the like, or draw outside of the function and pass the array."
                refuse("random numbers of this package", "some of NumPy's or Python's, the same at each call", hint)
            self._settle()
            self._finish(result)
            kinds = rebuild(result, map(kind_of_result, leaves(result)))
            written = list(self._written.values())
        finally:
            state.trace = None
            self._close()
        self.overwritten = {id(m.array) for m in written if type(m.target) is Captured}
        self.overwritten_arguments = [m.target.position for m in written if type(m.target) is Argument]
        arrays = [a.data if isinstance(a, Tensor) else a for a in leaves(arguments)]
        arrays += [tensor._grad.data for tensor in self.program.gradients() if tensor._grad is not None]
        check_apart(self.overwritten, self.overwritten_arguments, arrays)
        self._forget_passing_owners()
        return kinds

    def _forget_passing_owners(self) -> None:
        """Leaves out the settings of objects that the function made and did not keep, for nothing can change them; and
        then those of what only their settings held."""
        while gone := [key for key, settings in self.settings.items() if settings.owner() is None]:
            for key in gone:
                del self.settings[key]

    def _close(self) -> None:
        """Lets go of the values: tracers hold the trace, and the collector of such circles may come late."""
        self.closed = True
        for forget in self._closing:
            forget()
        tables = (self._memories, self._views, self._made, self._constants, self._grads, self._numbers)
        for table in (*tables, self._computed, self._draws, self._kept, self._written):
            table.clear()

    def when_closed(self, forget: Callable[[], Any]) -> None:
        """Calls a function at the end, to forget values of this recording that are kept outside of it."""
        self._closing.append(forget)

    def _argument(self, position: int, a: Any) -> Any:
        if isinstance(a, Tensor):
            return Tensor(self._input(a.data, Argument(position)).current)
        if is_number(a):
            return self._host(HostCall(f"a{position}", None, (position,)), a)  # type: ignore[arg-type]
        return self._input(a, Argument(position)).current if is_array(a) else a

    def _input(self, array: Array, source: Any) -> _Memory:
        variable = Variable(array.shape, array.dtype, array.strides)
        self.program.inputs[variable] = source
        memory = _Memory(source, array, Tracer(self, array, variable))
        self._note_view(memory.current, memory, memory.layout)
        return memory

    # Arrays that come in

    def lift_arguments(self, args: Any, arrays: list[Any]) -> list[Any]:
        """The arrays of a primitive's arguments, as tracers."""
        for a in args:
            if type(a) is Tensor:
                self.watch(a)
        return [self.lift(a) if hasattr(a, "dtype") else a for a in arrays]

    def watch(self, tensor: Tensor, values_only: bool = False) -> None:
        """Notes that the program depends on a tensor, if that comes from outside. Unless only its values are wanted, it
        must be no result of an operation that requires grad."""
        if self._is_inside(tensor):
            return
        if tensor.node is not None and tensor.requires_grad and not values_only:
            hint = "detach() it, or compute it inside of the jitted function."
            where = f"jit, at {user_line()}"
            raise GradientError(
                message(where, "no tensor from a graph outside", f"one made by {tensor.node.primitive.label}", hint)
            )
        if id(tensor) not in self.watched:
            self.watched[id(tensor)] = (tensor, tensor.data, tensor.requires_grad)
            self._place(tensor.data)  # from now on it is known to come from outside

    def note_made(self, tensor: Tensor) -> None:
        """Called for each tensor that is made; if nobody has seen its array before, the function itself made that.

        The program holds it as a constant, so nothing may be written into it.
        """
        if type(tensor.data) is not Tracer:
            owner = owner_of(tensor.data)
            self._made[id(tensor)] = tensor
            if id(owner) not in self._memories:
                self._constants[id(owner)] = owner

    def _is_inside(self, tensor: Tensor) -> bool:
        return type(tensor.data) is Tracer or id(tensor) in self._made

    def check_requires_grad(self, tensor: Tensor, requires_grad: bool) -> None:
        """Refuses a change of `requires_grad` that a replay would not make."""
        if requires_grad is not tensor.requires_grad and not self._is_inside(tensor):
            hint = "freeze it before the call, or use detach()."
            refuse("requires_grad as it is", "another value for a tensor from outside", hint)

    def note_settings(self, owner: Any, more: tuple[str, ...]) -> None:
        """Notes that the program holds for the settings of `owner`, and for some more attributes, as they are."""
        if id(owner) not in self.settings and hasattr(owner, "__dict__"):
            public = {name: value for name, value in vars(owner).items() if name[0] != "_"}
            names = [name for name, value in public.items() if _is_setting(value)]
            arrays = {name: value for name, value in public.items() if is_array(value)}
            changes.private.update(more)
            more = more or ("__class__",)  # for of one name alone attrgetter makes no tuple
            read = attrgetter("__class__", *names, *more)
            self._kept.append(owner)
            values = _copied_lists(read(owner))
            self.settings[id(owner)] = Settings(weakref.ref(owner), [*names, *more], read, values, arrays)

    def _settle(self) -> None:
        """Looks at what the function itself has done to the attributes that it used."""
        for key, (owner, names, read, values, arrays) in self.settings.items():
            for name, old, now in zip(names, values[1:], read(owner())[1:], strict=True):
                if old is not now and old != now:  # NaN is itself
                    hint = "keep what changes in a tensor, and use assign_."
                    found = f"{name!r} of {type(owner()).__name__}, which it changes"
                    refuse("attributes that the function leaves as they are", found, hint)
            for name in [name for name, a in arrays.items() if getattr(owner(), name, None) is not a]:
                del arrays[name]  # not guarded: it would never be as it was
            self.settings[key] = self.settings[key].with_defaults()

    def lift(self, array: Array) -> Tracer:
        """The tracer of the current value of an array, which may be a part of a larger one."""
        if type(array) is Tracer:
            array.check_open()
            place = self._views.get(id(array))
            return array if place is None else self._part(*place[:2])
        return self._part(*self._place(numpy.asarray(array) if isinstance(array, numpy.generic) else array))

    def _part(self, memory: _Memory, window: Window) -> Tracer:
        if window == memory.layout:
            return self._whole(memory)
        if window not in memory.windows:
            whole = self._whole(memory) if memory.is_written(window) else memory.first
            memory.windows[window] = self.record(_window, [whole], {"window": window})
        return memory.windows[window]

    def _whole(self, memory: _Memory) -> Tracer:
        """The current value of a memory, put together only where something reads it."""
        while memory.pending:
            window, value = memory.pending.pop(0)
            memory.current = self._known_as(
                self.record(_written, [memory.current, value], {"window": window}), memory, memory.layout
            )
        return memory.current

    def _known_as(self, value: Tracer, memory: _Memory, window: Window) -> Tracer:
        """A tracer of the same value that stands for a part of a memory."""
        tracer = Tracer(self, value.stands_for, value.variable)
        self._note_view(tracer, memory, window)
        return tracer

    def _place(self, array: Array) -> tuple[_Memory, Window]:
        """The memory that an array is in, and which part of it."""
        owner = owner_of(array)
        if id(owner) not in self._memories:
            self._memories[id(owner)] = self._input(owner, Captured(owner))
        return self._memories[id(owner)], (
            _address(array) - _address(owner), array.shape, array.strides, array.dtype,
        )  # fmt: skip

    def _note_view(self, tracer: Tracer, memory: _Memory, window: Window) -> None:
        """Notes that a tracer is a part of a memory: it changes with it, as a NumPy view does."""
        self._views[id(tracer)] = memory, window, tracer

    def overwritten_since(self, array: Array, sequence: int) -> bool:
        """Whether `assign_` has changed any byte of an array after that time."""
        if type(array) is not Tracer:
            if id(owner_of(array)) not in self._memories:
                return False
            memory, window = self._place(array)
        elif id(array) in self._views:
            memory, window, _ = self._views[id(array)]
        else:
            return False
        return memory.is_written(window, sequence)

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
        """Finds out what a primitive's forward returns for these operands, and returns tracers of that."""
        for name, value in attributes.items():
            self._check_static(primitive, name, value)
        values = [_value(a) for a in operands]
        place = default_generator.state
        xp = array_module(*values)
        fixed = {name: _value(value) for name, value in attributes.items()}
        with Switch("trace", None):
            y = (primitive.forward if self.exact else partial(made_up, primitive))(xp, *values, **fixed)
        outputs = rebuild(y, (self._output(part, operands) for part in leaves(y)))
        call = Call(
            primitive,
            tuple(_operand(a) for a in operands),
            {name: _operand(value) for name, value in attributes.items()},
            rebuild(outputs, (None if t is None else t.variable for t in leaves(outputs))),
            xp,
            self._scope,
        )
        if primitive.kind == "random":
            if self._scope:
                call.redraws = self._draws.get(place)
            else:
                self._draws[place] = call  # in place of one that drew nothing
        self.program.calls.append(call)
        return outputs

    def _output(self, y: Any, operands: list[Any]) -> Tracer | None:
        if y is None:
            return None
        y = numpy.asarray(y) if isinstance(y, (numpy.generic, float, int)) else y
        shares, kind = array_module(y).may_share_memory, type(y)
        stood_for = ((i, a.stands_for) for i, a in enumerate(operands) if type(a) is Tracer)
        view = next((i for i, a in stood_for if isinstance(a, kind) and shares(y, a)), None)
        tracer = Tracer(self, y, Variable(y.shape, y.dtype, y.strides, view))
        if view is not None and id(operands[view]) in self._views:
            memory, (offset, *_), _ = self._views[id(operands[view])]
            window = (_address(y) - _address(operands[view].stands_for) + offset, y.shape, y.strides, y.dtype)
            self._note_view(tracer, memory, window)
            memory.windows.setdefault(window, tracer)
        return tracer

    def _check_static(self, primitive: Primitive, name: str, value: Any) -> None:
        for part in leaves(value):
            nested = type(part) is HostNumber and part is not value
            if nested or isinstance(part, (Tensor, Tracer)) or (hasattr(part, "shape") and hasattr(part, "dtype")):
                hint = "give it to the operation as an argument."
                found = f"an array in {name!r}"
                where = f"jit, {primitive.label} at {user_line()}"
                raise TraceError(message(where, "attributes that are no arrays", found, hint))

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """For the calls of a checkpoint that computes again: what they repeat is not to be kept in memory."""
        outer, self._scopes = self._scope, self._scopes + 1
        self._scope = self._scopes
        try:
            yield
        finally:
            self._scope = outer

    def inspect(self, array: Array, look: Callable[[Array], None], *bounds: float) -> None:
        """Notes that `look(array)` is to be called. With bounds, outside of which it raises, a recording only finds out
        whether there is such a value: then the function is traced with all values, so that it does."""
        tracer = self.lift(array)
        if bounds and not self.exact:
            limits = dict(zip(("low", "high"), bounds, strict=True))
            self.record(refuse_if, [self.record(outside, [tracer], limits)], {})
        else:
            self.record(inspect, [tracer], {"look": look})

    def copy(self, array: Array, dtype: Any) -> Tracer:
        """A copy in that dtype."""
        return cast(self.lift(array), dtype)

    def in_c_order(self, tracer: Tracer) -> Tracer:
        return self.record(_copied, [self.lift(tracer)], {})

    def laid_out_as(self, tracer: Tracer, value: Tracer) -> Tracer:
        """`value` with the strides of `tracer`."""
        return self.record(_moved, [self.lift(tracer), self.lift(value)], {})

    # What is changed at the end

    def assign(self, tensor: Tensor, value: Any) -> None:
        """Notes that the memory of `tensor` is given another value, which is what later reads see."""
        array = tensor.data
        if type(array) is Tracer:
            inside = id(array) not in self._views
        else:
            inside = id(tensor) in self._made and id(owner_of(array)) in self._constants
        if inside:
            hint = "make it outside of the jitted function; tensors are values here."
            refuse("assign_ to a tensor from outside", "one made in the jitted function", hint)
        self.watch(tensor)
        memory, window = self._views[id(array)][:2] if type(array) is Tracer else self._place(array)
        if array_module(memory.array).empty_like(memory.array).strides != memory.array.strides:
            hint = "pass a copy of it."
            refuse("assign_ to memory without gaps", f"a view of shape {memory.array.shape} with strides", hint)
        check_writeable(memory.array)
        value = self.lift(value) if hasattr(value, "dtype") else value
        alike = type(value) is Tracer and (value.shape, value.strides, value.dtype) == window[1:]
        low, high = _bytes(window)
        memory.windows = {w: part for w, part in memory.windows.items() if _bytes(w)[1] <= low or high <= _bytes(w)[0]}
        memory.writes.append((next_sequence(), low, high))
        if window == memory.layout:
            memory.pending.clear()
            memory.changes.clear()
        if alike and window == memory.layout:
            memory.current = self._known_as(value, memory, window)
        else:
            memory.pending.append((window, value))
        if alike and window != memory.layout:
            memory.windows[window] = self._known_as(value, memory, window)
        memory.changes.pop(window, None)
        memory.changes[window] = value
        self._written[id(memory)] = memory

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        if self._is_inside(tensor):
            return tensor._grad
        if id(tensor) not in self._grads:
            real = tensor._grad
            self.gradients[id(tensor)] = (tensor, layout_of(real))
            read = None if real is None else Tensor(self._input(real.data, Gradient(tensor)).current)
            self._grads[id(tensor)] = read, read
        return self._grads[id(tensor)][1]

    def write_grad(self, tensor: Tensor, gradient: Tensor | None) -> None:
        if self._is_inside(tensor):
            tensor._grad = gradient
        else:
            self.read_grad(tensor)
            self._grads[id(tensor)] = self._grads[id(tensor)][0], gradient

    # Python numbers

    def read_number(self, values: dict[str, Any], name: str) -> Any:
        if (id(values), name) not in self._numbers:
            call = HostCall(f"h{len(self.program.host)}", lambda: values[name], ())
            number = self._host(call, values[name])
            self._numbers[id(values), name] = Attribute(values, name), number, number
        return self._numbers[id(values), name][2]

    def write_number(self, values: dict[str, Any], name: str, value: Any) -> None:
        self.read_number(values, name)
        self._numbers[id(values), name] = *self._numbers[id(values), name][:2], value

    def host_call(self, text: str | None, function: Callable[..., Any], *operands: Any) -> HostNumber:
        """A Python number computed from others, now and at each call."""
        value, named = function(*map(_value, operands)), tuple(map(_operand, operands))
        call = HostCall(f"h{len(self.program.host)}", function, named, text)
        if text is None or not all(type(a) in (int, float, Scalar) for a in named):
            return self._host(call, value)
        key = (text, *((type(a), a) for a in named))
        if key not in self._computed:
            self._computed[key] = self._host(call, value)
        return self._computed[key]

    def decide(self, function: Callable[..., Any], *operands: Any) -> Any:
        """A Python value computed from numbers; the recording is only for calls where it is the same."""
        value, parts = function(*map(_value, operands)), [self.program.before(_operand(a)) for a in operands]
        self.decisions.append((lambda: function(*(part() for part in parts)), value))
        return value

    def _host(self, call: HostCall, value: Any) -> HostNumber:
        self.program.host.append(call)
        return HostNumber(self, value, call.name)

    # The end

    def _finish(self, result: Any) -> None:
        """Completes the program by its results and by what it changes."""
        writes: list[tuple[Any, Any]] = [write for memory in self._written.values() for write in self._ends_of(memory)]
        for key, (first, gradient) in self._grads.items():
            if gradient is not first:
                value = None if gradient is None else self.lift(gradient.data)
                writes.append((Gradient(self.gradients[key][0]), value))
        writes += [(target, number) for target, first, number in self._numbers.values() if number is not first]
        self.program.results = [_operand(self._end(leaf)) for leaf in leaves(result)]
        self.program.writes = [(target, _operand(value)) for target, value in writes]

    def _ends_of(self, memory: _Memory) -> Iterator[tuple[Any, Any]]:
        """What is written into a memory at the end: whole arguments, but of captured arrays only what has changed."""
        if type(memory.target) is Argument:
            yield memory.target, self._whole(memory)
            return
        for window, value in memory.changes.items():
            whole = window == memory.layout
            part = memory.array if whole else _window_of(array_module(memory.array), memory.array, window=window)
            yield Captured(part), value

    def _end(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            self.watch(leaf)
            leaf = leaf.data
        return self.lift(leaf) if hasattr(leaf, "dtype") else leaf


def _copied_lists(value: Any) -> Any:
    """Lists, dicts and tuples as new ones, which stay as they are."""
    return rebuild(value, leaves(value))


_PLAIN = (bool, int, float, str, type(None))


def _is_setting(value: Any) -> bool:
    """Whether an attribute is something that can be compared: numbers, texts, functions, and collections of them."""
    return callable(value) or all(isinstance(leaf, _PLAIN) or callable(leaf) for leaf in leaves(value))


def _outside_draws() -> Any:
    """The states of NumPy's and Python's own generators, which a replay does not turn."""
    numpys: Any = numpy.random.get_state()  # noqa: NPY002 -- it is only looked at
    _, key, *rest = numpys
    return key.tobytes(), rest, random.getstate()


def check_apart(overwritten: set[int], positions: list[int], arguments: list[Any]) -> None:
    """Raises TraceError if an argument shares memory with what the function overwrites beside it, ValueError if it
    overwrites one that is read-only.

    Args:
        overwritten: the ids of arrays.
        positions: of the arguments that it overwrites.
    """
    owners = [id(owner_of(a)) if hasattr(a, "strides") else 0 for a in arguments]
    for i in positions:
        check_writeable(arguments[i])
    shared = not overwritten.isdisjoint(owners) or any(owners.count(owners[i]) > 1 for i in positions)
    if shared:
        hint = "use the tensor in the function without passing it, or pass a copy."
        refuse("arguments that share no memory with what assign_ overwrites", "one that does", hint)


def check_writeable(array: Array) -> None:
    if isinstance(array, numpy.ndarray) and not array.flags.writeable:
        raise ValueError(message("assign_", "memory that can be written", "an array that is read-only"))


def kind_of_result(leaf: Any) -> Any:
    """What a part of a result is made into: "tracked" for a Tensor that requires grad, else its type."""
    return "tracked" if isinstance(leaf, Tensor) and leaf.requires_grad else type(leaf)


def layout_of(gradient: Tensor | None) -> Any:
    return None if gradient is None else (gradient.shape, gradient.data.strides, gradient.dtype)


def owner_of(array: Array) -> Array:
    """The array whose memory `array` is a part of: itself, or one further down."""
    owner = array
    while isinstance(owner.base, type(array)):
        owner = owner.base
    return owner


def _value(a: Any) -> Any:
    """What stands behind a tracer or a traced number."""
    return a.stands_for if type(a) is Tracer else a.value if type(a) is HostNumber else a


def _operand(a: Any) -> Any:
    """What a program calls a tracer or a traced number."""
    return a.variable if type(a) is Tracer else Scalar(a.name) if type(a) is HostNumber else a


def _bytes(window: Window) -> tuple[int, int]:
    """The first byte of a window and the one behind its last."""
    offset, shape, strides, dtype = window
    steps = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    return offset + sum(s for s in steps if s < 0), offset + sum(s for s in steps if s > 0) + dtype.itemsize


def _address(array: Array) -> int:
    return int(array.ctypes.data if isinstance(array, numpy.ndarray) else array.data.ptr)
