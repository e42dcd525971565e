"""A classifier of the size that MNIST asks for."""

from ..network import Network

NETWORK = Network(widths=(784, 512, 256, 10), batch=128, loss="classes")
