"""`jit.explain` and `jit.profile`: what a traced function became, and where its time goes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..errors import check_integer, message
from .step import Jit

if TYPE_CHECKING:
    from .fusion import Unit
    from .planned import Planned
    from .program import Call


def describe(plan: Planned) -> str:
    """The units of a plan, a line each, then its arrays, memory and work."""
    from ..kernels import native
    from .memory import peak

    lines = [f"{i:4}  {unit_text(plan, unit)}" for i, unit in enumerate(plan.fusion.units)]
    before = sum(block.size for block in {id(b): b for b in plan.lifetimes.values()}.values())
    steps = [plan.counted(step) for code in plan.steps for step in code]
    counted = [step for step in steps if step is not None]
    groups = [unit for unit in plan.kernels if len(unit.calls) > 1]
    count = len(plan.recorded.calls)
    own, alive = _bytes(before), _bytes(peak(plan.lifetimes.values()))
    flops, moved = sum(map(native.flops, counted)) / 1e6, _bytes(sum(map(native.traffic, counted)))
    rest = f", and {len(steps) - len(counted)} kernels that are not counted" if len(steps) > len(counted) else ""
    lines += [
        "",
        f"operations    {count} recorded, {len(plan.program.calls)} after the passes, {len(plan.fusion.units)} units",
        f"fused groups  {len(groups)}, of {sum(len(unit.calls) for unit in groups)} operations",
        f"run by        {_how(plan)}",
        f"buffers       {len(plan.blocks)} arrays in {_bytes(plan.size)}",
        f"live bytes    {own} with memory for each array, {alive} alive at once at most, {_bytes(plan.size)} planned",
        f"work          {flops:,.3f} MFLOP, {moved} moved{rest}",
    ]
    return "\n".join(lines)


def _how(plan: Planned) -> str:
    from .on_cuda import OnCuda

    if isinstance(plan, OnCuda):
        if plan.graph is not None:
            return "one CUDA graph"
        how = f"for {plan.why_not}" if plan.why_not else "until the second call records a CUDA graph"
        return f"CUDA, step by step, {how}"
    if not plan.compiled:
        return "NumPy, one call after the other (pip install 'tinygrad_edu[fast]' compiles them)"
    threads = " and ".join(str(code.threads) for code in plan.codes)
    return f"{len(plan.codes)} piece(s) of machine code on {threads or 'no'} thread(s)"


def unit_text(plan: Planned, unit: Unit) -> str:
    """What a unit does, and what it makes."""
    names = [_name(call) for call in unit.calls]
    made = [v for v in unit.makes() if v in plan.stored]
    shapes = ", ".join(f"{v.dtype}{list(v.shape)}{' in place' if v in plan.targets else ''}" for v in made)
    if unit in plan.kernels:
        what = f"loops over {list(unit.shape or ())}" + (f", {unit.kind} sums and extremes" if unit.kind else "")
    elif unit in plan.products:
        what = "matrix product"
    elif unit in plan.tasks:
        what = "kernel"
    else:
        what = "Python call" if plan.is_python(unit) else "laid side by side"
    return f"{what}: {' '.join(names)}" + (f" -> {shapes}" if shapes else "")


def _name(call: Call) -> str:
    return call.primitive.name.strip("_")


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.4g} GiB"


def recordings(where: str, step: Any, args: tuple[Any, ...] = ()) -> tuple[Jit, tuple[Any, ...]]:
    """The function that holds the recordings, and its arguments: those of a method begin with its object."""
    if isinstance(step, functools.partial):
        step, args = step.func, (*step.args, *args)
    if not isinstance(step, Jit):
        raise TypeError(message(where, "a jitted function", type(step).__name__, "call it on tg.jit(function)."))
    return step, args


def explain(step: Any) -> None:
    """Prints what a jitted function became, for each of its recordings: the fused groups and what else runs, its
    arrays and their bytes, floating-point operations and bytes moved.

    >>> import tinygrad_edu as tg
    >>> step = tg.jit(lambda x: (tg.exp(x) * 2.0).sum(axis=1))
    >>> y = step(tg.ones((4, 3)))
    >>> tg.jit.explain(step)  # doctest: +ELLIPSIS
    <lambda>, recording 1 of 1
    ...
    """
    from .planned import Planned

    step, _ = recordings("explain", step)
    plans = [plan.replay for plan in reversed(step.plans)]
    parts = []
    for i, replay in enumerate(plans):
        text = describe(replay) if isinstance(replay, Planned) else replay.source
        parts.append(f"{step.name}, recording {i + 1} of {len(plans)}\n\n{text}")
    print("\n\n".join(parts) or f"{step.name} has not been called yet")


def profile(step: Any, *args: Any, times: int = 10, **static: Any) -> None:
    """Calls a jitted function, with all that it does (a step trains), `2 * times + 3` times, and prints where the time
    went: of each unit that `jit.explain` shows the median in milliseconds, its share, and what it reached, in GFLOP/s
    and GB/s.

    Above stands the time of a call as it is. With clocks between them the units run one by one, each some microseconds
    slower; the last line is what is left of such a call.

    Raises TypeError for what is no jitted function, RuntimeError where the call is not recorded, or llvmlite is absent.

    >>> import tinygrad_edu as tg
    >>> step = tg.jit(lambda x: (tg.exp(x) * 2.0).sum(axis=1))
    >>> tg.jit.profile(step, tg.ones((400, 300)))  # doctest: +SKIP
    <lambda>: 0.099 ms (0.117 with the clocks)
    <BLANKLINE>
          ms      %  GFLOP/s     GB/s  unit
       0.091   77.4      4.0      5.3  0  loops over [400, 300], row sums and extremes: exp multiply sum -> float32[400]
       0.027   22.6                    the rest, and clocks
    """
    from .on_cuda import OnCuda
    from .planned import Planned
    from .timed import timed_calls

    jitted, args = recordings("profile", step, args)
    jitted(*args, **static)
    guarded = ((plan.replay, plan.guard(args, static)) for plan in jitted.plans)
    plan, arguments = next(((plan, found) for plan, found in guarded if found is not None), (None, []))
    if isinstance(plan, OnCuda):
        hint = "Nsight Systems shows a graph's kernels on CUDA."
        raise RuntimeError(message("profile", "a call on the CPU", "one on CUDA", hint))
    if not isinstance(plan, Planned) or not plan.compiled:
        hint = "pip install 'tinygrad_edu[fast]', leave fuse=True, and pass no tensors that require grad."
        raise RuntimeError(message("profile", "a call that is recorded and compiled", "one that is not", hint))
    print(f"{jitted.name}: {timed_calls(plan, arguments, check_integer('profile', 'times', times, 1))}")
