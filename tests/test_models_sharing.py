"""Models that have layers in common, and steps with several optimizers."""

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.optimizers import SGD, Adam

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


@pytest.mark.parametrize("jit", [False, "auto"])
def test_models_that_share_a_layer_train_in_turn(jit):
    """Against gradient descent with momentum by hand, in float64, each model with its own momentum."""
    shared, heads = layers.Dense(3, use_bias=False), [layers.Dense(1, use_bias=False) for _ in range(2)]
    made = [models.Sequential([layers.Input((4,)), shared, head]) for head in heads]
    for model in made:
        model.compile(SGD(0.05, momentum=0.9), "mse", jit=jit)
    w = shared.kernel.detach().numpy().astype("float64")
    v = [head.kernel.detach().numpy().astype("float64") for head in heads]
    moves = [[np.zeros_like(w), np.zeros_like(v[0])] for _ in heads]
    for turn in (0, 1, 1, 0, 1, 0):
        made[turn].fit(X, Y, batch_size=32, verbose=0)
        residual = 2 * (X @ w @ v[turn] - Y) / len(X)
        for move, g in zip(moves[turn], (X.T @ residual @ v[turn].T, (X @ w).T @ residual), strict=True):
            move[...] = 0.9 * move - 0.05 * g
        w, v[turn] = w + moves[turn][0], v[turn] + moves[turn][1]
    np.testing.assert_allclose(shared.kernel.detach().numpy(), w, rtol=1e-4, atol=1e-6)
    for head, expected in zip(heads, v, strict=True):
        np.testing.assert_allclose(head.kernel.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_what_was_trained_is_taken_over_and_thawed():
    base = models.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu", name="features"), layers.Dense(1)])
    base.compile("adam", "mse")
    base.fit(X, Y, epochs=2, verbose=0)
    base.trainable = False
    features = base.get_layer("features")
    new = models.Sequential([features, layers.Dense(2)])
    new.compile("adam", "mse")
    before = features.kernel.detach().numpy().copy()
    new.fit(X, np.hstack([Y, Y]), verbose=0)
    np.testing.assert_array_equal(features.kernel.detach().numpy(), before)
    features.trainable = True
    new.compile(Adam(1e-3), "mse")
    new.fit(X, np.hstack([Y, Y]), verbose=0)
    assert (features.kernel.detach().numpy() != before).any()
    base.trainable = True
    base.compile("adam", "mse")
    base.fit(X, Y, verbose=0)


class GAN(models.Model):
    """Two networks and two optimizers."""

    def __init__(self):
        super().__init__()
        self.generator = models.Sequential([layers.Input((2,)), layers.Dense(8, activation="relu"), layers.Dense(4)])
        self.discriminator = models.Sequential(
            [layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)]
        )

    def compile(self, d_optimizer, g_optimizer, **options):
        super().compile(optimizer=None, **options)
        self.d_optimizer = d_optimizer.build(self.discriminator.trainable_weights)
        self.g_optimizer = g_optimizer.build(self.generator.trainable_weights)

    def train_step(self, real):
        cross_entropy = tg.losses.BinaryCrossentropy(from_logits=True)
        fake = self.generator(tg.normal((real.shape[0], 2)), training=True)
        both = self.discriminator(tg.concatenate([real, fake.detach()]), training=True)
        labels = tg.concatenate([tg.ones((real.shape[0], 1)), tg.zeros((real.shape[0], 1))])
        d_loss = cross_entropy(labels, both)
        self.d_optimizer.minimize(d_loss)
        g_loss = cross_entropy(tg.ones((real.shape[0], 1)), self.discriminator(fake, training=True))
        self.g_optimizer.minimize(g_loss)
        return {"d_loss": d_loss, "g_loss": g_loss}


def test_a_step_with_two_optimizers_is_the_same_with_and_without_jit():
    found = []
    for jit in (False, True):
        tg.seed(0)
        gan = GAN()
        gan.compile(Adam(0.01), Adam(0.01), jit=jit)
        history = gan.fit(X, batch_size=16, epochs=4, verbose=0).history
        found.append([*history["d_loss"], *history["g_loss"], *(w.sum() for w in gan.get_weights())])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
    assert found[0][0] != found[0][3]


def test_a_model_without_an_optimizer_needs_a_step_of_its_own():
    model = models.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile(None, "mse")
    with pytest.raises(RuntimeError, match="Sequential fit: expected a compiled model"):
        model.fit(X, Y, verbose=0)
    model.compile(loss="mse")
    assert type(model.optimizer).__name__ == "RMSprop"
    model.fit(X, Y, verbose=0)
