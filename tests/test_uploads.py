"""Batches on their way to a CUDA device: in the order of streams and events on a model of a device, which puts off all
that it may, and in fit on the emulator, which does everything at once."""

import contextlib
import ctypes
import random
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.backend import to_host
from tinygrad_edu.callbacks import Callback
from tinygrad_edu.data import Dataset
from tinygrad_edu.data.uploads import ALIGNMENT, Uploads
from tinygrad_edu.layers import Concatenate, Dense, Embedding, Flatten, GlobalAveragePooling1D, Input, Rescaling
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.tree import leaves

# A device as CUDA defines it: work waits in streams, and goes on in any order that streams and events allow.


class Machine:
    """Stands in for a `Device`: `xp` has of CuPy what uploads use. Freed memory goes to the next that asks."""

    kind = "cuda"

    def __init__(self, seed):
        self.random, self.streams, self.pools = random.Random(seed), [], ({}, {})
        self.computing = Stream(self)
        cuda = SimpleNamespace(
            Stream=lambda non_blocking: Stream(self),
            Event=lambda disable_timing: Event(self),
            get_current_stream=lambda: self.computing,
            alloc=lambda size: Pointer(self.memory(0, size)),
            alloc_pinned_memory=lambda size: self.memory(1, size),
        )
        self.xp = SimpleNamespace(cuda=cuda, ndarray=Array)

    def active(self):
        return contextlib.nullcontext()

    def memory(self, kind, size):
        free = self.pools[kind].setdefault(size, [])
        place = free.pop() if free else np.zeros(size, "uint8")
        mine = (ctypes.c_char * size).from_buffer(place)
        weakref.finalize(mine, free.append, place)
        return mine

    def step(self):
        """One piece of work of one stream; False if there is none."""
        ready = [stream for stream in self.streams if stream.work and stream.work[0][0]()]
        if ready:
            self.random.choice(ready).work.pop(0)[1]()
        return bool(ready)

    def dawdle(self):
        while self.random.random() < 0.6 and self.step():
            pass


class Stream:
    def __init__(self, machine):
        self.work = []
        machine.streams.append(self)
        self.machine = machine

    def add(self, function, is_ready=lambda: True):
        self.work.append((is_ready, function))

    def wait_event(self, event):
        done = event.done
        self.add(lambda: None, lambda: bool(done))

    def synchronize(self):
        while self.work:
            assert self.machine.step()


class Event:
    def __init__(self, machine):
        self.machine, self.done = machine, [True]

    def record(self, stream=None):
        self.done = done = []
        (stream or self.machine.computing).add(lambda: done.append(True))

    def synchronize(self):
        while not self.done:
            assert self.machine.step()


class Pointer:
    """Into memory, which work that waits does not keep."""

    def __init__(self, memory, start=0):
        self.memory, self.start, self.address = memory, start, ctypes.addressof(memory) + start

    def __add__(self, start):
        return Pointer(self.memory, self.start + start)

    def copy_from_host_async(self, source, size, stream):
        target = self.address
        stream.add(lambda: ctypes.memmove(target, source, size))

    def copy_from_device_async(self, source, size, stream):
        self.copy_from_host_async(source.address, size, stream)


class Array:
    def __init__(self, shape, dtype, pointer):
        self.shape, self.dtype, self.pointer = shape, dtype, pointer


def read(machine, array, expected, found):
    """Work that finds out whether an array is as expected."""
    address, size = array.pointer.address, expected.nbytes
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    machine.computing.add(lambda: found.append(ctypes.string_at(address, size) == expected.tobytes()))


def scribble(machine, size):
    """Work in memory that is free again before it is done."""
    temporary = Pointer(machine.memory(0, size)).address
    machine.computing.add(lambda: ctypes.memset(temporary, 255, size))


