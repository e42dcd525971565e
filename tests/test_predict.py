"""Predictions: which are recorded, and that a replay gives what a call of the model does."""

import threading

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.data.arrays import is_finite
from tinygrad_edu.layers import BatchNormalization, Dense, Dropout, Input, TextVectorization
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.models.trainer import MANY
from tinygrad_edu.state import Switch

X = np.random.default_rng(0).standard_normal((2 * MANY + 1, 4)).astype(np.float32)


CALLS = []


class Counting(Model):
    """Notes when Python runs it."""

    def __init__(self, layer=None):
        super().__init__()
        self.layer = layer or Sequential([Dense(8, activation="tanh"), BatchNormalization(), Dropout(0.5), Dense(3)])

    def call(self, x):
        CALLS.append(tuple(x.shape))
        return self.layer(x)


def called(model, x):
    with tg.no_grad():
        return model(tg.tensor(x), training=False).numpy()


def count(function, *args, **keywords):
    """How often Python ran a model meanwhile, and what the function returned."""
    before = len(CALLS)
    result = function(*args, **keywords)
    return len(CALLS) - before, result


@pytest.fixture(name="model")
def _model():
    tg.seed(0)
    model = Counting()
    called(model, X[:1])  # builds it
    return model


def test_a_batch_is_recorded_once_for_each_shape(model):
    first = model.predict_on_batch(X[:5])
    times, second = count(model.predict_on_batch, X[:5])
    assert times == 0
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, called(model, X[:5]), rtol=1e-5, atol=1e-6)
    times, other = count(model.predict_on_batch, X[:7])
    assert times == 1
    assert other.shape == (7, 3)
    assert count(model.predict_on_batch, X[5:10])[0] == 0


def test_results_are_the_callers(model):
    first = model.predict_on_batch(X[:5])
    kept = first.copy()
    model.predict_on_batch(X[5:10])
    np.testing.assert_array_equal(first, kept)
    first[...] = 0
    np.testing.assert_array_equal(model.predict_on_batch(X[:5]), kept)


def test_replays_use_the_weights_of_the_moment(model):
    before = model.predict_on_batch(X[:5])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((len(X), 3)), verbose=0)
    after = model.predict_on_batch(X[:5])
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, called(model, X[:5]), rtol=1e-5, atol=1e-6)
    model.layer.layers[-1].bias.assign_(np.full(3, 7.0))
    np.testing.assert_allclose(model.predict_on_batch(X[:5]), called(model, X[:5]), rtol=1e-5, atol=1e-6)
    model.load_state_dict(model.state_dict())
    np.testing.assert_allclose(model.predict_on_batch(X[:5]), called(model, X[:5]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "python"),
    [(2 * MANY, 1), (2 * MANY + 1, 2), (2 * MANY - 1, 2), (2 * MANY - 2, MANY - 1), (3, 2), (1, 1)],
)
def test_many_batches_are_recorded_but_for_a_smaller_last_one(model, rows, python):
    times, first = count(model.predict, X[:rows], batch_size=2)
    assert times == python
    np.testing.assert_allclose(first, called(model, X[:rows]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first, model.predict(X[:rows], batch_size=2))


@pytest.mark.parametrize(("jit", "rows", "python"), [(True, 2, 0), (False, 2 * MANY, MANY)])
def test_compile_says_whether_to_record(model, jit, rows, python):
    model.compile("sgd", "mse", jit=jit)
    model.predict(X[:rows], batch_size=2)
    assert count(model.predict, X[:rows], batch_size=2)[0] == python
    assert count(model.predict_on_batch, X[:2])[0] == (jit is False)


def test_streams_are_recorded(model):
    times, found = count(model.predict, (X[i : i + 2] for i in range(0, 10, 2)))
    assert times == 1
    np.testing.assert_allclose(found, called(model, X[:10]), rtol=1e-5, atol=1e-6)


def test_bad_inputs_are_refused_after_a_recording_too(model):
    model.predict_on_batch(X[:2])
    for bad in (np.nan, np.inf):
        x = X[:2].copy()
        x[1, 2] = bad
        with pytest.raises(ValueError, match=r"x of finite numbers, received NaN or inf in 1 of 2 rows"):
            model.predict_on_batch(x)
    with pytest.raises(tg.errors.ShapeError, match="expected 4 input features"):
        model.predict_on_batch(X[:2, :3])


def test_modes_do_not_matter(model):
    first = model.predict_on_batch(X[:2])
    for mode in (tg.no_grad(), Switch("training", True)):
        with mode:
            times, second = count(model.predict_on_batch, X[:2])
        assert times == 0
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("jit", [True, False])
def test_refused_inputs_change_nothing(jit):
    model = Sequential([Input(batch_shape=(2, 3, 4)), tg.layers.SimpleRNN(5, stateful=True)])
    model.compile("sgd", "mse", jit=jit)
    x = X[:6].reshape(2, 3, 4)
    model.predict_on_batch(x)
    before, generator = model.layers[0].states[0].numpy().copy(), tg.backend.default_generator.state
    for _ in range(2):
        with pytest.raises(ValueError, match="predict_on_batch: expected x of finite numbers"):
            model.predict_on_batch(np.where(x == x[1, 1, 1], np.inf, x))
    np.testing.assert_array_equal(model.layers[0].states[0].numpy(), before)
    assert tg.backend.default_generator.state == generator
    model.predict_on_batch(x)
    assert np.abs(model.layers[0].states[0].numpy() - before).max() > 0


def test_ids_are_looked_at_each_time():
    x = Input((3,), dtype="int64")
    model = Model(x, tg.layers.Embedding(5, 2, name="table")(x[:, 1:]))
    ids = np.array([[9, 4, 0], [-1, 2, 1]])
    first = model.predict_on_batch(ids)
    (plan,) = model._steps["predict"].plans
    for wrong in (5, -1, 2**40):
        with pytest.raises(IndexError, match=rf"Embedding 'table'.*indices from 0 to 4, received {wrong}"):
            model.predict_on_batch(np.where(ids == 2, wrong, ids))
    np.testing.assert_array_equal(model.predict_on_batch(ids), first)
    assert model._steps["predict"].plans == [plan]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_large_numbers_are_finite(dtype):
    largest = np.finfo(dtype).max
    for x in (np.full((3, 4), largest), np.full((3, 4), -largest)[:, ::2], np.zeros((0, 3), dtype)):
        assert is_finite(x.astype(dtype))
    for bad in (np.nan, np.inf, -np.inf):
        x = np.full((3, 4), largest, dtype)
        x[1, 2] = bad
        assert not is_finite(x)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "bool"])
