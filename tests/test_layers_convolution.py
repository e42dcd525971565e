"""Convolution and pooling layers: against PyTorch, their arguments, initial values, masks, and in models."""

# ruff: noqa: E501 -- the table holds whole error texts, a case a line

import math
import re

import numpy as np
import pytest
from op_cases import assert_near

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import ShapeError

try:
    import torch
    from torch import nn
except ImportError:
    torch = None

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


# Against PyTorch: its channels come first, its kernels are (filters, channels / groups, ...), and (channels, filters,
# ...) where they are transposed.


PAIRS = {
    "conv1d": (
        lambda: nn.Conv1d(3, 4, 3, stride=2),
        lambda: layers.Conv1D(4, 3, strides=2),
        (2, 9, 3),
    ),
    "conv1d in groups": (
        lambda: nn.Conv1d(4, 6, 3, groups=2, dilation=2, padding="same"),
        lambda: layers.Conv1D(6, 3, groups=2, dilation_rate=2, padding="same"),
        (2, 9, 4),
    ),
    "conv2d": (
        lambda: nn.Conv2d(3, 5, (3, 2), stride=(2, 1)),
        lambda: layers.Conv2D(5, (3, 2), strides=(2, 1)),
        (2, 8, 7, 3),
    ),
    "conv2d same": (
        lambda: nn.Conv2d(2, 4, (5, 3), padding="same"),
        lambda: layers.Conv2D(4, (5, 3), padding="same"),
        (2, 6, 5, 2),
    ),
    "conv2d in groups": (
        lambda: nn.Conv2d(6, 9, 3, groups=3, dilation=(1, 2), bias=False),
        lambda: layers.Conv2D(9, 3, groups=3, dilation_rate=(1, 2), use_bias=False),
        (2, 6, 7, 6),
    ),
    "conv3d": (
        lambda: nn.Conv3d(2, 4, (2, 3, 3), stride=(1, 2, 2), groups=2),
        lambda: layers.Conv3D(4, (2, 3, 3), strides=(1, 2, 2), groups=2),
        (2, 3, 5, 5, 2),
    ),
    "conv1d transpose": (
        lambda: nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1),
        lambda: layers.Conv1DTranspose(4, 4, strides=2, padding="same"),
        (2, 5, 3),
    ),
    "conv2d transpose": (
        lambda: nn.ConvTranspose2d(3, 4, 3, stride=2),
        lambda: layers.Conv2DTranspose(4, 3, strides=2),
        (2, 4, 5, 3),
    ),
    "conv2d transpose with output padding": (
        lambda: nn.ConvTranspose2d(3, 4, (3, 2), stride=(3, 2), output_padding=(2, 1)),
        lambda: layers.Conv2DTranspose(4, (3, 2), strides=(3, 2), output_padding=(2, 1)),
        (2, 4, 5, 3),
    ),
    "conv2d transpose dilated": (
        lambda: nn.ConvTranspose2d(3, 2, 3, dilation=2, bias=False),
        lambda: layers.Conv2DTranspose(2, 3, dilation_rate=2, use_bias=False),
        (2, 4, 3, 3),
    ),
    "conv3d transpose": (
        lambda: nn.ConvTranspose3d(2, 3, 2, stride=(1, 2, 2)),
        lambda: layers.Conv3DTranspose(3, 2, strides=(1, 2, 2)),
        (2, 2, 3, 2, 2),
    ),
    "depthwise conv1d": (
        lambda: nn.Conv1d(3, 6, 3, groups=3, dilation=2),
        lambda: layers.DepthwiseConv1D(3, depth_multiplier=2, dilation_rate=2),
        (2, 8, 3),
    ),
    "depthwise conv2d": (
        lambda: nn.Conv2d(3, 6, 3, groups=3, stride=2),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2),
        (2, 7, 6, 3),
    ),
    "depthwise conv2d strided and dilated": (
        lambda: nn.Conv2d(3, 3, 2, groups=3, stride=2, dilation=3),
        lambda: layers.DepthwiseConv2D(2, strides=2, dilation_rate=3),
        (2, 7, 8, 3),
    ),
    "separable conv2d": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, dilation=2, bias=False), nn.Conv2d(6, 4, 1)),
        lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2, dilation_rate=2),
        (2, 6, 7, 3),
    ),
    "max pooling1d": (lambda: nn.MaxPool1d(3, 2), lambda: layers.MaxPooling1D(3, 2), (2, 8, 3)),
    "max pooling2d": (lambda: nn.MaxPool2d(2), lambda: layers.MaxPooling2D(), (2, 5, 6, 3)),
    "max pooling3d": (lambda: nn.MaxPool3d(2, 1), lambda: layers.MaxPooling3D(2, 1), (2, 3, 3, 4, 2)),
    "average pooling1d": (lambda: nn.AvgPool1d(3, 2), lambda: layers.AveragePooling1D(3, 2), (2, 8, 3)),
    "average pooling2d": (
        lambda: nn.AvgPool2d((2, 3), (1, 2)),
        lambda: layers.AveragePooling2D((2, 3), (1, 2)),
        (2, 5, 6, 3),
    ),
    "average pooling3d": (lambda: nn.AvgPool3d(2), lambda: layers.AveragePooling3D(2), (2, 2, 3, 4, 2)),
    "adaptive average pooling1d": (
        lambda: nn.AdaptiveAvgPool1d(3),
        lambda: layers.AdaptiveAveragePooling1D(3),
        (2, 7, 3),
    ),
    "adaptive average pooling2d": (
        lambda: nn.AdaptiveAvgPool2d((3, 8)),
        lambda: layers.AdaptiveAveragePooling2D((3, 8)),
        (2, 7, 5, 2),
    ),
    "adaptive average pooling3d": (
        lambda: nn.AdaptiveAvgPool3d((1, 2, 3)),
        lambda: layers.AdaptiveAveragePooling3D((1, 2, 3)),
        (2, 2, 5, 4, 2),
    ),
    "adaptive max pooling1d": (lambda: nn.AdaptiveMaxPool1d(3), lambda: layers.AdaptiveMaxPooling1D(3), (2, 7, 3)),
    "adaptive max pooling2d": (
        lambda: nn.AdaptiveMaxPool2d((3, 8)),
        lambda: layers.AdaptiveMaxPooling2D((3, 8)),
        (2, 7, 5, 2),
    ),
    "adaptive max pooling3d": (
        lambda: nn.AdaptiveMaxPool3d((1, 2, 3)),
        lambda: layers.AdaptiveMaxPooling3D((1, 2, 3)),
        (2, 2, 5, 4, 2),
    ),
}


