"""Plan: one recording, with what says whether it is for a call, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .entry import guard_of, packing_of, variables_of
from .planned import Planned
from .program import Program
from .replay import Replay
from .trace import Trace, check_apart


def _kind_of(program: Program) -> type[Replay]:
    """What runs a program: by the devices of what its calls read. (What makes arrays of nothing has one of its own.)"""
    modules = {call.xp.__name__ for call in program.calls if any(True for _ in call.reads())}
    if modules <= {"numpy"}:
        return Planned
    if modules != {"cupy"}:
        return Replay
    from .on_cuda import OnCuda

    return OnCuda


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
        self.replay = (_kind_of(self.program) if fuse else Replay)(self.program)
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
