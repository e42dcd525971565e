"""Recipes on CUDA: for the path `module.function` that a primitive names (`kernels.registry`), the function of that
name in the module of that name in this folder, if there is one. Its tasks are `launches.Step`s."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from ..registry import Form, Recipe, lies_as_taken
from . import copies
from .halves import half_of, with_rounded_factors
from .launches import Launches, on

RECORDED = {
    "_all": "reductions.every",
    "_any": "reductions.some",
    "_basic_scatter": "copies.scattered",
    "_concatenate": "copies.joined",
    "_gather": "rows.gathered",
    "_in_c_order": "copies.in_order",
    "_matmul": "products.matmul",
    "_max": "reductions.largest",
    "_min": "reductions.least",
    "_moments": "normalization.moments",
    "_one_hot": "rows.one_hot",
    "_pad": "copies.padded",
    "_reshape": "copies.reshaped",
    "_sum": "reductions.total",
    "stack": "copies.stacked",
    "sum_to": "reductions.total_to",
}
"""The recipes of primitives whose definition is as fast in eager mode, for recorded steps."""


def recipe(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> Recipe | None:
    """The recipe for such arrays, if there is one; it is made from shapes, dtypes, strides and the precision only."""
    rule = rule_of(path)
    if rule is None or not all(a is None or 0 not in a.shape for a in arrays):
        return None
    wrong = [i for i, a in enumerate(arrays) if not lies_as_taken(rule, i, a)]
    if not all(copies.is_copied(arrays[i]) for i in wrong):
        return None
    given = [copies.form(a.shape, a.dtype) if i in wrong else a for i, a in enumerate(arrays)]
    made: Recipe | None = rule(*given, **attributes)
    if made and half_of("float32"):
        made = with_rounded_factors(made, given)
    return _of_copies(made, arrays, wrong) if made and wrong else made


def _of_copies(made: Recipe, arrays: Sequence[Any], wrong: Sequence[int]) -> Recipe:
    """The recipe with those arrays copied first."""
    end = len(arrays) + len(made.outputs) + len(made.between)
    places = [end + wrong.index(i) if i in wrong else i for i in range(end)]
    tasks = [copies.copy(arrays[i], i, places[i]) for i in wrong]
    between = [(tuple(arrays[i].shape), arrays[i].dtype.name) for i in wrong]
    return Recipe(made.outputs, (*tasks, *(on(task, places) for task in made.tasks)), (*made.between, *between))


@functools.cache
def rule_of(path: str) -> Callable[..., Recipe | None] | None:
    """The function that gives the recipes of a path; None if there is none on CUDA."""
    module, _, function = path.partition(".")
    name = f"{__package__}.{module}"
    if importlib.util.find_spec(name) is None:
        return None
    found: Callable[..., Recipe | None] | None = getattr(importlib.import_module(name), function, None)
    return found


# Eager mode


def run(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> list[Any] | None:
    """The outputs of the recipe for these arrays; None if there is none."""
    import cupy

    rule = rule_of(path)
    if rule is None or not all(a is None or isinstance(a, cupy.ndarray) for a in arrays):
        return None
    arrays = [a if lies_as_taken(rule, i, a) else cupy.ascontiguousarray(a) for i, a in enumerate(arrays)]
    forms = tuple(None if a is None else Form(a.shape, a.dtype, a.strides) for a in arrays)
    found = _known(path, forms, tuple(attributes.items()), half_of("float32"))
    if found is None:
        return None
    made = [None if form is None else cupy.empty(*form) for form in found.outputs]
    there = [*arrays, *made, *(cupy.empty(*form) for form in found.between)]
    launches = Launches(found.tasks, len(there), [])
    launches.pointers[:] = [0 if a is None else a.data.ptr for a in there]
    launches.run()
    return made


@functools.lru_cache(4096)
def _known(path: str, forms: Any, attributes: Any, half: str) -> Recipe | None:
    """Of the precision in use, which `half` is."""
    return recipe(path, forms, dict(attributes))
