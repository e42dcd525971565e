"""tinygrad_edu: eager, and with `jit` on generated machine code or on NumPy."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import tracemalloc
from typing import Any

import numpy

import tinygrad_edu as tg
from tinygrad_edu import layers, losses, metrics, models, optimizers

from .. import network as constants
from ..network import Network
from . import Absent
from .base import Peer, train
from .keras_layers import build

LOSSES: dict[str, Any] = {
    "binary": tg.binary_cross_entropy_with_logits,
    "classes": tg.cross_entropy,
    "squares": lambda output, y: tg.mean(tg.square(output - y)),
}

SMALL = 2**16
"""Bytes of which every change is looked at for the peak."""


class Positions(layers.PositionEmbedding):
    """Adds a learned vector to each step."""

    def call(self, x: Any) -> Any:
        return x + super().call(x)


class Eager(Peer):
    jit: Any = False

    @classmethod
    def use(cls, device: str, precision: str) -> None:
        try:
            tg.use_device(device)
        except tg.DeviceError as error:
            raise Absent(str(error)) from None
        cls.device = device
        if precision == "bfloat16":
            tg.mixed_precision(precision)
        else:
            tg.set_matmul_precision(precision)

    def wait(self, result: Any) -> None:
        tg.synchronize(self.device)

    def __init__(self, network: Network):
        super().__init__(network)
        self.model = build(network, layers, models, lambda: Positions(network.nodes[0].shape[0]))
        self.optimizer = optimizers.Adam(network.learning_rate, constants.BETA_1, constants.BETA_2, constants.EPSILON)
        self.parameters = self.model.trainable_weights
        self.x, self.y = map(tg.tensor, network.first_batch())
        loss, accuracy = losses.BinaryCrossentropy(from_logits=True), metrics.BinaryAccuracy(threshold=0.0)
        self.model.compile(self.optimizer, loss, metrics=[accuracy], jit=self.jit)  # for `fit` and `predict`
        self.optimizer.build(self.parameters)
        self.functions = {"forward": self.loss, "gradient": self.loss_and_gradients, "step": self.train}

    def outputs(self, x: Any) -> Any:
        return self.model.predict_on_batch(x)

    def loss(self, x: Any, y: Any) -> Any:
        return LOSSES[self.network.loss](self.model(x, training=True), y)

    def loss_and_gradients(self, x: Any, y: Any) -> Any:
        loss = self.loss(x, y)
        loss.backward()
        gradients = [parameter.grad for parameter in self.parameters]
        self.optimizer.zero_grad()
        return loss, *gradients

    def train(self, x: Any, y: Any) -> Any:
        loss = self.loss(x, y)
        self.optimizer.minimize(loss)
        return loss

    def forward(self) -> Any:
        return self.functions["forward"](self.x, self.y)

    def gradient(self) -> Any:
        return self.functions["gradient"](self.x, self.y)

    def step(self) -> Any:
        return self.functions["step"](self.x, self.y)

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        history = self.model.fit(x, y, self.network.batch, epochs=epochs, verbose=0, shuffle=False)
        return history.history["loss"][-1]

    @classmethod
    def peak_bytes(cls, network: Network) -> int | None:
        """NumPy's arrays by Python's record of allocations: those that are there before a step, and the most that the
        step adds to them, looked at whenever a function is called or returns and there is more of all kinds than ever,
        by a hundredth or, below some kilobytes, at all."""
        if cls.device != "cpu":
            return None
        data, most, highest = network.first_batch(), 0, 0
        tracemalloc.start()
        peer = cls(network)
        train(peer, data, 2)
        before = array_bytes()
        tracemalloc.clear_traces()

        def look(*event: Any) -> None:
            nonlocal most, highest
            total, _ = tracemalloc.get_traced_memory()
            if total > highest + (highest // 100 if highest > SMALL else -1):
                most, highest = max(most, array_bytes()), max(total, highest)

        sys.setprofile(look)
        try:
            train(peer, data, 1)
        finally:
            sys.setprofile(None)
            tracemalloc.stop()
        return before + most


def array_bytes() -> int:
    """The bytes of all arrays of NumPy's that `tracemalloc` knows of."""
    arrays = tracemalloc.DomainFilter(True, numpy.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays]).traces)


class Recorded(Eager):
    jit = "auto"

    def __init__(self, network: Network):
        super().__init__(network)
        self.functions = {name: tg.jit(function) for name, function in self.functions.items()}

    def launches(self) -> int | None:
        graphs = [recording.replay.graph for recording in self.functions["step"].plans]
        return sum(map(nodes_of, graphs)) if graphs and all(graphs) else None


def nodes_of(graph: Any) -> int:
    """How many a CUDA graph has, by the driver."""
    count = ctypes.c_size_t()
    status = ctypes.CDLL("libcuda.so.1").cuGraphGetNodes(ctypes.c_void_p(graph.graph), None, ctypes.byref(count))
    if status:
        raise RuntimeError(f"cuGraphGetNodes ended with status {status}")
    return count.value


class JitNumPy(Recorded):
    """Without llvmlite: the environment of its worker tells the package to do as if it were absent."""

    @classmethod
    def use(cls, device: str, precision: str) -> None:
        if device != "cpu":
            raise Absent("is jit there")


class Jit(Recorded):
    """With llvmlite, the extra `fast`, on the CPU."""

    def __init__(self, network: Network):
        if self.device == "cpu" and importlib.util.find_spec("llvmlite") is None:
            raise Absent("llvmlite is not installed: pip install 'tinygrad-edu[fast]'")
        super().__init__(network)
