"""Layers as JSON: their classes' names and the arguments that make them again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy

from .. import constraints, initializers, regularizers
from ..errors import message
from . import activations

if TYPE_CHECKING:
    from .base import Layer

BUILT_IN: dict[str, type[Layer]] = {}
"""The layers and models of this package by name."""
REQUIRED = inspect.Parameter.empty
OF_ANY = ("name", "trainable", "activity_regularizer", "input_shape", "batch_input_shape")
"""Arguments that all layers have, and that are written only where they were given."""


def is_built_in(kind: type) -> bool:
    return kind.__module__.split(".")[0] == __name__.split(".")[0]


def note(kind: type[Layer]) -> None:
    """Called for each new class of layers."""
    if is_built_in(kind):
        BUILT_IN[kind.__name__] = kind


def arguments(kind: type[Layer]) -> dict[str, Any]:
    """The arguments of a layer's constructor, those that it passes on to its base class included, and their defaults,
    REQUIRED where there is none."""
    found: dict[str, Any] = {}
    for cls in kind.__mro__:
        if "__init__" not in cls.__dict__:
            continue
        parameters = list(inspect.signature(cls.__dict__["__init__"]).parameters.values())[1:]
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        found = {**{p.name: p.default for p in named}, **found}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    for weight, default in kind.initial.items():
        found |= {f"{weight}_initializer": default, f"{weight}_regularizer": None, f"{weight}_constraint": None}
    return found


def config_of(layer: Layer) -> dict[str, Any]:
    """The arguments that make the layer again, read from the attributes of the same names.

    Raises ValueError if one is not there, TypeError if it cannot be written as JSON.
    """
    found = {}
    for name, default in arguments(type(layer)).items():
        if name == "weights" or (name == "input_dim" and default is None):  # kept apart; in input_shape
            continue
        value = layer._trainable if name == "trainable" else getattr(layer, name, default)
        if value is REQUIRED:
            hint = f"set self.{name} in __init__, or define get_config."
            raise ValueError(message(layer.where, f"its argument {name!r} in an attribute of that name", "none", hint))
        if name not in OF_ANY or value != default:
            found[name] = plain(layer.where, name, value)
    return found


def plain(where: str, name: str, value: Any) -> Any:
    """An argument as JSON."""
    if name.endswith("initializer"):
        return _by_name(initializers.serialize(value))
    if name.endswith("_regularizer"):
        return _by_name(regularizers.serialize(value))
    if name.endswith("_constraint"):
        return _by_name(constraints.serialize(value))
    if hasattr(value, "get_config"):
        return serialize(value)
    if isinstance(value, (list, tuple)):
        return [plain(where, name, item) for item in value]
    if isinstance(value, dict):
        return {key: plain(where, name, item) for key, item in value.items()}
    if isinstance(value, (numpy.generic, numpy.ndarray)):
        return value.tolist()
    if callable(value):
        return _by_name(activations.name_of(value))
    if value is not None and not isinstance(value, (bool, int, float, str)):
        expected = f"its argument {name!r} to be something that can be written"
        raise TypeError(message(where, expected, type(value).__name__, "define get_config."))
    return value


def _by_name(value: Any) -> Any:
    """A function of the user's, "custom:name", as a dict, which no text of an argument can be taken for."""
    return {"custom": value.removeprefix("custom:")} if isinstance(value, str) and value[:7] == "custom:" else value


def class_name(layer: Any) -> str:
    """The name of the class; after "custom:" if it is one of the user's, whatever its name."""
    name = type(layer).__name__
    return name if BUILT_IN.get(name) is type(layer) else f"custom:{name}"


def serialize(layer: Any) -> dict[str, Any]:
    """What `deserialize` makes the layer of again, as JSON."""
    return {"class_name": class_name(layer), "config": layer.get_config()}


def deserialize(entry: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The layer or model that `serialize` described; classes and functions not of this package come from
    `custom_objects`.

    Raises ValueError for a name that is in neither.
    """
    custom = {f"custom:{name}": value for name, value in (custom_objects or {}).items()}
    return revived(entry, custom)


def revived(value: Any, custom: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """A value with the layers, classes and functions in it that stand there by name."""
    if isinstance(value, list):
        return [revived(item, custom) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"custom"}:
        return _known(custom, f"custom:{value['custom']}", "function")
    if not {"class_name", "config"} <= value.keys():
        return {key: revived(item, custom) for key, item in value.items()}
    kind = _known({**BUILT_IN, **custom}, value["class_name"], "class")
    return kind.from_config(revived(dict(value["config"]), custom))


def _known(objects: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in objects:
        own = [known.removeprefix("custom:") for known in objects if known.startswith("custom:")]
        expected = f"custom_objects with the {what} {name.removeprefix('custom:')!r}"
        raise ValueError(message("load_model", expected, ", ".join(own) or "none"))
    return objects[name]
