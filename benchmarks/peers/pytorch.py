"""PyTorch: eager, and with torch.compile."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.nn import functional

from .. import network as constants
from ..network import Network
from .base import Peer, train

LOSSES: dict[str, Any] = {
    "binary": functional.binary_cross_entropy_with_logits,
    "classes": functional.cross_entropy,
    "squares": functional.mse_loss,
}


class Torch(Peer):
    """`nn.Sequential` and Adam in its fused form, which is the fastest of the three that PyTorch has for the CPU."""

    fused: bool | None = True

    def __init__(self, network: Network):
        super().__init__(network)
        activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[network.activation]
        layers: list[Any] = []
        for kernel, bias in network.weights():
            layer = torch.nn.Linear(*kernel.shape)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
                layer.bias.copy_(torch.from_numpy(bias))
            layers += [layer, activation()]
        self.model = torch.nn.Sequential(*layers[:-1])
        betas = (constants.BETA_1, constants.BETA_2)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), constants.LEARNING_RATE, betas, constants.EPSILON, fused=self.fused
        )
        self.x, self.y = (torch.from_numpy(a).clone() for a in network.first_batch())
        self.update = self.optimizer.step

    def compute(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The loss and the output."""
        output = self.model(x)
        return LOSSES[self.network.loss](output, y), output

    def forward(self) -> Any:
        return self.compute(self.x, self.y)[0]

    def gradient(self) -> Any:
        self.optimizer.zero_grad()
        loss, _ = self.compute(self.x, self.y)
        loss.backward()
        return loss

    def step(self) -> Any:
        loss = self.gradient()
        self.update()
        return loss

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        for _ in range(epochs):
            total, right = torch.zeros(()), torch.zeros(())
            for start in range(0, len(x), self.network.batch):
                inputs, targets = x[start : start + self.network.batch], y[start : start + self.network.batch]
                self.optimizer.zero_grad()
                loss, output = self.compute(inputs, targets)
                loss.backward()
                self.update()
                with torch.no_grad():
                    total += loss * len(inputs)
                    right += ((output > 0) == (targets > 0.5)).sum()
            mean, _accuracy = total.item() / len(x), right.item() / len(x)
        return mean

    def threads(self) -> int:
        return torch.get_num_threads()

    @classmethod
    def peak_bytes(cls, network: Network) -> int:
        """From the profiler's list of all allocations and releases."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            train(cls(network), network.first_batch(), 3)
        events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        live = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            live += event.nbytes()
            peak = max(peak, live)
        return peak


class TorchCompile(Torch):
    """Network and loss compiled together, and the optimizer's step by itself, as PyTorch's documentation has it."""

    fused = None

    def __init__(self, network: Network):
        super().__init__(network)
        self.compute = torch.compile(self.compute)  # type: ignore[method-assign]
        self.update = torch.compile(functools.partial(self.optimizer.step))
