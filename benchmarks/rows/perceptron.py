"""The smallest network: what `fit` costs beside its arithmetic."""

from ..network import dense_network

NETWORK = dense_network(widths=(2, 1), batch=32, loss="binary", batches=100)
