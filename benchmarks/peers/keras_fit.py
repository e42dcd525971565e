"""Keras on JAX. It has no public call for a gradient alone."""

from __future__ import annotations

import itertools
from typing import Any

import keras

from .. import network as constants
from ..network import Network
from .base import Peer
from .keras_layers import build

LOSSES = {
    "binary": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "classes": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "squares": keras.losses.MeanSquaredError,
}


class Positions(keras.layers.Layer):
    """Adds a learned vector to each step."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=shape[1:])

    def call(self, x: Any) -> Any:
        return x + self.table


class Keras(Peer):
    phases = ("forward", "step", "fit", "predict", "predict_one")

    def __init__(self, network: Network):
        super().__init__(network)
        self.model = build(network, keras.layers, keras, Positions)
        optimizer = keras.optimizers.Adam(network.learning_rate, constants.BETA_1, constants.BETA_2, constants.EPSILON)
        accuracy = [keras.metrics.BinaryAccuracy(threshold=0.0)] if network.through_fit else None
        self.model.compile(optimizer, LOSSES[network.loss](), metrics=accuracy)
        self.x, self.y = network.first_batch()

    def outputs(self, x: Any) -> Any:
        return self.model.predict_on_batch(x)

    def step(self) -> Any:
        return self.model.train_on_batch(self.x, self.y)

    def value(self, loss: Any) -> float:
        return float(loss)

    def repeat(self, phase: str, times: int) -> None:
        """By `fit` and `evaluate`, which cost less per step than `train_on_batch` and `test_on_batch`."""
        if phase.startswith("predict"):
            super().repeat(phase, times)
            return
        run, steps = (self.model.fit, "steps_per_epoch") if phase == "step" else (self.model.evaluate, "steps")
        batches = (batch for batch in itertools.repeat((self.x, self.y)))  # Keras takes generators, but no iterators
        run(batches, **{steps: times}, verbose=0)

    def fit(self, x: Any, y: Any, epochs: int) -> float:
        history = self.model.fit(x, y, self.network.batch, epochs=epochs, verbose=0, shuffle=False)
        return history.history["loss"][-1]
