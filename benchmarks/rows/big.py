"""Two layers of 4096: matrix products, and an optimizer that has 34 million parameters to go through."""

from ..network import Network

NETWORK = Network(widths=(4096,) * 3, batch=512, loss="squares")
