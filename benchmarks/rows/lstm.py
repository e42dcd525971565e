"""A sequence of 64 steps, read by an LSTM."""

from ..network import Network
from ..nodes import Node, dense, lstm


def layers(x: Node) -> Node:
    return dense(lstm(x, 128), 10)


NETWORK = Network((64, 64), layers, batch=32, loss="classes", text="64 steps, LSTM 64-128, dense 10")
CUDA = Network(
    (64, 1024),
    lambda x: dense(lstm(x, 1024), 10),
    batch=64,
    loss="classes",
    text="64 steps, LSTM 1024-1024, dense 10",
)
