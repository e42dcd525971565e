"""Trees: nested tuples, lists and dicts, with anything else as their leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """The things inside of nested tuples, lists and dicts, from left to right."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        yield tree
        return
    for branch in tree:
        yield from leaves(branch)


def rebuild(tree: Any, parts: Iterator[Any]) -> Any:
    """A tree of the same form with other leaves."""
    return mapped(lambda leaf: next(parts), tree)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of the same form with the function's value in place of each leaf.

    >>> mapped(abs, [-1, {"a": (-2, 3)}])
    [1, {'a': (2, 3)}]
    """
    if isinstance(tree, dict):
        return {key: mapped(function, branch) for key, branch in tree.items()}
    if isinstance(tree, (tuple, list)):
        branches = [mapped(function, branch) for branch in tree]
        if isinstance(tree, list):
            return branches
        return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)
    return function(tree)
