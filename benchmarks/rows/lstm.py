"""A sequence of 64 steps, read by an LSTM."""

from ..network import Network
from ..nodes import Node, dense, lstm


def layers(x: Node) -> Node:
    return dense(lstm(x, 128), 10)


NETWORK = Network((64, 64), layers, batch=32, loss="classes", text="64 steps, LSTM 64-128, dense 10")
