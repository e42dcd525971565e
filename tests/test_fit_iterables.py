"""fit, evaluate and predict on what yields batches: the same as on arrays, and what becomes of iterators."""

import gc
import weakref

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.callbacks import Callback
from tinygrad_edu.data import Dataset
from tinygrad_edu.jit import Jit
from tinygrad_edu.layers import LSTM, Dense, Dropout, Embedding, GlobalAveragePooling1D, Input
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.optimizers import SGD, Adam

RANDOM = np.random.default_rng(0)
N = 23
X = RANDOM.normal(size=(N, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype("float32")
W = RANDOM.uniform(size=N).astype("float32")
IDS = (X[:, 0] > 0).astype("int64") + (X[:, 1] > 0)


class Batches:
    """A new pass at each `iter`, in batches of 5; counts the passes that began and those that were closed."""

    def __init__(self, *arrays, size=5, length=True):
        self.arrays, self.size = arrays, size
        self.began = self.closed = 0
        if length:
            self.__class__ = WithLength

    def __iter__(self):
        self.began += 1
        try:
            for i in range(0, N, self.size):
                rows = slice(i, i + self.size)
                yield tg.tree.mapped(lambda a, rows=rows: a[rows], self.arrays)
        finally:
            self.closed += 1


class WithLength(Batches):
    def __len__(self):
        return -(-N // self.size)


class ByNumber:
    """As Keras's PyDataset."""

    def __init__(self, *arrays):
        self.batches, self.ends, self.got = list(Batches(*arrays)), 0, []

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        self.got.append(i)
        return self.batches[i]

    def on_epoch_end(self):
        self.ends += 1


def dense(jit=True, dropout=0.0):
    tg.seed(0)
    model = Sequential([Input((3,)), Dense(4, activation="tanh"), Dropout(dropout), Dense(1)])
    model.compile(Adam(0.01), "mse", metrics=["mae"], jit=jit)
    return model


def ended(model, *args, **options):
    """History, weights and the state of the optimizer after a fit."""
    history = model.fit(*args, verbose=0, **options).history
    return history, [w.tolist() for w in model.get_weights()], model.optimizer.iterations


FORMS = {
    "iterable": lambda *arrays: Batches(*arrays),
    "iterable of unknown length": lambda *arrays: Batches(*arrays, length=False),
    "list of batches as an iterator": lambda *arrays: iter(list(Batches(*arrays)) * 3),
    "generator": lambda *arrays: (batch for _ in range(3) for batch in Batches(*arrays)),
    "by number": lambda *arrays: ByNumber(*arrays),
    "lists": lambda *arrays: map(list, list(Batches(*arrays)) * 3),
    "tensors": lambda *arrays: (tg.tree.mapped(tg.tensor, batch) for _ in range(3) for batch in Batches(*arrays)),
}


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("arrays", [(X, Y), (X, Y, W)], ids=["x, y", "x, y, sample_weight"])
@pytest.mark.parametrize("form", FORMS)
def test_fit_as_with_arrays(form, arrays, jit):
    x, y, *weight = arrays
    known = ended(dense(jit), x, y, sample_weight=(weight or [None])[0], batch_size=5, epochs=3, shuffle=False)
    steps = {} if "iterable" in form or form == "by number" else {"steps_per_epoch": 5}
    assert ended(dense(jit), FORMS[form](*arrays), epochs=3, shuffle=False, **steps) == known


@pytest.mark.parametrize("form", FORMS)
def test_evaluate_and_predict_as_with_arrays(form):
    model = dense()
    steps = {} if "iterable" in form or form == "by number" else {"steps": 5}
    assert model.evaluate(FORMS[form](X, Y, W), **steps) == model.evaluate(X, Y, 5, sample_weight=W)
    np.testing.assert_array_equal(model.predict(FORMS[form](X, Y), **steps), model.predict(X, 5))


@pytest.mark.parametrize("jit", [True, False])
def test_validation_as_with_arrays(jit):
    known = ended(dense(jit), X, Y, batch_size=5, epochs=3, shuffle=False, validation_data=(X, Y, W))
    for data in (Batches(X, Y, W), ByNumber(X, Y, W)):
        options = {"shuffle": False, "epochs": 3, "validation_data": data}
        assert ended(dense(jit), Batches(X, Y), **options) == known
        assert ended(dense(jit), X, Y, batch_size=5, **options) == known


@pytest.mark.parametrize("targets", [IDS, np.eye(3)[IDS], IDS[:, None]])
def test_class_weight_as_with_arrays(targets):
    found = []
    for given in (((X, targets), {"batch_size": 5}), ((Batches(X, targets),), {})):
        tg.seed(0)
        model = Sequential([Input((3,)), Dense(3, activation="softmax")])
        model.compile(
            "sgd", "categorical_crossentropy" if targets.shape[-1] == 3 else "sparse_categorical_crossentropy"
        )
        found.append(ended(model, *given[0], epochs=2, shuffle=False, class_weight={1: 4.0, 2: 0.0}, **given[1]))
    assert found[0] == found[1]


def test_a_class_that_a_batch_lacks():
    tg.seed(0)
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    options = {"class_weight": {0: 2.0, 2: 3.0}, "shuffle": False}
    order = np.argsort(IDS)
    known = ended(dense(), X[order], IDS[order], batch_size=5, **options)
    assert ended(dense(), Batches(X[order], IDS[order]), **options) == known


@pytest.mark.parametrize("jit", [True, False])
def test_several_inputs_and_outputs(jit):
    def made():
        tg.seed(0)
        a, b = Input((2,), name="a"), Input((1,), name="b")
        hidden = Dense(3)(tg.layers.Concatenate()([a, b]))
        model = Model([a, b], {"one": Dense(1)(hidden), "two": Dense(3, activation="softmax")(hidden)})
        model.compile("adam", {"one": "mse", "two": "sparse_categorical_crossentropy"}, jit=jit)
        return model

    a, b, y = X[:, :2], X[:, 2:], {"one": Y, "two": IDS}
    known = ended(made(), [a, b], y, batch_size=5, epochs=2, shuffle=False)
    assert ended(made(), Batches((a, b), y), epochs=2) == known
    assert ended(made(), Batches({"b": b, "a": a}, y), epochs=2) == known
    found = made().predict(Batches((a, b)))
    for name, p in made().predict([a, b], 5).items():
        np.testing.assert_array_equal(found[name], p)


def test_x_alone():
    class Own(Sequential):
        def train_step(self, data):
            loss = tg.square(self(data) - 1.0).mean()
            self.optimizer.minimize(loss)
            return {"loss": loss}

    tg.seed(0)
    model = Own([Input((3,)), Dense(1)])
    model.compile(SGD(0.1))
    first = model.get_weights()
    known = ended(model, X, batch_size=5, epochs=2, shuffle=False)
    for form in (X[i : i + 5] for i in [0, 5, 10, 15, 20] * 2), ((X[i : i + 5],) for i in [0, 5, 10, 15, 20] * 2):
        model.set_weights(first)
        assert ended(model, form, epochs=2, steps_per_epoch=5)[:2] == known[:2]


def test_what_can_be_turned_into_arrays_is_no_iterable():
    import array
    import collections

    numbers = [1.0, 2.0, 3.0, 4.0]
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", "mse")
    known = model.evaluate(np.array(numbers), np.array(numbers))
    for form in (
        array.array("d", numbers),
        collections.deque(numbers),
        tuple(numbers),
        range(1, 5),
        memoryview(np.array(numbers)),
    ):
        assert model.evaluate(form, form) == known


def test_a_model_is_built_by_the_first_batch():
    tg.seed(0)
    model = Sequential([Dense(4), Dense(1)])
    model.compile("sgd", "mse")
    seen = []

    class Look(Callback):
        def on_train_begin(self, logs=None):
            seen.append((self.model.built, self.model.count_params(), self.params["steps"]))

    data = Batches(X, Y)
    model.fit(data, verbose=0, callbacks=Look())
    assert seen == [(True, 21, 5)]
    assert data.began == 1


# Lengths that differ


def sequences():
    """Ids in batches of one length each, and their targets."""
    random = np.random.default_rng(1)
    return [(random.integers(1, 7, size=(4, n)), random.normal(size=(4, 1))) for n in (3, 5, 3, 8, 5)]


@pytest.mark.parametrize("jit", [True, False])
def test_lengths_that_differ(jit):
    tg.seed(0)
    model = Sequential([Embedding(7, 3), LSTM(4), Dense(1)])
    model.compile(SGD(0.0), "mse", metrics=["mae"], jit=jit)
    history = model.fit(iter(sequences()), verbose=0).history
    errors = np.concatenate([model.predict(x) - y for x, y in sequences()])
    assert history["loss"] == [pytest.approx((errors**2).mean(), rel=1e-5)]
    assert history["mae"] == [pytest.approx(abs(errors).mean(), rel=1e-5)]


def test_more_lengths_than_recordings_do_not_thrash(monkeypatch):
    recorded, trace = [], Jit._trace
    monkeypatch.setattr(Jit, "_trace", lambda self, *given: (recorded.append(self.name), trace(self, *given))[1])
    tg.seed(0)
    model = Sequential([Embedding(7, 3), GlobalAveragePooling1D(), Dense(1)])
    model.compile(SGD(0.1), "mse")
    random = np.random.default_rng(1)
    data = [(random.integers(1, 7, size=(4, n)), random.normal(size=(4, 1))) for n in range(2, 14)]

    class Again:
        def __iter__(self):
            return iter(data)

    with pytest.warns(
        UserWarning,
        match="^Sequential fit: batches of more than 8 shapes; most of the others run without jit. Pad sequences",
    ) as caught:
        model.fit(Again(), epochs=3, verbose=0)
    assert len(caught) == 1
    assert recorded.count("Sequential fit") == 8
    tg.seed(0)
    same = Sequential([Embedding(7, 3), GlobalAveragePooling1D(), Dense(1)])
    same.compile(SGD(0.1), "mse", jit=False)
    same.fit(Again(), epochs=3, verbose=0)
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# What becomes of iterators


class Fail(Callback):
    def __init__(self, hook, error=KeyboardInterrupt):
        self.error, self.ends = error, 0
        setattr(self, hook, self.fail)

    def fail(self, *arguments):
        raise self.error

    def on_train_end(self, logs=None):
        self.ends += 1


@pytest.mark.parametrize("hook", ["on_train_begin", "on_train_batch_end", "on_epoch_end", "on_test_batch_end"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_passes_are_closed_when_training_fails(hook, error):
    model, data, held_out, fail = dense(), Batches(X, Y), Batches(X, Y), Fail(hook, error)
    with pytest.raises(error):
        model.fit(data, epochs=2, verbose=0, validation_data=held_out, callbacks=fail)
    assert data.began == data.closed == 1
    assert held_out.began == held_out.closed == int("train" not in hook)
    assert fail.ends == 0
    for call in (model.evaluate, model.predict):
        options = {"callbacks": Fail("on_test_batch_end" if call == model.evaluate else "on_predict_batch_end", error)}
        with pytest.raises(error):
            call(data, **options)
    assert data.began == data.closed == 3
    assert len(model.fit(data, verbose=0).history["loss"]) == 1  # it can be used


def test_passes_are_closed_when_training_ends():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    for options in ({}, {"steps_per_epoch": 2}, {"callbacks": Stop()}, {"callbacks": Stop(), "steps_per_epoch": 3}):
        data = Batches(X, Y)
        dense().fit(data, epochs=2, verbose=0, **options)
        assert data.began == data.closed
    model, data = dense(), Batches(X, Y)
    model.evaluate(data, steps=2)
    model.predict(data, steps=2)
    assert data.began == data.closed == 2


def test_a_bad_batch_closes_the_pass():
    data = Batches(X, np.where(np.arange(N) == 12, np.nan, Y[:, 0]))
    model = dense()
    with pytest.raises(ValueError, match=r"^fit, batch 2: expected y of finite numbers, received NaN or inf in 1 of 5"):
        model.fit(data, verbose=0)
    assert data.began == data.closed == 1
    assert model.optimizer.iterations == 2


def test_an_iterator_of_the_caller_goes_on_in_the_next_call():
    found = []
    for cuts in ([(4, 1)], [(2, 1), (2, 1)], [(1, 4)]):
        model, data = dense(), (batch for _ in range(9) for batch in Batches(X, Y))
        for steps, epochs in cuts:
            model.fit(data, steps_per_epoch=steps, epochs=epochs, verbose=0)
        assert next(data)[0].tolist() == X[20:].tolist()
        found.append([w.tolist() for w in model.get_weights()])
    assert found[0] == found[1] == found[2]


def test_an_error_of_the_generator_comes_through():
    def broken():
        yield X[:5], Y[:5]
        raise OSError("disk")

    model = dense()
    with pytest.raises(OSError, match="disk"):
        model.fit(broken(), verbose=0)
    assert model.optimizer.iterations == 1


def test_batches_by_number_are_shuffled():
    data = ByNumber(X, Y)
    dense().fit(data, epochs=2, verbose=0)
    assert len(data.got) == 10
    first, second = data.got[:5], data.got[5:]
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second
    assert data.ends == 2
    data.got.clear()
    dense().evaluate(data)
    assert data.got == [0, 1, 2, 3, 4]


class Endless:
    num_batches = None

    def __getitem__(self, i):
        return X[:5] + i, Y[:5]

    def on_epoch_end(self):
        raise AssertionError("there is none")


def test_batches_by_number_without_end():
    data = ((X[:5] + i, Y[:5]) for i in range(6))
    known = ended(dense(), data, epochs=2, steps_per_epoch=3)
    assert ended(dense(), Endless(), epochs=2, steps_per_epoch=3) == known


@pytest.mark.parametrize("data", [Dataset.from_tensor_slices((X, Y)).repeat().batch(5).prefetch(2), Endless()])
def test_data_without_end_need_a_number_of_steps(data):
    model = dense()
    for where, call in {
        "fit": lambda: model.fit(data),
        "fit validation_data": lambda: model.fit(X, Y, validation_data=data),
        "evaluate": lambda: model.evaluate(data),
        "predict": lambda: model.predict(data),
    }.items():
        with pytest.raises(ValueError, match=f"^{where}: expected a number of steps, for the data have no end"):
            call()


def test_a_stateful_layer_wants_one_number_of_rows():
    model = Sequential([Input(batch_shape=(5, 2, 3)), LSTM(2, stateful=True), Dense(1)])
    model.compile("sgd", "mse")
    data = [(RANDOM.normal(size=(n, 2, 3)), np.ones((n, 1))) for n in (5, 5, 4)]
    with pytest.raises(ValueError, match="LSTM 'lstm': expected batches of 5 rows, for it is stateful, received 4"):
        model.fit(iter(data), verbose=0)
    assert model.optimizer.iterations == 2


def test_nothing_keeps_a_fitted_model_and_its_data():
    model, data = dense(), Batches(X, Y)
    model.fit(data, verbose=0, validation_data=data)
    model.evaluate(data)
    model.predict(data)
    alive = [weakref.ref(model), weakref.ref(data)]
    gc.collect()
    gc.disable()
    try:
        del data
        assert alive[1]() is None
        del model
        assert alive[0]() is None
    finally:
        gc.enable()


@pytest.mark.gpu
def test_on_cuda_as_on_the_cpu():
    found = []
    for device in ("cpu", "cuda"):
        model = dense()
        model.to(device)
        data = Batches(X, Y, W)
        history = model.fit(data, epochs=2, verbose=0, validation_data=data).history
        found.append([*history.values(), *model.get_weights(), model.predict(data)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
