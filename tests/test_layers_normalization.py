"""Layers that normalize: PyTorch's numbers, moving statistics, modes, masks, jit."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import ShapeError

IMAGES = np.random.default_rng(0).normal(1.0, 2.0, (4, 3, 5, 6)).astype("float32")


def near(found, expected, eps=2e-6):
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=eps * max(1.0, abs(expected).max()))


def weighted(layer, *values):
    layer.gamma.assign_(values[0])
    layer.beta.assign_(values[1])
    return layer


GAMMA, BETA = np.linspace(0.5, 2.0, 6).astype("float32"), np.linspace(-1.0, 1.0, 6).astype("float32")


def test_batch_normalization_as_torch():
    torch = pytest.importorskip("torch")
    layer = layers.BatchNormalization(momentum=0.9, epsilon=1e-4)
    layer(tg.tensor(IMAGES))
    weighted(layer, GAMMA, BETA)
    reference = torch.nn.BatchNorm2d(6, eps=1e-4, momentum=0.1)
    with torch.no_grad():
        reference.weight.copy_(torch.tensor(GAMMA))
        reference.bias.copy_(torch.tensor(BETA))
    n = IMAGES[..., 0].size
    variance = np.ones(6)
    for scale in (1.0, 0.5, 2.0):
        x = tg.tensor(IMAGES * scale, requires_grad=True)
        z = torch.tensor((IMAGES * scale).transpose(0, 3, 1, 2).copy(), requires_grad=True)
        y, expected = layer(x, training=True), reference(z)
        near(y, expected.detach().numpy().transpose(0, 2, 3, 1))
        layer.gamma.grad = layer.beta.grad = None
        reference.zero_grad()
        (y**3).sum().backward()
        (expected**3).sum().backward()
        near(x.grad, z.grad.numpy().transpose(0, 2, 3, 1), 2e-5)
        near(layer.gamma.grad, reference.weight.grad.numpy(), 2e-5)
        near(layer.beta.grad, reference.bias.grad.numpy(), 2e-5)
        near(layer.moving_mean, reference.running_mean.numpy())
        # Keras's moving variance follows that of the batch divided by n, PyTorch's by n - 1
        variance = 0.9 * variance + 0.1 * (IMAGES.astype("float64") * scale).var(axis=(0, 1, 2))
        near(layer.moving_variance, variance)
        assert abs(reference.running_var.numpy() - variance).max() > 1e-4 / n
    reference.running_var.copy_(torch.tensor(variance))
    near(layer(tg.tensor(IMAGES)), reference.eval()(z / 2).detach().numpy().transpose(0, 2, 3, 1))


def test_the_moving_statistics_follow_under_jit_as_without():
    def after(jit):
        layer = layers.BatchNormalization(momentum=0.7)
        layer(tg.tensor(IMAGES))
        layer.train()
        step = tg.jit(lambda x: layer(x).sum()) if jit else lambda x: layer(x).sum()
        for i in range(4):
            step(tg.tensor(IMAGES[i : i + 1] * i))
        return layer

    eager, replayed = after(False), after(True)
    near(replayed.moving_mean, eager.moving_mean.numpy())
    near(replayed.moving_variance, eager.moving_variance.numpy())
    assert abs(eager.moving_mean.numpy()).max() > 0.1


def test_fit_follows_the_batches_and_predict_does_not():
    x = np.random.default_rng(1).normal(5.0, 3.0, (64, 2)).astype("float32")
    model = models.Sequential([layers.Input((2,)), layers.BatchNormalization(momentum=0.5), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, x[:, :1] * 0.0, epochs=10, batch_size=64, verbose=0)
    layer = model.layers[0]
    near(layer.moving_mean, x.mean(axis=0) * (1 - 0.5**10))
    near(layer.moving_variance, x.var(axis=0) * (1 - 0.5**10) + 0.5**10, 1e-5)
    before = layer.moving_mean.numpy().copy()
    model.predict(x + 100.0)
    model.evaluate(x + 100.0, x[:, :1], verbose=0)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def test_a_frozen_batch_normalization_neither_uses_nor_follows_the_batch():
    layer = layers.BatchNormalization(trainable=False)
    x = tg.tensor(IMAGES)
    near(layer(x, training=True), IMAGES / np.sqrt(1.001))
    assert layer.moving_mean.tolist() == [0.0] * 6
    layer.trainable = True
    layer(x, training=True)
    assert layer.moving_mean.tolist() != [0.0] * 6
    assert [name for name, _ in layer.named_buffers()] == ["moving_mean", "moving_variance"]


def test_freezing_traces_anew():
    layer = layers.BatchNormalization()
    layer(tg.tensor(IMAGES))
    layer.train()
    step = tg.jit(lambda x: layer(x).sum())
    step(tg.tensor(IMAGES))
    step(tg.tensor(IMAGES))
    before = layer.moving_mean.numpy().copy()
    layer.trainable = False
    step(tg.tensor(IMAGES))
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def test_masked_steps_do_not_count():
    mask = np.array([[True, True, False, False, True], [True, False, False, False, False]])
    x = IMAGES[:2, :, :, 0].transpose(0, 2, 1).copy()  # (2, 5, 3)
    layer, plain = layers.BatchNormalization(), layers.BatchNormalization()
    y = layer(tg.tensor(x), training=True, mask=tg.tensor(mask))
    expected = plain(tg.tensor(x[mask]), training=True)
    near(y.detach()[tg.tensor(mask)], expected.detach().numpy(), 1e-5)
    near(layer.moving_mean, plain.moving_mean.numpy())
    near(layer.moving_variance, plain.moving_variance.numpy())
    x[~mask] = 1e6
    changed = layer(tg.tensor(x), training=True, mask=tg.tensor(mask))
    near(changed.detach()[tg.tensor(mask)], expected.detach().numpy(), 1e-5)


def test_the_mask_comes_from_the_layer_before():
    x = np.array([[[1.0, 2.0], [0.0, 0.0]], [[3.0, -2.0], [0.0, 0.0]]], "float32")
    layer = layers.BatchNormalization(momentum=0.0)
    y = layer(layers.Masking()(tg.tensor(x)), training=True)
    assert y.mask.tolist() == [[True, False], [True, False]]
    near(layer.moving_mean, np.array([2.0, 0.0]), 1e-6)
    near(layer.moving_variance, np.array([1.0, 4.0]), 1e-6)


def test_layer_normalization_as_torch():
    torch = pytest.importorskip("torch")
    for axis, shape in ((-1, (6,)), ([2, 3], (5, 6)), ([1, 2, 3], (3, 5, 6))):
        layer = layers.LayerNormalization(axis=axis, epsilon=1e-4)
        x, z = tg.tensor(IMAGES, requires_grad=True), torch.tensor(IMAGES, requires_grad=True)
        layer(x)
        random = np.random.default_rng(2)
        gamma, beta = (random.normal(size=shape).astype("float32") for _ in range(2))
        y = weighted(layer, gamma, beta)(x)
        expected = torch.nn.functional.layer_norm(z, shape, torch.tensor(gamma), torch.tensor(beta), 1e-4)
        near(y, expected.detach().numpy())
        (y**2).sum().backward()
        (expected**2).sum().backward()
        near(x.grad, z.grad.numpy(), 1e-5)


@pytest.mark.parametrize(("groups", "in_torch"), [(1, 1), (3, 3), (-1, 6)])
def test_group_normalization_as_torch(groups, in_torch):
    torch = pytest.importorskip("torch")
    layer = layers.GroupNormalization(groups, epsilon=1e-4)
    x = tg.tensor(IMAGES, requires_grad=True)
    layer(x)
    y = weighted(layer, GAMMA, BETA)(x)
    z = torch.tensor(IMAGES.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    expected = torch.nn.functional.group_norm(z, in_torch, torch.tensor(GAMMA), torch.tensor(BETA), 1e-4)
    near(y, expected.detach().numpy().transpose(0, 2, 3, 1))
    (y**3).sum().backward()
    (expected**3).sum().backward()
    near(x.grad, z.grad.numpy().transpose(0, 2, 3, 1), 1e-5)


def test_rms_and_unit_normalization_as_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    near(layers.RMSNormalization()(tg.tensor(IMAGES)), f.rms_norm(torch.tensor(IMAGES), (6,), eps=1e-6).numpy())
    for axis in (-1, 1, [1, 2]):
        found = layers.UnitNormalization(axis=axis)(tg.tensor(IMAGES))
        axes = axis if isinstance(axis, int) else tuple(axis)
        near(found, IMAGES / np.sqrt((IMAGES**2).sum(axis=axes, keepdims=True)))


def test_the_gradient_of_a_row_of_zeros_is_finite():
    x = tg.zeros((1, 3), requires_grad=True)
    y = layers.UnitNormalization()(x)
    y.sum().backward()
    assert y.tolist() == [[0.0, 0.0, 0.0]]
    assert np.isfinite(x.grad.numpy()).all()


def test_statistics_are_buffers_in_keras_order():
    layer = layers.BatchNormalization(moving_mean_initializer="ones", gamma_regularizer="l2")
    layer(tg.tensor(IMAGES))
    assert list(layer.state_dict()) == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert layer.moving_mean.tolist() == [1.0] * 6
    assert len(layer.losses) == 1
    assert layers.BatchNormalization.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: layers.BatchNormalization(momentum=1.5), ValueError, "expected momentum to be a number in [0, 1], received 1.5"),
    (lambda: layers.BatchNormalization(axis=[1, 2]), TypeError, "BatchNormalization: expected axis to be an integer, received [1, 2]"),
    (lambda: layers.LayerNormalization(epsilon=-1), ValueError, "expected epsilon to be a number of at least 0, received -1"),
    (lambda: layers.LayerNormalization(axis="last"), TypeError, "expected axis to be an integer or a list of integers, received 'last'"),
    (lambda: layers.GroupNormalization(0), ValueError, "expected groups to be an integer of at least 1, received 0"),
    (lambda: layers.GroupNormalization(4)(tg.zeros((2, 6))), ShapeError,
     "GroupNormalization: expected a number of channels that 4 groups divide, received shape (2, 6). Hint: give it other groups"),
    (lambda: layers.LayerNormalization(axis=3)(tg.zeros((2, 6))), ShapeError, "LayerNormalization: expected an axis from -2 to 1, received 3"),
    (lambda: layers.BatchNormalization()(layers.Input((None,))), ShapeError, "BatchNormalization: expected a known length of axis -1"),
    (lambda: layers.BatchNormalization(beta_init="ones"), TypeError, "Hint: did you mean 'beta_initializer'?"),
])  # fmt: skip
def test_bad_input(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
