"""ONNX Runtime, for the phases without training."""

from __future__ import annotations

import os
from typing import Any

import onnxruntime

from ..network import Network
from .base import Peer
from .onnx_layers import build


class OnnxRuntime(Peer):
    """The graph with the optimizations that a session does by default, for any number of rows."""

    phases = ("predict", "predict_one")

    def __init__(self, network: Network):
        super().__init__(network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads()
        options.inter_op_num_threads = 1
        model = build(network).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def outputs(self, x: Any) -> Any:
        return self.session.run(None, {"x": x})[0]

    def threads(self) -> int:
        """As many as OpenMP would use, which it does not ask."""
        return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
