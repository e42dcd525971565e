"""BackupAndRestore: a training that was killed ends bit for bit as a whole one; files that are damaged or foreign."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.backend import default_generator
from tinygrad_edu.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from tinygrad_edu.files import read_weights, write_weights
from tinygrad_edu.layers import LSTM, BatchNormalization, Dense, Dropout, Input
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.optimizers import SGD, Adam

EPOCHS, STEPS = 6, 5
RANDOM = np.random.default_rng(6)
X = RANDOM.normal(size=(36, 3))
Y = (X.sum(axis=1) > 0).astype(int)


def made(jit=True, optimizer=None):
    tg.seed(8)
    model = Sequential([
        Input((3,)), Dense(4, activation="tanh"), BatchNormalization(), Dropout(0.3), Dense(2, activation="softmax"),
    ])  # fmt: skip
    optimizer = optimizer or Adam(0.1)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit=jit)
    return model


def watchers(folder):
    """Callbacks with states of every kind."""
    return [
        LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.05),
        EarlyStopping("val_accuracy", patience=99, restore_best_weights=True),
        CSVLogger(folder / "log.csv"),
        ModelCheckpoint(folder / "best.safetensors", save_best_only=True),
    ]


def fit(model, folder, *callbacks, **options):
    settings = {"batch_size": 6, "epochs": EPOCHS, "verbose": 0, "validation_split": 0.2, **options}
    return model.fit(X, Y, callbacks=[*watchers(folder), *callbacks], **settings)


def outcome(model, history, folder):
    """All that must be equal."""
    best = read_weights(folder / "best.safetensors")[0]
    arrays = {**model.state_dict(), **model.optimizer.state_dict(), **{f"best {name}": a for name, a in best.items()}}
    table = (folder / "log.csv").read_text()
    return {name: array.tolist() for name, array in arrays.items()}, history.history, history.epoch, table


class Kill(Callback):
    """Interrupts a training in one hook of an epoch, and of a batch."""

    def __init__(self, hook, epoch, batch=None, how=KeyboardInterrupt):
        self.place, self.how = (hook, epoch, batch), how

    def _at(self, *place):
        if place == self.place:
            if self.how is not KeyboardInterrupt:
                self.how()
                time.sleep(60)
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._at("on_epoch_begin", epoch, None)

    def on_epoch_end(self, epoch, logs=None):
        self._at("on_epoch_end", epoch, None)

    def on_train_batch_begin(self, batch, logs=None):
        self._at("on_train_batch_begin", self.epoch, batch)

    def on_train_batch_end(self, batch, logs=None):
        self._at("on_train_batch_end", self.epoch, batch)

    def on_test_begin(self, logs=None):
        self._at("on_test_begin", self.epoch, None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What trainings end with that were never interrupted, without a backup."""
    found = {}
    for jit in (True, False):
        folder = tmp_path_factory.mktemp("whole")
        model = made(jit)
        found[jit] = outcome(model, fit(model, folder), folder)
    assert len(set(found[True][1]["learning_rate"])) == EPOCHS
    return found


@pytest.mark.parametrize(("jit", "save_freq", "place"), [
    (True, "epoch", ("on_epoch_begin", 3)),
    (False, "epoch", ("on_epoch_end", 2)),
    (True, "epoch", ("on_train_batch_begin", 0, 3)),  # before the first backup
    (False, "epoch", ("on_train_batch_end", 4, 1)),
    (True, 1, ("on_train_batch_begin", 3, 0)),
    (True, 1, ("on_test_begin", 3)),
    (True, 2, ("on_train_batch_end", 2, 4)),
    (False, 3, ("on_train_batch_end", 3, 1)),
    (True, 7, ("on_train_batch_begin", 4, 2)),
    (False, 100, ("on_epoch_end", 5)),
])  # fmt: skip
def test_an_interrupted_training_ends_as_a_whole_one(jit, save_freq, place, whole, tmp_path):
    for kill in (Kill(*place), None):
        model = made(jit)
        backup = BackupAndRestore(tmp_path / "backup", save_freq)
        if kill:
            with pytest.raises(KeyboardInterrupt):
                fit(model, tmp_path, kill, backup)
            continue
        tg.seed(99)  # the backup's random numbers count
        if not (tmp_path / "backup").exists():
            tg.seed(8)
            made(jit)
        history = fit(model, tmp_path, backup)
    assert outcome(model, history, tmp_path) == whole[jit]
    assert not (tmp_path / "backup").exists()


