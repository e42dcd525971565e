"""JAX: jit, with Adam written out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import network as constants
from ..network import Network
from . import Absent
from .base import Peer, train
from .jax_layers import apply, first_averages


def loss_of(kind: str, output: Any, y: Any) -> Any:
    if kind == "squares":
        return jnp.mean(jnp.square(output - y))
    if kind == "classes":
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), y[..., None], axis=-1))
    return jnp.mean(jnp.maximum(output, 0.0) - output * y + jnp.log1p(jnp.exp(-jnp.abs(output))))


class Jax(Peer):
    @classmethod
    def use(cls, device: str, precision: str) -> None:
        found = jax.default_backend()
        if (found == "cpu") != (device == "cpu"):
            raise Absent(f"JAX runs on {found} here")
        names = {"float32": "float32", "tf32": "TF32_TF32_F32", "bfloat16": "BF16_BF16_F32"}  # by factors and sums
        jax.config.update("jax_default_matmul_precision", names[precision])

    def __init__(self, network: Network):
        super().__init__(network)
        parameters = jax.tree.map(jnp.array, network.weights())
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        totals = jnp.zeros(()), jnp.zeros(())  # of the loss and of the right answers, summed over rows
        moments = zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.zeros(())
        self.state = parameters, first_averages(network), *moments, totals
        self.x, self.y = map(jnp.array, network.first_batch())
        self.jitted_forward = jax.jit(lambda *arguments: self.compute(*arguments)[0])
        self.jitted_gradient = jax.jit(jax.value_and_grad(self.compute, has_aux=True))
        self.jitted_step = jax.jit(self.update, donate_argnums=0)
        self.jitted_outputs = jax.jit(lambda *arguments: apply(network, *arguments, training=False)[0])

    def compute(self, parameters: Any, averages: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """The loss, and the output with the averages of batch normalization."""
        output, averages = apply(self.network, parameters, averages, x, training=True)
        return loss_of(self.network.loss, output, y), (output, averages)

    def update(self, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        parameters, averages, means, squares, count, (total, right) = state
        gradient = jax.value_and_grad(self.compute, has_aux=True)
        (loss, (output, averages)), gradients = gradient(parameters, averages, x, y)
        b1, b2, count = constants.BETA_1, constants.BETA_2, count + 1
        means = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, means, gradients)
        squares = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, squares, gradients)

        def moved(p: Any, m: Any, v: Any) -> Any:
            corrected = jnp.sqrt(v / (1 - b2**count)) + constants.EPSILON
            return p - self.network.learning_rate * m / (1 - b1**count) / corrected

        parameters = jax.tree.map(moved, parameters, means, squares)
        if self.network.through_fit:
            total, right = total + loss * len(x), right + jnp.sum((output > 0) == (y > 0.5))
        return (parameters, averages, means, squares, count, (total, right)), loss

    def forward(self) -> Any:
        return self.jitted_forward(*self.state[:2], self.x, self.y)

    def gradient(self) -> Any:
        return self.jitted_gradient(*self.state[:2], self.x, self.y)

    def step(self) -> Any:
        self.state, loss = self.jitted_step(self.state, self.x, self.y)
        return loss

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        batch = self.network.batch
        for _ in range(epochs):
            self.state = *self.state[:-1], (jnp.zeros(()), jnp.zeros(()))
            for start in range(0, len(x), batch):
                self.state, _ = self.jitted_step(self.state, x[start : start + batch], y[start : start + batch])
            total, right = self.state[-1]
            mean, _accuracy = float(total) / len(x), float(right) / len(x)
        return mean

    def outputs(self, x: Any) -> Any:
        return np.asarray(self.jitted_outputs(*self.state[:2], x))

    def wait(self, result: Any) -> None:
        jax.block_until_ready(result)

    @classmethod
    def peak_bytes(cls, network: Network) -> int:
        """What XLA planned for the compiled step: arguments, results that take no argument's place, and temporaries."""
        peer = cls(network)
        train(peer, network.first_batch(), 1)
        planned = peer.jitted_step.lower(peer.state, peer.x, peer.y).compile().memory_analysis()
        held = planned.argument_size_in_bytes + planned.output_size_in_bytes - planned.alias_size_in_bytes
        return held + planned.temp_size_in_bytes
