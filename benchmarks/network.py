"""The network of a training row, in terms that belong to no framework: layers, first weights, data, matrix products.

Every framework builds the same network from it, with the same numbers: they come from one seeded NumPy generator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import nodes
from .nodes import Node

Data = tuple[NDArray[np.float32] | NDArray[np.int64], NDArray[np.float32] | NDArray[np.int64]]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-12
"""Of Adam. Ours and Keras add epsilon to the square root of the second moment before it is corrected, the others after.
The usual 1e-8 is not small beside the gradients of a mean over many outputs: the losses of `big` would differ by 0.7 %
in the second step. With 1e-12 no loss shows the difference."""

QUICK = 16
"""No size is larger in a quick run."""


@dataclass(frozen=True)
class Network:
    """A network that Adam trains.

    Args:
        shape: of an input, without the batch.
        layers: makes the output from the input.
        batch: rows per step.
        loss: "binary" and "classes" are cross-entropies of logits, with targets of 0 and 1 and with class ids;
            "squares" is the mean squared error.
        text: what it is, for the tables.
        batches: in the data. More than one means that the row trains through `fit`, with data feeding and accuracy;
            it needs the loss "binary".
        data: makes inputs and targets, where those of `made_up` will not do.
        learning_rate: of Adam; less than usual where a network makes much of little differences.
        most: the largest size that is allowed, for a quick run.
    """

    shape: tuple[int, ...]
    layers: Callable[[Node], Node]
    batch: int
    loss: str
    text: str
    batches: int = 1
    data: Callable[[Network, np.random.Generator], Data] | None = None
    learning_rate: float = 1e-3
    most: float = math.inf

    @property
    def through_fit(self) -> bool:
        return self.batches > 1

    @property
    def phases(self) -> tuple[str, ...]:
        """What is timed: forward, forward and backward, the whole step, by hand or by `fit`, and the outputs alone of
        the batch and of one row."""
        return ("forward", "gradient", "fit" if self.through_fit else "step", "predict", "predict_one")

    def __str__(self) -> str:
        small = "" if math.isinf(self.most) else f", no size above {self.most}"
        return f"{self.text}{small}, batch {self.batch}" + (", fit" if self.through_fit else "")

    def quick(self) -> Network:
        """The same, so small that a step takes no time."""
        return dataclasses.replace(self, most=QUICK, batch=min(self.batch, 8), batches=min(self.batches, 20))

    @cached_property
    def nodes(self) -> list[Node]:
        """The input, and every operation after those that it takes."""
        found: dict[Node, None] = {}

        def visit(node: Node) -> None:
            for before in node.inputs:
                if before not in found:
                    visit(before)
            found[node] = None

        shape = tuple(int(min(size, self.most)) for size in self.shape)
        visit(self.layers(Node("input", (), shape, most=self.most)))
        return list(found)

    @property
    def is_chain(self) -> bool:
        """Whether each operation takes the one before and no other."""
        return all(node.inputs == (before,) for before, node in pairwise(self.nodes))

    @cached_property
    def places(self) -> list[tuple[int, ...]]:
        """For each node, where among them its inputs are."""
        place = {node: i for i, node in enumerate(self.nodes)}
        return [tuple(place[before] for before in node.inputs) for node in self.nodes]

    def weights(self) -> list[dict[str, NDArray[np.float32]]]:
        """The first weights of each node: normal with the variance of Glorot and Bengio (2010), but for biases, 0, and
        factors, 1."""
        random = np.random.default_rng(0)

        def first(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
            if "bias" in name or name in ("beta", "gamma"):
                return np.full(shape, name == "gamma", np.float32)
            fans = math.prod(shape[:-1]) + shape[-1]
            return random.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / fans))

        return [{name: first(name, shape) for name, shape in node.weights.items()} for node in self.nodes]

    def rows(self) -> Data:
        """Inputs and targets, of all batches."""
        return (self.data or made_up)(self, np.random.default_rng(1))

    def first_batch(self) -> Data:
        x, y = self.rows()
        return x[: self.batch], y[: self.batch]

    def products(self, phase: str) -> list[tuple[int, int, int]]:
        """The sizes (rows, inner, columns) of the matrix products; the input needs no gradient."""
        batch = 1 if phase == "predict_one" else self.batch
        forward, gradient = [], []
        for node in self.nodes:
            for i, (rows, inner, columns) in enumerate(node.products(batch)):
                forward.append((rows, inner, columns))
                gradient.append((inner, rows, columns))
                if i or node.inputs[0].kind != "input":
                    gradient.append((rows, columns, inner))
        return forward if phase in ("forward", "predict", "predict_one") else forward + gradient

    def operations(self, phase: str) -> float:
        """Floating-point operations of the matrix products."""
        return sum(2.0 * rows * inner * columns for rows, inner, columns in self.products(phase))


def network_of(row: ModuleType, device: str) -> Network:
    """The network of a row: on CUDA a larger one, if it has one, for a GPU would hardly notice the other."""
    found: Network = getattr(row, "CUDA", row.NETWORK) if device == "cuda" else row.NETWORK
    return found


def dense_network(widths: Sequence[int], batch: int, loss: str, activation: str = "relu", **options: Any) -> Network:
    """A multi-layer perceptron: linear layers of these widths, the first being the input's, with an activation between
    each two."""

    def layers(x: Node) -> Node:
        for width in widths[1:-1]:
            x = nodes.dense(x, width, activation)
        return nodes.dense(x, widths[-1])

    return Network(tuple(widths[:1]), layers, batch, loss, "-".join(map(str, widths)), **options)


def made_up(network: Network, random: np.random.Generator) -> Data:
    """Normal inputs, and targets that depend on them or, for the loss "squares", are normal too."""
    inputs, output = network.nodes[0].shape, network.nodes[-1].shape
    rows = network.batch * network.batches
    x = random.standard_normal((rows, *inputs), dtype=np.float32)
    if network.loss == "squares":
        return x, random.standard_normal((rows, *output), dtype=np.float32)
    scores = x.reshape(rows, -1) @ random.standard_normal((math.prod(inputs), *output), dtype=np.float32)
    return x, scores.argmax(axis=1) if network.loss == "classes" else (scores > 0).astype(np.float32)