@pytest.mark.parametrize("sizes", [[300], [300, 300, 40], [40, 300, 700, 300]])
def test_every_order_that_the_device_may_choose(sizes):
    """Also that of a call that ends while batches are on their way, and of the next one, in the same memory."""
    for seed in range(60):
        machine, found, expected = Machine(seed), [], []
        for call in range(3):
            uploads = Uploads(machine)
            for number in range(7):
                scribble(machine, 2 * ALIGNMENT)
                n = sizes[number % len(sizes)]
                batch = {"x": np.arange(n) + 1000 * number, "y": (None, np.full(9, number + call, "uint8"))}
                sent = list(leaves(uploads(batch)))
                assert sent[1] is None
                for array, values in zip(sent[::2], list(leaves(batch))[::2], strict=True):
                    read(machine, array, values, found)
                    expected.append(True)
                del sent, array
                machine.dawdle()
            uploads.wait()
            del uploads
            np.frombuffer(machine.memory(1, 3 * ALIGNMENT), "uint8")
            scribble(machine, 3 * ALIGNMENT)
        while machine.step():
            pass
        assert found == expected


def test_a_batch_is_sent_while_the_ones_before_are_computed():
    machine = Machine(0)
    uploads, (computing, sending) = Uploads(machine), machine.streams
    for number in range(4):
        if number == 2:  # both buffers are there
            computing.add(lambda: None, is_ready=lambda: False)  # a step that takes long
        uploads(np.arange(5))
        while machine.step():
            pass
        assert not sending.work
    assert computing.work


# On the emulator


@pytest.fixture
def on_cuda():
    with tg.use_device("cuda"):
        yield


TREES = [
    np.arange(12.0).reshape(3, 4).T,
    np.arange(10, dtype="int32")[::-2],
    {"a": np.arange(3) > 1, "b": (np.float16([1, 2]), None, [np.arange(4, dtype="uint8"), np.array([], "float32")])},
    (np.zeros((2, 0)), None),
    np.arange(3, dtype=">i4"),
    [np.broadcast_to(np.float32(2), (3, 2)), np.array(["a", None], object)],
    (None, None),
]


@pytest.mark.gpu
def test_arrays_of_any_form():
    import cupy

    uploads = Uploads(tg.device("cuda"))
    kept = [(uploads(tree), tree) for tree in TREES * 2]  # which later batches leave alone
    for trees in kept:
        for found, given in zip(*map(leaves, trees), strict=True):
            if given is None or given.dtype == object:
                assert found is given
            else:
                assert type(found) is cupy.ndarray
                assert found.dtype == given.dtype.newbyteorder("=")
                np.testing.assert_array_equal(to_host(found), given)
    there = cupy.arange(3)
    found = uploads((there, np.arange(2)))
    assert found[0] is there
    (on_host,) = Uploads(tg.device("cpu"))((there,))
    assert type(on_host) is np.ndarray


RANDOM = np.random.default_rng(0)
N = 23
X, Y = RANDOM.normal(size=(N, 3)).astype("float32"), RANDOM.normal(size=(N, 1)).astype("float32")
IDS, FLAGS = RANDOM.integers(0, 5, (N, 4)), RANDOM.random((N, 2)) > 0.5
W, CLASSES = RANDOM.uniform(size=N), RANDOM.integers(0, 3, N)


def dense():
    return Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(1)])


def several():
    ids, flags = Input((4,), dtype="int64"), Input((2,), dtype="bool")
    both = Concatenate()([Flatten()(Embedding(5, 2)(ids)), Rescaling(0.5)(flags)])
    return Model([ids, flags], Dense(1)(both))


def lengths():
    return Sequential([Input((None, 3)), Dense(4), GlobalAveragePooling1D(), Dense(1)])


class Batches:
    """A new pass at each `iter`."""

    def __init__(self, made):
        self.made = made

    def __iter__(self):
        return iter(self.made)


def batches(*arrays, form=lambda i, *batch: batch):
    return Batches([form(i, *(a[i : i + 5] for a in arrays)) for i in range(0, N, 5)])


