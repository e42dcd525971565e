"""What a worker asks of a framework."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from ..network import Data, Network
from . import Absent


class Peer:
    """A network in one framework, with its first weights and its data, ready to train.

    A subclass defines the phases that it has. What they return may be on its way still: `wait` waits for it.
    """

    phases: tuple[str, ...] = ("forward", "gradient", "step", "fit", "predict", "predict_one")
    device: ClassVar[str] = "cpu"

    @classmethod
    def use(cls, device: str, precision: str) -> None:
        """Sets the device of all that are made from now on, and how exactly matrices are multiplied there: "float32",
        "tf32", or "bfloat16", which stands for the framework's mixed precision. Raises Absent if it has no such."""
        if device != "cpu":
            raise Absent("is measured on the CPU only")

    def __init__(self, network: Network):
        self.network = network

    @functools.cached_property
    def batch(self) -> Any:
        """The inputs of the first, by themselves."""
        return self.network.first_batch()[0].copy()

    def forward(self) -> Any:
        """The loss of the first batch, as in training: with whatever a later backward needs."""
        raise NotImplementedError

    def gradient(self) -> Any:
        """Forward and backward on the first batch; no parameter moves."""
        raise NotImplementedError

    def step(self) -> Any:
        """A step on the first batch. Returns its loss."""
        raise NotImplementedError

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        """Trains on these rows in their order, with accuracy as a metric. Returns the mean loss of the last epoch."""
        raise NotImplementedError

    def outputs(self, x: Any) -> Any:
        """Of the network as it is used once it is trained, for an array of inputs; an array."""
        raise NotImplementedError

    def predict(self) -> Any:
        return self.outputs(self.batch)

    def predict_one(self) -> Any:
        """The same for one row."""
        return self.outputs(self.batch[:1])

    def wait(self, result: Any) -> None:
        """Returns when `result` is there."""

    def value(self, loss: Any) -> float:
        return float(loss.item())

    def repeat(self, phase: str, times: int) -> None:
        """What is timed. Steps depend on one another, so that the last is waited for; calls that do not are waited for
        one by one, or they would overlap."""
        result = None
        for _ in range(times):
            result = getattr(self, phase)()
            if phase != "step":
                self.wait(result)
        self.wait(result)

    def threads(self) -> int | None:
        """How many the framework says it uses, or None if it does not tell. By default what its BLAS says, which
        threadpoolctl asks where it is installed."""
        try:
            from threadpoolctl import threadpool_info
        except ImportError:
            return None
        return max((pool["num_threads"] for pool in threadpool_info()), default=None)

    def launches(self) -> int | None:
        """Kernels, copies and the like that the device runs for a step; None if the framework does not tell."""
        return None

    @classmethod
    def peak_bytes(cls, network: Network) -> int | None:
        """The most bytes that tensors held at one time: parameters, optimizer state, data, and all of a step. None
        if the framework does not tell."""
        return None


def train(peer: Peer, data: Data, steps: int) -> None:
    """Some steps on the first batch, which are waited for."""
    for _ in range(steps):
        if peer.network.through_fit:
            peer.fit(*data, epochs=1)
        else:
            peer.wait(peer.step())
