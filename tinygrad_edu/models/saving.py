"""Models in safetensors files: weights, and the architecture as JSON in the file's metadata. No pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..autograd import Tensor
from ..errors import message
from ..files import FORMAT, VERSION, Path_, read_weights, write_weights
from ..layers import Layer
from ..layers.activations import name_of
from ..layers.base import check_shape, map_shapes
from ..layers.config import class_name, deserialize, serialize
from ..state import use_dtype
from . import model, sequential

FUNCTIONS = ("activation", "function", "mask", "output_shape")
"""Arguments of layers that may be functions, which are saved by name."""


def save_model(saved: model.Model, path: Path_) -> None:
    if not saved.built:
        hint = "call it once, or give its first layer an input_shape."
        raise ValueError(message(f"{saved.where} save", "a model that is built", "one that is not", hint))
    check_restorable(saved)
    shape = None if saved.graph else saved.input_shape or saved.build_shape
    architecture = {**serialize(saved), "build_shape": shape, "dtype": saved.dtype.name, "frozen": frozen_in(saved)}
    write_weights(saved.state_dict(), path, {"architecture": json.dumps(architecture)})


def check_restorable(saved: Layer) -> None:
    """Raises ValueError for what could not be loaded as it is: a tensor of two layers, or two functions or classes of
    one's own with one name."""
    tensors: dict[int, str] = {}
    own: dict[str, Any] = {}
    for layer in _leaves(saved):
        for t in layer.weights:
            if id(t) in tensors:
                found = f"one that {tensors[id(t)]} and {layer.where} share"
                hint = "keep it with save_weights, and make the model by your own code."
                raise ValueError(message(f"{saved.where} save", "each parameter in one layer", found, hint))
            tensors[id(t)] = layer.where
        functions = [f for name in FUNCTIONS if callable(f := vars(layer).get(name))]
        for name, value in ((class_name(layer), type(layer)), *((name_of(f), f) for f in functions)):
            if name and name.startswith("custom:") and (own.setdefault(name, value) is not value or "<lambda>" in name):
                found = f"{name.removeprefix('custom:')!r} in {layer.where}"
                hint = "define it with def, and a name that no other has."
                raise ValueError(
                    message(f"{saved.where} save", "functions and classes with names of their own", found, hint)
                )


def _leaves(layer: Layer) -> Iterator[Layer]:
    """The layers whose configurations are saved; a shared one comes as often as it is used."""
    if isinstance(layer, model.Model) and (layer.graph is not None or isinstance(layer, sequential.Sequential)):
        for inner in layer.layers:
            yield from _leaves(inner)
    else:
        yield layer


def load_model(path: Path_, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The model that `model.save(path)` wrote, on the default device; compile it to train on.

    Args:
        custom_objects: layer classes and activation functions of one's own, by name.

    Raises FileNotFoundError, or ValueError for a file of another kind, for unknown layers, or for weights that do not
    fit.
    """
    weights, metadata = read_weights(path)
    if metadata.get("format") != FORMAT or "architecture" not in metadata:
        hint = "files of weights alone are read by model.load_weights(path)."
        raise ValueError(message("load_model", "a file written by model.save", f"{os.fspath(path)!r}", hint))
    if metadata.get("format_version") != VERSION:
        found = f"version {metadata.get('format_version')!r} in {os.fspath(path)!r}"
        raise ValueError(message("load_model", f"format version {VERSION}", found, "update tinygrad_edu."))
    try:
        architecture = json.loads(metadata["architecture"])
        with use_dtype(architecture["dtype"]):
            loaded: Any = deserialize(architecture, custom_objects)
            if not loaded.built:
                loaded.compute_output_shape(map_shapes(_with_rows, architecture["build_shape"]))
        loaded.load_state_dict(weights)
        freeze(loaded, **architecture.get("frozen", {}))
    except Exception as error:  # a file may hold anything, and is wrong in as many ways
        if isinstance(error, ValueError) and ": expected " in str(error):
            raise
        found = f"{os.fspath(path)!r}: {type(error).__name__}: {str(error).rstrip('.')}"
        raise ValueError(message("load_model", "a model that can be made again", found)) from error
    return loaded


def frozen_in(saved: Layer) -> dict[str, list[str]]:
    """The prefixes of the layers that are not trainable, and the names of the tensors without gradients."""
    return {
        "layers": [prefix for prefix, layer in saved._layers() if not layer._trainable],
        "weights": [name for name, t, _ in saved._tensors() if not t.requires_grad],
    }


def freeze(loaded: Layer, layers: Collection[str] = (), weights: Collection[str] = ()) -> None:
    """Makes trainable all but what `frozen_in` named."""
    loaded.trainable = True
    for prefix, layer in loaded._layers():
        layer._trainable = prefix not in layers
        for name, t in layer._members():
            if isinstance(t, Tensor) and t.requires_grad and f"{prefix}{name}" in weights:
                layer._frozen |= {name}
                t.requires_grad_(False)


def _with_rows(shape: Any) -> tuple[int | None, ...]:
    return (None, *check_shape("load_model", "build_shape", shape))
