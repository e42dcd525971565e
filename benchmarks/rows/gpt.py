"""A GPT for characters: each block is causal attention and two linear layers, both normalized first."""

import numpy as np

from ..network import Data, Network
from ..nodes import Node, add, causal_attention, dense, embedding, layer_norm, positions

CHARACTERS = 96


def layers(x: Node, blocks: int = 4, width: int = 128, heads: int = 4) -> Node:
    h = positions(embedding(x, CHARACTERS, width))
    for _ in range(blocks):
        h = add(h, causal_attention(layer_norm(h), heads=heads))
        h = add(h, dense(dense(layer_norm(h), 4 * width, "gelu"), width))
    return dense(layer_norm(h), CHARACTERS)


def text(network: Network, random: np.random.Generator) -> Data:
    """Characters, and for each the next."""
    count = network.nodes[-1].shape[-1]
    ids = random.integers(0, count, (network.batch, network.nodes[0].shape[0] + 1))
    return ids[:, :-1], ids[:, 1:]


def large(x: Node) -> Node:
    return layers(x, blocks=12, width=768, heads=12)


NETWORK = Network((128,), layers, batch=16, loss="classes", data=text, text="GPT, 4 layers of 128, 4 heads, 128 steps")
CUDA = Network((1024,), large, batch=8, loss="classes", data=text, text="GPT, 12 layers of 768, 12 heads, 1024 steps")
