"""Four layers of 1024: mostly matrix products."""

from ..network import dense_network

NETWORK = dense_network(widths=(1024,) * 5, batch=256, loss="squares")
CUDA = dense_network(widths=(4096,) * 5, batch=8192, loss="squares")