def test_the_same_model_goes_on_too(whole, tmp_path):
    """As in a notebook, where one calls `fit` again."""
    model, backup = made(), BackupAndRestore(tmp_path / "backup", 2)
    with pytest.raises(KeyboardInterrupt):
        fit(model, tmp_path, backup, Kill("on_train_batch_end", 3, 3))
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert outcome(model, fit(model, tmp_path, backup), tmp_path) == whole[True]


def main(folder, jit, place):
    """The program that is killed; run by the next test."""
    folder, model = Path(folder), made(jit == "jit")
    kill = [Kill(*place, how=lambda: os.kill(os.getpid(), 9))] if place else []
    history = fit(model, folder, BackupAndRestore(folder / "backup", 2), *kill)
    (folder / "outcome.json").write_text(json.dumps(outcome(model, history, folder)))


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize("jit", ["jit", "eager"])
def test_a_killed_process(jit, whole, tmp_path):
    places = [["on_train_batch_end", 1, 3], ["on_epoch_end", 3, None], None]
    for place in places:
        code = f"import test_callbacks_backup as t; t.main({str(tmp_path)!r}, {jit!r}, {place!r})"
        paths = os.pathsep.join([str(Path(__file__).parent), str(Path(tg.__file__).parents[1])])
        ended = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True
        )
        assert ended.returncode == (-9 if place else 0), ended.stderr
    assert json.loads((tmp_path / "outcome.json").read_text()) == list(map(_as_json, whole[jit == "jit"]))


def _as_json(value):
    return json.loads(json.dumps(value))


def test_a_state_kept_from_batch_to_batch(tmp_path):
    """Those of a stateful layer are not saved with a model, but they are here."""
    x, y = RANDOM.normal(size=(24, 3, 2)), RANDOM.normal(size=24)

    def train(*callbacks):
        tg.seed(1)
        model = Sequential([Input((3, 2), batch_size=4), LSTM(3, stateful=True), Dense(1)])
        model.compile(SGD(0.1, momentum=0.9), "mse")
        history = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=list(callbacks))
        return [w.tolist() for w in model.get_weights()], history.history

    with pytest.raises(KeyboardInterrupt):
        train(BackupAndRestore(tmp_path, 1), Kill("on_train_batch_end", 1, 3))
    assert train(BackupAndRestore(tmp_path, 1)) == train()


