"""Attention in tiles, forwards and backwards: the weights are never in memory."""

from __future__ import annotations

import math
from typing import Any

from ..attention import by_heads, in_order, numbers_of
from ..registry import Recipe, by_rows
from .steps import TYPES
from .written import Written

TILES = {
    "float32": {32: (64, 64, 64, 32), 64: (64, 32, 32, 64), 128: (32, 32, 32, 16), 256: (16, 16, 8, 16)},
    "float64": {32: (64, 32, 32, 32), 64: (32, 32, 32, 16), 128: (16, 16, 8, 16)},
}
"""By the depth that matrices are padded to: rows and columns of tiles, forwards and backwards. They fit into 48 KB."""
_NAMES = ("ROWS", "COLUMNS", "GRADIENT_ROWS", "GRADIENT_COLUMNS")
_THREADS = (16, 8)  # as in attention.cu
_WARPS = 8  # of a block of `deltas`


def defines_of(dtype: str, mask: str, depth: int) -> dict[str, Any] | None:
    """What attention.cu is compiled with for such arrays; None where they are too deep for its tiles."""
    padded = min((n for n in TILES[dtype] if n >= depth), default=None)
    if padded is None:
        return None
    sizes = zip(_NAMES, TILES[dtype][padded], strict=True)
    return {"REAL": TYPES[dtype], "MASK": TYPES[mask], "DEPTH": padded, **dict(sizes)}


def _defines(q: Any, v: Any, mask: Any) -> dict[str, Any] | None:
    return defines_of(q.dtype.name, "bool" if mask is None else mask.dtype.name, max(q.shape[-1], v.shape[-1]))


def _stacks(numbers: dict[str, float], *names: str) -> list[int]:
    """How the matrices of these lie, in the order of the kernels' parameters."""
    return [int(numbers[key]) for name in names for key in (f"{name}_far", f"{name}_near", f"ld{name}")]


def _rest(numbers: dict[str, float]) -> list[int | float]:
    """The kernels' last parameters: how the mask lies, sizes, and what the scores are multiplied by."""
    keys = ["m_far", "m_near", "m_row", "m_column", "queries", "keys", "depth", "features", "inner", "causal"]
    return [*(int(numbers[key]) for key in keys), float(numbers["scale"])]


@by_rows(0, 1, 2, 3)
def forward(q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, time_first: bool) -> Recipe | None:
    """Of `_attention`: y, the logarithms of the sums."""
    y = in_order((*q.shape[:-1], v.shape[-1]), q.dtype)
    forms = {name: by_heads(a, time_first) for name, a in (("q", q), ("k", k), ("v", v), ("y", y))}
    numbers = numbers_of(mask, scale, causal, **forms)
    defines = _defines(q, v, mask) if numbers else None
    if numbers is None or defines is None:
        return None
    shape, dtype = forms["q"].shape[:-1], q.dtype.name
    blocks = math.prod(shape[:-1]) * -(-shape[-1] // defines["ROWS"])
    arrays, given = (0, 1, 2, None if mask is None else 3, 4, 5), (*_stacks(numbers, *"qkvy"), *_rest(numbers))
    task = Written("attention", "attention", (blocks,), _THREADS, arrays, given, tuple(defines.items()))
    return Recipe(((y.shape, dtype), (shape, dtype)), (task,))


@by_rows(0, 1, 2, 3, 4, 5)
def gradient(
    g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, logs: Any,
    needs: tuple[bool, ...], scale: float, causal: bool, time_first: bool,
) -> Recipe | None:  # fmt: skip
    """Of `_attention_gradient`: the gradients of q, k and v that are needed; there is none for that of a mask."""
    made = {name: in_order(tuple(a.shape), a.dtype) for name, a in (("dq", q), ("dk", k), ("dv", v))}
    forms = {name: by_heads(a, time_first) for name, a in ({"g": g, "y": y, "q": q, "k": k, "v": v} | made).items()}
    numbers = numbers_of(mask, scale, causal, **forms)
    defines = _defines(q, v, mask) if numbers else None
    if numbers is None or defines is None or needs[3] or logs.dtype != q.dtype:
        return None
    dtype, fixed, count, deltas = q.dtype.name, tuple(defines.items()), math.prod(logs.shape), 11
    queries, keys, features, inner = (int(numbers[name]) for name in ("queries", "keys", "features", "inner"))
    given = (*_stacks(numbers, "g", "y"), count, queries, features, inner)
    grid = (-(-count // _WARPS),)
    tasks = [Written("attention", "deltas", grid, (32, _WARPS), (0, 1, deltas), given, fixed)]
    arrays = (0, 2, 3, 4, None if mask is None else 5, 6, deltas)
    for function, rows, found in (("of_queries", queries, {"dq": 7}), ("of_keys", keys, {"dk": 8, "dv": 9})):
        slots = [slot if needs[slot - 7] else None for slot in found.values()]
        if any(slots):
            grid = (count // queries * -(-rows // defines["GRADIENT_ROWS"]),)
            given = (*_stacks(numbers, *"gqkv", *found), *_rest(numbers))
            tasks.append(Written("attention", function, grid, _THREADS, (*arrays, *slots), given, fixed))
    outputs = [(form.shape, dtype) if needed else None for form, needed in zip(made.values(), needs, strict=False)]
    return Recipe((*outputs, None), tuple(tasks), ((logs.shape, dtype),))
