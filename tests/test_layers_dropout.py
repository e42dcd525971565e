"""Layers that act in training only: what they leave alone, the distributions of their draws, seeds, jit."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import math

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.ops.activations import SELU_ALPHA, SELU_SCALE

RANDOM = [
    layers.Dropout(0.4),
    layers.GaussianNoise(0.3),
    layers.GaussianDropout(0.4),
    layers.AlphaDropout(0.4),
    layers.SpatialDropout1D(0.4),
]
EACH = pytest.mark.parametrize("kind", RANDOM, ids=lambda layer: type(layer).__name__)
X = np.random.default_rng(0).normal(size=(50, 40, 30)).astype("float32")


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


@EACH
def test_only_training_changes_anything(kind):
    x = tg.tensor(X)
    assert kind(x) is x
    y = kind(x, training=True)
    assert y.dtype == "float32"
    assert (y.numpy() != X).mean() > 0.3
    assert (y.numpy() != kind(x, training=True).numpy()).any()
    nothing = type(kind)(0.0)
    np.testing.assert_array_equal(nothing(x, training=True).numpy(), X)


def test_gaussian_noise():
    noise = layers.GaussianNoise(0.3)(tg.tensor(X), training=True).numpy() - X
    assert abs(noise.mean()) < 5 * 0.3 / math.sqrt(X.size)
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert abs((noise / 0.3) ** 4).mean() == pytest.approx(3.0, rel=0.05)


def test_gaussian_dropout():
    factors = layers.GaussianDropout(0.2)(tg.ones(X.shape), training=True).numpy()
    assert abs(factors.mean() - 1.0) < 5 * 0.5 / math.sqrt(X.size)
    assert factors.std() == pytest.approx(math.sqrt(0.2 / 0.8), rel=0.01)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = np.random.default_rng(1).normal(size=400_000).astype("float32").reshape(400, 1000)
    y = layers.AlphaDropout(rate)(tg.tensor(x), training=True).numpy()
    assert abs(y.mean()) < 0.01
    assert y.std() == pytest.approx(1.0, abs=0.01)
    low = -SELU_ALPHA * SELU_SCALE
    a = ((1 - rate) * (1 + rate * low**2)) ** -0.5  # Klambauer et al. (2017), section 3
    dropped = np.isclose(y, a * low - a * low * rate, rtol=1e-5)
    assert dropped.mean() == pytest.approx(rate, abs=0.005)
    np.testing.assert_allclose(y[~dropped], (a * x - a * low * rate)[~dropped], rtol=1e-5, atol=1e-5)


def test_alpha_dropout_shares_noise():
    y = layers.AlphaDropout(0.5, noise_shape=(None, 1, None))(tg.ones((6, 4, 5)), training=True).numpy()
    assert (y == y[:, :1]).all()
    assert len(np.unique(y)) == 2


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (layers.SpatialDropout1D, (30, 4, 40)),
        (layers.SpatialDropout2D, (30, 2, 3, 40)),
        (layers.SpatialDropout3D, (30, 2, 2, 2, 40)),
    ],
)
def test_spatial_dropout_leaves_out_whole_channels(kind, shape):
    y = kind(0.25)(tg.ones(shape), training=True).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    rows = y.reshape(30, -1, 40)
    assert (rows == rows[:, :1]).all()
    assert (rows[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.05)
    assert len({row.tobytes() for row in rows[:, 0]}) == 30


@EACH
def test_a_seed_decides_the_draws_whatever_the_seed_of_all(kind):
    config = kind.get_config()
    seeded, same, other = (type(kind).from_config({**config, "seed": seed}) for seed in (7, 7, 8))
    assert seeded.get_config()["seed"] == 7

    def draws(layer, seed):
        tg.seed(seed)
        return [layer(tg.tensor(X[:3]), training=True).numpy() for _ in range(2)]

    first = draws(seeded, 1)
    assert (first[0] != first[1]).any()
    for y, z in zip(draws(same, 2), first, strict=True):
        np.testing.assert_array_equal(y, z)
    assert (draws(other, 1)[0] != first[0]).any()
    assert (draws(kind, 1)[0] != first[0]).any()
    assert (draws(kind, 1)[0] != draws(kind, 2)[0]).any()


def test_seeded_layers_leave_the_numbers_of_others_alone():
    free, seeded = (layers.Dropout(0.5), layers.Dropout(0.5, seed=7))
    tg.seed(0)
    free(tg.ones((8,)), training=True)
    expected = tg.uniform((4,)).numpy()
    tg.seed(0)
    seeded(tg.ones((8,)), training=True)
    np.testing.assert_array_equal(tg.uniform((4,)).numpy(), expected)


@EACH
def test_jit_draws_as_without_it(kind):
    layer = type(kind).from_config({**kind.get_config(), "seed": 3}).train()
    step = tg.jit(lambda x: layer(x) + tg.uniform((30,)))
    x = tg.tensor(X[:2])
    tg.seed(1)
    found = [step(x).numpy() for _ in range(3)]
    tg.seed(1)
    expected = [(layer(x) + tg.uniform((30,))).numpy() for _ in range(3)]
    for y, z in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-6, atol=1e-6)
    assert (found[1] != found[2]).any()


@pytest.mark.gpu
@EACH
def test_cuda_draws_as_the_cpu(kind):
    layer = type(kind).from_config({**kind.get_config(), "seed": 3})
    expected = layer(tg.tensor(X[:2]), training=True).numpy()
    tg.seed(0)
    np.testing.assert_allclose(layer(tg.tensor(X[:2], device="cuda"), training=True).numpy(), expected, atol=1e-5)


@EACH
def test_gradients_pass_where_the_input_did(kind):
    x = tg.tensor(X[:2], requires_grad=True)
    tg.seed(5)
    kind(x, training=True).sum().backward()
    tg.seed(5)
    moved = kind(tg.tensor(X[:2] + 1.0), training=True).numpy()
    tg.seed(5)
    np.testing.assert_allclose(x.grad.numpy(), moved - kind(tg.tensor(X[:2]), training=True).numpy(), atol=1e-5)


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: layers.GaussianNoise(-1.0), ValueError, "GaussianNoise: expected stddev to be a number of at least 0, received -1.0"),
    (lambda: layers.GaussianDropout(1.0), ValueError, "GaussianDropout: expected rate to be a number in [0, 1), received 1.0"),
    (lambda: layers.AlphaDropout(2), ValueError, "AlphaDropout: expected rate to be a number in [0, 1), received 2"),
    (lambda: layers.SpatialDropout2D("0.5"), TypeError, "SpatialDropout2D: expected rate to be a number in [0, 1), received '0.5'"),
    (lambda: layers.Dropout(0.5, seed=-1), ValueError, "Dropout: expected seed to be an integer of at least 0, received -1"),
    (lambda: layers.Dropout(0.5, seed=1.5), TypeError, "Dropout: expected seed to be an integer of at least 0, received 1.5"),
    (lambda: layers.AlphaDropout(0.5, noise_shape=(3,))(tg.zeros((2, 6)), training=True), ValueError,
     "AlphaDropout: expected a noise_shape that broadcasts to (2, 6), received (3,)"),
    (lambda: layers.GaussianNoise(0.5)(tg.tensor([1, 2]), training=True), TypeError, "GaussianNoise: normal: expected a dtype of floats of 16 to 64 bits"),
    (lambda: layers.Dropout(0.5)(tg.tensor([1, 2]), training=True), TypeError, "Dropout: dropout: expected a floating dtype, received int64"),
])  # fmt: skip
def test_bad_input(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)


def test_a_seeded_model_trains_again_as_before():
    def losses(seed):
        tg.seed(seed)
        model = models.Sequential([layers.Input((4,)), layers.Dropout(0.5, seed=3), layers.Dense(1)])
        model.set_weights([np.ones((4, 1)), np.zeros(1)])
        model.compile(optimizer="sgd", loss="mse")
        return model.fit(X[0, :, :4], X[0, :, :1], epochs=3, batch_size=40, shuffle=False, verbose=0).history["loss"]

    assert losses(1) == losses(2)
