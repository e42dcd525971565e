"""A sequence of 64 steps, read by a GRU."""

from ..network import Network
from ..nodes import Node, dense, gru


def layers(x: Node) -> Node:
    return dense(gru(x, 128), 10)


NETWORK = Network((64, 64), layers, batch=32, loss="classes", text="64 steps, GRU 64-128, dense 10")