def in_our_layout(layer, arrays):
    """The values (or gradients) of PyTorch's parameters, in the order and layout of the layer's."""
    names = [name for name, _ in layer.named_parameters()]
    found = []
    for name, array in zip(names, arrays, strict=True):
        if name == "bias":
            found.append(array)
        elif "Depthwise" in type(layer).__name__ or name == "depthwise_kernel":
            window = array.shape[2:]
            by_channel = array.reshape(layer.channels, -1, *window)  # (channels, multiplier, ...)
            found.append(np.moveaxis(by_channel, (0, 1), (-2, -1)))
        else:
            found.append(np.moveaxis(array, (0, 1), (-1, -2)))  # for a transpose: (channels, filters, ...)
    return found


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed: nothing to compare with")
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients_are_those_of_pytorch(name):
    make_theirs, make_ours, shape = PAIRS[name]
    torch.manual_seed(0)
    theirs, ours = make_theirs(), make_ours()
    x = RANDOM.uniform(-1, 1, shape).astype("float32")
    theirs_x, ours_x = torch.tensor(x, requires_grad=True), tg.tensor(x, requires_grad=True)
    expected = torch.movedim(theirs(torch.movedim(theirs_x, -1, 1)), 1, -1)
    ours(ours_x)
    ours.set_weights(in_our_layout(ours, [p.detach().numpy() for p in theirs.parameters()]))
    y = ours(ours_x)
    seed = RANDOM.uniform(-1, 1, y.shape).astype("float32")
    expected.backward(torch.tensor(seed))
    y.backward(tg.tensor(seed))
    assert_near(y.detach(), expected.detach().numpy(), 30, name)
    assert_near(ours_x.grad, theirs_x.grad.numpy(), 30, f"{name}: input")
    gradients = in_our_layout(ours, [p.grad.numpy() for p in theirs.parameters()])
    for (weight, p), gradient in zip(ours.named_parameters(), gradients, strict=True):
        assert_near(p.grad, gradient, 30, f"{name}: {weight}")


