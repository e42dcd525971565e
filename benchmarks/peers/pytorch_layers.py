"""PyTorch's modules for the nodes of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..network import Network
from ..nodes import EPSILON, MOMENTUM, Node

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def build(network: Network) -> nn.Module:
    """The network with its first weights. Images go through it as (batch, channels, height, width)."""
    steps = []
    for i, (node, weights, places) in enumerate(zip(network.nodes, network.weights(), network.places, strict=True)):
        modules = [] if node.kind in ("input", "activation") else [globals()[node.kind](node, **weights)]
        modules += [ACTIVATIONS[node.activation]()] if node.activation else []
        steps += [(module, places if j == 0 else (i,), i) for j, module in enumerate(modules)]
    return nn.Sequential(*(module for module, _, _ in steps)) if network.is_chain else Graph(steps)


class Graph(nn.Module):
    """Modules, each with the numbers of the results that it takes and of its own, which takes the place of an old one
    of that number; results are forgotten after their last use."""

    def __init__(self, steps: list[tuple[nn.Module, tuple[int, ...], int]]):
        super().__init__()
        self.layers = nn.ModuleList(module for module, _, _ in steps)
        last = {place: step for step, (_, places, _) in enumerate(steps) for place in places}
        self.plan = [
            (places, own, [place for place in set(places) - {own} if last[place] == step])
            for step, (_, places, own) in enumerate(steps)
        ]

    def forward(self, x: Any) -> Any:
        results = {0: x}
        for module, (places, own, done) in zip(self.layers, self.plan, strict=True):
            results[own] = module(*[results[place] for place in places])
            for place in done:
                del results[place]
        return results[own]


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any):
        super().__init__()
        self.forward = function


def filled(module: nn.Module, **arrays: Any) -> nn.Module:
    """The module, with these values in its parameters."""
    with torch.no_grad():
        for name, array in arrays.items():
            module.get_parameter(name).copy_(torch.from_numpy(np.ascontiguousarray(array)))
    return module


# One for each kind of node


def dense(node: Node, kernel: Any, bias: Any) -> nn.Module:
    before = node.inputs[0]
    if before.kind == "flatten":  # PyTorch's images have their channels first
        height, width, channels = before.inputs[0].shape
        kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return filled(nn.Linear(*kernel.shape), weight=kernel.T, bias=bias)


def conv(node: Node, kernel: Any, **bias: Any) -> nn.Module:
    size, stride = node.settings["size"], node.settings["stride"]
    module = nn.Conv2d(*kernel.shape[2:], size, stride, padding=size // 2, bias=bool(bias))
    return filled(module, weight=kernel.transpose(3, 2, 0, 1), **bias)


def pool(node: Node) -> nn.Module:
    return nn.MaxPool2d(2)


def upsample(node: Node) -> nn.Module:
    return nn.Upsample(scale_factor=2)


def mean(node: Node) -> nn.Module:
    return Call(lambda x: x.mean((2, 3)))


def flatten(node: Node) -> nn.Module:
    return nn.Flatten()


def batch_norm(node: Node, gamma: Any, beta: Any) -> nn.Module:
    return filled(nn.BatchNorm2d(node.shape[-1], EPSILON, 1.0 - MOMENTUM), weight=gamma, bias=beta)


def layer_norm(node: Node, gamma: Any, beta: Any) -> nn.Module:
    return filled(nn.LayerNorm(node.shape[-1], EPSILON), weight=gamma, bias=beta)


def embedding(node: Node, table: Any) -> nn.Module:
    return filled(nn.Embedding(*table.shape), weight=table)


class positions(nn.Module):
    def __init__(self, node: Node, table: Any):
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(table))

    def forward(self, x: Any) -> Any:
        return x + self.table


class causal_attention(nn.Module):
    """Queries, keys and values by one product, as in nanoGPT."""

    def __init__(self, node: Node, **weights: Any):
        super().__init__()
        self.heads, width = node.settings["heads"], node.shape[-1]
        kernels, biases = (
            [weights[f"{part}_{name}"] for part in ("query", "key", "value")] for name in ("kernel", "bias")
        )
        kernel, bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
        self.inner = filled(nn.Linear(width, 3 * width), weight=kernel.T, bias=bias)
        self.outer = filled(nn.Linear(width, width), weight=weights["output_kernel"].T, bias=weights["output_bias"])

    def forward(self, x: Any) -> Any:
        rows, steps, width = x.shape
        parts = self.inner(x).split(width, dim=2)
        query, key, value = (part.view(rows, steps, self.heads, -1).transpose(1, 2) for part in parts)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.outer(found.transpose(1, 2).reshape(rows, steps, width))


def attend(node: Node) -> nn.Module:
    return Call(lambda queries, memory: functional.scaled_dot_product_attention(queries, memory, memory, scale=1.0))


class Recurrent(nn.Module):
    """An LSTM or GRU with a second bias that is not trained if there is but one."""

    def __init__(self, node: Node, module: Any, order: tuple[int, ...], kernel: Any, recurrent_kernel: Any, bias: Any):
        super().__init__()
        self.sequence = node.settings["sequence"]
        self.inner = module(kernel.shape[0], recurrent_kernel.shape[0], batch_first=True)
        biases = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
        arrays = {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent_kernel.T}
        arrays |= {"bias_ih_l0": biases[0], "bias_hh_l0": biases[1]}

        def ordered(array: Any) -> Any:
            """PyTorch has the gates in another order."""
            gates = np.split(array, len(order))
            return np.concatenate([gates[i] for i in order])

        filled(self.inner, **{name: ordered(array) for name, array in arrays.items()})
        self.inner.bias_hh_l0.requires_grad_(bias.ndim == 2)

    def forward(self, x: Any, *start: Any) -> Any:
        sequence, _ = self.inner(x, *[state[None].contiguous() for state in start])
        return sequence if self.sequence else sequence[:, -1]


def lstm(node: Node, **weights: Any) -> nn.Module:
    return Recurrent(node, nn.LSTM, (0, 1, 2, 3), **weights)


def gru(node: Node, **weights: Any) -> nn.Module:
    return Recurrent(node, nn.GRU, (1, 0, 2), **weights)


def add(node: Node) -> nn.Module:
    return Call(torch.add)


def multiply(node: Node) -> nn.Module:
    return Call(torch.mul)


def concatenate(node: Node) -> nn.Module:
    return Call(lambda *inputs: torch.cat(inputs, dim=-1))


def take(node: Node) -> nn.Module:
    return Call(lambda x: x[:, node.settings["index"]])
