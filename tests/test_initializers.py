"""Constant of an array, and the names of initializers; their distributions are in test_layers.py."""

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import initializers
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.initializers import Constant
from tinygrad_edu.layers import Dense, Embedding, Input
from tinygrad_edu.models import Sequential, load_model

TABLE = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")


@pytest.mark.parametrize("given", [
    Constant(TABLE), TABLE, tg.tensor(TABLE), Constant(TABLE.tolist()), Constant(TABLE.astype("float64")),
    {"class_name": "Constant", "config": {"value": TABLE.tolist()}},
])  # fmt: skip
def test_the_values_of_an_array(given):
    layer = Embedding(3, 2, embeddings_initializer=given)
    np.testing.assert_array_equal(layer([2, 0]).detach().numpy(), TABLE[[2, 0]])
    with tg.use_dtype("float64"):
        assert initializers.get(given)((3, 2)).dtype == "float64"


def test_it_is_a_copy():
    given = TABLE.copy()
    initializer = Constant(given)
    first, second = (Embedding(3, 2, embeddings_initializer=initializer) for _ in range(2))
    given[:] = 0.0
    first([0]), second([0])
    first.embeddings.assign_(1.0)
    np.testing.assert_array_equal(second.embeddings.detach().numpy(), TABLE)


@pytest.mark.parametrize("value", [
    TABLE, np.arange(6).reshape(3, 2), TABLE > 0, TABLE.astype("float64") / 3,
], ids=lambda value: value.dtype.name)  # fmt: skip
def test_saved_and_loaded(value, tmp_path):
    model = Sequential([Input((2,), dtype="int64"), Embedding(3, 2, embeddings_initializer=Constant(value)), Dense(1)])
    model.save(tmp_path / "m")
    initializer = load_model(tmp_path / "m").layers[0].embeddings_initializer
    np.testing.assert_array_equal(initializer.value, value)
    again = initializers.get(initializers.serialize(Constant(value)))
    np.testing.assert_array_equal(again((3, 2)).numpy(), value.astype("float32"))


def test_the_names_that_keras_has():
    kinds = {"zero": "Zeros", "zeros": "Zeros", "one": "Ones", "normal": "RandomNormal", "HeNormal": "HeNormal"}
    for name, kind in kinds.items():
        assert type(initializers.get(name)).__name__ == kind
    assert initializers.serialize(initializers.get("normal")) == {
        "name": "random_normal",
        "config": {"mean": 0.0, "stddev": 0.05},
    }
    assert isinstance(initializers.he_normal(seed=1), initializers.HeNormal)
    for name in initializers.INITIALIZERS.keys() - {"normal", "uniform", "one", "zero"}:
        assert getattr(initializers, name) is initializers.INITIALIZERS[name]


@pytest.mark.parametrize(("call", "kind", "text"), [
    (
        lambda: Dense(2, kernel_initializer=Constant(TABLE))(np.ones((1, 2))), ShapeError,
        "Dense: Constant: expected a weight of its values' shape, (3, 2), received (2, 2).",
    ),
    (lambda: Constant(np.array(["a"])), TypeError, "tensor: expected booleans, integers, or floats"),
    (lambda: Constant([[1.0], [1.0, 2.0]]), ValueError, "tensor: expected a number, or nested lists of equal lengths"),
    (lambda: Constant([1.0, float("nan")]), ValueError, "Constant: expected value of finite numbers, received nan."),
    (lambda: Constant(float("inf")), ValueError, "Constant: expected value to be a number that is finite, received in"),
    (lambda: Constant("a"), TypeError, "Constant: expected value to be a number that is finite, received 'a'."),
    (lambda: Constant(None), TypeError, "Constant: expected value to be a number that is finite, received None."),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.gpu
def test_on_cuda():
    with tg.use_device("cuda"):
        made = Constant(tg.tensor(TABLE))((3, 2))
    assert made.device.kind == "cuda"
    np.testing.assert_array_equal(made.to("cpu").numpy(), TABLE)