# Arguments

WRONG = [
    (lambda: layers.Conv2D(0, 3), ValueError, "Conv2D: expected filters to be an integer of at least 1, received 0."),
    (lambda: layers.Conv2D(2.5, 3), TypeError, "Conv2D: expected filters to be an integer of at least 1, received 2.5."),
    (lambda: layers.Conv2D(4, (3, 3, 3)), ValueError, "Conv2D: expected kernel_size to be an integer of at least 1 or 2 of them, received (3, 3, 3)."),
    (lambda: layers.Conv3D(4, 0), ValueError, "Conv3D: expected kernel_size to be an integer of at least 1 or 3 of them, received 0."),
    (lambda: layers.Conv1D(4, 3, strides=0), ValueError, "Conv1D: expected strides to be an integer of at least 1 or 1 of them, received 0."),
    (lambda: layers.Conv2D(4, 3, dilation_rate=(1, 0)), ValueError, "Conv2D: expected dilation_rate to be an integer of at least 1 or 2 of them, received (1, 0)."),
    (lambda: layers.Conv2D(4, 3, padding="smae"), ValueError, "Conv2D: expected padding to be one of 'same', 'valid', received 'smae'. Hint: did you mean 'same'?"),
    (lambda: layers.Conv2D(4, 3, padding="causal"), ValueError, "Conv2D: expected padding to be one of 'same', 'valid', received 'causal'."),
    (lambda: layers.Conv2D(4, 3, padding=1), ValueError, "Conv2D: expected padding to be one of 'same', 'valid', received 1."),
    (lambda: layers.Conv2D(4, 3, strides=(1, 2), dilation_rate=2), ValueError, "Conv2D: expected strides or a dilation_rate above 1, not both, received strides (1, 2) and dilation_rate (2, 2)."),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2, dilation_rate=2), ValueError, "Conv2DTranspose: expected strides or a dilation_rate above 1, not both, received strides (2, 2) and dilation_rate (2, 2)."),
    (lambda: layers.Conv2D(4, 3, groups=3, name="c"), ValueError, "Conv2D 'c': expected groups that divide the filters, received 3 for 4."),
    (lambda: layers.Conv2D(4, 3, groups=0), ValueError, "Conv2D: expected groups to be an integer of at least 1, received 0."),
    (lambda: layers.Conv2D(4, 3, groups=2)(tg.ones((1, 5, 5, 3))), ShapeError, "Conv2D: expected groups that divide the channels, received 2 for 3."),
    (lambda: layers.Conv2D(4, 3)(layers.Input((8, 8, None))), ShapeError, "Conv2D: expected a known number of channels, the last axis, received shape (None, 8, 8, None)."),
    (lambda: layers.Conv2D(4, 3)(layers.Input((28, 28))), ShapeError, "Conv2D: expected a batch (n, height, width, channels), received shape (None, 28, 28). Hint: add a channel axis, x[..., None], or to one image a batch axis, x[None]."),
    (lambda: layers.Conv2D(4, 3)(tg.ones((1, 2, 5, 3))), ShapeError, "Conv2D: conv2d: expected a padded image of at least (3, 3), received (2, 5). Hint: use padding='same'."),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=2), ValueError, "Conv2DTranspose: expected an output_padding smaller than the strides, received (2, 2) for (2, 2)."),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=-1), ValueError, "Conv2DTranspose: expected output_padding to be an integer of at least 0 or 2 of them, received -1."),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), ValueError, "DepthwiseConv2D: expected depth_multiplier to be an integer of at least 1, received 0."),
    (lambda: layers.SeparableConv1D(0, 3), ValueError, "SeparableConv1D: expected filters to be an integer of at least 1, received 0."),
    (lambda: layers.SeparableConv2D(2, 3, depth_multiplier=0), ValueError, "SeparableConv2D: expected depth_multiplier to be an integer of at least 1, received 0."),
    (lambda: layers.MaxPooling2D(0), ValueError, "MaxPooling2D: expected pool_size to be an integer of at least 1 or 2 of them, received 0."),
    (lambda: layers.MaxPooling1D(2, strides=(1, 1)), ValueError, "MaxPooling1D: expected strides to be an integer of at least 1 or 1 of them, received (1, 1)."),
    (lambda: layers.AveragePooling2D(2, padding="causal"), ValueError, "AveragePooling2D: expected padding to be one of 'same', 'valid', received 'causal'."),
    (lambda: layers.AdaptiveMaxPooling2D((2, 2, 2)), ValueError, "AdaptiveMaxPooling2D: expected output_size to be an integer of at least 1 or 2 of them, received (2, 2, 2)."),
    (lambda: layers.Conv2D(4, 3, kernal_initializer="zeros"), TypeError, "Conv2D: expected each argument to be one of "),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "text"), WRONG, ids=[text[:70] for _, _, text in WRONG])
