"""The network of a training row, in terms that belong to no framework: sizes, first weights, data, matrix products.

Every framework builds the same network from it, with the same numbers: they come from one seeded NumPy generator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Data = tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.int64]]

LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-12
"""Of Adam. Ours and Keras add epsilon to the square root of the second moment before it is corrected, the others after.
The usual 1e-8 is not small beside the gradients of a mean over many outputs: the losses of `big` would differ by 0.7 %
in the second step. With 1e-12 no loss shows the difference."""


@dataclass(frozen=True)
class Network:
    """A multi-layer perceptron that Adam trains: linear layers with an activation between each two, then the loss.

    Args:
        widths: of the input, of each hidden layer and of the output.
        batch: rows per step.
        loss: "binary" and "classes" are cross-entropies of logits, with targets of 0 and 1 and with class ids;
            "squares" is the mean squared error.
        activation: "relu" or "tanh".
        batches: in the data. More than one means that the row trains through `fit`, with data feeding and accuracy;
            it needs the loss "binary".
        data: makes inputs and targets, where those of `made_up` will not do.
    """

    widths: tuple[int, ...]
    batch: int
    loss: str
    activation: str = "relu"
    batches: int = 1
    data: Callable[[Network, np.random.Generator], Data] | None = None

    @property
    def through_fit(self) -> bool:
        return self.batches > 1

    @property
    def phases(self) -> tuple[str, ...]:
        """What is timed: forward, forward and backward, and the whole step, by hand or by `fit`."""
        return ("forward", "gradient", "fit" if self.through_fit else "step")

    def __str__(self) -> str:
        return "-".join(map(str, self.widths)) + f", batch {self.batch}" + (", fit" if self.through_fit else "")

    def quick(self) -> Network:
        """The same, so small that a step takes no time."""
        widths = tuple(min(width, 16) for width in self.widths)
        return dataclasses.replace(self, widths=widths, batch=min(self.batch, 8), batches=min(self.batches, 20))

    def weights(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The first kernel (inputs, outputs) and bias of each layer."""
        random = np.random.default_rng(0)
        found = []
        for inputs, outputs in pairwise(self.widths):
            kernel = random.standard_normal((inputs, outputs), dtype=np.float32)
            found.append((kernel * np.float32(np.sqrt(2.0 / (inputs + outputs))), np.zeros(outputs, np.float32)))
        return found

    def rows(self) -> Data:
        """Inputs and targets, of all batches."""
        return (self.data or made_up)(self, np.random.default_rng(1))

    def first_batch(self) -> Data:
        x, y = self.rows()
        return x[: self.batch], y[: self.batch]

    def products(self) -> dict[str, list[tuple[int, int, int]]]:
        """The sizes (rows, inner, columns) of the matrix products; the input needs no gradient."""
        forward, gradient = [], []
        for i, (inputs, outputs) in enumerate(pairwise(self.widths)):
            forward.append((self.batch, inputs, outputs))
            gradient += [(inputs, self.batch, outputs)] + ([(self.batch, outputs, inputs)] if i else [])
        return {"forward": forward, "gradient": forward + gradient}

    def operations(self, phase: str) -> float:
        """Floating-point operations of the matrix products of one step."""
        products = self.products()["forward" if phase == "forward" else "gradient"]
        return sum(2.0 * rows * inner * columns for rows, inner, columns in products)


def made_up(network: Network, random: np.random.Generator) -> Data:
    """Normal inputs, and targets that depend on them or, for the loss "squares", are normal too."""
    rows, outputs = network.batch * network.batches, network.widths[-1]
    x = random.standard_normal((rows, network.widths[0]), dtype=np.float32)
    if network.loss == "squares":
        return x, random.standard_normal((rows, outputs), dtype=np.float32)
    scores = x @ random.standard_normal((network.widths[0], outputs), dtype=np.float32)
    return x, scores.argmax(axis=1) if network.loss == "classes" else (scores > 0).astype(np.float32)
