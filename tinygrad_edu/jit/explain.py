"""`jit.explain`: what a traced function became, in words and numbers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..errors import message
from .step import Jit

if TYPE_CHECKING:
    from .fusion import Unit
    from .planned import Planned
    from .program import Call


def describe(plan: Planned) -> str:
    """The units of a plan, a line each, then its arrays, memory and work."""
    from ..kernels import native
    from .memory import peak

    lines = [f"{i:4}  {_unit(plan, unit)}" for i, unit in enumerate(plan.fusion.units)]
    before = sum(block.size for block in {id(b): b for b in plan.lifetimes.values()}.values())
    steps = [step for code in plan.steps for step in code]
    groups = [unit for unit in plan.kernels if len(unit.calls) > 1]
    count = len(plan.recorded.calls)
    own, alive = _bytes(before), _bytes(peak(plan.lifetimes.values()))
    flops, moved = sum(map(native.flops, steps)) / 1e6, _bytes(sum(map(native.traffic, steps)))
    lines += [
        "",
        f"operations    {count} recorded, {len(plan.program.calls)} after the passes, {len(plan.fusion.units)} units",
        f"fused groups  {len(groups)}, of {sum(len(unit.calls) for unit in groups)} operations",
        f"run by        {_how(plan)}",
        f"buffers       {len(plan.blocks)} arrays in {_bytes(plan.size)}",
        f"live bytes    {own} with memory for each array, {alive} alive at once at most, {_bytes(plan.size)} planned",
        f"work          {flops:,.3f} MFLOP, {moved} moved",
    ]
    return "\n".join(lines)


def _how(plan: Planned) -> str:
    if not plan.compiled:
        return "NumPy, one call after the other (pip install 'tinygrad_edu[fast]' compiles them)"
    threads = " and ".join(str(code.threads) for code in plan.codes)
    return f"{len(plan.codes)} piece(s) of machine code on {threads or 'no'} thread(s)"


def _unit(plan: Planned, unit: Unit) -> str:
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

    step = step.func if isinstance(step, functools.partial) else step  # a method
    if not isinstance(step, Jit):
        raise TypeError(message("explain", "a jitted function", type(step).__name__, "call it on tg.jit(function)."))
    plans = [plan.replay for plan in reversed(step.plans)]
    parts = []
    for i, replay in enumerate(plans):
        text = describe(replay) if isinstance(replay, Planned) else replay.source
        parts.append(f"{step.name}, recording {i + 1} of {len(plans)}\n\n{text}")
    print("\n\n".join(parts) or f"{step.name} has not been called yet")
