"""Two convolutions for images of the size of MNIST's, as LeNet has them."""

from ..network import Network
from ..nodes import Node, conv, dense, flatten, pool


def layers(x: Node) -> Node:
    x = pool(conv(conv(x, 32, activation="relu"), 64, activation="relu"))
    return dense(dense(flatten(x), 128, "relu"), 10)


NETWORK = Network((28, 28, 1), layers, batch=64, loss="classes", text="28x28x1, conv 32-64, pool, dense 128-10")
