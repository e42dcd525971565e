"""fit, evaluate and predict make batches of a Dataset ahead, in a thread: the numbers stay the same, and no thread is
left behind."""

import threading
import time
import traceback

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.callbacks import Callback
from tinygrad_edu.data import Dataset
from tinygrad_edu.layers import Dense, Dropout, Input
from tinygrad_edu.models import Sequential, feeding
from tinygrad_edu.optimizers import Adam

RANDOM = np.random.default_rng(0)
N, SIZE = 23, 5
X, Y = RANDOM.normal(size=(N, 3)).astype("float32"), RANDOM.normal(size=(N, 1)).astype("float32")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name in ("prefetch", "map")]


def made():
    tg.seed(0)
    model = Sequential([Input((3,)), Dense(6, activation="tanh"), Dropout(0.4), Dense(1)])
    model.compile(Adam(0.01), "mse", metrics=["mae"])
    return model


def rows():
    return Dataset.from_tensor_slices((X, Y))


def noisy(x, y):
    return x + tg.normal(x.shape, std=0.1), y


PIPELINES = {
    "map": lambda: rows().shuffle(N).map(noisy).batch(SIZE),
    "map of batches": lambda: rows().batch(SIZE).map(noisy),
    "threads of its own": lambda: rows().map(noisy, num_parallel_calls=2).batch(SIZE),
    "filter": lambda: rows().filter(lambda x, y: x[0] > -1).batch(SIZE),
    "with a seed, repeated": lambda: rows().shuffle(7, seed=3).repeat(2).map(noisy).batch(SIZE),
    "padded": lambda: rows().map(noisy).padded_batch(SIZE),
    "zip": lambda: Dataset.zip(Dataset.from_tensor_slices(X).map(lambda x: x * 2), Dataset.from_tensor_slices(Y)).batch(
        4
    ),
    "concatenate": lambda: rows().batch(SIZE).concatenate(rows().map(noisy).batch(SIZE)),
    "cache": lambda: rows().map(noisy).cache().batch(SIZE),
}


def numbers(data, **options):
    """All that a fit, an evaluation and a prediction give, and where the random numbers are then."""
    model = made()
    history = model.fit(data, epochs=3, verbose=0, validation_data=data, **options).history
    again = model.fit(data, verbose=0, **options).history  # data with a seed counts its passes
    steps = options.get("validation_steps")
    results = model.evaluate(data, verbose=0, steps=steps), model.predict(data, verbose=0, steps=steps).tolist()
    return history, again, results, [w.tolist() for w in model.get_weights()], tg.backend.default_generator.state


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 3, "validation_steps": 2}], ids=["whole", "steps"])
@pytest.mark.parametrize("name", PIPELINES)
def test_the_numbers_stay_the_same(name, options):
    ahead, here = PIPELINES[name](), PIPELINES[name]()
    assert ahead.ahead
    here.ahead = None
    if options:
        ahead, here = ahead.repeat(), here.repeat()
    assert numbers(ahead, **options) == numbers(here, **options)


class Stop(Callback):
    def __init__(self, batch, error=None):
        self.batch, self.error = batch, error

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            if self.error:
                raise self.error
            self.model.stop_training = True


def counting(calls, data=None, seconds=0.0):
    def function(x, y):
        calls.append(threading.current_thread().name)
        time.sleep(seconds)
        return x, y

    return (data or rows()).map(function)


def test_who_makes_them():
    """A thread the batches of functions; the training's own those of generators, and of rows, which take no time."""
    calls = []
    made().fit(counting(calls).batch(SIZE), verbose=0)
    assert calls == ["MainThread"] * SIZE + ["prefetch"] * (N - SIZE)  # the first is looked at before

    def batches():
        for i in range(0, N, SIZE):
            calls.append(threading.current_thread().name)
            yield X[i : i + SIZE], Y[i : i + SIZE]

    for data in (batches(), Dataset.from_generator(batches), counting(calls, Dataset.from_generator(batches))):
        calls.clear()
        made().fit(data, verbose=0)
        assert set(calls) == {"MainThread"}
    assert not rows().shuffle(N).batch(SIZE).repeat(2).take(3).ahead
    assert not counting(calls).batch(SIZE).prefetch(1).ahead  # one thread is enough
    assert not Dataset.zip(counting(calls), Dataset.from_generator(batches)).ahead


class Count(Callback):
    def __init__(self, calls):
        self.calls, self.found = calls, []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(len(self.calls))


def test_never_those_of_the_next_epoch():
    """Which might depend on what is done between: in `on_epoch_end`, in a validation."""
    calls = []
    count = Count(calls)
    made().fit(counting(calls).repeat().batch(SIZE), epochs=3, steps_per_epoch=3, callbacks=count, verbose=0)
    assert count.found == [3 * SIZE, 6 * SIZE, 9 * SIZE]


