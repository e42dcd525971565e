"""One file per framework. Nothing is imported here but by name, since a worker times the import of its framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class Absent(Exception):
    """Says why a framework cannot take part."""


@dataclass(frozen=True)
class Entry:
    """A column of the tables: the file here, the class in it, and the module and distribution it needs."""

    file: str
    kind: str
    module: str
    distribution: str = ""
    extra: str = ""
    """Of the optional dependencies of `distribution`, the one that it needs."""
    environment: Mapping[str, str] = field(default_factory=dict)


OURS = {
    "jit": Entry("ours", "Jit", "tinygrad_edu", "tinygrad_edu", "fast"),
    "jit-numpy": Entry("ours", "JitNumPy", "tinygrad_edu", "tinygrad_edu", environment={"TINYGRAD_EDU_FAST": "0"}),
    "eager": Entry("ours", "Eager", "tinygrad_edu", "tinygrad_edu"),
}
PEERS = {
    "torch": Entry("pytorch", "Torch", "torch", "torch"),
    "torch-channels-last": Entry("pytorch", "TorchChannelsLast", "torch", "torch"),
    "torch-compile": Entry("pytorch", "TorchCompile", "torch", "torch"),
    "jax": Entry("jax_jit", "Jax", "jax", "jax"),
    "keras": Entry("keras_fit", "Keras", "keras", "keras", environment={"KERAS_BACKEND": "jax"}),
    "onnxruntime": Entry("onnx_runtime", "OnnxRuntime", "onnxruntime", "onnxruntime"),
    "tinygrad": Entry("tinygrad_jit", "TinyGrad", "tinygrad", "tinygrad", environment={"DEV": "CPU"}),
}
SGEMM = "sgemm"
"""The matrix products alone: no framework, but what their speed is a share of."""
REFERENCE = "torch"
"""Whose losses the others' have to agree with."""
ENTRIES = {**OURS, **PEERS, SGEMM: Entry("sgemm", "Sgemm", "numpy", "numpy")}
