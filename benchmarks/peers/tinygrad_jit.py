"""tinygrad: TinyJit, without its search for faster kernels (BEAM)."""

from __future__ import annotations

from typing import Any

from tinygrad import Device, Tensor, TinyJit, Variable, nn
from tinygrad.helpers import NUM_CPU_THREADS, Context, GlobalCounters

from .. import network as constants
from ..network import Network
from . import Absent
from .base import Peer, train


def loss_of(kind: str, output: Tensor, y: Tensor) -> Tensor:
    if kind == "squares":
        return (output - y).square().mean()
    if kind == "classes":
        return output.sparse_categorical_crossentropy(y)
    return output.binary_crossentropy_logits(y)


class TinyGrad(Peer):
    def __init__(self, network: Network):
        if kinds := {node.kind for node in network.nodes} - {"input", "dense"}:
            raise Absent(f"not written for {', '.join(sorted(kinds))}")
        super().__init__(network)
        self.activations = [node.activation for node in network.nodes[1:]]
        self.parameters = [Tensor(array).realize() for layer in network.weights() for array in layer.values()]
        betas = (constants.BETA_1, constants.BETA_2)
        self.optimizer = nn.optim.Adam(self.parameters, network.learning_rate, *betas, constants.EPSILON)
        self.x, self.y = (Tensor(array).realize() for array in network.first_batch())
        self.total, self.right = Tensor.zeros(1).contiguous().realize(), Tensor.zeros(1).contiguous().realize()
        self.jitted_forward = TinyJit(lambda x, y: self.compute(x, y)[0].realize())
        self.jitted_gradient = TinyJit(self.loss_and_gradients)
        self.jitted_step = TinyJit(self.update)
        self.jitted_output = TinyJit(lambda x: self.output(x).realize())
        self.jitted_output_of_one = TinyJit(lambda x: self.output(x).realize())
        self.jitted_fit: dict[int, Any] = {}

    def compute(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and the output."""
        output = self.output(x)
        return loss_of(self.network.loss, output, y), output

    def output(self, x: Tensor) -> Tensor:
        for i, activation in enumerate(self.activations):
            x = x.linear(*self.parameters[2 * i : 2 * i + 2])
            x = getattr(x, activation)() if activation else x
        return x

    def loss_and_gradients(self, x: Tensor, y: Tensor) -> Tensor:
        loss, _ = self.compute(x, y)
        Tensor.realize(loss, *loss.gradient(*self.parameters))
        return loss

    def update(self, x: Tensor, y: Tensor) -> Tensor:
        with Context(TRAINING=1):
            self.optimizer.zero_grad()
            loss, output = self.compute(x, y)
            loss.backward()
            metrics = []
            if self.network.through_fit:
                right = ((output > 0) == (y > 0.5)).sum()
                metrics = [
                    self.total.assign(self.total + loss * self.network.batch),
                    self.right.assign(self.right + right),
                ]
            Tensor.realize(loss, *metrics, *self.optimizer.schedule_step())
            return loss

    def update_on(self, x: Tensor, y: Tensor, number: Any) -> Tensor:
        """A step on the batch of that number, which the compiled step cuts out itself."""
        start, batch = number * self.network.batch, self.network.batch
        return self.update(x[start : start + batch], y[start : start + batch])

    def forward(self) -> Any:
        return self.jitted_forward(self.x, self.y)

    def gradient(self) -> Any:
        return self.jitted_gradient(self.x, self.y)

    def step(self) -> Any:
        return self.jitted_step(self.x, self.y)

    def outputs(self, x: Any) -> Any:
        jitted = self.jitted_output_of_one if len(x) == 1 else self.jitted_output
        return jitted(Tensor(x).realize()).numpy()

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        batches, rows = len(x) // self.network.batch, len(x)
        jitted = self.jitted_fit.setdefault(rows, TinyJit(self.update_on))
        number = Variable("number", 0, max(1, batches - 1))
        x, y = Tensor(x).realize(), Tensor(y).realize()
        for _ in range(epochs):
            for metric in (self.total, self.right):
                metric.assign(Tensor.zeros(1)).realize()
            for i in range(batches):
                jitted(x, y, number.bind(i))
            mean, _accuracy = (metric.item() / rows for metric in (self.total, self.right))
        return mean

    def wait(self, result: Any) -> None:
        Device[Device.DEFAULT].synchronize()

    def threads(self) -> int:
        return NUM_CPU_THREADS.value

    @classmethod
    def peak_bytes(cls, network: Network) -> int:
        """Its count of bytes in use: from the third step on, the jit holds what a step needs all the time."""
        train(cls(network), network.first_batch(), 3)
        return GlobalCounters.mem_used
