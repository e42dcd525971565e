"""Initializers, regularizers and constraints by name, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import choice, message


class Configured:
    """What keeps the arguments of its constructor in attributes of the same names."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this object again."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The object that `get_config` described."""
        return cls(**config)


def found(where: str, what: str, given: Any, kinds: Mapping[str, type[Any]], form: str) -> Any:
    """What a name or a dict stands for (see `made`); an object or a function is given back as it is.

    Raises TypeError, which says by `form` what is wanted, for anything else, such as a class.
    """
    if isinstance(given, (dict, str)):
        return made(where, what, given, kinds)
    if isinstance(given, type) or not callable(given):
        hint = f"write {given.__name__}()." if isinstance(given, type) else ""
        raise TypeError(message(where, form, repr(given), hint))
    return given


def made(where: str, what: str, given: str | Mapping[str, Any], kinds: Mapping[str, type[Any]]) -> Any:
    """What a name or `{"name": ..., "config": {...}}` stands for, or `{"class_name": ...}`, as Keras writes it; names
    are those of `kinds` and of their classes."""
    entry = {"name": given} if isinstance(given, str) else given
    name, config = entry.get("name", entry.get("class_name")), entry.get("config") or {}
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise TypeError(message(where, f"{what} as {{'name': ..., 'config': {{...}}}}", repr(given)))
    known = {**kinds, **{kind.__name__: kind for kind in kinds.values()}}
    if name not in known:
        raise choice(where, what, name, kinds)
    return known[name](**config)


def as_json(where: str, value: Any, kinds: Mapping[str, type[Any]]) -> Any:
    """What `made` makes the object of again. One's own becomes "custom:" and its name, with its `get_config` if its
    class has `from_config`; `load_model` finds it in `custom_objects`.

    Raises ValueError for a lambda, which has no name.
    """
    for name, kind in kinds.items():
        if type(value) is kind:
            config: dict[str, Any] = value.get_config()
            return {"name": name, "config": config} if config else name
    name = getattr(value, "__name__", type(value).__name__)
    if name == "<lambda>":
        raise ValueError(message(where, "a function with a name", name, "define it with def."))
    if hasattr(type(value), "from_config"):
        return {"class_name": f"custom:{name}", "config": value.get_config()}
    return f"custom:{name}"
