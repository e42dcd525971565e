"""What a network of the benchmarks is made of, in terms that belong to no framework.

A network is a function of `Node`s: `dense(conv(x, 32, activation="relu"), 10)`. Each function here adds one operation,
and knows the shapes of its result and of its weights. Images are (height, width, channels), sequences (time, features),
and integers are the ids of tokens, users or items. The peers build their own layers from it, kind by kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]

EPSILON, MOMENTUM = 1e-5, 0.9
"""Of batch and layer normalization: added to the variance; the share that moving averages keep in a step."""


@dataclass(frozen=True, eq=False)
class Node:
    """An operation and its result.

    Args:
        kind: the name of the function that made it; "input" for the data.
        inputs: the results that it takes.
        shape: of its result, without the batch.
        weights: the shape of each, in Keras's order and layout, which also the gates of LSTM and GRU have.
        activation: "relu", "tanh" or "gelu", applied to the result.
        settings: what else a layer has to know.
        most: the largest size that is allowed, for a quick run.
    """

    kind: str
    inputs: tuple[Node, ...]
    shape: Shape
    weights: dict[str, Shape] = field(default_factory=dict)
    activation: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    most: float = math.inf

    def then(self, kind: str, shape: Shape, *others: Node, weights: Any = (), activation: Any = None, **settings: Any):
        """A node that takes this one, and others."""
        return Node(kind, (self, *others), shape, dict(weights), activation, settings, self.most)

    def least(self, size: int) -> int:
        return int(min(size, self.most))

    def products(self, batch: int) -> list[tuple[int, int, int]]:
        """The sizes (rows, inner, columns) of its matrix products; the one that takes its input comes first."""
        rows = batch * math.prod(self.shape[:-1])
        kernel = next(iter(self.weights.values()), ())
        if self.kind in ("dense", "conv"):
            return [(rows, math.prod(kernel[:-1]), kernel[-1])]
        if self.kind in ("lstm", "gru"):
            steps, features = self.inputs[0].shape
            units, gates = self.weights["recurrent_kernel"]
            return [(batch * steps, features, gates)] + steps * [(batch, units, gates)]
        if self.kind in ("causal_attention", "attend"):
            (queries, width), (keys, _) = self.inputs[0].shape, self.inputs[-1].shape
            heads = self.settings.get("heads", 1)
            pairs = [(queries, width // heads, keys), (queries, keys, width // heads)]
            return (len(self.weights) // 2) * [(rows, width, width)] + batch * heads * pairs
        return []


def dense(x: Node, units: int, activation: str | None = None) -> Node:
    units = x.least(units)
    weights = {"kernel": (x.shape[-1], units), "bias": (units,)}
    return x.then("dense", (*x.shape[:-1], units), weights=weights, activation=activation)


def conv(
    x: Node, filters: int, size: int = 3, stride: int = 1, activation: str | None = None, bias: bool = True
) -> Node:
    """A convolution with size // 2 zeros on each side, as PyTorch counts: with a stride of 2, Keras's padding "same"
    has its zeros on the other side."""
    (height, width, channels), filters = x.shape, x.least(filters)
    weights = {"kernel": (size, size, channels, filters)} | ({"bias": (filters,)} if bias else {})
    shape = ((height - 1) // stride + 1, (width - 1) // stride + 1, filters)
    return x.then("conv", shape, weights=weights, activation=activation, size=size, stride=stride)


def pool(x: Node) -> Node:
    """The maxima of squares of 2 x 2."""
    return x.then("pool", (x.shape[0] // 2, x.shape[1] // 2, x.shape[2]))


def upsample(x: Node) -> Node:
    """Each pixel twice in both directions."""
    return x.then("upsample", (x.shape[0] * 2, x.shape[1] * 2, x.shape[2]))


def mean(x: Node) -> Node:
    """Of all pixels."""
    return x.then("mean", x.shape[-1:])


def flatten(x: Node) -> Node:
    return x.then("flatten", (math.prod(x.shape),))


def activation(x: Node, name: str) -> Node:
    return x.then("activation", x.shape, activation=name)


def batch_norm(x: Node) -> Node:
    return x.then("batch_norm", x.shape, weights={"gamma": x.shape[-1:], "beta": x.shape[-1:]})


def layer_norm(x: Node) -> Node:
    return x.then("layer_norm", x.shape, weights={"gamma": x.shape[-1:], "beta": x.shape[-1:]})


def embedding(x: Node, count: int, width: int) -> Node:
    count, width = x.least(count), x.least(width)
    return x.then("embedding", (*x.shape, width), weights={"table": (count, width)})


def positions(x: Node) -> Node:
    """A learned vector added to each step of a sequence."""
    return x.then("positions", x.shape, weights={"table": x.shape})


def causal_attention(x: Node, heads: int) -> Node:
    """Of several heads, in a quick run as many as divide its width, each step looking at itself and those before."""
    width = x.shape[-1]
    heads = math.gcd(heads, width)
    parts = ("query", "key", "value", "output")
    weights = {
        f"{part}_{name}": shape for part in parts for name, shape in (("kernel", (width, width)), ("bias", (width,)))
    }
    return x.then("causal_attention", x.shape, weights=weights, heads=heads)


def attend(queries: Node, memory: Node) -> Node:
    """softmax(queries @ memory.T) @ memory (Luong et al., 2015)."""
    return queries.then("attend", queries.shape, memory)


def lstm(x: Node, units: int) -> Node:
    """The last state of the output."""
    units = x.least(units)
    weights = {"kernel": (x.shape[-1], 4 * units), "recurrent_kernel": (units, 4 * units), "bias": (4 * units,)}
    return x.then("lstm", (units,), weights=weights, sequence=False)


def gru(x: Node, units: int, sequence: bool = False, start: Node | None = None) -> Node:
    """The last state, or all of them, from a first state or zeros. The reset gate comes after the product
    (`reset_after`), with a second bias."""
    units = x.least(units)
    weights = {"kernel": (x.shape[-1], 3 * units), "recurrent_kernel": (units, 3 * units), "bias": (2, 3 * units)}
    shape = (x.shape[0], units) if sequence else (units,)
    return x.then("gru", shape, *([start] if start else []), weights=weights, sequence=sequence)


def add(x: Node, y: Node) -> Node:
    return x.then("add", x.shape, y)


def multiply(x: Node, y: Node) -> Node:
    return x.then("multiply", x.shape, y)


def concatenate(x: Node, y: Node) -> Node:
    return x.then("concatenate", (*x.shape[:-1], x.shape[-1] + y.shape[-1]), y)


def take(x: Node, index: int | slice) -> Node:
    """A step of a sequence, or some."""
    count = [len(range(*index.indices(x.shape[0])))] if isinstance(index, slice) else []
    return x.then("take", (*count, *x.shape[1:]), index=index)
