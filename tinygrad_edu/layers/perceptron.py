"""Perceptron: the first network that learned, by its own rule."""

from __future__ import annotations

from typing import Any

import numpy

from .. import ops
from ..autograd import Tensor
from ..backend import default_generator, to_host
from ..errors import ShapeError, check_integer, check_number, message
from .base import Layer
from .symbolic import Shape


class Perceptron(Layer):
    """1 where x @ kernel + bias is above 0, else 0, learned by Rosenblatt's rule: (..., inputs) becomes (..., units).

    Each unit separates the space of its inputs by a plane. A step has no slope, so no gradient trains it (`Dense` with
    a sigmoid is what came after); instead `fit` corrects the plane at each row that it gets wrong:

        kernel += learning_rate * (y - output) * x        bias += learning_rate * (y - output)

    A row that is 1 and was called 0 is added, one that is 0 and was called 1 is taken away, and nothing happens when
    the output is right (Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in
    the brain", 1958).

    If some plane separates the rows, the rule finds one, however the rows are ordered (Novikoff, "On convergence proofs
    for perceptrons", 1962). Count the bias as a weight of an input that is always 1, let R be the length of the longest
    row, and g the distance of the nearest row from the best plane. From zeros there are at most (R / g) ** 2
    corrections: each brings the weights at least g further in the direction of the best plane, while, as the row was on
    the wrong side, the square of their length grows by at most R ** 2. The first grows with the number n of
    corrections, the length with its root only, so n * g <= sqrt(n) * R. The learning rate scales the weights and
    changes nothing else.

    If no plane separates the rows, the rule never comes to rest. Exclusive or is the example: no line parts (0, 1) and
    (1, 0) from (0, 0) and (1, 1), so at each pass something is wrong (Minsky and Papert, "Perceptrons", 1969). A hidden
    layer, trained by gradients, can do it.

    Args:
        units: the number of outputs, each with a plane of its own.
        options: those of `Layer`.

    Buffers, for no gradient reaches them: kernel (inputs, units), bias (units,), zeros at first. Raises ShapeError if
    the last axis of an input is not `inputs`.

    >>> import tinygrad_edu as tg
    >>> corners = tg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> both = tg.layers.Perceptron()
    >>> both.fit(corners, [0, 0, 0, 1])
    [1, 3, 3, 2, 1, 0]
    >>> both(corners).ravel()
    tensor([0., 0., 0., 1.])
    >>> min(tg.layers.Perceptron().fit(corners, [0, 1, 1, 0], epochs=50)) > 0  # exclusive or
    True
    """

    kernel: Tensor
    bias: Tensor

    def __init__(self, units: int = 1, **options: Any):
        super().__init__(**options)
        self.units = check_integer(self.where, "units", units, 1)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ShapeError(message(self.where, "inputs of shape (batch, ..., features)", f"shape {input_shape}"))
        self.kernel = self.add_weight((input_shape[-1], self.units), "zeros", trainable=False)
        self.bias = self.add_weight((self.units,), "zeros", trainable=False)
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        features = self.kernel.shape[0]
        if x.ndim < 2 or x.shape[-1] != features:
            raise ShapeError(message(self.where, f"{features} input features", f"shape {x.shape}"))
        return ops.greater(ops.linear(x, self.kernel, self.bias), 0.0).astype(self.kernel.dtype)

    def fit(self, x: Any, y: Any, epochs: int = 100, learning_rate: float = 1.0, shuffle: bool = False) -> list[int]:
        """Corrects the planes, row after row, until all outputs are right or `epochs` passes are over.

        Args:
            x: rows (n, inputs).
            y: 0 or 1 for each output, (n, units) or, for one unit, (n,); for several units also the number of the one
                that is 1, (n,).
            epochs: how many passes over the rows at most.
            learning_rate: the size of a correction.
            shuffle: whether each pass takes the rows in a new random order (see `tg.seed`).

        Returns for each pass how many outputs were wrong and corrected; the last is 0 if the rule has come to rest.
        Raises ShapeError for shapes that do not fit, ValueError for other targets and rows that are not finite.
        """
        where = f"{self.where} fit"
        epochs = check_integer(where, "epochs", epochs, 1)
        rate = check_number(where, "learning_rate", learning_rate, "above 0", lambda v: v > 0)
        rows = _host(x)
        if rows.ndim != 2 or (self.built and rows.shape[1] != self.kernel.shape[0]):
            expected = f"rows of shape (n, {self.kernel.shape[0] if self.built else 'inputs'})"
            raise ShapeError(message(where, expected, f"{rows.shape}"))
        if not numpy.isfinite(rows).all():
            raise ValueError(message(where, "rows that are finite", "nan or inf"))
        targets = self._targets(where, _host(y), len(rows))
        self.build_once(rows.shape)
        kernel, bias = to_host(self.kernel.data).copy(), to_host(self.bias.data).copy()
        rows = rows.astype(kernel.dtype)
        wrong_per_epoch = []
        for _ in range(epochs):
            wrong = 0
            order = default_generator.permutation(len(rows), "cpu") if shuffle else range(len(rows))
            for i in order:
                error = targets[i] - (rows[i] @ kernel + bias > 0)
                if error.any():
                    kernel += rate * numpy.outer(rows[i], error).astype(kernel.dtype)
                    bias += rate * error
                    wrong += int(abs(error).sum())
            wrong_per_epoch.append(wrong)
            if not wrong:
                break
        self.set_weights([kernel, bias])
        return wrong_per_epoch

    def _targets(self, where: str, y: Any, rows: int) -> Any:
        """0 or 1 for each row and unit."""
        if y.shape == (rows,) and self.units > 1:
            if not numpy.isin(y, range(self.units)).all():
                expected = f"the numbers of units, from 0 to {self.units - 1}"
                raise ValueError(message(where, expected, f"{y[~numpy.isin(y, range(self.units))][0]}"))
            return (y[:, None] == numpy.arange(self.units)).astype(int)
        if y.shape != (rows, self.units) and (y.shape != (rows,) or self.units > 1):
            raise ShapeError(message(where, f"targets of shape {(rows, self.units)}", f"{y.shape}"))
        if not numpy.isin(y, (0, 1)).all():
            raise ValueError(message(where, "targets that are 0 or 1", f"{y[~numpy.isin(y, (0, 1))].flat[0]}"))
        return y.reshape(rows, self.units).astype(int)


def _host(a: Any) -> Any:
    """An array on the host."""
    return to_host(a.data) if isinstance(a, Tensor) else to_host(a) if hasattr(a, "dtype") else numpy.asarray(a)
