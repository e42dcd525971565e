"""An autoencoder of the size that MNIST asks for: its targets are its inputs."""

import numpy as np

from ..network import Data, Network, dense_network


def images(network: Network, random: np.random.Generator) -> Data:
    x = random.random((network.batch, *network.nodes[0].shape), dtype=np.float32)
    return x, x


NETWORK = dense_network(widths=(784, 256, 32, 256, 784), batch=128, loss="squares", data=images)
