"""Recipes on CUDA: for the path `module.function` that a primitive names (`kernels.registry`), the function of that
name in the module of that name in this folder, if there is one. Its tasks are `launches.Step`s."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from ..registry import Form, Recipe, lies_as_taken
from .launches import Launches


def recipe(path: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> Recipe | None:
    """The recipe for such arrays, if there is one; it is made from shapes, dtypes and strides only."""
    rule = rule_of(path)
    if rule is None or not all(a is None or 0 not in a.shape for a in arrays):
        return None
    if not all(lies_as_taken(rule, i, a) for i, a in enumerate(arrays)):
        return None
    made: Recipe | None = rule(*arrays, **attributes)
    return made


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
    found = _known(path, forms, tuple(attributes.items()))
    if found is None:
        return None
    made = [None if form is None else cupy.empty(*form) for form in found.outputs]
    there = [*arrays, *made, *(cupy.empty(*form) for form in found.between)]
    launches = Launches(found.tasks, len(there), [])
    launches.pointers[:] = [0 if a is None else a.data.ptr for a in there]
    launches.run()
    return made


@functools.lru_cache(4096)
def _known(path: str, forms: Any, attributes: Any) -> Recipe | None:
    return recipe(path, forms, dict(attributes))
