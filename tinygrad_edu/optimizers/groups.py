"""Groups: what `build` is given, and how each parameter is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import check_number, message


class Group(NamedTuple):
    """How some parameters are trained.

    Attributes:
        rate: a factor on the learning rate.
        weight_decay: None for the optimizer's.
    """

    rate: float = 1.0
    weight_decay: float | None = None


class Member(NamedTuple):
    """A parameter, by what name it was given, and its group."""

    parameter: Any
    name: str | None
    group: Group


def members(where: str, given: Iterable[Any]) -> list[Member]:
    """The parameters among tensors, a mapping of names to them, or groups of these."""
    if isinstance(given, Mapping):
        return [Member(p, str(name), Group()) for name, p in given.items()]
    parts = list(given)
    if not any(isinstance(part, Mapping) for part in parts):
        return [Member(p, None, Group()) for p in parts]
    return [member for part in parts for member in _of_group(where, part)]


def _of_group(where: str, given: Any) -> list[Member]:
    if not isinstance(given, Mapping):
        expected = "groups alone, or no group"
        raise TypeError(message(where, expected, f"a {type(given).__name__} among groups"))
    unknown = given.keys() - {"params", "rate", "weight_decay"}
    if unknown or "params" not in given:
        expected = "a group to have params, and maybe rate and weight_decay"
        hint = "rate is a factor on the learning rate." if unknown else ""
        raise ValueError(message(where, expected, ", ".join(map(repr, given)), hint))
    found = members(where, given["params"])
    if not found:
        hint = "build the model first: call it once, or give it an input_shape."
        raise ValueError(message(where, "at least one parameter in each group", "none", hint))
    group = Group(*(_at_least_zero(where, name, given) for name in ("rate", "weight_decay")))
    return [member._replace(group=group) for member in found]


def _at_least_zero(where: str, name: str, given: Mapping[str, Any]) -> Any:
    if given.get(name) is None:
        return Group._field_defaults[name]
    return check_number(f"{where} group", name, given[name], "of at least 0", lambda v: v >= 0)
