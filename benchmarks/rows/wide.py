"""Four layers of 1024: mostly matrix products."""

from ..network import Network

NETWORK = Network(widths=(1024,) * 5, batch=256, loss="squares")
