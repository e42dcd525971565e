"""Entry and exit: what happens at each call before and after a plan runs.

The guard says whether the plan is for this call, the packing gives the results their form. Both are straight Python
functions made for the arguments, tensors and results of the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from types import CodeType
from typing import Any

import numpy

from ..autograd import Tensor, changes, tells_changes, without_graph
from ..backend import device_of
from ..state import state
from .arguments import is_array, is_number, plain
from .program import typed
from .trace import Settings, Trace, layout_of, owner_of

Guard = Callable[[tuple[Any, ...], dict[str, Any]], "list[Any] | None"]
"""From the arguments of a call, by position and by keyword, to the arrays and numbers among the former, flattened; None
where the plan does not hold."""


class Text:
    """The text of a guard while it is made, and the objects that it names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.objects: dict[str, Any] = {"Tensor": Tensor, "state": state, "typed": typed, "is_number": is_number}
        self.objects |= {"layout_of": layout_of, "device_of": device_of, "without_graph": without_graph, "plain": plain}
        self.objects["owner_of"] = owner_of
        self.found: list[str] = []  # the names of the flattened arguments
        self.overwritten: set[int] = set()  # the ids of arrays that arguments must not lie in
        self._numbers = count()

    def name(self) -> str:
        return f"a{next(self._numbers)}"

    def function(self, parameters: str, lines: list[str]) -> Any:
        text = f"def function({parameters}):\n" + "".join(f" {line}\n" for line in lines)
        exec(compile(text, "<jit entry>", "exec"), self.objects)
        return self.objects.pop("function")  # without a circle

    def object(self, value: Any) -> str:
        name = f"o{next(self._numbers)}"
        self.objects[name] = value
        return name

    def need(self, *conditions: str) -> None:
        """The guard goes on only where all of these hold."""
        self.lines.append(f"if not ({' and '.join(conditions)}): return None")

    def tree(self, name: str, tree: Any) -> None:
        """What is called `name` must be a tree of this form and kinds."""
        if not isinstance(tree, (dict, tuple, list)):
            self.leaf(name, tree)
            return
        self.need(f"type({name}) is {self.object(type(tree))}", f"len({name}) == {len(tree)}")
        keys = [self.object(key) for key in tree] if isinstance(tree, dict) else list(map(str, range(len(tree))))
        if isinstance(tree, dict):
            self.need(f"[*map(typed, {name})] == {self.object([*map(typed, tree)])}")
        for key, branch in zip(keys, tree.values() if isinstance(tree, dict) else tree, strict=True):
            part = self.name()
            self.lines.append(f"{part} = {name}[{key}]")
            self.tree(part, branch)

    def leaf(self, name: str, leaf: Any) -> None:
        if isinstance(leaf, Tensor):
            self.need(f"type({name}) is {self.object(type(leaf))}", f"not {name}.requires_grad")
            data = self.name()
            self.lines.append(f"{data} = {name}.data")
            self.array(data, leaf.data)
        elif is_array(leaf):
            self.array(name, leaf)
        elif is_number(leaf):
            kind = "int" if isinstance(leaf, int) else "float"
            other = f"isinstance({name}, {kind}) and is_number({name}) and plain({name}) is {name}"
            self.need(f"(type({name}) is {kind} or {other})")
            self.found.append(name)
        elif leaf is None:
            self.need(f"{name} is None")
            self.found.append(name)
        else:
            self.need(f"typed({name}) == {self.object(typed(leaf))}")
            self.found.append(name)

    def array(self, name: str, array: Any) -> None:
        layout = [f"{name}.shape == {array.shape}", f"{name}.strides == {array.strides}"]
        kinds = [f"type({name}) is {self.object(type(array))}", f"{name}.dtype == {self.object(array.dtype)}"]
        if not isinstance(array, numpy.ndarray):
            kinds.append(f"device_of({name}) == {self.object(device_of(array))}")
        self.need(*kinds, *layout)
        if self.overwritten:
            self.apart(name)
        self.found.append(name)

    def apart(self, array: str) -> None:
        """The array must lie in none that is overwritten; where one does, a new recording refuses it."""
        owner = f"{array} if {array}.base is None else owner_of({array})"
        self.need(f"id({owner}) not in {self.object(self.overwritten)}")

    def packed(self, kinds: Any, numbers: Iterator[int]) -> str:
        """A tree of the values of a list, from left to right."""
        if isinstance(kinds, dict):
            items = [f"{self.object(key)}: {self.packed(kind, numbers)}" for key, kind in kinds.items()]
            return f"{{{', '.join(items)}}}"
        if isinstance(kinds, (tuple, list)):
            parts = "".join(f"{self.packed(kind, numbers)}, " for kind in kinds)
            if isinstance(kinds, list):
                return f"[{parts}]"
            return f"{self.object(type(kinds))}({parts})" if hasattr(kinds, "_fields") else f"({parts})"
        value = f"values[{next(numbers)}]"
        wrap = "Tensor" if kinds is Tensor else "without_graph" if kinds == "tracked" else ""
        return f"{wrap}({value})" if wrap else value

    def world(self, trace: Trace) -> None:
        """What the recording depended on beside its arguments must be as it was: tensors' arrays, which of them require
        grad, their gradients' layouts, the attributes of objects such as optimizers, and what numbers have decided."""
        for decide, value in trace.decisions:
            self.need(f"{self.object(decide)}() == {self.object(value)}")
        for tensor, data, requires_grad in trace.watched.values():
            name = self.object(tensor)
            self.need(f"{name}.data is {self.object(data)}", f"{name}.requires_grad is {requires_grad}")
        read = set(map(id, trace.program.gradients()))
        for tensor, layout in trace.gradients.values():
            gradient = f"{self.object(tensor)}._grad"
            known = f"layout_of({gradient}) == {self.object(layout)}"
            self.need(f"{gradient} is None" if layout is None else f"{gradient} is not None and {known}")
            if id(tensor) in read and trace.overwritten:
                self.apart(f"{gradient}.data")
        self.settings([*trace.settings.values()])

    def settings(self, found: Sequence[Settings]) -> None:
        """Those of objects that tell when an attribute is set are looked at only after that, but for collections."""
        telling: list[Settings] = []
        for settings in found:
            if not tells_changes(settings.owner()):
                self.need(f"{self.object(Unchanged([settings]))}()")
                continue
            telling.append(settings)
            owner = f"{self.object(settings.owner)}()"
            self.need(f"{owner} is not None")
            for name, value in zip(settings.names, settings.values[1:], strict=True):
                if _can_change(value):
                    self.need(f"getattr({owner}, {name!r}) == {self.object(value)}")
        if telling:
            seen = self.object(Unchanged(telling))
            self.need(f"({self.object(changes)}.latest is {seen}.latest or {seen}())")

    def python(self, variables: Variables) -> None:
        """Python variables must hold what they held."""
        for name, (holder, value) in variables.items():
            where = f".get({name!r})" if isinstance(holder, dict) else ".cell_contents"
            self.need(f"{self.object(holder)}{where} is {self.object(value)}")


