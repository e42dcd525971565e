"""Masks given in a call: refused unless they are booleans of the right shape; lists and arrays are converted."""

import warnings

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers.base import mask_of

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
MASK = [[True, True, False], [True, False, False]]
TAKERS = {
    "normalization": lambda x, mask: layers.BatchNormalization()(x, mask=mask, training=True),
    "recurrent": lambda x, mask: layers.LSTM(2, kernel_initializer="ones", recurrent_initializer="ones")(x, mask=mask),
    "pooling": lambda x, mask: layers.GlobalAveragePooling1D()(x, mask=mask),
    "softmax": lambda x, mask: layers.Softmax()(x[..., 0], mask=mask),
    "bidirectional": lambda x, mask: layers.Bidirectional(
        layers.SimpleRNN(2, kernel_initializer="ones", recurrent_initializer="ones")
    )(x, mask=mask),
    "attention": lambda x, mask: layers.Attention()([x, x], mask=[None, mask]),
    "attention of masked queries": lambda x, mask: layers.Attention()([x, x], mask=[mask, None]),
    **{
        f"heads' {name}": lambda x, mask, name=name: layers.MultiHeadAttention(2, 2, kernel_initializer="ones")(
            x, x, x, **{name: mask}
        )
        for name in ("query_mask", "value_mask", "key_mask")
    },
}
EACH = pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in TAKERS.items()])


@EACH
def test_lists_arrays_and_integers_are_masks_too(call):
    expected = call(tg.tensor(X), tg.tensor(MASK)).detach().numpy()
    assert (expected != call(tg.tensor(X), tg.ones((2, 3), "bool")).detach().numpy()).any()
    for mask in (MASK, np.array(MASK), np.array(MASK, "int32") * 2, tg.tensor(MASK).astype("int64")):
        np.testing.assert_array_equal(call(tg.tensor(X), mask).detach().numpy(), expected)


@EACH
@pytest.mark.parametrize("shape", [(1, 4), (2, 2), (3, 3), (2, 3, 1, 1, 1)])
def test_masks_of_another_shape(call, shape):
    with pytest.raises(ShapeError, match=r"mask (of shape \(2, 3\)|that broadcasts to \(2, 3\)), received"):
        call(tg.tensor(X), np.ones(shape, bool))


@EACH
def test_masks_of_floats(call):
    with pytest.raises(TypeError, match="mask of booleans, received float32"):
        call(tg.tensor(X), np.ones((2, 3), "float32"))


@pytest.mark.parametrize("name", ["query_mask", "value_mask", "key_mask"])
def test_a_mask_of_one_row_does_not_count_for_all(name):
    with pytest.raises(ShapeError, match=rf"{name} of shape \(2, 3\), received \(1, 3\)"):
        layers.MultiHeadAttention(2, 2)(X, X, X, **{name: MASK[:1]})


@pytest.mark.parametrize("mask", [MASK, np.array(MASK, "int32")])
def test_what_is_passed_on_is_a_mask(mask):
    for layer in (
        layers.BatchNormalization(),
        layers.GRU(2, return_sequences=True),
        layers.Bidirectional(layers.GRU(2, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(2)),
        layers.Softmax(),
    ):
        found = mask_of(layer(X[..., 0] if type(layer) is layers.Softmax else X, mask=mask))
        assert isinstance(found, tg.Tensor)
        assert found.tolist() == MASK


def test_what_attention_passes_on_is_a_mask():
    y = layers.MultiHeadAttention(2, 2)(X, X, query_mask=np.array(MASK, "int32"))
    z = layers.Attention()([X, X], mask=[MASK, None])
    for found in (mask_of(y), mask_of(z)):
        assert isinstance(found, tg.Tensor)
        assert found.tolist() == MASK


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 1, 3), (3,), (1, 2, 1, 3), (3, 1), (2, 2, 3, 3)])
def test_attention_masks_broadcast(shape):
    mask = np.random.default_rng(1).random(shape) > 0.3
    layer = layers.MultiHeadAttention(2, 2)
    whole = np.broadcast_to(mask[:, None] if len(shape) == 3 else mask, (2, 2, 3, 3))
    np.testing.assert_array_equal(
        layer(X, X, attention_mask=mask).detach().numpy(), layer(X, X, attention_mask=whole).detach().numpy()
    )


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 2, 3), (3, 1, 3, 3), (2, 3, 3, 3), (1, 2, 2, 3, 3), (4, 3)])
def test_attention_masks_that_do_not_fit(shape):
    with pytest.raises(ShapeError, match="expected attention_mask that broadcasts to"):
        layers.MultiHeadAttention(2, 2)(X, X, attention_mask=np.ones(shape, bool))


def test_time_distributed_checks_the_mask():
    layer = layers.TimeDistributed(layers.Softmax())
    expected = np.where(MASK, 0.5, 0.0) + np.where(MASK, [[0.0], [0.5]], 0.0)
    x, mask = np.zeros((2, 1, 3), "float32"), np.array(MASK)[:, None]
    np.testing.assert_allclose(layer(x, mask=mask).numpy()[:, 0], expected)
    with pytest.raises(ShapeError, match=r"mask of shape \(2, 1, 3\), received \(1, 1, 3\)"):
        layer(x, mask=mask[:1])
    with pytest.raises(TypeError, match="mask of booleans, received float64"):
        layer(x, mask=mask * 1.0)


def test_a_masked_softmax_of_float16():
    with warnings.catch_warnings(action="error"):
        y = layers.Softmax()(tg.tensor([[1.0, 1.0, 2.0]], dtype="float16"), mask=[[True, True, False]])
    assert y.tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("layer", [layers.Attention(dropout=0.5), layers.AdditiveAttention(dropout=0.5)])
def test_scores_of_attention_are_those_after_dropout(layer):
    y, scores = layer([X, X], training=True, return_attention_scores=True)
    assert (scores.detach().numpy() == 0.0).any()
    np.testing.assert_allclose(y.detach().numpy(), scores.detach().numpy() @ X, rtol=1e-5, atol=1e-6)
