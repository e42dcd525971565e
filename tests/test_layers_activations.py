"""Activations as layers: PyTorch's numbers, masks, losses from logits, arguments."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models

X = np.linspace(-3.0, 8.0, 24, dtype="float32").reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("layer", "in_torch"),
    [
        (layers.ReLU(), lambda f, x: f.relu(x)),
        (layers.ReLU(max_value=6.0), lambda f, x: f.relu6(x)),
        (layers.ReLU(negative_slope=0.2), lambda f, x: f.leaky_relu(x, 0.2)),
        (layers.ReLU(threshold=1.5), lambda f, x: f.threshold(x, 1.5, 0.0)),
        (
            layers.ReLU(max_value=4.0, negative_slope=0.5, threshold=1.0),
            lambda f, x: f.threshold(x, 1.0, 0.0).clamp(max=4.0) - 0.5 * f.relu(1.0 - x),
        ),
        (layers.LeakyReLU(), lambda f, x: f.leaky_relu(x, 0.3)),
        (layers.ELU(0.5), lambda f, x: f.elu(x, 0.5)),
        (layers.Softmax(1), lambda f, x: f.softmax(x, 1)),
        (layers.Softmax([1, 2]), lambda f, x: f.softmax(x.flatten(1), 1).reshape(x.shape)),
    ],
)
def test_as_torch(layer, in_torch):
    torch = pytest.importorskip("torch")
    x, z = tg.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    y, expected = layer(x), in_torch(torch.nn.functional, z)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-6, atol=1e-7)
    (y**2).sum().backward()
    (expected**2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_prelu_as_torch():
    torch = pytest.importorskip("torch")
    layer = layers.PReLU(shared_axes=[1])
    layer(tg.tensor(X))
    layer.alpha.assign_(np.array([[0.1, 0.2, 0.3, 0.4]], "float32"))
    reference = torch.nn.PReLU(4)
    with torch.no_grad():
        reference.weight.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    y, expected = layer(tg.tensor(X)), reference(torch.tensor(X.transpose(0, 2, 1).copy()))
    np.testing.assert_allclose(y.detach().numpy().transpose(0, 2, 1), expected.detach().numpy(), rtol=1e-6)
    y.square().sum().backward()
    expected.square().sum().backward()
    np.testing.assert_allclose(layer.alpha.grad.numpy()[0], reference.weight.grad.numpy(), rtol=1e-5)


def test_slopes_have_the_shape_of_an_input():
    layer = layers.PReLU(alpha_regularizer="l2")
    layer(tg.tensor(X))
    assert layer.alpha.tolist() == np.zeros((3, 4)).tolist()
    assert len(layer.losses) == 1
    assert layers.PReLU(shared_axes=1)(layers.Input((None, 3))).shape == (None, None, 3)


def test_masked_softmax():
    mask = np.array([[True, True, False, True], [False, True, True, True], [True, False, False, False]])
    y = layers.Softmax()(tg.tensor(X), mask=tg.tensor(mask)).numpy()
    weights = np.exp(X.astype("float64")) * mask
    np.testing.assert_allclose(y, weights / weights.sum(axis=-1, keepdims=True), rtol=1e-5)
    nothing = layers.Softmax()(tg.tensor(X), mask=tg.tensor(mask & False)).numpy()
    assert (nothing == 0).all()


def test_sparsemax():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 6, 2))
    for axis in (-1, 0, 1):
        y = layers.activations.sparsemax(tg.tensor(x), axis).numpy()
        np.testing.assert_allclose(y.sum(axis=axis), 1.0, rtol=1e-12)
    assert (layers.activations.sparsemax(tg.tensor(x), 1).numpy() == 0).any()
    near = (random.integers(0, 4, 200) / 256).astype("float32")  # many stay; exact in float32 after the shift, too
    expected = layers.activations.sparsemax(tg.tensor(near)).numpy()
    np.testing.assert_allclose(layers.activations.sparsemax(tg.tensor(near + 16384)).numpy(), expected, atol=1e-8)
    for name in ("sparsemax", "sparse_sigmoid"):
        tg.gradcheck(layers.Activation(name), [x[:2, :3]], order=2)
    jitted = tg.jit(layers.Activation("sparsemax"))
    for scale in (1.0, 3.0):
        expected = layers.activations.sparsemax(tg.tensor(x * scale)).numpy()
        np.testing.assert_allclose(jitted(tg.tensor(x * scale)).numpy(), expected, rtol=1e-12, atol=1e-15)


def test_a_last_softmax_gives_a_loss_of_logits():
    model = models.Sequential([layers.Input((3,)), layers.Softmax()])
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    # the softmax is 0 in float32, its logarithm is not
    assert model.evaluate([[0.0, 500.0, 0.0]], [0], verbose=0) == pytest.approx(500.0)
    assert not layers.Softmax(axis=1).is_split


@pytest.mark.parametrize(
    "layer", [layers.ReLU(), layers.LeakyReLU(), layers.PReLU(), layers.ELU(), layers.Activation("tanh")]
)
def test_the_mask_is_passed_on(layer):
    x = layers.Masking()(tg.tensor([[[1.0], [0.0]]]))
    assert layer(x).mask.tolist() == [[True, False]]


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: layers.ReLU(max_value=-1.0), ValueError, "ReLU: expected max_value to be a number of at least 0, received -1.0"),
    (lambda: layers.ReLU(negative_slope=None), TypeError, "ReLU: expected negative_slope to be a number of at least 0, received None"),
    (lambda: layers.ReLU(threshold=-0.5), ValueError, "ReLU: expected threshold to be a number of at least 0, received -0.5"),
    (lambda: layers.LeakyReLU(-0.5), ValueError, "LeakyReLU: expected negative_slope to be a number of at least 0, received -0.5"),
    (lambda: layers.PReLU(shared_axes=[0]), ValueError, "PReLU: expected each of shared_axes to be an integer of at least 1, received 0"),
    (lambda: layers.PReLU(shared_axes=3)(tg.zeros((2, 3))), ValueError, "PReLU: expected inputs that have the axes [3], received shape (2, 3)"),
    (lambda: layers.PReLU()(layers.Input((None, 3))), ValueError, "Hint: name the axes of unknown length in shared_axes."),
    (lambda: layers.Softmax(axis=1.5), TypeError, "Softmax: expected axis to be an integer or a list of integers, received 1.5"),
    (lambda: layers.Softmax(axis=3)(tg.zeros((2, 3))), ValueError, "expected an axis from -2 to 1, received 3"),
    (lambda: layers.Activation("tanhh"), ValueError, "Hint: did you mean 'tanh'?"),
])  # fmt: skip
def test_bad_input(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
