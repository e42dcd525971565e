"""Ratings from the vectors of a user and an item, their product beside a hidden layer (He et al., "Neural collaborative
filtering", 2017)."""

import numpy as np

from ..network import Data, Network
from ..nodes import Node, concatenate, dense, embedding, multiply, take

USERS, ITEMS = 10_000, 5_000


def layers(x: Node) -> Node:
    user, item = embedding(take(x, 0), USERS, 32), embedding(take(x, 1), ITEMS, 32)
    hidden = dense(concatenate(user, item), 32, "relu")
    return dense(concatenate(multiply(user, item), hidden), 1)


def ratings(network: Network, random: np.random.Generator) -> Data:
    counts = [network.nodes[0].least(count) for count in (USERS, ITEMS)]
    return random.integers(0, counts, (network.batch, 2)), random.standard_normal((network.batch, 1), dtype=np.float32)


NETWORK = Network(
    (2,), layers, batch=1024, loss="squares", data=ratings, text="10k users, 5k items, 32 each, dense 32-1"
)
