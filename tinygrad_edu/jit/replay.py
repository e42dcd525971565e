"""Replay: a program as one straight Python function, the readable reference of what a plan does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isfinite
from operator import setitem
from typing import Any

import numpy

from ..autograd import Tensor, commit, record_write
from ..backend import default_generator
from .program import Argument, Attribute, Call, Gradient, Program, Scalar, Variable


class Replay:
    """A program as a function of the (flattened) arguments; `source` is its text."""

    def __init__(self, program: Program):
        self._names: dict[Variable, str] = {}
        self._objects: dict[str, Any] = {"asarray": numpy.asarray, "setitem": setitem, "setattr": setattr}
        self._objects |= {"commit": commit, "record_write": record_write, "Tensor": Tensor}
        self._objects |= {"generator": default_generator}
        lines = [*self._inputs(program), *self._host(program), *self._calls(program), *self._ends(program)]
        self.source = "def replay(arguments):\n" + "".join(f"    {line}\n" for line in lines)
        exec(compile(self.source, "<jit replay>", "exec"), self._objects)
        self._replay = self._objects["replay"]
        self._draws = any(c.primitive.kind == "random" for c in program.calls)

    def __call__(self, arguments: list[Any]) -> Any:
        """Computes, then changes what the program changes; returns the results. All or nothing."""
        if not self._draws:
            return self._replay(arguments)
        place = default_generator.state
        try:
            return self._replay(arguments)
        except BaseException:
            default_generator.state = place
            raise

    # Text

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

    def _inputs(self, program: Program) -> Iterator[str]:
        for variable, source in program.inputs.items():
            if type(source) is Argument:
                yield f"{self._name(variable)} = arguments[{source.position}]"
            elif type(source) is Gradient:
                yield f"{self._name(variable)} = {self._object('t', source.tensor)}._grad.data"
            else:
                self._names[variable] = self._object("p", source.array)

    def _host(self, program: Program) -> Iterator[str]:
        for host in program.host:
            if host.function is None:
                yield f"{host.name} = arguments[{host.operands[0]}]"
                continue
            operands = [self._name(operand) for operand in host.operands]
            if host.text is None:
                yield f"{host.name} = {self._object('f', host.function)}({', '.join(operands)})"
            else:
                yield f"{host.name} = {host.text.format(*operands)}"

    def _calls(self, program: Program) -> Iterator[str]:
        last: dict[Variable, Call] = {}
        for c in program.calls:
            last |= dict.fromkeys((*c.reads(), *c.makes()), c)
        kept = {end for end in program.ends() if type(end) is Variable} | program.inputs.keys()
        redrawn = {c.redraws for c in program.calls if c.redraws is not None}
        for c in program.calls:
            if c in redrawn:
                yield f"place{id(c)} = generator.state"
            text = self._call(c)
            if c.redraws is not None:
                yield f"with generator.replay(place{id(c.redraws)}):"
                text = "    " + text
            yield text
            for v in c.makes():
                if v.shape == ():  # NumPy makes scalars of 0-d arrays
                    yield f"{self._name(v)} = asarray({self._name(v)})"
            dead = [self._name(v) for v in {*c.reads(), *c.makes()} if last[v] is c and v not in kept]
            if dead:
                yield f"del {', '.join(sorted(dead))}"

    def _call(self, c: Call) -> str:
        fixed = {name: value for name, value in c.attributes.items() if type(value) is not Scalar}
        parts = [self._name(operand) for operand in c.operands]
        parts += [f"{name}={value.name}" for name, value in c.attributes.items() if type(value) is Scalar]
        parts += [f"**{self._object('k', fixed)}"] if fixed else []
        xp = self._object("xp", c.xp)
        outputs = self._pattern(c.outputs)
        function = self._object(f"{c.primitive.name}_", c.primitive.forward)
        return f"{outputs + ' = ' if outputs else ''}{function}({', '.join([xp, *parts])})"

    def _pattern(self, outputs: Any) -> str:
        if outputs is None:
            return "_"
        if type(outputs) is Variable:
            return self._name(outputs)
        return "".join(f"{self._pattern(part)}, " for part in outputs).join("()")

    def _ends(self, program: Program) -> Iterator[str]:
        times = Counter(end.root for end in program.ends() if type(end) is Variable)

        def own(end: Any) -> str:
            """`end`, copied where it is memory from outside or goes to several places."""
            shared = type(end) is Variable and (end.root in program.inputs or times[end.root] > 1)
            return self._name(end) + (".copy()" if shared else "")

        for i, end in enumerate(program.results):
            yield f"r{i} = {own(end)}"
        effects = []
        for i, (target, value) in enumerate(program.writes):
            if type(target) is Attribute:
                yield f"w{i} = {own(value)}"
                effects.append(f"(setitem, {self._object('d', target.owner.__dict__)}, {target.name!r}, w{i})")
            elif type(target) is Gradient:
                yield f"w{i} = {'None' if value is None else f'Tensor({own(value)})'}"
                effects.append(f"(setattr, {self._object('t', target.tensor)}, '_grad', w{i})")
            else:
                name = f"arguments[{target.position}]" if type(target) is Argument else self._object("p", target.array)
                yield f"w{i} = {own(value)}"
                yield f"record_write({name})"
                effects.append(f"(setitem, {name}, ..., w{i})")
        if effects:
            yield f"commit(({', '.join(effects)},))"
        yield f"return [{', '.join(f'r{i}' for i in range(len(program.results)))}]"
