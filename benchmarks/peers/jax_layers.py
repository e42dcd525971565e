"""The nodes of a network by JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..network import Network
from ..nodes import EPSILON, MOMENTUM, Node

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}

Averages = dict[int, Any]
"""Of batch normalization: mean and variance of the nodes of these numbers."""


def first_averages(network: Network) -> Averages:
    norms = [(i, node.shape[-1]) for i, node in enumerate(network.nodes) if node.kind == "batch_norm"]
    return {i: (jnp.zeros(size), jnp.ones(size)) for i, size in norms}


def apply(network: Network, weights: Any, averages: Averages, x: Any, training: bool) -> tuple[Any, Averages]:
    """The output, and the averages after a step."""
    results, moved = [x], {}
    for i, (node, places) in enumerate(zip(network.nodes, network.places, strict=True)):
        if node.kind == "input":
            continue
        inputs = [results[place] for place in places]
        if node.kind == "batch_norm":
            y, moved[i] = batch_norm(*inputs, averages[i], training, **weights[i])
        else:
            y = inputs[0] if node.kind == "activation" else globals()[node.kind](node, *inputs, **weights[i])
        results.append(ACTIVATIONS[node.activation](y) if node.activation else y)
    return results[-1], moved


def batch_norm(x: Any, averages: Any, training: bool, gamma: Any, beta: Any) -> tuple[Any, Any]:
    if training:
        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        averages = [
            MOMENTUM * old + (1.0 - MOMENTUM) * new for old, new in zip(averages, (mean, variance), strict=True)
        ]
    else:
        mean, variance = averages
    return (x - mean) * (lax.rsqrt(variance + EPSILON) * gamma) + beta, tuple(averages)


# One for each other kind of node


def dense(node: Node, x: Any, kernel: Any, bias: Any) -> Any:
    return x @ kernel + bias


def conv(node: Node, x: Any, kernel: Any, bias: Any = 0.0) -> Any:
    stride, zeros = node.settings["stride"], node.settings["size"] // 2
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, [(zeros, zeros)] * 2, dimension_numbers=layout) + bias


def pool(node: Node, x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def upsample(node: Node, x: Any) -> Any:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def mean(node: Node, x: Any) -> Any:
    return jnp.mean(x, (1, 2))


def flatten(node: Node, x: Any) -> Any:
    return x.reshape(len(x), -1)


def layer_norm(node: Node, x: Any, gamma: Any, beta: Any) -> Any:
    return jax.nn.standardize(x, axis=-1, epsilon=EPSILON) * gamma + beta


def embedding(node: Node, x: Any, table: Any) -> Any:
    return table[x]


def positions(node: Node, x: Any, table: Any) -> Any:
    return x + table


def causal_attention(node: Node, x: Any, **weights: Any) -> Any:
    rows, steps, width = x.shape
    kernels, biases = ([weights[f"{part}_{name}"] for part in ("query", "key", "value")] for name in ("kernel", "bias"))
    parts = jnp.split(x @ jnp.concatenate(kernels, axis=1) + jnp.concatenate(biases), 3, axis=2)
    query, key, value = (part.reshape(rows, steps, node.settings["heads"], -1) for part in parts)
    found = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return found.reshape(rows, steps, width) @ weights["output_kernel"] + weights["output_bias"]


def attend(node: Node, queries: Any, memory: Any) -> Any:
    queries, memory = queries[:, :, None], memory[:, :, None]
    return jax.nn.dot_product_attention(queries, memory, memory, scale=1.0)[:, :, 0]


def lstm(node: Node, x: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    def step(state: Any, products: Any) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = jnp.split(products + h @ recurrent_kernel, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), len(recurrent_kernel)))
    (h, _), _ = lax.scan(step, (zeros, zeros), (x @ kernel + bias).swapaxes(0, 1))
    return h


def gru(node: Node, x: Any, start: Any = None, *, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    def step(h: Any, products: Any) -> tuple[Any, Any]:
        z, r, g = jnp.split(products, 3, axis=1)
        z_h, r_h, g_h = jnp.split(h @ recurrent_kernel + bias[1], 3, axis=1)
        z = jax.nn.sigmoid(z + z_h)
        h = z * h + (1.0 - z) * jnp.tanh(g + jax.nn.sigmoid(r + r_h) * g_h)
        return h, h

    zeros = jnp.zeros((len(x), len(recurrent_kernel)))
    last, states = lax.scan(step, zeros if start is None else start, (x @ kernel + bias[0]).swapaxes(0, 1))
    return states.swapaxes(0, 1) if node.settings["sequence"] else last


def add(node: Node, x: Any, y: Any) -> Any:
    return x + y


def multiply(node: Node, x: Any, y: Any) -> Any:
    return x * y


def concatenate(node: Node, x: Any, y: Any) -> Any:
    return jnp.concatenate((x, y), axis=-1)


def take(node: Node, x: Any) -> Any:
    return x[:, node.settings["index"]]
