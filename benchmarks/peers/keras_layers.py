"""The layers of Keras for the nodes of a network; ours have the same names and arguments."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ..network import Network
from ..nodes import EPSILON, MOMENTUM, Node


def build(network: Network, layers: ModuleType, models: ModuleType, positions: Any) -> Any:
    """The network with its first weights. `positions` is a layer that adds a learned vector to each step."""
    start = layers.Input(network.nodes[0].shape, dtype=network.first_batch()[0].dtype.name)
    made = [[positions()] if node.kind == "positions" else parts_of(node, layers) for node in network.nodes]
    if network.is_chain:
        model = models.Sequential([start, *(layer for parts in made for layer in parts)])
    else:
        results = [start]
        for node, parts, places in list(zip(network.nodes, made, network.places, strict=True))[1:]:
            results.append(called(node, parts, *[results[place] for place in places]))
        model = models.Model(start, results[-1])
    for node, parts, weights in zip(network.nodes, made, network.weights(), strict=True):
        if weights:
            parts[-1].set_weights(arrays(node, weights))
    return model


def parts_of(node: Node, layers: ModuleType) -> list[Any]:
    """The layers that a node is, one after the other."""
    activation, settings = node.activation, node.settings
    match node.kind:
        case "dense":
            return [layers.Dense(node.shape[-1], activation)]
        case "conv":
            size, stride, bias = settings["size"], settings["stride"], "bias" in node.weights
            padding = "same" if stride == 1 else "valid"  # with strides, "same" has its zeros elsewhere than PyTorch
            conv = layers.Conv2D(node.shape[-1], size, stride, padding, activation=activation, use_bias=bias)
            return [layers.ZeroPadding2D(size // 2), conv] if stride > 1 and size > 1 else [conv]
        case "pool":
            return [layers.MaxPooling2D()]
        case "upsample":
            return [layers.UpSampling2D()]
        case "mean":
            return [layers.GlobalAveragePooling2D()]
        case "flatten":
            return [layers.Flatten()]
        case "activation":
            return [layers.Activation(activation)]
        case "batch_norm":
            return [layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)]
        case "layer_norm":
            return [layers.LayerNormalization(epsilon=EPSILON)]
        case "embedding":
            return [layers.Embedding(*node.weights["table"])]
        case "causal_attention":
            return [layers.MultiHeadAttention(settings["heads"], node.shape[-1] // settings["heads"])]
        case "attend":
            return [layers.Attention()]
        case "lstm":
            return [layers.LSTM(node.weights["recurrent_kernel"][0], return_sequences=settings["sequence"])]
        case "gru":
            return [layers.GRU(node.weights["recurrent_kernel"][0], return_sequences=settings["sequence"])]
        case "add":
            return [layers.Add()]
        case "multiply":
            return [layers.Multiply()]
        case "concatenate":
            return [layers.Concatenate()]
    return []  # the input, and parts of a sequence


def called(node: Node, parts: list[Any], *inputs: Any) -> Any:
    if node.kind == "take":
        return inputs[0][:, node.settings["index"]]
    *before, last = parts
    for layer in before:
        inputs = (layer(*inputs),)
    if node.kind == "causal_attention":
        return last(*inputs, *inputs, use_causal_mask=True)
    if node.kind == "gru" and len(inputs) > 1:
        return last(inputs[0], initial_state=inputs[1])
    return last(list(inputs) if len(inputs) > 1 else inputs[0])


def arrays(node: Node, weights: dict[str, Any]) -> list[Any]:
    """What `set_weights` takes."""
    found = list(weights.values())
    if node.kind == "batch_norm":  # the moving averages
        return [*found, np.zeros(node.shape[-1], np.float32), np.ones(node.shape[-1], np.float32)]
    if node.kind == "causal_attention":  # the last axis, or for the output the first, in heads
        heads = node.settings["heads"]
        split = [array.reshape(*array.shape[:-1], heads, -1) for array in found[:6]]
        return [*split, found[6].reshape(heads, -1, node.shape[-1]), found[7]]
    return found
