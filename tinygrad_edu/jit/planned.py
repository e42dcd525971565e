"""Planned: a program as fused loops and matrix products in one buffer, and Python calls for the rest.

Without llvmlite the loops run as NumPy calls in blocks; with it all that stands between two Python calls is one
function of machine code.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from ..autograd import uninterrupted
from ..kernels import blocks, native, products
from ..kernels.entry import Given
from ..kernels.memory import address, buffer
from ..kernels.registry import has_compiler, is_contiguous
from .fusion import Fusion, Kernel, Unit, is_view, loops_of, product_of, recipe_of, viewed
from .memory import copied, lifetimes, place, shared
from .passes import is_joined, optimize
from .program import Call, Captured, Gradient, Program, Scalar, Variable, leaves, new_variable
from .replay import Replay
from .sparse import sums_of, with_idle_rows

LARGE = 1 << 14
"""Elements from which on operations are fused without a compiler: below, NumPy's own calls are faster than blocks."""


LASTING = 1 << 16
"""Bytes from which on results are made in arrays of their own without a compiler; smaller ones are copied."""


class Planned(Replay):
    """A program as a function of the (flattened) arguments, with memory of its own.

    Attributes:
        recorded, program: before and after the passes.
        fusion: the units of the program, in their order.
        kernels: the loops of each group.
        products: the units that are matrix products, as steps.
        tasks: the units that kernels do, as `native.Task` has them.
        stored: the variables that are needed outside of their unit.
        targets: those that are written directly where they belong at the end.
        homes: where in a joined array its parts are made.
        lasting: results and gradients that are made in new arrays, where they stay.
        lifetimes, blocks: from when to when a variable is needed, and where in the buffer it is.
        size: of the buffer, in bytes.
        codes, steps: the pieces of machine code, and what each does.
    """

    def __init__(self, program: Program, compiled: bool | None = None, memory: Callable[[int], Any] = buffer):
        self.compiled = has_compiler() if compiled is None else compiled
        self.recorded = program
        self.program = self._optimized(program)
        self.fusion = Fusion(self.program, 0 if self.compiled else LARGE, takes=self.compiled)
        self._lock = threading.RLock()
        self.tasks = self._with_kernels() if self.compiled else {}
        left = (unit for unit in self.fusion.units if unit not in self.tasks)
        self.products: dict[Unit, Any] = {
            unit: made for unit in left if (made := self._product(unit.calls[0])) is not None
        }
        self.stored = self._leave_their_units()
        self.targets = self._in_place()
        self.kernels = {
            unit: self._with_idle_rows(loops_of(unit, self.stored, self.fusion.root))
            for unit in self.fusion.units
            if unit.shape is not None
        }
        self.homes = self._homes()
        laid = [v for unit in self.fusion.units if not self.is_python(unit) for v in unit.makes()]
        self.lasting = self._lasting(laid)
        planned = [v for v in laid if v in self.stored and v not in self.targets and v not in self.lasting]
        self.lifetimes = lifetimes(self.fusion, self.program, planned, self.homes)
        self.blocks = shared(self.fusion, copied(self.lifetimes), self.homes)
        self.size = place(self.blocks.values())
        self._arrays = self._static_arrays(memory(self.size))
        self._named = self._views_by_name()
        self.codes: list[native.Program] = []
        self.steps: list[list[native.Step]] = []
        self._copies: list[str] = []
        self._given = ""  # the arrays that the last piece of machine code gets
        self._steady: list[str] = []  # what gets the memory for groups that write in place, without a compiler
        super().__init__(self.program)

    def _optimized(self, program: Program) -> Program:
        return optimize(program, self.compiled, self._product)

    def _known_objects(self) -> dict[str, Any]:
        helpers = {"uninterrupted": uninterrupted, "matmul": numpy.matmul}
        helpers |= {"empty": numpy.empty, "empty_like": numpy.empty_like}
        return super()._known_objects() | helpers

    def __call__(self, arguments: list[Any]) -> Any:
        with self._lock:
            return self._run(self._replay, arguments)

    def _with_kernels(self) -> dict[Unit, tuple[Any, ...]]:
        found = {}
        for unit in self.fusion.units:
            alone = unit.shape is None and not self._is_joined(unit)
            recipe = recipe_of(unit.calls[0]) if alone else None
            if recipe is not None:
                found[unit] = recipe.tasks
                unit.between = tuple(new_variable(*form) for form in recipe.between)
        return found

    def _leave_their_units(self) -> set[Variable]:
        """The variables that another unit reads, or that are needed at the end."""
        root, maker = self.fusion.root, self.fusion.maker
        ends = {root(end) for end in self.program.ends() if type(end) is Variable}
        read = {root(v) for unit in self.fusion.units for v in unit.reads() if maker.get(root(v)) is not unit}
        return (ends | read) & maker.keys() | {v for unit in self.tasks for v in unit.makes()}

    def _in_place(self) -> dict[Variable, Captured]:
        """What groups write directly where it belongs at the end, into captured arrays.

        Such a group makes nothing else, and runs after all Python calls, which may raise, and after all that read the
        old values. Without a compiler it runs after all that may want memory, and wants none itself.
        """
        fusion, found = self.fusion, dict[Variable, Captured]()
        values = Counter(fusion.root(end) for end in self.program.ends() if type(end) is Variable)
        captured = {id(s.array): v for v, s in self.program.inputs.items() if type(s) is Captured}
        written = {v: t for t, v in self.program.writes if type(t) is Captured and type(v) is Variable and _is_whole(t)}
        read = {unit: set(map(fusion.root, unit.reads())) for unit in fusion.units}
        python = {unit for unit in fusion.units if self.is_python(unit)}
        for unit in [unit for unit in fusion.units if unit.shape is not None]:
            targets = {v: written[v] for v in unit.makes() if v in self.stored and v in written}
            if not targets:
                continue
            olds = {captured.get(id(target.array)) for target in targets.values()}
            others = [other for other in fusion.units if other is not unit]
            before = {other for other in others if other in python or not olds.isdisjoint(read[other])}
            if (
                (self.compiled or self._is_steady(unit))
                and targets.keys() == self.stored & set(unit.makes())
                and all(unit.forms[v] == "element" and _lies_as(v, target.array) for v, target in targets.items())
                and all(values[v] == 1 for v in targets)
                and not any(old in values for old in olds)
                and all(a.shape == unit.shape for a in unit.reads() if a in olds)
                and not any(fusion.root(a) in olds and a not in olds for a in unit.reads())
                and olds.isdisjoint(unit.takes())
                and not any(unit in other.above for other in before)
                and not any(not read[other].isdisjoint(targets) for other in others)
            ):
                for other in others:
                    if other in before or not (self.compiled or found.keys() & set(other.makes())):
                        fusion.order(other, unit)
                found |= targets
        fusion.sort()
        return found

    def _is_steady(self, unit: Unit) -> bool:
        return blocks.is_steady(loops_of(unit, self.stored, self.fusion.root).loops)

    def _with_idle_rows(self, kernel: Kernel) -> Kernel:
        """A group that changes what lies in place leaves out what it would not change."""
        if not all(v in self.targets for v in kernel.outputs):
            return kernel
        captured = {id(s.array): v for v, s in self.program.inputs.items() if type(s) is Captured}
        olds = [captured.get(id(self.targets[v].array)) for v in kernel.outputs]
        return with_idle_rows(kernel, sums_of(self.program), olds)

    def _homes(self) -> dict[Variable, tuple[Variable, int]]:
        """Of what is joined to one array: that array, and the bytes in it before its own."""
        found: dict[Variable, tuple[Variable, int]] = {}
        for unit in self.fusion.units:
            if self._is_joined(unit):
                (call,), before = unit.calls, 0
                axis = call.attributes["axis"]
                for a in call.reads():
                    found[self.fusion.root(a)] = call.outputs, before
                    before += a.shape[axis] * call.outputs.strides[axis]
        return found

    def _lasting(self, laid: list[Variable]) -> list[Variable]:
        times = Counter(self.fusion.root(end) for end in self.program.ends() if type(end) is Variable)
        kept = {*self.program.results, *(v for target, v in self.program.writes if type(target) is Gradient)}
        joined = {*self.homes, *(home for home, _ in self.homes.values())}
        fit = [v for v in laid if (self.compiled or v.nbytes >= LASTING) and is_contiguous(v) and times[v] == 1]
        return [v for v in fit if v in kept and v not in joined]

    def is_python(self, unit: Unit) -> bool:
        """Whether a unit is a call of a Python function."""
        return unit.shape is None and unit not in self.products and unit not in self.tasks and not self._is_joined(unit)

    @staticmethod
    def counted(step: Any) -> native.Step | None:
        """A step as one whose operations and bytes are known, if there is such."""
        found: native.Step = step
        return found

    def _is_joined(self, unit: Unit) -> bool:
        """Whether a unit does nothing, for its operands are made in their places."""
        return self.compiled and is_joined(unit.calls[0])

    def _static_arrays(self, memory: Any) -> dict[Variable, Any]:
        """The arrays that are at the same place in each call: captured ones, what lies in the buffer, their views."""
        found = self._static_inputs() | {v: target.array for v, target in self.targets.items()}
        for v in self.blocks:
            home, before = self.homes.get(v, (v, 0))
            found[v] = self._array_in(memory, v, self.blocks[home].offset + before)
        for call in self.program.calls:
            made = list(call.makes())
            if made and all(v.view is not None for v in made) and all(a in found for a in call.reads()):
                operands = [found[a] if type(a) is Variable else a for a in call.operands]
                views = call.primitive.forward(call.xp, *operands, **call.attributes)
                found |= zip(leaves(call.outputs), leaves(views), strict=True)
        return found

    def _static_inputs(self) -> dict[Variable, Any]:
        return {v: source.array for v, source in self.program.inputs.items() if type(source) is Captured}

    @staticmethod
    def _product(call: Call) -> Any:
        """The step for a call on the slots of its operands and its result, if it is a product that such a step does."""
        return product_of(call)

    @staticmethod
    def _array_in(memory: Any, v: Variable, offset: int) -> Any:
        """The array of a variable that lies in memory from so many bytes on."""
        return numpy.ndarray(v.shape, v.dtype, memory, offset, v.strides)

    # Text

    def _name(self, operand: Any) -> str:
        if type(operand) is Variable and operand in self._arrays and operand not in self._names:
            self._names[operand] = self._object("m", self._arrays[operand])
        return super()._name(operand)

    def _last_uses(self) -> dict[Variable, Call]:
        last: dict[Variable, Call] = {}
        for unit in self.fusion.units:
            for call in unit.calls:
                last |= dict.fromkeys((*call.reads(), *call.makes()), call)
        ends = {*self.program.inputs, *self.program.ends()}
        kept = ends | self._arrays.keys() | {viewed(call, v) for v, call in self.fusion.views.items()}
        return {v: call for v, call in last.items() if v not in kept}

    def _is_shared(self, end: Any, times: Counter[Variable]) -> bool:
        return super()._is_shared(end, times) or end in self._arrays

    def _copied(self, name: str) -> str:
        if not self.targets:
            return super()._copied(name)
        room = f"room{len(self._copies)}"
        self._copies.append(f"(setitem, {room}, ..., {name})")
        return f"({room} := empty_like({name}))"

    def _is_written(self, target: Any) -> bool:
        return target in self.targets.values()

    def _body(self) -> Iterator[str]:
        yield from self._inputs()
        yield from self._host()
        for v in self.lasting:
            yield f"{self._name(v)} = empty({v.shape}, {self._object('dtype', v.dtype)})"
        yield from self._views({*self.program.inputs, *self.lasting})
        waiting: list[Unit] = []
        for unit in self.fusion.units:
            if not self.is_python(unit):
                waiting.append(unit)
                continue
            yield from self._machine(waiting)
            waiting = []
            yield from self._lines(unit.calls[0])
            yield from self._views(set(unit.calls[0].makes()))
        lines = self._machine(waiting)
        count = (1 if self.compiled else len(self._steady)) if self.targets else 0
        yield from lines[: len(lines) - count]
        yield from self._committed(lines[len(lines) - count :]) if count else self._ends()

    def _committed(self, run: list[str]) -> Iterator[str]:
        """The end of a plan that changes parameters in place: nothing may fail after it has begun, or come between."""
        yield from self._steady
        yield from self._prepared()
        self._effects[:0] = self._copies
        if self.compiled and self.codes[-1].threads == 1:
            enter = self._object("run", self.codes[-1].enter)
            if self.codes[-1].is_brief:
                self._effects.insert(0, f"({enter}, {self._given})")
            else:
                yield f"{enter}({self._given})"
                self._effects.insert(0, self._object("run", self.codes[-1].call))
            yield from self._final()
        else:
            yield "with uninterrupted():"
            yield from (f"    {line}" for line in (*run, *self._final()))

    def _views(self, known: set[Variable]) -> Iterator[str]:
        """The views of arrays that are new in each call, as soon as these are there."""
        for call in self.program.calls:
            if is_view(call) and call.outputs in self._named and viewed(call) in known:
                known.add(call.outputs)
                yield self._call(call)

    def _views_by_name(self) -> set[Variable]:
        """The views that are needed as arrays, not only as places in memory: by Python calls and at the end."""
        needed = {v for unit in self.fusion.units if not self.compiled or self.is_python(unit) for v in unit.reads()}
        needed |= {end for end in self.program.ends() if type(end) is Variable}
        for call in reversed(self.program.calls):
            if is_view(call) and call.outputs in needed:
                needed.add(viewed(call))
        return {v for v in needed if v in self.fusion.views and v not in self._arrays}

    def _machine(self, units: list[Unit]) -> list[str]:
        """Loops and matrix products: one call of machine code, or NumPy's one by one."""
        slots: dict[Variable, int] = {}
        scalars = self._scalar_slots()
        steps = list(self._steps(units, slots, scalars))
        if not steps:
            return []
        self.steps.append(steps)
        return [*(self._compile(steps, slots, scalars) if self.compiled else self._as_numpy(units))]

    def _scalar_slots(self) -> dict[Scalar, int]:
        """Where Python numbers stand in the table of a piece of machine code."""
        return {}

    def _steps(
        self, units: list[Unit], slots: dict[Variable, int], scalars: dict[Scalar, int]
    ) -> Iterator[native.Step]:
        """The units as steps on the slots of tables, in which they get theirs."""
        for unit in units:
            if unit in self.kernels:
                kernel = self.kernels[unit]
                arrays = tuple(slots.setdefault(v, len(slots)) for v in (*kernel.inputs, *kernel.outputs))
                numbers = tuple(scalars.setdefault(scalar, len(scalars)) for scalar in kernel.scalars)
                yield native.Launch(kernel.loops, arrays, numbers)
            elif unit in self.products or unit in self.tasks:
                (call,) = unit.calls
                parts = (*call.operands, *leaves(call.outputs), *unit.between)
                places = [None if v is None else slots.setdefault(v, len(slots)) for v in parts]
                for step in (self.products[unit],) if unit in self.products else self.tasks[unit]:
                    yield self._on(step, places)

    @staticmethod
    def _on(step: Any, slots: list[int | None]) -> Any:
        """The step for other slots, by those it had."""
        if not isinstance(step, native.Gemm):
            return step.on(slots)
        product = step.on(*slots)  # type: ignore[arg-type]
        return products.task(product) if products.suits(product) else product

    def _given_to(self, slots: dict[Variable, int]) -> tuple[list[Variable], Given]:
        """The arrays that are new in each call, and the slots that need them."""
        roots = {v: self.fusion.root(v) for v in slots}
        new = [root for root in dict.fromkeys(roots.values()) if root not in self._arrays]
        return new, [[(i, self._offset(v)) for v, i in slots.items() if roots[v] is root] for root in new]

    def _place_others(self, pointers: Any, slots: dict[Variable, int]) -> None:
        """Writes the addresses of all other arrays."""
        for v, i in slots.items():
            root = self.fusion.root(v)
            if v in self._arrays:
                pointers[i] = self._address(self._arrays[v])
            elif root in self._arrays:  # a part that a Python call makes anew each time, always in the same place
                pointers[i] = self._address(self._arrays[root]) + self._offset(v)

    @staticmethod
    def _address(array: Any) -> int:
        return address(array)

    def _compile(
        self, steps: list[native.Step], slots: dict[Variable, int], scalars: dict[Scalar, int]
    ) -> Iterator[str]:
        new, given = self._given_to(slots)
        code = self._program(steps, [self._place(v) for v in slots], given)
        self.codes.append(code)
        self._place_others(code.pointers, slots)
        numbers = self._object("scalars", code.scalars)
        for scalar, i in scalars.items():
            yield f"{numbers}[{i}] = {scalar.name}"
        self._given = ", ".join(map(self._name, new))
        yield f"{self._object('run', code.enter if code.is_brief else code.run)}({self._given})"

    def _program(self, steps: list[native.Step], places: list[native.Place], given: Given) -> native.Program:
        return native.program(steps, places=places, given=given)

    def _as_numpy(self, units: list[Unit]) -> Iterator[str]:
        for unit in units:
            if unit in self.products:
                (call,) = unit.calls
                yield f"matmul({', '.join(map(self._name, call.operands))}, out={self._name(call.outputs)})"
            elif unit in self.kernels:
                yield self._in_blocks(self.kernels[unit])

    def _in_blocks(self, kernel: Kernel) -> str:
        runner = blocks.Runner(kernel.loops)
        named = self._object("loops", runner)
        parts: list[str] = []
        fixed: list[list[Any]] = []
        for variables, view in ((kernel.inputs, runner.read), (kernel.outputs, runner.written)):
            names, known = [], []
            for i, v in enumerate(variables):
                if v in self._arrays:
                    known.append(view(i, self._arrays[v]))
                    names.append(self._object("m", known[-1]))
                else:
                    names.append(f"{named}.{view.__name__}({i}, {self._name(v)})")
            parts.append(f"[{', '.join(names)}]")
            fixed.append(known)
        # what is new in each call shares no memory with the rest
        alone = dict(zip([v for v in kernel.outputs if v in self._arrays], blocks.apart(*fixed), strict=True))
        parts.append(str([alone.get(v, True) for v in kernel.outputs]))
        parts.append(f"[{', '.join(map(self._name, kernel.scalars))}]")
        if not self.targets.keys().isdisjoint(kernel.outputs):
            self._steady.append(f"work{len(self._steady)} = {named}.work()")
            parts.append(f"work{len(self._steady) - 1}")
        return f"{named}({', '.join(parts)})"

    def _offset(self, v: Variable) -> int:
        """The bytes from the start of an array to that of a view of it."""
        root = self.fusion.root(v)
        start = numpy.lib.stride_tricks.as_strided(numpy.empty(1, root.dtype), root.shape, root.strides)
        return address(self._seen(v, root, start)) - address(start)

    def _seen(self, v: Variable, root: Variable, array: Any) -> Any:
        """A view of `array`, which stands for its root."""
        if v is root:
            return array
        call = self.fusion.views[v]
        operands = list(call.operands)
        assert v.view is not None
        operands[v.view] = self._seen(operands[v.view], root, array)
        views = call.primitive.forward(numpy, *operands, **call.attributes)  # as the stand-in is NumPy's
        return next(y for made, y in zip(leaves(call.outputs), leaves(views), strict=True) if made is v)

    def _place(self, v: Variable) -> native.Place:
        """Where an array lies: in the buffer, whose parts are used again, or in memory of its own."""
        root = self.fusion.root(v)
        if root not in self.blocks:
            return id(self._arrays.get(root, root)), 0, 1
        array = self._arrays[root]
        start = address(array)
        gaps = sum((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True))
        return 0, start, start + gaps + array.itemsize


def _is_whole(target: Captured) -> bool:
    """Whether an array is no part of a larger one."""
    return not isinstance(target.array.base, type(target.array))


def _lies_as(v: Variable, array: Any) -> bool:
    return bool((v.shape, v.strides, v.dtype) == (array.shape, array.strides, array.dtype))
