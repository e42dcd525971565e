"""Plan: one recording, with what says whether it is for a call, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import Tensor
from ..backend import Device, device_of
from ..tree import leaves
from .entry import guard_of, packing_of, variables_of
from .planned import Planned
from .program import Argument, Captured, Program
from .replay import Replay
from .trace import Trace, check_apart


def _kind_of(program: Program, arguments: Sequence[Any]) -> type[Replay]:
    """What runs a program: by the devices of its inputs, and those that its calls name."""
    devices = {device_of(_array_of(source, arguments)) for source in program.inputs.values()}
    devices |= {a for call in program.calls for a in call.attributes.values() if isinstance(a, Device)}
    if all(device.kind == "cpu" for device in devices):
        return Planned
    from .on_cuda import OnCuda, device_in_use

    return OnCuda if devices == {device_in_use()} else Replay


def _array_of(source: Any, arguments: Sequence[Any]) -> Any:
    if type(source) is Captured:
        return source.array
    given = arguments[source.position] if type(source) is Argument else source.tensor._grad
    return given.data if isinstance(given, Tensor) else given


class Plan:
    """One traced call: the program as it is replayed, and what must hold for a replay.

    Attributes:
        program: what was recorded.
        replay: how it is run.
        guard: whether the plan is for a call; see `entry`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        static: dict[str, Any],
        fuse: bool,
        exact: bool,
        modes: Sequence[str],
    ):
        trace, before = Trace(exact), variables_of(function)
        kinds = trace.run(function, args, static)
        after = variables_of(function)  # those that it sets itself are not guarded: they would never be as they were
        variables = {name: old for name, old in before.items() if name in after and after[name][1] is old[1]}
        self.program = trace.program
        self.replay = (_kind_of(self.program, [*leaves(args)]) if fuse else Replay)(self.program)
        self.guard = guard_of(args, static, modes, trace, variables)
        self._packed = packing_of(kinds)
        self._watched = [(tensor, data) for tensor, data, _ in trace.watched.values()]
        self._overwritten, self._positions = trace.overwritten, trace.overwritten_arguments
        self._gradients = self.program.gradients()

    def is_stale(self) -> bool:
        """Whether an array that the program reads is no longer its tensor's, so that it will not fit again."""
        return any(tensor.data is not data for tensor, data in self._watched)

    def __call__(self, arguments: list[Any]) -> Any:
        if self._positions:  # of arguments that are overwritten themselves
            gradients = [tensor._grad.data for tensor in self._gradients if tensor._grad is not None]
            check_apart(self._overwritten, self._positions, [*arguments, *gradients])
        return self._packed(self.replay(arguments))
