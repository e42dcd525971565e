"""Arguments of layers: flags, and that what stands at a position means what it does in Keras."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def own_arguments():
    """For each layer of Keras: its name, our positional arguments, and those of Keras."""
    with np.load(Path(__file__).with_name("golden") / "keras.npz") as file:
        theirs = json.loads(str(file["arguments"]))
    found = []
    for name, known in theirs.items():
        signature = inspect.signature(getattr(layers, name).__init__)
        if "self" in signature.parameters and getattr(layers, name).__init__ is not layers.Layer.__init__:
            ours = [p.name for p in list(signature.parameters.values())[1:] if p.kind is POSITIONAL]
            found.append(pytest.param(name, ours, list(known), id=name))
    return found


@pytest.mark.parametrize(("name", "ours", "theirs"), own_arguments())
def test_what_stands_at_a_position_is_what_keras_has_there(name, ours, theirs):
    assert ours == theirs[: len(ours)], name


CALLS = [
    lambda: layers.Embedding(10, 4, "uniform"),
    lambda: layers.GlobalMaxPooling2D("channels_first"),
    lambda: layers.Flatten("channels_first"),
    lambda: layers.Dense(3, "relu", True, "zeros"),
    lambda: layers.Conv2D(3, 3, 1, "same", "channels_last"),
    lambda: layers.LSTM(3, "tanh", "sigmoid", True, "zeros"),
]


@pytest.mark.parametrize("call", CALLS)
def test_positional_arguments_that_only_keras_has_are_refused(call):
    with pytest.raises(TypeError, match="positional argument"):
        call()


FLAGS = [
    (layers.Dense, (3,), "use_bias"),
    (layers.Conv2D, (3, 3), "use_bias"),
    (layers.SimpleRNNCell, (3,), "use_bias"),
    (layers.LSTMCell, (3,), "unit_forget_bias"),
    (layers.GRUCell, (3,), "reset_after"),
    (layers.LSTM, (3,), "unit_forget_bias"),
    *((layers.GRU, (3,), name) for name in ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")),
    (layers.GRU, (3,), "zero_output_for_mask"),
    (layers.Dot, (1,), "normalize"),
    (layers.GlobalAveragePooling1D, (), "keepdims"),
    (layers.Resizing, (2, 2), "crop_to_aspect_ratio"),
    (layers.Resizing, (2, 2), "pad_to_aspect_ratio"),
    (layers.StringLookup, (), "pad_to_max_tokens"),
    (layers.StringLookup, (), "invert"),
    (layers.IntegerLookup, (), "invert"),
    (layers.TextVectorization, (), "pad_to_max_tokens"),
    (layers.Normalization, (), "invert"),
    (layers.MultiHeadAttention, (2, 2), "use_bias"),
    (layers.MultiHeadAttention, (2, 2), "use_gate"),
    (layers.Attention, (), "use_scale"),
    (layers.BatchNormalization, (), "center"),
    (layers.LayerNormalization, (), "scale"),
    (layers.TransformerEncoderBlock, (4, 2), "normalize_first"),
    (layers.Embedding, (4, 2), "mask_zero"),
]


@pytest.mark.parametrize(("kind", "args", "flag"), FLAGS, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("value", ["false", 1, None])
def test_flags_are_true_or_false(kind, args, flag, value):
    with pytest.raises(TypeError, match=f"{kind.__name__}.*: expected {flag} to be True or False, received {value!r}"):
        kind(*args, **{flag: value})


def test_flags_of_numpy():
    assert layers.Dense(3, use_bias=np.False_).use_bias is False


INTEGERS = [
    (lambda: layers.Permute(1), "Permute: expected dims to be integers, received 1"),
    (lambda: layers.Permute((1.0, 2.0)), r"Permute: expected dims to be integers, received \(1.0, 2.0\)"),
    (lambda: layers.Reshape(5), "Reshape: expected target_shape to be integers, received 5"),
    (lambda: layers.Reshape("ab"), "Reshape: expected target_shape to be integers, received 'ab'"),
    (lambda: layers.PReLU(shared_axes=1.5), "PReLU: expected each of shared_axes to be an integer"),
    (lambda: layers.LayerNormalization(axis=[]), "LayerNormalization: expected axis to be an integer or a list"),
    (lambda: layers.LayerNormalization(axis=True), "LayerNormalization: expected axis to be an integer or a list"),
    (lambda: layers.Softmax(axis=1.0), "Softmax: expected axis to be an integer or a list"),
]


@pytest.mark.parametrize(("call", "text"), INTEGERS)
def test_what_are_no_integers(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_integers_of_numpy():
    x, one = tg.tensor(np.arange(6.0).reshape(1, 2, 3)), np.int64(1)
    for kind in (layers.LayerNormalization, layers.Softmax, layers.UnitNormalization, layers.BatchNormalization):
        np.testing.assert_array_equal(kind(axis=one)(x).detach().numpy(), kind(axis=1)(x).detach().numpy())
        assert json.dumps(kind(axis=one).get_config())
    assert layers.Permute(np.array([2, 1]))(x).shape == (1, 3, 2)
    assert layers.Concatenate(one)([x, x]).shape == (1, 4, 3)
    assert layers.Dot(one)([x, x]).shape == (1, 3, 3)
    assert layers.PReLU(shared_axes=one).shared_axes == [1]
    assert layers.Softmax(axis=np.array([1, 2]))(x).sum().item() == pytest.approx(1.0)


def test_flatten_has_a_batch_axis():
    with pytest.raises(tg.ShapeError, match=r"Flatten: expected inputs of shape \(batch, ...\), received \(\)"):
        layers.Flatten()(tg.tensor(1.0))


def test_what_a_lambda_returns():
    with pytest.raises(TypeError, match="Lambda: expected function to return a tensor, received None"):
        layers.Lambda(lambda x: None)(tg.ones((2, 3)))
    with pytest.raises(
        TypeError, match=r"Lambda: expected one tensor, for there is output_shape \(3, 4\), received a list"
    ):
        layers.Lambda(lambda x: [x, x], output_shape=(3, 4))(tg.ones((2, 3)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 1e19, 0.5])
def test_ids_that_are_no_integers(number):
    with pytest.raises(ValueError, match="Embedding: expected ids that are whole"):
        layers.Embedding(3, 2)([[number]])


def test_dropout_of_everything():
    assert layers.Dropout(1.0)(tg.ones((2, 3)), training=True).tolist() == [[0.0] * 3] * 2
    assert layers.Dropout(1.0)(tg.ones((2, 3))).tolist() == [[1.0] * 3] * 2