CASES = {
    "a short last batch": (dense, lambda: batches(X, Y), "mse", {}),
    "a Dataset": (dense, lambda: Dataset.from_tensor_slices((X, Y)).map(lambda x, y: (x * 2, y)).batch(5), "mse", {}),
    "views": (dense, lambda: batches(X[:, ::-1].astype("float64"), Y[::-1]), "mse", {}),
    "sample weights": (dense, lambda: batches(X, Y, W), "mse", {}),
    "several inputs": (several, lambda: batches(IDS, FLAGS, Y, form=lambda i, a, b, y: ((a, b), y)), "mse", {}),
    "lengths that differ": (
        lengths,
        lambda: batches(X, Y, form=lambda i, x, y: (np.stack([x] * (1 + i % 4), axis=1), y)),
        "mse",
        {},
    ),
    "class weights": (
        lambda: Sequential([Input((3,)), Dense(3, activation="softmax")]),
        lambda: batches(X, CLASSES, W, form=lambda i, x, y, w: (x, y, tg.tensor(w))),
        "sparse_categorical_crossentropy",
        {"class_weight": {1: 3.0}},
    ),
    "arrays on both devices": (
        dense,
        lambda: batches(X, Y, W, form=lambda i, x, y, w: (tg.tensor(x), y, tg.tensor(w))),
        "mse",
        {},
    ),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_on_the_cpu(name):
    make, data, loss, options = CASES[name]
    results = []
    for device in ("cpu", "cuda"):
        with tg.use_device(device):
            tg.seed(0)
            model, source = make(), data()
            model.compile("adam", loss)
            history = model.fit(source, epochs=3, verbose=0, validation_data=source, **options).history
            predicted = model.predict(source, verbose=0)
            results.append([*history.values(), model.evaluate(source, verbose=0), *model.get_weights(), predicted])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


class Sent(Callback):
    """What the host sent and got between the hooks of each batch and of the next: a step, and the next batch."""

    def __init__(self, counts):
        self.counts, self.found = counts, []

    def on_train_batch_begin(self, batch, logs=None):
        sent = sum(entry.bytes for entry in self.counts.host_to_device)
        self.found.append((len(self.counts.host_to_device), sent, len(self.counts.device_to_host)))

    on_test_batch_begin = on_train_batch_begin


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_a_step_sends_its_batch_and_gets_nothing(on_cuda, name):
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts copies")
    model = dense()
    model.compile("adam", "mse", jit=True)
    rows = np.repeat(X, 16, axis=0), np.repeat(Y, 16, axis=0), np.repeat(W, 16).astype("float32")
    with emugpu.count_launches() as counts:
        sent = Sent(counts)
        getattr(model, name)(Dataset.from_tensor_slices(rows).batch(64).take(5), callbacks=sent, verbose=0)
    steps = np.diff(sent.found, axis=0)[-3:]
    np.testing.assert_array_equal(steps, [[1, 64 * 3 * 4 + 64 * 4 + 64 * 4, 0]] * 3)


@pytest.mark.gpu
@pytest.mark.parametrize("looks", [False, True])
def test_predict_sends_a_batch_before_it_waits_for_the_one_before(on_cuda, looks):
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts copies")
    model, seen = dense(), []

    class Looks(Callback):
        def on_predict_batch_end(self, batch, logs=None):
            if looks:
                seen.append(logs["outputs"])

    model.compile("adam", "mse", jit=False)  # whose steps look at no values
    model.predict(X, verbose=0)
    with emugpu.count_launches() as counts:
        found = model.predict(batches(X), callbacks=Looks(), verbose=0)
    copies = [kind.split()[0] for kind, *_ in counts.entries if kind in ("host to device", "device to host")]
    assert "".join(kind[0] for kind in copies) == ("hd" + 4 * "hdd" + "d" if looks else "h" + 4 * "hd" + "d")
    if looks:
        np.testing.assert_array_equal(np.concatenate(seen), found)


@pytest.mark.gpu
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("in a hook")])
def test_an_error_on_the_way(on_cuda, error, monkeypatch):
    class Fails(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                raise error

    model = dense()
    model.compile("adam", "mse")
    waited = []
    monkeypatch.setattr(Uploads, "wait", lambda uploads: waited.append(uploads))
    with pytest.raises(type(error)):
        model.fit(batches(X, Y), callbacks=Fails(), verbose=0)
    assert waited
    monkeypatch.undo()
    history = model.fit(batches(X, Y), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert model.optimizer.iterations == 2 + 5
