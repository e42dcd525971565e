"""A deep and narrow network through `fit`."""

from ..network import dense_network

NETWORK = dense_network(widths=(20, 128, 64, 32, 16, 1), batch=32, loss="binary", batches=100)
