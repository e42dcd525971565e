"""Replay: a program as one straight Python function, the readable reference of what a plan does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from math import isfinite
from operator import setitem
from typing import Any

import numpy

from ..autograd import Tensor, commit, record_write, region
from ..backend import default_generator
from .program import Argument, Attribute, Call, Gradient, Program, Scalar, Variable


def function_text(head: str, body: Iterable[str]) -> str:
    return f"def {head}:\n" + "".join(f"    {line}\n" for line in body)


class Replay:
    """A program as a function of the (flattened) arguments; `source` is its text."""

    def __init__(self, program: Program):
        self.program = program
        self._names: dict[Variable, str] = {}
        self._objects = self._known_objects()
        self._effects: list[str] = []  # calls, as tuples
        self._roots = program.roots()
        self._last = self._last_uses()
        self._draws = any(c.primitive.kind == "random" for c in program.calls)
        self._redrawn = {c.redraws for c in program.calls if c.redraws is not None}
        self.source = self._text()
        exec(compile(self.source, "<jit replay>", "exec"), self._objects)
        self._replay = self._objects["replay"]

    def __call__(self, arguments: list[Any]) -> Any:
        """Computes, then changes what the program changes; returns the results. All or nothing."""
        return self._run(self._replay, arguments)

    def recheck(self) -> None:
        """Nothing: each call looks at the values that are to be checked."""

    def look(self, arguments: list[Any]) -> None:
        """Runs a program that makes nothing, for what it looks at; random numbers that it draws are drawn again."""
        with default_generator.replay(default_generator.state):
            self._replay(arguments, {})

    def _run(self, replay: Any, arguments: list[Any]) -> Any:
        return self._all_or_nothing(replay, arguments) if self._draws else replay(arguments, None)

    def _all_or_nothing(self, replay: Any, arguments: list[Any]) -> Any:
        """The same, where random numbers are drawn."""
        place, done = default_generator.state, dict[str, bool]()
        try:
            return replay(arguments, done)
        except BaseException:
            if not done:
                default_generator.state = place
            raise

    # Text

    def _text(self) -> str:
        return function_text("replay(arguments, done)", self._body())

    def _object(self, prefix: str, value: Any) -> str:
        name = f"{prefix}{len(self._objects)}"
        self._objects[name] = value
        return name

    def _name(self, operand: Any) -> str:
        """How the text calls a Variable, Scalar or constant."""
        if type(operand) is Variable:
            return self._names.setdefault(operand, f"v{len(self._names)}")
        if type(operand) is Scalar:
            return operand.name
        if type(operand) in (int, bool, type(None)) or (type(operand) is float and isfinite(operand)):
            return repr(operand)
        return self._object("c", operand)

    def _known_objects(self) -> dict[str, Any]:
        """What the text may name."""
        return {
            "asarray": numpy.asarray,
            "setitem": setitem,
            "setattr": setattr,
            "commit": commit,
            "Tensor": Tensor,
            "record_write": record_write,
            "region": region,
            "generator": default_generator,
        }

    def _body(self) -> Iterator[str]:
        yield from self._inputs()
        yield from self._host()
        for call in self.program.calls:
            yield from self._lines(call)
        yield from self._ends()

    def _inputs(self) -> Iterator[str]:
        for variable, source in self.program.inputs.items():
            if type(source) is Argument:
                yield f"{self._name(variable)} = arguments[{source.position}]"
            elif type(source) is Gradient:
                yield f"{self._name(variable)} = {self._object('t', source.tensor)}._grad.data"
            else:
                self._names[variable] = self._object("p", source.array)

    def _host(self) -> Iterator[str]:
        for host in self.program.host:
            operands = [self._name(operand) for operand in host.operands]
            if host.function is None:
                yield f"{host.name} = arguments[{operands[0]}]"
            elif host.text is None:
                yield f"{host.name} = {self._object('f', host.function)}({', '.join(operands)})"
            else:
                yield f"{host.name} = {host.text.format(*operands)}"

    def _last_uses(self) -> dict[Variable, Call]:
        """The call after which each variable is of no use; none for inputs and ends."""
        last: dict[Variable, Call] = {}
        for c in self.program.calls:
            last |= dict.fromkeys((*c.reads(), *c.makes()), c)
        for v in (*self.program.inputs, *(end for end in self.program.ends() if type(end) is Variable)):
            last.pop(v, None)
        return last

    def _lines(self, c: Call) -> Iterator[str]:
        """A call, and what belongs to it."""
        if c in self._redrawn:
            yield f"place{id(c)} = generator.state"
        if c.redraws is None:
            yield self._call(c)
        else:
            yield f"with generator.replay(place{id(c.redraws)}):"
            yield "    " + self._call(c)
        for v in c.makes():
            if v.shape == () and c.xp is numpy:  # which makes scalars of 0-d arrays
                yield f"{self._name(v)} = asarray({self._name(v)})"
        dead = [self._name(v) for v in {*c.reads(), *c.makes()} if self._last.get(v) is c]
        if dead:
            yield f"del {', '.join(sorted(dead))}"

    def _call(self, c: Call) -> str:
        fixed = {name: value for name, value in c.attributes.items() if type(value) is not Scalar}
        parts = [self._name(operand) for operand in c.operands]
        parts += [f"{name}={value.name}" for name, value in c.attributes.items() if type(value) is Scalar]
        parts += [f"**{self._object('k', fixed)}"] if fixed else []
        function = self._object(f"{c.primitive.name}_", c.primitive.forward)
        return f"{self._pattern(c.outputs)} = {function}({', '.join([self._object('xp', c.xp), *parts])})"

    def _pattern(self, outputs: Any) -> str:
        if outputs is None:
            return "_"
        if type(outputs) is Variable:
            return self._name(outputs)
        return "".join(f"{self._pattern(part)}, " for part in outputs).join("()")

    def _is_shared(self, end: Any, times: Counter[Variable]) -> bool:
        """Whether an end is memory from outside, or goes to several places, and must be copied."""
        root = self._roots[end]
        return root in self.program.inputs or times[root] > 1

    def _copied(self, name: str) -> str:
        return f"{name}.copy('K')"

    def _is_written(self, target: Any) -> bool:
        """Whether a target has its new value already."""
        return False

    def _ends(self) -> Iterator[str]:
        yield from self._prepared()
        yield from self._final()

    def _final(self) -> Iterator[str]:
        if self._effects:
            yield f"commit(({', '.join(self._effects)},))"
        yield f"return [{', '.join(f'r{i}' for i in range(len(self.program.results)))}]"

    def _prepared(self) -> Iterator[str]:
        """All of the end but its effects, which are found on the way."""
        times = Counter(self._roots[end] for end in self.program.ends() if type(end) is Variable)

        def own(end: Any) -> str:
            copied = type(end) is Variable and self._is_shared(end, times)
            return self._copied(self._name(end)) if copied else self._name(end)

        for i, end in enumerate(self.program.results):
            yield f"r{i} = {own(end)}"
        effects, regions = self._effects, []
        for i, (target, value) in enumerate(self.program.writes):
            if type(target) is Attribute:
                owner = self._object("d", target.values)
                effects.append(f"(setitem, {owner}, {target.name!r}, {self._name(value)})")
            elif type(target) is Gradient:
                yield f"w{i} = {'None' if value is None else f'Tensor({own(value)})'}"
                effects.append(f"(setattr, {self._object('t', target.tensor)}, '_grad', w{i})")
            else:
                name = f"arguments[{target.position}]" if type(target) is Argument else self._object("p", target.array)
                if type(target) is Argument:
                    regions.append(f"region({name})")
                else:
                    regions.append(self._object("region", region(target.array)))
                if not self._is_written(target):
                    outside = type(value) is Variable and self._roots[value] in self.program.inputs
                    yield f"w{i} = {self._copied(self._name(value)) if outside else self._name(value)}"
                    effects.append(f"(setitem, {name}, ..., w{i})")
        if self._draws:
            effects.append("(setitem, done, 'yes', True)")
        if regions:
            yield f"record_write({', '.join(regions)})"
