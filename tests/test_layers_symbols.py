"""Symbols: shapes that a layer is found to have, what is held and what is not; penalties, masks and arguments of the
base class."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import Dense, Input, Lambda


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


SHAPES = {
    "the batch axis goes": (lambda: Input((3,)).sum(axis=0), (3,)),
    "the batch axis moves": (lambda: Input((3,)).transpose(), (3, None)),
    "an axis of one goes": (lambda: Input((1, 3)).squeeze(), (None, 3)),
    "a fixed batch moves": (lambda: Input((3,), batch_size=4).transpose(), (3, 4)),
    "a number": (lambda: Input((3,)).sum(), ()),
    "a fixed and an open batch": (lambda: layers.Add()([Input((3,), batch_size=4), Input((3,))]), (4, 3)),
    "at most so long": (lambda: layers.PositionEmbedding(sequence_length=8)(Input((None, 2))), (None, None, 2)),
    "at least so long": (lambda: layers.Conv1D(2, 1000)(Input((None, 3))), (None, None, 2)),
    "a multiple of seven": (lambda: layers.Reshape((-1, 7))(Input((None, 3))), (None, None, 7)),
    "as long as another": (lambda: layers.Concatenate()([Input((None, 3)), Input((5, 3))]), (None, 5, 6)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_are_found(name):
    make, shape = SHAPES[name]
    assert make().shape == shape


def test_the_first_failure_is_told():
    dense = Dense(2)
    dense(tg.zeros((1, 3)))
    with pytest.raises(ShapeError, match=r"Dense: expected 3 input features, received shape \(2, 12, 4\)"):
        dense(Input((None, 4)))


@pytest.mark.parametrize("use", [list, max, lambda x: sum(x), lambda x: np.asarray(x), lambda x: tg.exp(x),
                                 lambda x: tg.concatenate([x, x]), lambda x: np.exp(x), bool])  # fmt: skip
def test_what_a_symbol_cannot_do(use):
    with pytest.raises(TypeError) as caught:
        use(Input((3, 4)))
    assert "symbol" in str(caught.value).lower()


@pytest.mark.parametrize("inputs", [
    lambda: [Input((3,)), Input((3,))], lambda: (tg.ones((2, 3)),), lambda: [np.ones((2, 3))] * 2, lambda: {"a": Input((3,))},
])  # fmt: skip
def test_several_inputs_of_a_layer_that_takes_one(inputs):
    with pytest.raises(TypeError, match=r"Dense: expected one tensor, received a (list|tuple|dict) of"):
        Dense(2)(inputs())
    assert Dense(2)([np.ones(3), np.ones(3)]).shape == (2, 2)  # rows


def test_a_trial_leaves_no_trace():
    tg.seed(3)
    expected = tg.normal((2,)).tolist()
    tg.seed(3)
    Lambda(lambda x: x + tg.normal(x.shape) / (x - 0.5))(Input((3,)))  # and warns of nothing
    assert tg.normal((2,)).tolist() == expected


def test_models_are_freed_without_the_collector():
    def make():
        x = Input((3,))
        dense = Dense(2)
        model = models.Model(x, dense(x))
        model(tg.ones((1, 3)))
        return weakref.ref(model), weakref.ref(dense), weakref.ref(x)

    gc.collect()
    gc.disable()
    try:
        assert [reference() for reference in make()] == [None] * 3
    finally:
        gc.enable()


def test_calls_that_are_over_are_forgotten():
    dense, x = Dense(2), Input((3,))
    for _ in range(10):
        dense(x)
    kept = dense(x)
    assert len(dense.calls) == 1
    assert dense.output is kept


def test_copies_of_a_layer_know_none_of_its_calls():
    dense, x = Dense(2), Input((3,))
    y = dense(x)
    assert pickle.loads(pickle.dumps(dense)).kernel.tolist() == dense.kernel.tolist()
    with pytest.raises(ValueError, match="expected one call on symbols in a model, received 0"):
        _ = copy.deepcopy(dense).output
    model = copy.deepcopy(models.Model(x, y))
    assert model.layers[1].output is model.outputs[0]
    assert model.layers[1] is not dense


def test_outputs_that_nobody_kept(tmp_path):
    x = Input((4, 3))
    states = layers.LSTM(2, return_sequences=True, return_state=True)(x)
    last = states[2]
    del states
    gc.collect()
    model = models.Model(x, Dense(1)(last))
    value = model.predict(np.ones((2, 4, 3), "float32"))
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        models.load_model(tmp_path / "m.safetensors").predict(np.ones((2, 4, 3), "float32")), value
    )


def test_weights_by_keras_names():
    layer = layers.BatchNormalization()
    layer(tg.ones((2, 3)))
    assert [len(x) for x in (layer.variables, layer.trainable_variables, layer.non_trainable_weights)] == [4, 2, 2]
    layer.trainable = False
    assert [len(x) for x in (layer.variables, layer.trainable_variables, layer.non_trainable_weights)] == [4, 0, 4]


# Penalties


def test_frozen_weights_are_not_penalised_and_tied_ones_once():
    first, second = Dense(2, kernel_regularizer="l2"), Dense(2, kernel_regularizer="l2")
    model = models.Sequential([layers.Input((2,)), first, second])
    assert len(model.losses) == 2
    second.kernel = first.kernel
    assert len(model.losses) == 1
    model.trainable = False
    assert model.losses == []


def test_a_weight_of_ones_own_with_a_regularizer():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), "ones", regularizer=tg.regularizers.L1(0.5))

        def call(self, x):
            return x * self.factor

    layer = Scale()
    layer(tg.ones((1, 3)))
    assert [loss.item() for loss in layer.losses] == [1.5]
    assert [name for name, _ in layer.named_parameters()] == ["factor"]
    other = copy.deepcopy(layer)
    other.factor.assign_(np.full(3, 2.0))
    assert [loss.item() for loss in other.losses] == [3.0]


# Masks


def test_a_mask_stays_with_its_own_tensor():
    x = tg.ones((2, 3, 4))
    mask = tg.zeros((2, 3)) > 0
    y = Lambda(lambda v: v, mask=lambda v, m: mask)(x)
    assert y.mask is mask
    assert not hasattr(x, "mask")


def test_a_mask_by_keyword_is_passed_on():
    mask = tg.tensor([[True, False]])
    y = Dense(2)(tg.ones((1, 2, 3)), mask=mask)
    assert y.mask is mask


# Arguments


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: Input((3,), batch_shape=(2, 5)), ValueError, "Input: expected batch_shape alone"),
    (lambda: Dense(2, input_dim=3, input_shape=(4,)), ValueError, "Dense: expected the shape of an input once"),
    (lambda: Dense(2, input_shape=(5,))(tg.ones((2, 3))), ShapeError, "Dense: expected a batch of shape (None, 5), received shape (2, 3)"),
    (lambda: Dense(2, trainable="no"), TypeError, "Dense: expected trainable to be True or False, received 'no'"),
    (lambda: Dense(2, name=3), TypeError, "Dense: expected name to be a text, received 3"),
    (lambda: Dense(2).add_weight((2,), "ones", dtype="int64"), TypeError, "Dense: expected a floating dtype of what is trained"),
])  # fmt: skip
def test_wrong_arguments(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)


def test_shapes_of_layers_of_several_inputs():
    layer = layers.MultiHeadAttention(2, 2)
    assert layer.compute_output_shape((None, 3, 4), (None, 5, 4)) == (None, 3, 4)


def test_freezing_is_seen_under_jit():
    layer = layers.BatchNormalization(scale=False, center=False)
    x = tg.normal((8, 3)) * 3.0 + 5.0
    layer(x)
    step = tg.jit(lambda x: layer(x, training=True))
    step(x)
    layer.trainable = False
    np.testing.assert_allclose(step(x).numpy(), layer(x, training=True).numpy(), rtol=1e-6)


def test_texts_that_look_like_functions_are_texts(tmp_path):
    model = models.Sequential([layers.Input((2,)), Dense(2, name="custom:dense")])
    model.save(tmp_path / "m.safetensors")
    assert models.load_model(tmp_path / "m.safetensors").layers[0].name == "custom:dense"
