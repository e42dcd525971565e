"""The nodes of a network as an ONNX graph. Images go through it as (batch, channels, height, width), and sequences into
recurrent layers as (time, batch, features), as the operators have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ..network import Network
from ..nodes import EPSILON, Node

OPSET, IR_VERSION = 23, 11
"""The version of the operators, the first that has attention, and of the file format."""
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "gelu": "Gelu"}
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Graph:
    """Operations and constants, by name."""

    def __init__(self) -> None:
        self.operations: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operation of one output, whose name is returned."""
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(self, kind: str, count: int, *inputs: str, **attributes: Any) -> Sequence[str]:
        names = [f"{kind}_{len(self.operations)}_{i}" for i in range(count)]
        self.operations.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def transposed(self, x: str, axes: Sequence[int]) -> str:
        return self.add("Transpose", x, perm=list(axes))

    def reshaped(self, x: str, *shape: int) -> str:
        """0 keeps a size, -1 stands for what is left."""
        return self.add("Reshape", x, self.constant(np.array(shape)))


def build(network: Network) -> ModelProto:
    """The network with its first weights, for any number of rows."""
    graph, data = Graph(), network.first_batch()[0]
    x = "x"
    results = [graph.transposed(x, TO_CHANNELS_FIRST) if is_image(network.nodes[0]) else x]
    for node, weights, places in list(zip(network.nodes, network.weights(), network.places, strict=True))[1:]:
        inputs = [results[place] for place in places]
        y = inputs[0] if node.kind == "activation" else globals()[node.kind](graph, node, *inputs, **weights)
        results.append(graph.add(ACTIVATIONS[node.activation], y) if node.activation else y)
    y = graph.transposed(results[-1], TO_CHANNELS_LAST) if is_image(network.nodes[-1]) else results[-1]
    values = [
        helper.make_tensor_value_info(name, kind, ["rows", *node.shape])
        for name, kind, node in (
            (x, helper.np_dtype_to_tensor_dtype(data.dtype), network.nodes[0]),
            (y, TensorProto.FLOAT, network.nodes[-1]),
        )
    ]
    made = helper.make_graph(graph.operations, "network", values[:1], values[1:], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def is_image(node: Node) -> bool:
    return len(node.shape) == 3


# One for each kind of node


def dense(graph: Graph, node: Node, x: str, kernel: Any, bias: Any) -> str:
    before = node.inputs[0]
    if before.kind == "flatten" and is_image(before.inputs[0]):  # whose channels come first here
        height, width, channels = before.inputs[0].shape
        kernel = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    if len(node.shape) == 1:
        return graph.add("Gemm", x, graph.constant(kernel), graph.constant(bias))
    return graph.add("Add", graph.add("MatMul", x, graph.constant(kernel)), graph.constant(bias))


def conv(graph: Graph, node: Node, x: str, kernel: Any, **bias: Any) -> str:
    size, stride = node.settings["size"], node.settings["stride"]
    weights = [graph.constant(array) for array in (kernel.transpose(3, 2, 0, 1), *bias.values())]
    return graph.add("Conv", x, *weights, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4)


def pool(graph: Graph, node: Node, x: str) -> str:
    return graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def upsample(graph: Graph, node: Node, x: str) -> str:
    factors = graph.constant(np.array([1, 1, 2, 2], np.float32))
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", x, "", factors, **modes)


def mean(graph: Graph, node: Node, x: str) -> str:
    return graph.add("Flatten", graph.add("GlobalAveragePool", x))


def flatten(graph: Graph, node: Node, x: str) -> str:
    return graph.add("Flatten", x)


def batch_norm(graph: Graph, node: Node, x: str, gamma: Any, beta: Any) -> str:
    arrays = gamma, beta, np.zeros_like(gamma), np.ones_like(gamma)
    return graph.add("BatchNormalization", x, *map(graph.constant, arrays), epsilon=EPSILON)


def layer_norm(graph: Graph, node: Node, x: str, gamma: Any, beta: Any) -> str:
    return graph.add("LayerNormalization", x, graph.constant(gamma), graph.constant(beta), axis=-1, epsilon=EPSILON)


def embedding(graph: Graph, node: Node, x: str, table: Any) -> str:
    return graph.add("Gather", graph.constant(table), x)


def positions(graph: Graph, node: Node, x: str, table: Any) -> str:
    return graph.add("Add", x, graph.constant(table))


def causal_attention(graph: Graph, node: Node, x: str, **weights: Any) -> str:
    """Queries, keys and values by one product."""
    kernels, biases = ([weights[f"{part}_{name}"] for part in ("query", "key", "value")] for name in ("kernel", "bias"))
    kernel, bias = (graph.constant(np.concatenate(parts, axis=-1)) for parts in (kernels, biases))
    product = graph.add("Add", graph.add("MatMul", x, kernel), bias)
    parts, heads = graph.several("Split", 3, product, axis=2, num_outputs=3), node.settings["heads"]
    found = graph.add("Attention", *parts, q_num_heads=heads, kv_num_heads=heads, is_causal=1)
    kernel, bias = (graph.constant(weights[f"output_{name}"]) for name in ("kernel", "bias"))
    return graph.add("Add", graph.add("MatMul", found, kernel), bias)


def attend(graph: Graph, node: Node, queries: str, memory: str) -> str:
    return graph.add("Attention", queries, memory, memory, q_num_heads=1, kv_num_heads=1, scale=1.0)


def recurrent(
    graph: Graph,
    kind: str,
    node: Node,
    x: str,
    start: str | None,
    order: Sequence[int],
    weights: Sequence[Any],
    **attributes: Any,
) -> str:
    """An LSTM or GRU whose gates, of kernel, recurrent kernel and the two biases, are brought into that order."""

    def ordered(array: Any) -> Any:
        gates = np.split(array, len(order), axis=-1)
        return np.concatenate([gates[i] for i in order], axis=-1)

    kernel, recurrent_kernel, bias = map(ordered, weights)
    arrays = kernel.T[None], recurrent_kernel.T[None], bias.reshape(1, -1)
    inputs = [graph.transposed(x, (1, 0, 2)), *map(graph.constant, arrays)]
    if start is not None:
        inputs += ["", graph.add("Unsqueeze", start, graph.constant(np.array([0])))]
    states, last = graph.several(kind, 2, *inputs, hidden_size=recurrent_kernel.shape[0], **attributes)
    axis = graph.constant(np.array([0 if not node.settings["sequence"] else 1]))
    if not node.settings["sequence"]:
        return graph.add("Squeeze", last, axis)
    return graph.transposed(graph.add("Squeeze", states, axis), (1, 0, 2))  # was (time, directions, batch, units)


def lstm(graph: Graph, node: Node, x: str, kernel: Any, recurrent_kernel: Any, bias: Any) -> str:
    weights = kernel, recurrent_kernel, np.stack((bias, np.zeros_like(bias)))
    return recurrent(graph, "LSTM", node, x, None, (0, 3, 1, 2), weights)


def gru(graph: Graph, node: Node, x: str, start: str | None = None, **weights: Any) -> str:
    return recurrent(graph, "GRU", node, x, start, (0, 1, 2), list(weights.values()), linear_before_reset=1)


def add(graph: Graph, node: Node, x: str, y: str) -> str:
    return graph.add("Add", x, y)


def multiply(graph: Graph, node: Node, x: str, y: str) -> str:
    return graph.add("Mul", x, y)


def concatenate(graph: Graph, node: Node, x: str, y: str) -> str:
    return graph.add("Concat", x, y, axis=-1)


def take(graph: Graph, node: Node, x: str) -> str:
    index, count = node.settings["index"], node.inputs[0].shape[0]
    if isinstance(index, int):
        return graph.add("Gather", x, graph.constant(np.array(index % count)), axis=1)
    start, stop, step = index.indices(count)
    return graph.add("Slice", x, *(graph.constant(np.array([n])) for n in (start, stop, 1, step)))
