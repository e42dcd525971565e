"""keras.utils: numbers recorded from Keras 3.15.1 as literals, and what must be refused."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import random

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import utils
from tinygrad_edu.errors import ShapeError

RAGGED = [[1], [2, 3], [4, 5, 6], []]


@pytest.mark.parametrize(("x", "classes", "expected"), [
    ([[0], [2]], None, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    ([[0, 1], [1, 0]], None, [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]),
    (1, 3, [0.0, 1.0, 0.0]),
    (np.array([1.0, 0.0]), 2, [[0.0, 1.0], [1.0, 0.0]]),
    ([True, False], None, [[0.0, 1.0], [1.0, 0.0]]),
])  # fmt: skip
def test_to_categorical(x, classes, expected):
    found = utils.to_categorical(x, classes)
    assert found.tolist() == expected
    assert found.dtype == "float64"
    assert isinstance(found, np.ndarray)
    assert tg.utils.to_categorical(tg.tensor(x), num_classes=classes).tolist() == expected


def test_normalize():
    np.testing.assert_allclose(utils.normalize(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(np.array([[3.0, -4.0]]), order=1), [[3 / 7, -4 / 7]])
    np.testing.assert_allclose(utils.normalize(np.array([[3.0, -4.0]]), order=np.inf), [[0.75, -1.0]])
    x = np.array([[3.0, 4.0], [1.0, 1.0]])
    np.testing.assert_allclose(utils.normalize(x, axis=0), x / np.linalg.norm(x, axis=0))
    np.testing.assert_allclose(utils.normalize(x, 1, 3), x / np.linalg.norm(x, 3, axis=1, keepdims=True))
    assert utils.normalize(x.astype("float32")).dtype == "float32"
    assert isinstance(utils.normalize(tg.tensor(x)), tg.Tensor)
    assert isinstance(utils.normalize([[3.0, 4.0]]), tg.Tensor)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool"])
@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_normalize_integers(dtype, order):
    x = np.array([[200, 100], [30, 40]]).astype(dtype)
    wanted = x / np.linalg.norm(x.astype("float64"), order, axis=-1, keepdims=True)
    np.testing.assert_allclose(utils.normalize(x, order=order), wanted, rtol=1e-12)
    np.testing.assert_allclose(utils.normalize(tg.tensor(x), order=order).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize(("sequences", "options", "expected"), [
    (RAGGED, {}, [[0, 0, 1], [0, 2, 3], [4, 5, 6], [0, 0, 0]]),
    (RAGGED, {"maxlen": 2}, [[0, 1], [2, 3], [5, 6], [0, 0]]),
    (RAGGED, {"maxlen": 2, "truncating": "post", "padding": "post", "value": 9}, [[1, 9], [2, 3], [4, 5], [9, 9]]),
    (RAGGED, {"dtype": "float32", "value": 0.5}, [[0.5, 0.5, 1.0], [0.5, 2.0, 3.0], [4.0, 5.0, 6.0], [0.5, 0.5, 0.5]]),
    ([[[1, 2]], [[3, 4], [5, 6]]], {}, [[[0, 0], [1, 2]], [[3, 4], [5, 6]]]),
    ([[1.5]], {}, [[1]]),
    ([[], []], {}, [[], []]),
    ([], {}, []),
])  # fmt: skip
def test_pad_sequences(sequences, options, expected):
    found = utils.pad_sequences(sequences, **options)
    assert found.tolist() == expected
    assert found.dtype == options.get("dtype", "int32")


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: utils.to_categorical([0, 3], 3), ValueError, "to_categorical: expected class ids from 0 to 2, received 3"),
    (lambda: utils.to_categorical([-1]), ValueError, "to_categorical: expected num_classes to be an integer of at least 1"),
    (lambda: utils.to_categorical([0, -1]), ValueError, "to_categorical: expected class ids from 0 to 0, received -1"),
    (lambda: utils.to_categorical([0.5]), ValueError, "to_categorical: expected whole class ids, received [0.5]"),
    (lambda: utils.to_categorical(["a"]), ValueError, "to_categorical: expected whole class ids, received ['a']"),
    (lambda: utils.to_categorical([0], 1.5), TypeError, "expected num_classes to be an integer"),
    (lambda: utils.normalize(np.ones(2), order=0), ValueError, "normalize: expected order to be a number above 0, received 0"),
    (lambda: utils.pad_sequences([1, 2]), TypeError, "pad_sequences: expected a list of sequences, received 1"),
    (lambda: utils.pad_sequences(["ab"]), TypeError, "pad_sequences: expected a list of sequences, received 'ab'"),
    (lambda: utils.pad_sequences([[1]], padding="left"), ValueError, "pad_sequences: expected padding to be one of"),
    (lambda: utils.pad_sequences([[1]], truncating="left"), ValueError, "pad_sequences: expected truncating to be one of"),
    (lambda: utils.pad_sequences([[1]], maxlen=0), ValueError, "expected maxlen to be an integer of at least 1"),
    (lambda: utils.pad_sequences([[[1]], [[1, 2]]]), ShapeError, "expected steps of shape (1,), as in the first sequence"),
    (lambda: utils.set_random_seed(1.5), TypeError, "set_random_seed: expected seed to be an integer of at least 0"),
    (lambda: utils.set_random_seed(2**32), ValueError, "set_random_seed: expected seed to be below 2**32"),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_one_seed_for_all_generators():
    def draws():
        return random.random(), np.random.rand(), tg.uniform(()).item()  # noqa: NPY002

    utils.set_random_seed(5)
    first = draws()
    assert first[:2] == (0.6229016948897019, 0.22199317108973948)
    assert draws() != first
    utils.set_random_seed(5)
    assert draws() == first


def test_what_keras_has_at_the_top():
    import tinygrad_edu as keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert keras.Model(model.inputs, model.outputs).count_params() == 8


class Rows(utils.PyDataset):
    """As Keras programs have it."""

    def __init__(self, x, y, batch_size, **options):
        super().__init__(**options)
        self.x, self.y, self.batch_size, self.passes = x, y, batch_size, 0

    def __len__(self):
        return len(self.x) // self.batch_size

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.passes += 1


def test_py_dataset():
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    y = x.sum(axis=1)

    def fit(*data, **options):
        tg.seed(0)
        model = tg.models.Sequential([tg.layers.Input((3,)), tg.layers.Dense(1)])
        model.compile("sgd", "mse")
        history = model.fit(*data, epochs=2, shuffle=False, verbose=0, **options).history
        return history, model.predict(data[0], batch_size=options.get("batch_size"), verbose=0).tolist()

    data = Rows(x, y, 4)
    assert fit(data) == fit(x, y, batch_size=4)
    assert data.passes == 3
    assert [len(x) for x, y in data] == [4, 4, 4]
    with pytest.raises(TypeError, match="Rows: expected no options of PyDataset, received workers"):
        Rows(x, y, 4, workers=2)
    with pytest.raises(NotImplementedError, match="PyDataset defines no __getitem__"):
        utils.PyDataset()[0]
    assert not hasattr(utils, "Sequence")
