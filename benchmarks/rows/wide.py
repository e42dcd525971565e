"""Four layers of 1024: mostly matrix products."""

from ..network import dense_network

NETWORK = dense_network(widths=(1024,) * 5, batch=256, loss="squares")
