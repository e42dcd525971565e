"""Embedding: a vector for each id."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from ..autograd import Tensor, check_array
from ..backend import Array
from ..errors import check_bool, check_integer, message
from .base import Layer
from .symbolic import Shape


class Embedding(Layer):
    """A vector for each id, from a table that is learned: ids (batch, ...) become (batch, ..., output_dim).

    Args:
        input_dim: how many ids there are, from 0 on; with `mask_zero` the 0 counts.
        output_dim: the length of the vectors.
        mask_zero: whether the id 0 is padding, which the layers that follow do not count.
        weights: values for the table, as an array of shape (input_dim, output_dim), or in a list.
        options: those of `Layer`; `embeddings` has an initializer, a regularizer and a constraint.

    Parameters: embeddings (input_dim, output_dim). Raises IndexError for an id that is negative or not below input_dim,
    ValueError for a floating id that is not whole. The gradient is the sum over the rows that were taken, zero for the
    others; optimizers with a momentum go on moving those too, as in PyTorch and in Keras on JAX. Under `jit` that of a
    large table takes no memory of its size (docs/jit.md).

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.Embedding(3, 2, weights=[[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> layer([[2, 1]]).detach()
    tensor([[[3., 4.],
             [1., 2.]]])
    """

    initial: ClassVar = {"embeddings": "uniform"}
    input_dtype = "int64"
    embeddings: Tensor

    def __init__(
        self, input_dim: int, output_dim: int, *, mask_zero: bool = False, weights: Any = None, **options: Any
    ):
        super().__init__(**options)
        self.input_dim = check_integer(self.where, "input_dim", input_dim, 1)
        self.output_dim = check_integer(self.where, "output_dim", output_dim, 1)
        self.mask_zero = self.supports_masking = check_bool(self.where, "mask_zero", mask_zero)
        if weights is not None:
            self.build_once(())
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Shape) -> None:
        self.make("embeddings", (self.input_dim, self.output_dim))
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        if x.dtype.kind == "f":
            check_array(x.data, self._check_whole)
            x = x.astype("int64")
        return ops.embedding(self.embeddings, x)

    def _check_whole(self, ids: Array) -> None:
        wrong = (ids != ids.round()) | (abs(ids) >= 2.0**63)  # which no integer can be, nor inf
        if bool(wrong.any()):
            raise ValueError(message(self.where, "ids that are whole", f"{ids[wrong][0]}"))

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return x != 0 if self.mask_zero else None
