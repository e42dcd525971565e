"""Arguments of layers: flags, and that what stands at a position means what it does in Keras."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

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
