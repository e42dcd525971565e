"""Models in safetensors files: weights, and the architecture as JSON in the file's metadata. No pickle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from .. import layers
from ..errors import choice, message
from ..layers import ACTIVATIONS, Layer
from . import model, sequential

FORMAT = "tinygrad_edu"
VERSION = "1"
Path_ = str | os.PathLike[str]
Arrays = dict[str, numpy.ndarray[Any, Any]]


def serialize(layer: Layer) -> dict[str, Any]:
    """What `deserialize` makes the layer of again, as JSON."""
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


def deserialize(entry: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Layer:
    """The layer or model that `serialize` described; classes and functions not of this package come from
    `custom_objects`.

    Raises ValueError for a name that is in neither.
    """
    custom = dict(custom_objects or {})
    known = {name: kind for name, kind in vars(layers).items() if isinstance(kind, type) and issubclass(kind, Layer)}
    known |= {"Sequential": sequential.Sequential, "Model": model.Model} | custom
    name, config = entry["class_name"], dict(entry["config"])
    if name not in known:
        raise choice("load_model", "every class, or custom_objects, ", name, known)
    if isinstance(config.get("activation"), str) and config["activation"] not in ACTIVATIONS:
        if config["activation"] not in custom:
            expected = f"custom_objects with the function {config['activation']!r}"
            raise ValueError(message("load_model", expected, ", ".join(custom) or "none"))
        config["activation"] = custom[config["activation"]]
    if "layers" in config:
        config["layers"] = [deserialize(inner, custom) for inner in config["layers"]]
        shape = config.pop("input_shape", None)
        if shape is not None:
            config["layers"].insert(0, layers.Input(shape))
    return known[name](**config)


def save_model(saved: model.Model, path: Path_) -> None:
    if not saved.built:
        hint = "call it once, or give its first layer an input_shape."
        raise ValueError(message(f"{saved.where} save", "a model that is built", "one that is not", hint))
    architecture = {**serialize(saved), "build_shape": saved.input_shape or saved.build_shape}
    write_weights(saved.state_dict(), path, {"architecture": json.dumps(architecture)})


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
        loaded: Any = deserialize(architecture, custom_objects)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            message("load_model", "an architecture that can be read", f"{os.fspath(path)!r}: {error}")
        ) from error
    if not loaded.built:
        loaded.compute_output_shape((None, *architecture["build_shape"]))
    loaded.load_state_dict(weights)
    return loaded


def write_weights(arrays: Arrays, path: Path_, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file under another name and then renames it, so that `path` is never half written."""
    from safetensors.numpy import save

    # safetensors writes the bytes of a transposed array in the wrong order, so all are made contiguous
    contiguous = {name: numpy.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    write_atomically(path, save(contiguous, {"format": FORMAT, "format_version": VERSION, **(metadata or {})}))


def write_atomically(path: Path_, content: bytes) -> None:
    """Writes a file so that `path` holds the old content or the whole new one; makes its folder if that is missing."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_weights(path: Path_) -> tuple[Arrays, dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises FileNotFoundError, or ValueError if it is no such file."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(message("load", "a file", f"{os.fspath(path)!r}, which is none"))
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(message("load", "a safetensors file", f"{os.fspath(path)!r}: {error}")) from error
