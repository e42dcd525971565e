"""Layers that arrange elements anew: NumPy's and PyTorch's numbers, unknown lengths, arguments."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers

X = np.random.default_rng(0).normal(size=(2, 4, 5, 6, 3)).astype("float32")


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Permute((3, 1, 2)), lambda x: x.transpose(0, 3, 1, 2)),
        (layers.ZeroPadding1D((1, 2)), lambda x: np.pad(x, ((0, 0), (1, 2), (0, 0)))),
        (layers.ZeroPadding2D(2), lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))),
        (layers.ZeroPadding2D((2, (0, 1))), lambda x: np.pad(x, ((0, 0), (2, 2), (0, 1), (0, 0)))),
        (layers.ZeroPadding3D((1, 0, 2)), lambda x: np.pad(x, ((0, 0), (1, 1), (0, 0), (2, 2), (0, 0)))),
        (layers.Cropping1D(1), lambda x: x[:, 1:-1]),
        (layers.Cropping2D(((0, 2), 1)), lambda x: x[:, :-2, 1:-1]),
        (layers.Cropping3D(((1, 0), (0, 2), (1, 1))), lambda x: x[:, 1:, :-2, 1:-1]),
        (layers.UpSampling1D(3), lambda x: x.repeat(3, axis=1)),
        (layers.UpSampling2D((2, 3)), lambda x: x.repeat(2, axis=1).repeat(3, axis=2)),
        (layers.UpSampling3D(2), lambda x: x.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)),
        (layers.RepeatVector(4), lambda x: np.stack([x] * 4, axis=1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_as_numpy(layer, expected):
    ndim = {"Permute": 4, "RepeatVector": 2}.get(type(layer).__name__)
    ndim = ndim or int(type(layer).__name__[-2]) + 2
    x = X[:, *[0] * (5 - ndim)]
    np.testing.assert_array_equal(layer(tg.tensor(x)).numpy(), expected(x))
    assert layer.from_config(layer.get_config()).get_config() == layer.get_config()


def test_bilinear_as_torch():
    torch = pytest.importorskip("torch")
    x = X[:, 0]
    expected = torch.nn.functional.interpolate(
        torch.tensor(x.transpose(0, 3, 1, 2).copy()), scale_factor=(2, 3), mode="bilinear", align_corners=False
    )
    found = layers.UpSampling2D((2, 3), interpolation="bilinear")(tg.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)


def test_lengths_that_are_not_known():
    images = layers.Input((None, None, 3))
    assert layers.ZeroPadding2D(1)(images).shape == (None, None, None, 3)
    assert layers.Cropping2D(1)(images).shape == (None, None, None, 3)
    assert layers.UpSampling2D()(images).shape == (None, None, None, 3)
    assert layers.Permute((3, 1, 2))(images).shape == (None, 3, None, None)
    assert layers.Flatten()(images).shape == (None, None)


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: layers.Permute((0, 1)), ValueError, "Permute: expected dims with each axis from 1 on once, received (0, 1)"),
    (lambda: layers.Permute((1, 1)), ValueError, "Permute: expected dims with each axis from 1 on once, received (1, 1)"),
    (lambda: layers.RepeatVector(0), ValueError, "RepeatVector: expected n to be an integer of at least 1, received 0"),
    (lambda: layers.RepeatVector(1.5), TypeError, "RepeatVector: expected n to be an integer of at least 1, received 1.5"),
    (lambda: layers.ZeroPadding1D((1, 2, 3)), ValueError, "ZeroPadding1D: expected padding to be an integer of at least 0 or 2 of them, received (1, 2, 3)"),
    (lambda: layers.ZeroPadding2D((1, 2, 3)), ValueError,
     "ZeroPadding2D: expected padding to be an integer, or one or a pair for each of 2 axes, received (1, 2, 3)"),
    (lambda: layers.ZeroPadding2D(-1), ValueError, "expected padding to be an integer of at least 0 or 2 of them, received -1"),
    (lambda: layers.Cropping3D(((1, 1), (1, 1))), ValueError, "or a pair for each of 3 axes"),
    (lambda: layers.Cropping1D("1"), ValueError, "Cropping1D: expected cropping to be an integer of at least 0 or 2 of them, received 1"),
    (lambda: layers.UpSampling1D((2,)), TypeError, "UpSampling1D: expected size to be an integer of at least 1, received (2,)"),
    (lambda: layers.UpSampling2D(0), ValueError, "UpSampling2D: expected size to be an integer of at least 1 or 2 of them, received 0"),
    (lambda: layers.UpSampling2D(interpolation="bilnear"), ValueError, "Hint: did you mean 'bilinear'?"),
    (lambda: layers.UpSampling3D((1, 2)), ValueError, "UpSampling3D: expected size to be an integer of at least 1 or 3 of them, received (1, 2)"),
])  # fmt: skip
def test_bad_input(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)


def test_borders_can_change():
    padding, cropping = layers.ZeroPadding2D(1), layers.Cropping1D(1)
    padding.padding, cropping.cropping = ((0, 2), 0), (2, 0)
    assert padding(tg.ones((1, 2, 2, 1))).shape == (1, 4, 2, 1)
    assert cropping(tg.ones((1, 5, 1))).shape == (1, 3, 1)
