"""Two layers of 4096: matrix products, and an optimizer that has 34 million parameters to go through."""

from ..network import dense_network

NETWORK = dense_network(widths=(4096,) * 3, batch=512, loss="squares")
