"""The matrix products of a network alone, by NumPy's BLAS, into arrays that exist already."""

from __future__ import annotations

import numpy as np

from ..network import Network
from .base import Peer


class Sgemm(Peer):
    def __init__(self, network: Network):
        super().__init__(network)
        random = np.random.default_rng(0)
        self.arrays = {}
        for phase, products in network.products().items():
            self.arrays[phase] = [
                (
                    random.standard_normal((rows, inner), dtype=np.float32),
                    random.standard_normal((inner, columns), dtype=np.float32),
                    np.empty((rows, columns), np.float32),
                )
                for rows, inner, columns in products
            ]

    def forward(self) -> None:
        for a, b, out in self.arrays["forward"]:
            np.matmul(a, b, out=out)

    def gradient(self) -> None:
        for a, b, out in self.arrays["gradient"]:
            np.matmul(a, b, out=out)

    step = gradient

    def fit(self, x: object, y: object, epochs: int) -> float:
        for _ in range(epochs * self.network.batches):
            self.gradient()
        return 0.0