def test_batches_that_draw_random_numbers(tmp_path):
    """As augmented images do: the draws of data, dropout and other callbacks take turns."""

    class Noisy:
        def __len__(self):
            return STEPS

        def __iter__(self):
            for i in default_generator.permutation(STEPS).tolist():
                x = X[i * 6 : i * 6 + 6]
                yield x + default_generator.normal(x.shape), Y[i * 6 : i * 6 + 6]

    class Shake(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            kernel = self.model.layers[0].kernel
            kernel.assign_(kernel + tg.normal(kernel.shape) * 0.01)

    def train(*callbacks):
        model = made()
        history = model.fit(Noisy(), epochs=3, verbose=0, callbacks=[Shake(), *callbacks])
        return [w.tolist() for w in model.get_weights()], history.history

    whole = train()
    for save_freq in (1, 3, "epoch"):
        with pytest.raises(KeyboardInterrupt):
            train(BackupAndRestore(tmp_path / "b", save_freq), Kill("on_train_batch_end", 1, 3))
        assert train(BackupAndRestore(tmp_path / "b", save_freq)) == whole


@pytest.mark.parametrize("place", [("on_train_batch_begin", 1, 3), ("on_test_begin", 1), ("on_epoch_end", 1)])
def test_hooks_that_draw_random_numbers(place, tmp_path):
    """Also where no batch of the epoch is left, and drawn by callbacks that stand behind the backup."""

    class Draw(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            tg.uniform((2,))

        def on_train_batch_end(self, batch, logs=None):
            tg.uniform((2,))

    def run(*callbacks):
        model = made(False)
        data = {"x": X, "y": Y, "batch_size": len(X) // 4, "validation_data": (X, Y)}
        history = model.fit(**data, epochs=4, verbose=0, callbacks=[*callbacks, Draw()])
        return [w.tolist() for w in model.get_weights()], history.history, tg.uniform((2,)).tolist()

    tg.seed(0)
    known = run()
    tg.seed(0)
    with pytest.raises(KeyboardInterrupt):
        run(BackupAndRestore(tmp_path / "b", save_freq=1), Kill(*place))
    tg.seed(9)
    assert run(BackupAndRestore(tmp_path / "b", save_freq=1)) == known


def test_a_step_with_two_optimizers(tmp_path):
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = Dense(2), Dense(1)
            self.own = Adam(0.05)

        def call(self, x):
            return self.second(self.first(x))

        def train_step(self, data):
            x, y = data
            loss = self.compute_loss(x, y, self(x, training=True))
            loss.backward()
            self.own.step()
            self.optimizer.step()
            return {"loss": loss}

    def train(*callbacks):
        tg.seed(1)
        model = Two()
        model(tg.zeros((1, 3)))
        model.own.build(model.second.trainable_weights)
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_weights, shared=True)
        history = model.fit(X, X[:, :1], batch_size=6, epochs=3, verbose=0, callbacks=list(callbacks))
        states = (model.state_dict(), model.own.state_dict(), model.optimizer.state_dict())
        return [a.tolist() for state in states for a in state.values()], history.history

    with pytest.raises(KeyboardInterrupt):
        train(BackupAndRestore(tmp_path, 1), Kill("on_train_batch_end", 1, 3))
    assert train(BackupAndRestore(tmp_path, 1)) == train()


def test_a_finished_training_goes_on_with_its_backup(whole, tmp_path):
    keep = BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    fit(made(), tmp_path, keep, epochs=4)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["backup.safetensors"]
    again = made()
    history = fit(again, tmp_path, keep, epochs=EPOCHS)
    assert outcome(again, history, tmp_path) == whole[True]
    weights = again.get_weights()
    assert fit(again, tmp_path, keep, epochs=EPOCHS).epoch == list(range(EPOCHS))  # nothing is left to do
    assert all(np.array_equal(a, b) for a, b in zip(weights, again.get_weights(), strict=True))


def test_only_its_own_files_are_deleted(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    fit(made(), tmp_path, BackupAndRestore(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "log.csv", "notes.txt"]


# Files that are not what they should be


@pytest.fixture
def interrupted(tmp_path):
    """Leaves a backup, and the one before it."""
    with pytest.raises(KeyboardInterrupt):
        fit(made(), tmp_path, BackupAndRestore(tmp_path / "b", double_checkpoint=True), Kill("on_epoch_begin", 3))
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["backup.safetensors", "previous.safetensors"]
    return tmp_path / "b"


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def swap(path):
    write_weights({"x": np.zeros(3)}, path)


@pytest.mark.parametrize("damage", [cut, flip, empty, swap])
def test_a_damaged_backup(damage, interrupted, whole, tmp_path):
    damage(interrupted / "backup.safetensors")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(interrupted / "backup.safetensors", alone)
    model = made()
    weights = model.get_weights()
    with pytest.raises(ValueError, match=r"BackupAndRestore: expected a .*backup.*delete it to begin anew"):
        fit(model, tmp_path, BackupAndRestore(alone))
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert (alone / "backup.safetensors").exists()
    with pytest.warns(UserWarning, match="The backup before it is used"):
        history = fit(model, tmp_path, BackupAndRestore(interrupted, double_checkpoint=True))
    assert outcome(model, history, tmp_path) == whole[True]


def test_the_backup_before_is_there_if_the_last_is_missing(interrupted, whole, tmp_path):
    (interrupted / "backup.safetensors").unlink()  # as between two renames
    model = made()
    history = fit(model, tmp_path, BackupAndRestore(interrupted))
    assert outcome(model, history, tmp_path) == whole[True]


def test_a_backup_of_another_model(interrupted, tmp_path):
    other = Sequential([Dense(2, activation="softmax", input_dim=3)])
    other.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(
        ValueError, match=r"BackupAndRestore: Sequential.*unexpected.*instead of.*is of another training"
    ):
        fit(other, tmp_path, BackupAndRestore(interrupted))
    with pytest.raises(ValueError, match=r"a backup with SGD, received Adam"):
        fit(made(optimizer=SGD(0.1)), tmp_path, BackupAndRestore(interrupted))


def test_a_backup_within_an_epoch_of_other_batches(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(made(), tmp_path, BackupAndRestore(tmp_path / "b", 1), Kill("on_train_batch_end", 3, 3))
    with pytest.raises(
        ValueError, match=r"a backup with 4 batches an epoch and the metrics loss, accuracy, received 5"
    ):
        fit(made(), tmp_path, BackupAndRestore(tmp_path / "b"), batch_size=7)


def test_a_callback_that_is_gone(interrupted):
    model = made()
    with pytest.warns(UserWarning, match="holds the state of a EarlyStopping, which is missing") as caught:
        model.fit(X, Y, batch_size=6, epochs=EPOCHS, verbose=0, validation_split=0.2, callbacks=[
            BackupAndRestore(interrupted), *watchers(interrupted.parent)[:2], *watchers(interrupted.parent)[3:],
        ])  # fmt: skip
    assert len(caught) == 1


def test_states_that_cannot_be_kept(tmp_path):
    class Odd(Callback):
        def state_dict(self):
            return {"file": object()}

    with pytest.raises(TypeError, match=r"states of numbers, .* received object as callbacks\.\d+\.1\.file"):
        fit(made(), tmp_path, BackupAndRestore(tmp_path / "b"), Odd())


def test_a_state_comes_back_as_it_was(tmp_path):
    kept = {"n": 3, "x": float("nan"), "text": "é", "none": None, "array": np.arange(6.0).reshape(2, 3).T}
    kept |= {"list": [np.float32(0.1), np.array(7), True], "nested": {"a.b": {"c": np.zeros(0)}}}

    class Own(Callback):
        found = None

        def state_dict(self):
            return kept

        def load_state_dict(self, values):
            self.found = values

    with pytest.raises(KeyboardInterrupt):
        fit(made(), tmp_path, BackupAndRestore(tmp_path / "b"), Own(), Kill("on_epoch_begin", 2))
    own = Own()
    fit(made(), tmp_path, BackupAndRestore(tmp_path / "b"), own)
    assert list(own.found) == list(kept)
    np.testing.assert_equal(own.found["array"], kept["array"])
    np.testing.assert_equal(own.found["nested"], kept["nested"])
    assert str(own.found["x"]) == "nan"
    assert (own.found["n"], own.found["text"], own.found["none"]) == (3, "é", None)
    assert own.found["list"] == [float(np.float32(0.1)), 7, True]


def test_a_full_disk_leaves_the_backup(tmp_path, monkeypatch):
    def full(epoch, logs):
        if epoch == 3:
            monkeypatch.setattr("os.fsync", fail)

    def fail(handle):
        raise OSError(28, "No space left on device")

    backup = BackupAndRestore(tmp_path / "b", double_checkpoint=True)
    with pytest.raises(OSError, match=r"No space left on device: '.*b.next.safetensors'"):
        made().fit(X, Y, epochs=EPOCHS, verbose=0, callbacks=[LambdaCallback(on_epoch_end=full), backup])
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["backup.safetensors", "previous.safetensors"]
    assert json.loads(read_weights(tmp_path / "b" / "backup.safetensors")[1]["backup"])["progress"]["epoch"] == 3


def test_it_is_called_first(tmp_path):
    order = []
    mark = LambdaCallback(on_epoch_begin=lambda epoch, logs: order.append((epoch, default_generator.state)))
    fit(made(), tmp_path, mark, BackupAndRestore(tmp_path / "b", delete_checkpoint=False), epochs=2)
    content = json.loads(read_weights(tmp_path / "b" / "backup.safetensors")[1]["backup"])
    assert content["progress"]["epoch"] == 2
    assert [epoch for epoch, _ in order] == [0, 1]


@pytest.mark.parametrize(("arguments", "kind", "match"), [
    (("",), ValueError, "backup_dir to be the path of a folder"),
    (("b", "batch"), ValueError, "save_freq to be one of"),
    (("b", 0), ValueError, "save_freq to be an integer of at least 1"),
    (("b", False), TypeError, "save_freq to be an integer of at least 1"),
    (("b", "epoch", "no"), TypeError, "double_checkpoint to be True or False"),
    (("b", "epoch", True, 0), TypeError, "delete_checkpoint to be True or False"),
])  # fmt: skip
def test_what_a_backup_refuses(arguments, kind, match):
    with pytest.raises(kind, match=match):
        BackupAndRestore(*arguments)


@pytest.mark.gpu
def test_on_cuda(tmp_path):
    """The best weights and a backup there, and the same training as on the CPU."""

    def train(device, *callbacks):
        tg.seed(1)
        model = Sequential([Input((3,)), Dense(2, activation="tanh"), BatchNormalization(), Dense(1)])
        model.compile(Adam(0.1), "mse")
        model.to(device)
        stop = EarlyStopping("loss", patience=9, restore_best_weights=True)
        options = {"batch_size": 4, "epochs": 2, "verbose": 0}
        history = model.fit(X[:8], X[:8, :1], callbacks=[*callbacks, stop], **options)
        assert model.device.kind == device
        return model.get_weights(), history.history["loss"]

    whole, losses = train("cuda")
    for one, other in zip(whole, train("cpu")[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    with pytest.raises(KeyboardInterrupt):
        train("cuda", BackupAndRestore(tmp_path, 1), Kill("on_train_batch_end", 1, 1))
    again, found = train("cuda", BackupAndRestore(tmp_path, 1))
    assert found == losses
    assert all(np.array_equal(a, b) for a, b in zip(again, whole, strict=True))
