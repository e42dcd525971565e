"""Debug mode: values are looked at in each call, also where that waits for the device."""

import threading

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.data import Dataset
from tinygrad_edu.state import state

pytestmark = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
IDS, Y = np.arange(144).reshape(48, 3) % 5, np.linspace(-1, 1, 48, dtype="float32")[:, None]
BAD = IDS + (np.arange(48) == 41)[:, None]  # a 5 in the third batch of 16, behind the rows that make a model ready


@pytest.fixture(autouse=True)
def on_device(device):
    with tg.use_device(device):
        yield


def made(jit=True):
    tg.seed(0)
    model = models.Sequential(
        [layers.Input((3,), dtype="int64"), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(1)]
    )
    model.compile("adam", "mse", jit=jit)
    return model


def same_weights(model, other):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


SOURCES = {"rows": lambda: (BAD, Y), "batches": lambda: (Dataset.from_tensor_slices((BAD, Y)).batch(16), None)}


@pytest.mark.parametrize("source", SOURCES)
def test_fit_refuses_an_id_in_a_later_batch(source):
    data, model, expected = SOURCES[source](), made(), made(jit=False)
    options = {"batch_size": 16, "shuffle": False} if source == "rows" else {}
    text = "embedding: expected indices from 0 to 4, received 5. Hint: leave out such ids, or make room for them"
    with tg.debug(), pytest.raises(IndexError, match=f"Embedding 'embedding.*': {text}"):
        model.fit(*data, verbose=0, **options)
    expected.fit(IDS[:32], Y[:32], batch_size=16, shuffle=False, verbose=0)
    assert model.optimizer.iterations == expected.optimizer.iterations == 2
    same_weights(model, expected)
    for call in (model.evaluate, lambda x, y, **options: model.predict(x, **options)):
        with tg.debug(), pytest.raises(IndexError, match="received 5"):
            call(*data, batch_size=options.get("batch_size"), verbose=0)
    same_weights(model, expected)


def test_each_call_of_a_jitted_function():
    rows = tg.jit(lambda table, ids: tg.embedding(table, ids))
    table, good, bad = tg.ones((3, 2)), tg.tensor([2, 0]), tg.tensor([2, 3])
    tg.debug()
    try:
        for _ in range(3):  # step by step, recorded and replayed
            assert rows(table, good).shape == (2, 2)
            with pytest.raises(IndexError, match="received 3"):
                rows(table, bad)
    finally:
        tg.debug(False)
    assert not state.debug


@pytest.mark.parametrize("name", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_single_batches_are_always_looked_at(name):
    model, expected = made(), made(jit=False)
    call, rest = getattr(model, name), () if name == "predict_on_batch" else (Y,)
    for _ in range(3):
        call(IDS, *rest)
        getattr(expected, name)(IDS, *rest)
        with pytest.raises(IndexError, match="received 5"):
            call(BAD, *rest)
    same_weights(model, expected)


def test_it_is_a_switch_of_the_thread():
    found = []
    with tg.debug():
        thread = threading.Thread(target=lambda: found.append(state.debug))
        thread.start()
        thread.join()
        found += list(Dataset.range(1).map(lambda i: np.int64(state.debug)).prefetch(1))  # which goes on as its caller
        with tg.debug(False):
            assert not state.debug
        assert state.debug
    assert found == [False, 1]
    with pytest.raises(TypeError, match="debug: expected True or False, received 1"):
        tg.debug(1)
