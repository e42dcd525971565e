"""PyTorch: eager, and with torch.compile."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.nn import functional

from .. import network as constants
from ..network import Network
from . import Absent
from .base import Peer, train
from .pytorch_layers import build

LOSSES: dict[str, Any] = {
    "binary": functional.binary_cross_entropy_with_logits,
    "classes": lambda output, y: functional.cross_entropy(output.flatten(0, -2), y.flatten()),
    "squares": functional.mse_loss,
}


class Torch(Peer):
    """Adam in its fused form, which is the fastest of the three that PyTorch has for the CPU."""

    fused: bool | None = True
    mixed = False

    @classmethod
    def use(cls, device: str, precision: str) -> None:
        if device != "cpu" and not torch.cuda.is_available():
            raise Absent("PyTorch sees no CUDA device")
        cls.device, cls.mixed = device, precision == "bfloat16"
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def wait(self, result: Any) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def __init__(self, network: Network):
        super().__init__(network)
        self.model = self.placed(build(network))
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        betas = (constants.BETA_1, constants.BETA_2)
        self.optimizer = torch.optim.Adam(parameters, network.learning_rate, betas, constants.EPSILON, fused=self.fused)
        self.x, self.y = (self.placed(tensor(a).clone()) for a in network.first_batch())
        self.update, self.infer = self.optimizer.step, self.model

    def placed(self, found: Any) -> Any:
        """A model or tensor in the layout of memory that is measured."""
        return found.to(self.device, memory_format=torch.contiguous_format)

    def compute(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The loss and the output."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.mixed):
            output = self.model(x)
            return LOSSES[self.network.loss](output, y), output

    def forward(self) -> Any:
        self.mode(training=True)
        return self.compute(self.x, self.y)[0]

    def gradient(self) -> Any:
        self.mode(training=True)
        self.optimizer.zero_grad()
        loss, _ = self.compute(self.x, self.y)
        loss.backward()
        return loss

    def step(self) -> Any:
        loss = self.gradient()
        self.update()
        return loss

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        self.mode(training=True)
        x, y = torch.from_numpy(x).to(self.device), torch.from_numpy(y).to(self.device)
        for _ in range(epochs):
            total, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
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

    def outputs(self, x: Any) -> Any:
        self.mode(training=False)
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.mixed):
            found = self.infer(self.placed(tensor(x)))
        return (found.movedim(1, -1) if found.ndim == 4 else found).cpu().float().numpy()

    def mode(self, training: bool) -> None:
        if self.model.training != training:
            self.model.train(training)

    def threads(self) -> int:
        return torch.get_num_threads()

    def launches(self) -> int | None:
        """By the profiler."""
        if self.device == "cpu":
            return None
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            self.wait(self.step())
        return sum(
            event.device_type() == torch.autograd.DeviceType.CUDA for event in profile.profiler.kineto_results.events()
        )

    @classmethod
    def peak_bytes(cls, network: Network) -> int:
        """From the profiler's list of all allocations and releases; on CUDA from the allocator."""
        if cls.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            train(cls(network), network.first_batch(), 3)
            return torch.cuda.max_memory_allocated()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            train(cls(network), network.first_batch(), 3)
        events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        live = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            live += event.nbytes()
            peak = max(peak, live)
        return peak


class TorchChannelsLast(Torch):
    """With images whose channels lie beside one another, as PyTorch advises for convolutions."""

    def __init__(self, network: Network):
        if all(len(node.shape) < 3 for node in network.nodes):
            raise Absent("there are no images")
        super().__init__(network)

    def placed(self, found: Any) -> Any:
        is_image = isinstance(found, torch.nn.Module) or found.ndim == 4
        return found.to(self.device, memory_format=torch.channels_last) if is_image else found.to(self.device)


class TorchCompile(Torch):
    """Network and loss compiled together, and the optimizer's step by itself, as PyTorch's documentation has it."""

    fused = None

    def __init__(self, network: Network):
        super().__init__(network)
        mode = None if self.device == "cpu" else "max-autotune"
        self.compute = torch.compile(self.compute, mode=mode)  # type: ignore[method-assign]
        self.infer = torch.compile(self.model, mode=mode, dynamic=False)
        self.update = torch.compile(functools.partial(self.optimizer.step))


def tensor(array: Any) -> Any:
    """Of the same memory; images have their channels as the second axis."""
    found = torch.from_numpy(array)
    return found.movedim(-1, 1) if found.ndim == 4 else found
