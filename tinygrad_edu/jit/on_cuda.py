"""OnCuda: a plan whose whole work on the device is one CUDA graph, which the host starts by a single call.

Arguments are copied to where the graph reads them, Python numbers and the place of random numbers go there as arguments
of a kernel, and results are copied from where it leaves them. The first call runs the same work step by step, so that
everything is compiled and chosen; the second records it. What cannot be recorded goes on step by step, and `why_not`
says why.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy

from ..autograd import uninterrupted
from ..backend import Device
from ..kernels import native
from ..kernels.cuda import blas
from ..kernels.cuda.launches import Launches, Numbers, Product, on, plain
from ..kernels.cuda.memory import array_in, fill, like, memory
from ..kernels.loops import FLOATS, HALVES
from ..kernels.registry import is_contiguous
from ..state import state
from .fusion import Kernel, Unit, is_dense
from .mixed import half, with_rounded_factors
from .passes import without_dead_code
from .planned import Planned
from .program import Argument, Attribute, Call, Captured, Gradient, Program, Scalar, Variable
from .replay import Replay, function_text


class OnCuda(Planned):
    """A program on CUDA as a function of the (flattened) arguments.

    Attributes:
        checks: what looks at values, which waits for the device; it runs before the first call after `recheck`, and in
            debug mode before each.
        graph: of the device's work, once it is recorded.
        why_not: why there is none; "" if there is, or will be.
    """

    def __init__(self, program: Program):
        looks = [call for call in program.calls if call.primitive.kind == "effect"]
        self.checks = Replay(without_dead_code(replace(program, writes=[], results=[]))) if looks else None
        self.graph: Any = None
        self._has_run = False
        self._stream: Any = None  # of the last call
        self._table: dict[Scalar, int] = {}
        self._kept: list[Any] = []  # what the graph leaves in arrays that Python calls made
        self._used = 0  # blocks of random numbers that it draws
        rest = [call for call in program.calls if call.primitive.kind != "effect"]
        super().__init__(replace(program, calls=rest), compiled=True, memory=memory)
        self.recorded = program
        self.why_not = self._reason()
        self.recheck()

    def recheck(self) -> None:
        """Lets the next call look at the values that are to be checked, too."""
        self._careful = True

    def __call__(self, arguments: list[Any]) -> Any:
        with self._lock:
            if self.checks is not None and (self._careful or state.debug):
                self.checks.look(arguments)
                self._careful = False
            self._wait_for_last()
            if self._has_run and self.graph is None and not self.why_not:
                self._record()
            made = self._run(self._replay if self.graph is None else self._objects["again"], arguments)
            self._has_run = True
            return made

    def _wait_for_last(self) -> None:
        """Calls in several streams follow each other: they work in the same memory."""
        import cupy

        stream = cupy.cuda.get_current_stream()
        if self._stream is not None and self._stream.ptr != stream.ptr:
            stream.wait_event(self._stream.record())
        self._stream = stream

    def _reason(self) -> str:
        """Why the work cannot be recorded, as far as can be told beforehand."""
        for unit in self.fusion.units:
            call = unit.calls[0]
            numbers = [a for a in (*call.operands, *call.attributes.values()) if type(a) is Scalar]
            if self.is_python(unit) and numbers:
                return f"{call.primitive.label} takes a Python number that changes"
        return ""

    def _record(self) -> None:
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()  # what the first call needed is needed in a pool of its own
        pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
        generator, collects = self._objects["generator"], gc.isenabled()
        gc.disable()  # it might destroy other graphs meanwhile
        try:
            with cupy.cuda.using_allocator(pool.malloc), stream, generator.in_graph(self._numbers.place):
                first = generator.state[2]
                made, graph = self._captured(stream)
                self._used = generator.state[2] - first
        except Exception as error:  # of CuPy, its libraries or the driver: step by step it has worked
            self.why_not = (str(error) or type(error).__name__).splitlines()[0]
        else:
            self.graph, self._pool, self._kept[:] = graph, pool, made
        finally:
            if collects:
                gc.enable()

    def _captured(self, stream: Any) -> tuple[Any, Any]:
        """What `work` returns, and the graph."""
        stream.begin_capture()
        try:
            made = self._objects["work"]()
            self._objects["settle"](*made)
        except BaseException:
            with suppress(RuntimeError):  # an error of CUDA has ended it already
                stream.end_capture()
            raise
        return made, stream.end_capture()

    # What Planned asks for

    def _optimized(self, program: Program) -> Program:
        program = super()._optimized(program)
        if state.matmul_precision not in HALVES:
            return program
        return with_rounded_factors(program, half(state.matmul_precision), self._product)

    @staticmethod
    def _product(call: Call) -> Any:
        """The step for x @ w, or x @ w + bias, on the slots of its operands and the result."""
        if call.primitive.name not in ("_matmul", "_linear") or not call.outputs.size:
            return None
        a, b, *bias = call.operands
        product = blas.product_of(a, b, call.outputs)
        factors = "" if a.dtype == call.outputs.dtype else a.dtype.name
        if product is None or not bias:
            return product and Product(product, factors=factors)
        fits = bias[0].dtype == call.outputs.dtype and call.outputs.dtype.name in FLOATS and is_contiguous(bias[0])
        return Product(product.on(0, 1, 3), 2, factors) if fits else None

    @staticmethod
    def counted(step: Any) -> native.Step | None:
        return plain(step)

    def _in_place(self) -> dict[Variable, Captured]:
        """These come last of all, so that everything else is done when the first changes."""
        found = super()._in_place()
        self.fusion.units.sort(key=lambda unit: not found.keys().isdisjoint(unit.makes()))
        return found

    def _with_idle_rows(self, kernel: Kernel) -> Kernel:
        return kernel

    def _lasting(self, laid: list[Variable]) -> list[Variable]:
        return []

    @staticmethod
    def _array_in(memory: Any, v: Variable, offset: int) -> Any:
        return array_in(memory, offset, v.shape, v.dtype, v.strides)

    def _static_inputs(self) -> dict[Variable, Any]:
        """All inputs: what changes from call to call is copied to its place."""
        return {
            v: source.array if type(source) is Captured else like(v.shape, v.dtype, v.strides)
            for v, source in self.program.inputs.items()
        }

    _on = staticmethod(on)

    def _scalar_slots(self) -> dict[Scalar, int]:
        return self._table

    @staticmethod
    def _address(array: Any) -> int:
        found: int = array.data.ptr
        return found

    def _compile(
        self, steps: list[native.Step], slots: dict[Variable, int], scalars: dict[Scalar, int]
    ) -> Iterator[str]:
        new, given = self._given_to(slots)
        program = Launches(steps, len(slots), given, self._numbers)  # type: ignore[arg-type]
        self._place_others(program.pointers, slots)
        self._needed |= {*new}
        yield f"{self._object('run', program.run)}({', '.join(map(self._name, new))})"

    # Text

    def _known_objects(self) -> dict[str, Any]:
        known = super()._known_objects()
        known.pop("matmul")
        return known | {"fill": fill, "like": like, "kept": self._kept, "uninterrupted": uninterrupted, "plan": self}

    def _text(self) -> str:
        """Functions: `work` is all up to the first change, `settle` makes the changes, from what `work` returned.
        `replay` calls them, `again` starts the graph of both."""
        self._needed: set[Variable] = set()  # what Python calls make that is needed elsewhere
        self._numbers = Numbers(len(self._scalars_of_loops()))
        changing = [unit for unit in self.fusion.units if not self.targets.keys().isdisjoint(unit.makes())]
        work = [*self._work([unit for unit in self.fusion.units if unit not in changing])]
        self._needed = set()
        settle = [*self._work(changing), *self._written()]
        ends = [v for v in self.program.ends() if type(v) is Variable]
        names = sorted({self._name(v) for v in (*self._needed, *ends) if v not in self._arrays})
        made = "".join(f"{name}, " for name in names)
        before, after = [*self._inputs(), *self._host(), *self._room()], [*self._ends()]
        held = ["with uninterrupted():", *(f"    {line}" for line in after[:-1]), after[-1]]
        by_step = [f"({made}) = work()" if made else "work()", held[0], f"    settle({made})", *held[1:]]
        by_graph = [*([f"({made}) = kept"] if made else []), held[0], "    plan.graph.launch()", *held[1:]]
        parts = [
            function_text("work()", [*work, f"return ({made})"]),
            function_text(f"settle({made})", [*settle, "return"]),
            function_text("replay(arguments, done)", [*before, *self._sent("generator.state"), *by_step]),
            function_text("again(arguments, done)", [*before, *self._sent("generator.skip(plan._used)"), *by_graph]),
        ]
        return "\n".join(parts)

    def _scalars_of_loops(self) -> set[Scalar]:
        return {scalar for kernel in self.kernels.values() for scalar in kernel.scalars}

    def _work(self, units: Sequence[Unit]) -> Iterator[str]:
        known = {*self._arrays}
        waiting: list[Unit] = []
        for unit in units:
            if not self.is_python(unit):
                waiting.append(unit)
                continue
            yield from self._machine(waiting)
            waiting = []
            yield from self._lines(unit.calls[0])
            yield from self._views(known | set(unit.calls[0].makes()))
        yield from self._machine(waiting)

    def _inputs(self) -> Iterator[str]:
        for v, source in self.program.inputs.items():
            if type(source) is Argument:
                new = f"arguments[{source.position}]"
            elif type(source) is Gradient:
                new = f"{self._object('t', source.tensor)}._grad.data"
            else:
                continue
            yield f"fill({self._name(v)}, {new})" if is_dense(v) else f"{self._name(v)}[...] = {new}"

    def _sent(self, place: str) -> Iterator[str]:
        """Numbers of the host, and where its random numbers stand. Those that come after a graph's are others."""
        numbers = sorted(self._table, key=self._table.__getitem__)
        if numbers or self._draws:
            values = ", ".join(scalar.name for scalar in numbers)
            yield f"{self._object('set', self._numbers.set)}([{values}], {place})"

    def _written(self) -> Iterator[str]:
        """What is written into captured arrays and not made there."""
        for target, value in self.program.writes:
            if type(target) is Captured and not self._is_written(target):
                yield f"{self._object('p', target.array)}[...] = {self._name(value)}"

    def _room(self) -> Iterator[str]:
        """New arrays for what is left, so that nothing can fail once the first change is made."""
        for i, end in enumerate(self.program.results):
            if type(end) is Variable:
                yield f"r{i} = {self._new(end)}"
        regions = []
        for i, (target, value) in enumerate(self.program.writes):
            if type(target) is Gradient and value is not None:
                yield f"w{i} = Tensor({self._new(value)})"
            elif type(target) is Captured:
                regions.append(self._object("region", self._objects["region"](target.array)))
            elif type(target) is Argument:
                regions.append(f"region(arguments[{target.position}])")
        if regions:
            yield f"record_write({', '.join(regions)})"

    def _new(self, v: Variable) -> str:
        return f"like({v.shape}, {self._object('dtype', v.dtype)}, {v.strides if is_dense(v) else _in_order(v)})"

    def _ends(self) -> Iterator[str]:
        """Copies of the results, the other effects, and the return."""
        for i, end in enumerate(self.program.results):
            if type(end) is Variable:
                yield self._copy(f"r{i}", end)
        effects = []
        for i, (target, value) in enumerate(self.program.writes):
            if type(target) is Attribute:
                effects.append(f"(setitem, {self._object('d', target.values)}, {target.name!r}, {self._name(value)})")
            elif type(target) is Gradient:
                if value is not None:
                    yield self._copy(f"w{i}.data", value)
                new = "None" if value is None else f"w{i}"
                effects.append(f"(setattr, {self._object('t', target.tensor)}, '_grad', {new})")
            elif type(target) is Argument:
                yield f"arguments[{target.position}][...] = {self._name(value)}"
        if self._draws:
            effects.append("(setitem, done, 'yes', True)")
        if effects:
            yield f"commit(({', '.join(effects)},))"
        numbered = enumerate(self.program.results)
        results = [f"r{i}" if type(end) is Variable else self._name(end) for i, end in numbered]
        yield f"return [{', '.join(results)}]"

    def _copy(self, target: str, v: Variable) -> str:
        return f"fill({target}, {self._name(v)})" if is_dense(v) else f"{target}[...] = {self._name(v)}"


def _in_order(v: Variable) -> tuple[int, ...]:
    return tuple(numpy.cumprod([v.dtype.itemsize, *v.shape[:0:-1]])[::-1].tolist()) if v.shape else ()


def device_in_use() -> Device:
    """The device on which CuPy works now."""
    import cupy

    return Device("cuda", cupy.cuda.Device().id)