class Unchanged:
    """Whether settings are as they were.

    Attributes:
        latest: the change that came last when they were found to be so.
    """

    def __init__(self, found: Sequence[Settings]):
        self._found, self.latest = found, object()

    def __call__(self) -> bool:
        latest = changes.latest
        for reference, _, read, values, arrays in self._found:
            owner = reference()
            if owner is None or read(owner) != values:
                return False
            if any(getattr(owner, name) is not array for name, array in arrays.items()):
                return False
        self.latest = latest
        return True


def _can_change(value: Any) -> bool:
    """Whether it is a list or dict, or holds one."""
    return isinstance(value, (list, dict)) or (isinstance(value, tuple) and any(map(_can_change, value)))


Variables = dict[Any, tuple[Any, Any]]
"""By name, or a number, the dict or the cell that a Python variable is in, and its value."""


def variables_of(function: Any) -> Variables:
    """The variables from outside that a Python function names: globals, and those of functions around it."""
    codes = [function.__code__] if hasattr(function, "__code__") else []
    names: set[str] = set()
    for code in codes:
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    found: Variables = {}
    if codes:
        known = function.__globals__
        found |= {name: (known, known[name]) for name in sorted(names & known.keys())}
        for i, cell in enumerate(function.__closure__ or ()):
            with suppress(ValueError):  # it is empty
                found[i] = cell, cell.cell_contents
    return found


def guard_of(
    args: tuple[Any, ...], static: dict[str, Any], modes: Sequence[str], trace: Trace, variables: Variables
) -> Guard:
    """The guard of a recording that was made with these arguments, in these modes, while the variables were like
    this."""
    text = Text()
    text.overwritten = trace.overwritten
    text.tree("args", args)
    known = {name: typed(value) for name, value in static.items()}
    now = "{name: typed(value) for name, value in static.items()}"
    text.need(f"{now} == {text.object(known)}" if known else "not static")
    for name in modes:
        text.need(f"state.{name} is {getattr(state, name)}")
    on_cuda = any(call.xp is not numpy for call in trace.program.calls)
    for name in ("dtype", "device", *(("matmul_precision",) if on_cuda else ())):
        text.need(f"state.{name} == {text.object(getattr(state, name))}")
    text.python(variables)
    text.world(trace)
    lines = ["try:", *(f" {line}" for line in text.lines), f" return [{', '.join(text.found)}]"]
    lines += ["except (AttributeError, ValueError): return None"]  # an attribute or a variable is there no more
    return text.function("args, static", lines)


def packing_of(kinds: Any) -> Callable[[list[Any]], Any]:
    """From the flattened values of a result to the result, which has the form of `kinds`: Tensors where the function
    returned Tensors."""
    text = Text()
    return text.function("values", [f"return {text.packed(kinds, count())}"])
