"""Layers that merge: the masks that come out (as Keras 3 gives them), arguments, models of several branches."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models

A = np.arange(12, dtype="float32").reshape(2, 3, 2)
B = 10.0 - A * np.float32(0.9)
MASK_A = [[True, True, False], [True, False, False]]
MASK_B = [[True, False, False], [False, True, True]]
EITHER = [[True, True, False], [True, True, True]]


def masked(x, mask):
    x = tg.tensor(x)
    return layers.Lambda(lambda t: t * 1.0, mask=tg.tensor(mask))(x) if mask else x


def mask_of(y):
    return y.mask.tolist() if hasattr(y, "mask") else None


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_a_step_counts_where_it_does_in_one_input(name):
    merge = getattr(layers, name)()
    assert mask_of(merge([masked(A, MASK_A), masked(B, MASK_B)])) == EITHER
    assert mask_of(merge([masked(A, MASK_A), masked(B, None)])) is None
    assert mask_of(merge([masked(A, None), masked(B, None)])) is None


@pytest.mark.parametrize(("name", "function"), [("Maximum", np.maximum), ("Minimum", np.minimum)])
def test_what_is_masked_is_neither_largest_nor_smallest(name, function):
    merge = getattr(layers, name)()
    a, b = np.array(MASK_A)[..., None], np.array(MASK_B)[..., None]
    y = merge([masked(A, MASK_A), masked(B, MASK_B)]).numpy()
    both = np.broadcast_to(a & b, A.shape)
    np.testing.assert_array_equal(y[both], function(A, B)[both])
    np.testing.assert_array_equal(y[np.broadcast_to(a & ~b, A.shape)], A[np.broadcast_to(a & ~b, A.shape)])
    np.testing.assert_array_equal(y[np.broadcast_to(b & ~a, A.shape)], B[np.broadcast_to(b & ~a, A.shape)])
    one = merge([masked(A, MASK_A), masked(B, None)]).numpy()
    np.testing.assert_array_equal(one, np.where(a, function(A, B), B))
    three = merge([masked(A, MASK_A), masked(B, MASK_B), masked(A + 1.0, MASK_B)]).numpy()
    counted = np.where(a & b, function(function(A, B), A + 1.0), np.where(a, A, function(B, A + 1.0)))
    np.testing.assert_array_equal(three[np.broadcast_to(a | b, A.shape)], counted[np.broadcast_to(a | b, A.shape)])


def test_masks_of_concatenated_features_and_steps():
    ones = [[True] * 3] * 2
    features, steps = layers.Concatenate(), layers.Concatenate(axis=1)
    assert mask_of(features([masked(A, MASK_A), masked(B, MASK_B)])) == EITHER
    assert mask_of(features([masked(A, MASK_A), masked(B, None)])) == ones
    assert mask_of(features([masked(A, None), masked(B, None)])) is None
    joined = [a + b for a, b in zip(MASK_A, MASK_B, strict=True)]
    assert mask_of(steps([masked(A, MASK_A), masked(B, MASK_B)])) == joined
    assert mask_of(steps([masked(A, MASK_A), masked(B, None)])) == [a + [True] * 3 for a in MASK_A]
    images = [np.zeros((2, 3, 2, 2), "float32")] * 2
    assert mask_of(steps([masked(images[0], MASK_A), masked(images[1], MASK_B)])) == joined
    assert mask_of(layers.Dot(axes=2)([masked(A, MASK_A), masked(B, MASK_B)])) is None


def test_dot_as_einsum():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 3, 4, 5)), random.normal(size=(2, 4, 6, 5))
    for axes, text in (((3, 3), "bije,bkle->bijkl"), ((2, 1), "bjie,bikl->bjekl")):
        found = layers.Dot(axes=axes)([tg.tensor(x), tg.tensor(y)]).numpy()
        np.testing.assert_allclose(found, np.einsum(text, x, y), rtol=1e-12)
    u, v = random.normal(size=(2, 4)), random.normal(size=(2, 4))
    cosines = layers.Dot(axes=1, normalize=True)([tg.tensor(u), tg.tensor(v)]).numpy()
    expected = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    np.testing.assert_allclose(cosines[:, 0], expected, rtol=1e-12)


def test_a_model_of_two_branches():
    a, b = layers.Input((3,)), layers.Input((3,))
    left, right = layers.Dense(4)(a), layers.Dense(4)(b)
    joined = layers.Concatenate()([layers.Add()([left, right]), layers.Multiply()([left, right])])
    assert joined.shape == (None, 8)
    model = models.Model([a, b], layers.Dense(1)(joined))
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    model.compile(optimizer=tg.optimizers.Adam(0.05), loss="mse")
    history = model.fit([x, x[::-1].copy()], x[:, :1] * x[::-1, 1:2], epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]


def test_symbols_of_other_shapes_raise_at_once():
    with pytest.raises(
        ValueError, match=r"Add: expected shapes that are equal, or 1 where not, received \(2, 3\), \(2, 4\)"
    ):
        layers.Add()([layers.Input((3,)), layers.Input((4,))])
    assert layers.Add()([layers.Input((None, 4)), layers.Input((1, 4))]).shape == (None, None, 4)


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: layers.Dot(axes=0), ValueError, "Dot: expected axes other than that of the batch, received 0"),
    (lambda: layers.Dot(axes=(1, 2, 3)), TypeError, "Dot: expected axes to be an integer or two of them, received (1, 2, 3)"),
    (lambda: layers.Dot(axes="1"), TypeError, "Dot: expected axes to be an integer or two of them, received '1'"),
    (lambda: layers.Dot(axes=3)([tg.zeros((2, 3)), tg.zeros((2, 3))]), ValueError, "Dot: expected an axis from -2 to 1, received 3"),
    (lambda: layers.Dot(axes=-2)([tg.zeros((2, 3)), tg.zeros((2, 3))]), ValueError, "which are not the batch"),
    (lambda: layers.Concatenate(axis=1.0), TypeError, "Concatenate: expected axis to be an integer, received 1.0"),
    (lambda: layers.Concatenate(axis=2)([tg.zeros((2, 3))]), ValueError, "Concatenate: expected an axis from -2 to 1, received 2"),
])  # fmt: skip
def test_bad_input(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