@pytest.mark.parametrize(("most", "count"), [(2**20, 16), (3 * SIZE * 16, 3), (1, 2)])
def test_how_many_is_no_matter_of_time(most, count, monkeypatch):
    """At most a number of batches and of bytes; and where a training is stopped, those begun are completed."""
    monkeypatch.setattr(feeding, "BYTES_AHEAD", most)
    calls, found = [], set()
    for _ in range(3):
        calls.clear()
        data = counting(calls, rows().shuffle(7, seed=1).repeat(), seconds=0.001).batch(SIZE)
        model = made()
        model.fit(data, steps_per_epoch=100, callbacks=Stop(4), verbose=0)
        assert len(calls) == SIZE * (5 + count)
        model.fit(data, steps_per_epoch=5, verbose=0)  # the order goes by how many passes were begun
        found.add(str(model.get_weights()))
    assert len(found) == 1


def test_an_error_comes_after_the_batches_before_it():
    def fails(x, y):
        if np.array_equal(x, X[13]):
            raise LookupError("no such file")
        return x, y

    model = made()
    with pytest.raises(LookupError, match="no such file") as caught:
        model.fit(rows().map(fails).batch(SIZE), verbose=0)
    assert model.optimizer.iterations == 2
    assert "fails" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert model.fit(X, Y, verbose=0).history["loss"]


def test_a_wrong_batch_is_named():
    def shortened(x, y):
        return (x if x.sum() != X[10:15].sum() else x[:, :2]), y

    model = made()
    with pytest.raises(tg.ShapeError, match=r"^fit, batch 2: "):
        model.fit(rows().batch(SIZE).map(shortened), verbose=0)
    assert model.optimizer.iterations == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("in a hook")])
def test_an_error_of_a_hook_or_ctrl_c_leaves_nothing_running(error):
    calls = []
    model = made()
    with pytest.raises(type(error)):
        model.fit(counting(calls).repeat().batch(SIZE), steps_per_epoch=1000, callbacks=Stop(3, error), verbose=0)
    assert model.optimizer.iterations == 4
    assert model.fit(X, Y, verbose=0).history["loss"]


def test_after_an_error_nothing_more_is_made():
    """The thread is in the third batch at most when the error comes; it has been asked for sixteen."""
    goes_on, rows_made = threading.Event(), []

    def slow(x, y):
        rows_made.append(1)
        if len(rows_made) > 2 * SIZE:
            goes_on.wait(20)
        return x, y

    class Failing(Callback):
        def on_train_batch_end(self, batch, logs=None):
            threading.Timer(0.3, goes_on.set).start()
            raise RuntimeError("enough")

    data = rows().repeat(20).map(slow).batch(SIZE)
    with pytest.raises(RuntimeError, match="enough"):
        made().fit(data, callbacks=[Failing()], verbose=0)
    assert len(rows_made) <= 3 * SIZE


def test_evaluate_and_predict_end_their_thread_too():
    class Ends(Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = True

        def on_predict_batch_end(self, batch, logs=None):
            raise RuntimeError("in a hook")

    model, data = made(), rows().map(noisy).batch(1)
    model.evaluate(data, callbacks=Ends(), verbose=0)
    with pytest.raises(RuntimeError, match="in a hook"):
        model.predict(data, callbacks=Ends(), verbose=0)


def test_functions_may_compute_and_have_threads_of_their_own():
    """Products and convolutions large enough for the thread pool, which the step needs at the same time."""
    kernel = tg.ones((3, 3, 16, 16))

    def busy(x, y):
        found = []

        def work():
            found.append(tg.conv2d(tg.ones((4, 24, 24, 16)), kernel).mean().item())

        thread = threading.Thread(target=work)
        thread.start()
        tg.ones((200, 200)) @ tg.ones((200, 200))
        thread.join()
        return x * np.float32(found[0]), y

    def step():
        model.fit(rows().take(10).map(busy, num_parallel_calls=2).batch(2), verbose=0)

    model = Sequential([Input((3,)), Dense(512, activation="relu"), Dense(512, activation="relu"), Dense(1)])
    model.compile("adam", "mse")
    tg.set_threads(2)
    try:
        thread = threading.Thread(target=step, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    finally:
        tg.set_threads(None)
    assert model.optimizer.iterations == 5


def test_threads_compute_as_their_caller_does():
    def inverse(i):
        seen.append((weight * i).requires_grad)
        return np.float32(1) / np.float32(i)

    seen, weight = [], tg.tensor([2.0], requires_grad=True)
    for data in (Dataset.range(3).map(inverse).prefetch(1), Dataset.range(3).map(inverse, num_parallel_calls=2)):
        seen.clear()
        with np.errstate(divide="raise"), tg.no_grad(), pytest.raises(FloatingPointError):
            list(data)
        assert not any(seen)
        with np.errstate(divide="ignore"):
            list(data)
        assert any(seen)