def test_other_dtypes_are_cast_as_before(model, dtype):
    x = (4 * X[:2]).astype(dtype)
    model.predict_on_batch(x.astype(np.float32))
    np.testing.assert_allclose(model.predict_on_batch(x), called(model, x.astype(np.float32)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "int64", "bool"])
def test_other_dtypes_are_replayed_too(model, dtype):
    x = np.abs(X[:5] * 3).astype(dtype)
    first = model.predict_on_batch(x)
    times, again = count(model.predict_on_batch, x)
    assert times == 0
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, model.predict_on_batch(x.astype("float32")))
    if dtype == "float64":
        for bad in (np.nan, np.inf, 1e300):
            with pytest.raises(ValueError, match=r"predict_on_batch: expected x "):
                model.predict_on_batch(np.where(x == x.max(), bad, x))
    np.testing.assert_array_equal(model.predict_on_batch(x), first)


def test_strides_do_not_matter(model):
    x = np.asfortranarray(X[:6])
    for part in (x, X[:12:2], X[5::-1]):
        for _ in range(2):
            np.testing.assert_allclose(model.predict_on_batch(part), called(model, part), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_recorded_runs_without():
    class Branching(Model):
        def call(self, x):
            return x if x.sum() > 0 else -x

    model = Branching()
    with pytest.warns(UserWarning, match="runs without jit: .*truth value"):
        np.testing.assert_array_equal(model.predict_on_batch(-np.ones((2, 3))), np.ones((2, 3)))
    np.testing.assert_array_equal(model.predict_on_batch(np.ones((2, 3))), np.ones((2, 3)))


def test_a_model_is_built_by_its_first_batch():
    model = Sequential([Dense(3), Sequential([Dense(2)])])
    x = np.ones((2, 4), "float32")
    first, again, replayed = (model.predict_on_batch(x) for _ in range(3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, replayed)
    assert model._steps["predict"].plans


def test_several_inputs_and_outputs():
    a, b = Input((4,)), Input((2,))
    model = Model([a, b], {"sum": Dense(3)(a), "rest": Dense(1)(b)})
    inputs = [X[:5], X[:5, :2]]
    first = model.predict_on_batch(inputs)
    assert {name: y.shape for name, y in first.items()} == {"sum": (5, 3), "rest": (5, 1)}
    for name, y in model.predict_on_batch(inputs).items():
        np.testing.assert_array_equal(y, first[name])


def test_texts_are_looked_up_each_time():
    texts = np.array([["red car"], ["blue"]], dtype=object)
    lookup = TextVectorization(output_sequence_length=2)
    lookup.adapt(texts)
    model = Sequential([lookup, tg.layers.Embedding(8, 3)])
    first = model.predict_on_batch(texts)
    np.testing.assert_array_equal(model.predict_on_batch(texts), first)
    ids = lookup(texts).data
    assert ids.shape == (2, 2)
    with pytest.raises((TypeError, ValueError)):
        model.predict_on_batch(ids)


def test_predictions_inside_a_jitted_function_are_no_constants(model):
    for _ in range(2):
        model.predict_on_batch(X[:3])
    with pytest.raises(tg.TraceError, match="NumPy"):
        tg.jit(lambda t: t + model.predict_on_batch(X[:3]))(tg.zeros((3, 3)))


def test_threads_may_predict_at_once(model):
    expected = [model.predict_on_batch(X[i : i + 4]) for i in range(8)]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(model.predict_on_batch(X[i : i + 4]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_that_predict_first_record_once(model):
    start, found = threading.Barrier(8), []

    def work():
        start.wait()
        found.append(model.predict_on_batch(X[:4]))

    threads = [threading.Thread(target=work) for _ in range(8)]
    times, _ = count(lambda: [*map(threading.Thread.start, threads), *map(threading.Thread.join, threads)])
    assert times == 1
    for y in found[1:]:
        np.testing.assert_array_equal(y, found[0])
