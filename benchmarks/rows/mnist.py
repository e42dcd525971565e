"""A classifier of the size that MNIST asks for."""

from ..network import dense_network

NETWORK = dense_network(widths=(784, 512, 256, 10), batch=128, loss="classes")
