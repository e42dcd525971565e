"""Sequence to sequence with attention (Luong et al., "Effective approaches to attention-based neural machine
translation", 2015). An input is a sentence and, behind it, its translation so far."""

import numpy as np

from ..network import Data, Network
from ..nodes import Node, attend, concatenate, dense, embedding, gru, take

WORDS, WIDTH = 4_000, 128


def layers(x: Node) -> Node:
    half = x.shape[0] // 2
    source, target = take(x, slice(0, half)), take(x, slice(half, 2 * half))
    memory = gru(embedding(source, WORDS, WIDTH), WIDTH, sequence=True)
    states = gru(embedding(target, WORDS, WIDTH), WIDTH, sequence=True, start=take(memory, -1))
    context = attend(states, memory)
    return dense(dense(concatenate(context, states), WIDTH, "tanh"), WORDS)


def sentences(network: Network, random: np.random.Generator) -> Data:
    steps, words = network.nodes[-1].shape
    return tuple(random.integers(0, words, (network.batch, n)) for n in (2 * steps, steps))


NETWORK = Network(
    (48,), layers, batch=32, loss="classes", data=sentences, text="24 to 24 of 4k words, GRU 128-128, attention"
)