def test_wrong_arguments(make, kind, text):
    with pytest.raises(kind, match=re.escape(text)) as caught:
        make()
    assert type(caught.value) is kind


def test_padding_is_read_in_any_case():
    assert layers.Conv1D(1, 2, padding="CAUSAL").padding == "causal"
    assert layers.MaxPooling2D(padding="SAME").get_config()["padding"] == "same"


def test_numbers_become_one_for_each_axis():
    layer = layers.Conv3D(2, 3, strides=[1, 2, 2])
    assert (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3, 3), (1, 2, 2), (1, 1, 1))
    pool = layers.AveragePooling2D((2, 3))
    assert (pool.pool_size, pool.strides) == ((2, 3), (2, 3))


# Weights


@pytest.mark.parametrize(
    ("layer", "shapes", "fans"),
    [
        (layers.Conv1D(32, 5), {"kernel": (5, 16, 32), "bias": (32,)}, [(80, 160)]),
        (layers.Conv2D(32, 3, groups=2), {"kernel": (3, 3, 8, 32), "bias": (32,)}, [(72, 288)]),
        (layers.Conv3D(8, 2), {"kernel": (2, 2, 2, 16, 8), "bias": (8,)}, [(128, 64)]),
        (layers.Conv2DTranspose(32, 3), {"kernel": (3, 3, 32, 16), "bias": (32,)}, [(288, 144)]),
        (layers.DepthwiseConv2D(5, depth_multiplier=2), {"kernel": (5, 5, 16, 2), "bias": (32,)}, [(400, 50)]),
        (
            layers.SeparableConv2D(32, 5, depth_multiplier=2),
            {"depthwise_kernel": (5, 5, 16, 2), "pointwise_kernel": (1, 1, 32, 32), "bias": (32,)},
            [(400, 50), (32, 32)],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_weights_and_their_initial_values(layer, shapes, fans):
    """Glorot and Bengio (2010): uniform within sqrt(6 / (fan_in + fan_out))."""
    layer.build_once((None, *(8,) * layer.rank, 16))
    assert {name: p.shape for name, p in layer.named_parameters()} == shapes
    *kernels, bias = layer.get_weights()
    assert (bias == 0).all()
    for kernel, fan in zip(kernels, fans, strict=True):
        limit = math.sqrt(6 / sum(fan))
        assert 0.97 * limit < abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / math.sqrt(3), rel=0.06)


def test_initializers_and_regularizers_of_each_weight():
    layer = layers.SeparableConv1D(
        2, 2, depthwise_initializer="ones", pointwise_initializer="zeros", bias_initializer="ones",
        depthwise_regularizer="l2",
    )  # fmt: skip
    y = layer(tg.ones((1, 3, 2)))
    assert y.tolist() == [[[1.0, 1.0], [1.0, 1.0]]]
    assert [loss.item() for loss in layer.losses] == [pytest.approx(0.01 * 4)]
    again = layers.SeparableConv1D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


# Images of other sizes, masks


def test_one_layer_for_images_of_any_size():
    layer = layers.Conv2D(4, 3, padding="same", strides=2)
    symbol = layer(layers.Input((None, 32, 3)))
    assert symbol.shape == (None, None, 16, 4)
    assert [layer(tg.ones((1, n, n, 3))).shape for n in (4, 7)] == [(1, 2, 2, 4), (1, 4, 4, 4)]
    assert layer.compute_output_shape((None, 9, 8, 3)) == (None, 5, 4, 4)
    assert layers.GlobalAveragePooling2D()(symbol).shape == (None, 4)
    assert layers.AdaptiveMaxPooling2D(2)(symbol).shape == (None, 2, 2, 4)


def test_causal_convolution_sees_no_later_step():
    layer = layers.Conv1D(2, 3, padding="causal", dilation_rate=2)
    x = RANDOM.normal(size=(1, 8, 2)).astype("float32")
    changed = x.copy()
    changed[:, 5:] += 1.0
    before, after = layer(x).detach().numpy(), layer(changed).detach().numpy()
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).all()


class Marked(layers.Layer):
    """Masks time steps that are 0 throughout."""

    def call(self, x):
        return x * 1.0

    def compute_mask(self, x, mask=None):
        return (x != 0.0).any(axis=-1)


def test_global_average_pooling_leaves_out_masked_steps():
    x = tg.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, 6.0]]])
    y = layers.GlobalAveragePooling1D()(Marked()(x))
    assert y.tolist() == [[2.0, 4.0]]
    assert not hasattr(y, "mask")
    mask, x = tg.tensor([[True, False]]), tg.tensor([[[1.0], [float("nan")]]], requires_grad=True)
    y = layers.GlobalAveragePooling1D()(x, mask=mask)
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([[1.0]], [[[1.0], [0.0]]])
    with pytest.warns(UserWarning, match="Conv1D: the mask of its input ends here"):
        layers.Conv1D(2, 2)(Marked()(tg.ones((1, 3, 2))))


# In models


def images(n):
    """8 x 8 images with a bright bar, which is horizontal or vertical, anywhere."""
    x, y = RANDOM.normal(0, 0.1, (n, 8, 8, 1)), RANDOM.integers(0, 2, n)
    for image, vertical, place in zip(x, y, RANDOM.integers(0, 8, n), strict=True):
        (image[:, place] if vertical else image[place])[:] += 1.0
    return x, y


def test_a_network_learns_what_needs_convolution():
    model = models.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(8, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(tg.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*images(256), epochs=12, verbose=0)
    _, accuracy = model.evaluate(*images(200), verbose=0)
    assert accuracy > 0.95
    assert model.count_params() == (9 + 1) * 4 + 9 * 4 + 4 * 8 + 8 + 8 * 2 + 2


def test_an_autoencoder_gives_images_of_the_same_size():
    model = models.Sequential(
        [
            layers.Input((8, 6, 1)),
            layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(1, 3, strides=2, padding="same"),
        ]
    )
    assert model.symbols[-1].shape == (None, 8, 6, 1)
    x = RANDOM.normal(size=(16, 8, 6, 1))
    model.compile("adam", "mse")
    history = model.fit(x, x, epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
