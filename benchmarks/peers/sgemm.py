"""The matrix products of a network alone, into arrays that exist already: by NumPy's BLAS, or PyTorch's cuBLAS."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from . import Absent
from .base import Peer


class Sgemm(Peer):
    dtype = "float32"

    @classmethod
    def use(cls, device: str, precision: str) -> None:
        cls.device = device
        if device == "cpu":
            return
        torch = importlib.import_module("torch")
        if not torch.cuda.is_available():
            raise Absent("PyTorch sees no CUDA device")
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        cls.dtype = "bfloat16" if precision == "bfloat16" else "float32"

    @functools.cached_property
    def xp(self) -> Any:
        return np if self.device == "cpu" else importlib.import_module("torch")

    def multiply(self, phase: str) -> None:
        for a, b, out in self.arrays(phase):
            self.xp.matmul(a, b, out=out)

    @functools.cache  # noqa: B019 -- there is one for as long as its process lives
    def arrays(self, phase: str) -> list[Any]:
        """Two factors and the product of each; products of the same sizes share them."""
        random, made = np.random.default_rng(0), {}
        for rows, inner, columns in self.network.products(phase):
            if (rows, inner, columns) not in made:
                shapes = (rows, inner), (inner, columns), (rows, columns)
                made[rows, inner, columns] = [
                    self.placed(random.standard_normal(shape, np.float32)) for shape in shapes
                ]
        return [made[sizes] for sizes in self.network.products(phase)]

    def placed(self, a: Any) -> Any:
        return a if self.device == "cpu" else self.xp.from_numpy(a).to(self.device, getattr(self.xp, self.dtype))

    def repeat(self, phase: str, times: int) -> None:
        for _ in range(times):
            self.multiply(phase)
        if self.device != "cpu":
            self.xp.cuda.synchronize()

    def fit(self, x: object, y: object, epochs: int) -> float:
        self.repeat("fit", epochs * self.network.batches)
        return 0.0
