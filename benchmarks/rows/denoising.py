"""A convolutional autoencoder that takes noise out of images of the size of MNIST's."""

import numpy as np

from ..network import Data, Network
from ..nodes import Node, conv, pool, upsample


def layers(x: Node) -> Node:
    for _ in range(2):
        x = pool(conv(x, 32, activation="relu"))
    for _ in range(2):
        x = upsample(conv(x, 32, activation="relu"))
    return conv(x, 1)


def noisy(network: Network, random: np.random.Generator) -> Data:
    images = random.random((network.batch, *network.nodes[0].shape), dtype=np.float32)
    return images + np.float32(0.5) * random.standard_normal(images.shape, dtype=np.float32), images


NETWORK = Network((28, 28, 1), layers, batch=64, loss="binary", data=noisy, text="28x28x1, conv 32-32-32-32-1")
