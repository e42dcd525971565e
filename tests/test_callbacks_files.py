"""ModelCheckpoint, CSVLogger and TensorBoard: what they write, and what stays when writing or training fails."""

import builtins
import csv
import errno
import gc
import json
import os
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from callback_cases import BOARDS, board

import tinygrad_edu as tg
from tinygrad_edu import models
from tinygrad_edu.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    CSVLogger,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    TensorBoard,
)
from tinygrad_edu.files import write_atomically
from tinygrad_edu.layers import BatchNormalization, Dense, Input
from tinygrad_edu.models import Sequential

RANDOM = np.random.default_rng(4)
X, Y = RANDOM.normal(size=(20, 3)), RANDOM.normal(size=20)


def made(jit=True, **options):
    tg.seed(3)
    model = Sequential([Input((3,)), Dense(4, activation="tanh"), BatchNormalization(), Dense(1)])
    model.compile("adam", "mse", metrics=["mae"], jit=jit, **options)
    return model


def fit(model, *callbacks, epochs=3, **options):
    settings = {"batch_size": 8, "epochs": epochs, "verbose": 0, "validation_data": (X[:8], Y[:8]), **options}
    return model.fit(X, Y, callbacks=list(callbacks), **settings)


class Script(Callback):
    def __init__(self, values):
        self.values, self.weights = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.values[epoch]
        self.weights.append(self.model.get_weights())


class Fail(Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# ModelCheckpoint


@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
def test_the_best_model_is_in_the_file(jit, tmp_path, capsys):
    model, script = made(jit), Script([2.0, 1.0, 1.0, 3.0, float("nan")])
    path = tmp_path / "deep" / "best.safetensors"
    fit(model, script, ModelCheckpoint(path, save_best_only=True, verbose=1), epochs=5)
    assert same(models.load_model(path).get_weights(), script.weights[1])
    assert capsys.readouterr().out.splitlines() == [
        f"Epoch 1: val_loss improved from None to 2.00000, model saved to {path}",
        f"Epoch 2: val_loss improved from 2.00000 to 1.00000, model saved to {path}",
        *[f"Epoch {epoch}: val_loss did not improve from 1.00000" for epoch in (3, 4, 5)],
    ]


def test_names_and_weights(tmp_path):
    model, script = made(), Script([2.0, 1.5])
    template = str(tmp_path / "{epoch:02d}-{val_loss:.2f}-{learning_rate}.safetensors")
    rate = LearningRateScheduler(lambda epoch: 0.5**epoch)
    fit(model, rate, script, ModelCheckpoint(template, save_weights_only=True), epochs=2)
    assert names(tmp_path) == ["01-2.00-1.0.safetensors", "02-1.50-0.5.safetensors"]
    other = made()
    other.load_weights(tmp_path / "01-2.00-1.0.safetensors")
    assert same(other.get_weights(), script.weights[0])


def test_files_after_batches(tmp_path):
    save = ModelCheckpoint(str(tmp_path / "{epoch}-{batch}.safetensors"), save_freq=2)
    fit(made(), save, epochs=3)
    assert names(tmp_path) == [f"{name}.safetensors" for name in ("1-2", "2-1", "2-3", "3-2")]
    best = ModelCheckpoint(str(tmp_path / "best.safetensors"), "loss", save_best_only=True, save_freq=1)
    fit(made(), best)
    assert best.best < 10


def test_a_second_fit_knows_the_best_of_the_first(tmp_path):
    save = ModelCheckpoint(str(tmp_path / "{epoch}.safetensors"), save_best_only=True)
    fit(made(), Script([2.0, 1.0]), save, epochs=2)
    fit(made(), Script([3.0, 4.0, 0.5]), save, epochs=3)
    assert names(tmp_path) == ["1.safetensors", "2.safetensors", "3.safetensors"]
    assert save.best == 0.5


@pytest.mark.parametrize(("path", "options", "match"), [
    ("best.keras", {}, r"filepath to end in '.safetensors', received 'best.keras'. Hint: 'best.safetensors'"),
    ("w.weights.h5", {}, "Hint: 'w.safetensors'"),
    ("best", {}, "Hint: 'best.safetensors'"),
    ("{epoch.safetensors", {}, "names in braces"),
    ("{}.safetensors", {}, "names in braces"),
    ("{0}.safetensors", {}, "names in braces"),
    ("{batch}.safetensors", {}, r"save_freq to be a number of batches, for a filepath with \{batch\}"),
    ("x.safetensors", {"save_freq": 0}, "save_freq to be an integer of at least 1"),
    ("x.safetensors", {"save_freq": "batch"}, "save_freq to be one of"),
    ("x.safetensors", {"initial_value_threshold": float("nan")}, "initial_value_threshold to be a number"),
])  # fmt: skip
def test_what_a_checkpoint_refuses(path, options, match):
    with pytest.raises(ValueError, match=match):
        ModelCheckpoint(path, **options)


def test_a_name_that_no_log_has_is_found_before_training(tmp_path):
    model = made()
    weights = model.get_weights()
    with pytest.raises(ValueError, match=r"each name in filepath .*'val_maee'. Hint: did you mean 'val_mae'"):
        fit(model, ModelCheckpoint(str(tmp_path / "{epoch}-{val_maee:.2f}.safetensors")))
    assert same(model.get_weights(), weights)


def test_a_name_that_is_missed_later_loses_nothing(tmp_path):
    """Another callback could have put it into the logs."""
    model, script = made(), Script([1.0])
    path = str(tmp_path / "{epoch}-{val_f1:.2f}.safetensors")
    put = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_f1=0.5))
    fit(made(), put, ModelCheckpoint(path), epochs=1)
    assert names(tmp_path) == ["1-0.50.safetensors"]
    with pytest.raises(ValueError, match=r"received 'val_f1'.* The model was saved to '.*1-val_f1.safetensors'"):
        fit(model, script, ModelCheckpoint(path))
    assert same(models.load_model(tmp_path / "1-val_f1.safetensors").get_weights(), script.weights[0])


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_full_disk(call, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    model, script = made(), Script([1.0])
    fit(model, script, ModelCheckpoint(path), epochs=1)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(call, full)
    with pytest.raises(OSError, match=r"No space left on device: '.*model.safetensors'"):
        fit(model, ModelCheckpoint(path), epochs=1)
    monkeypatch.undo()
    assert names(tmp_path) == ["model.safetensors"]
    assert same(models.load_model(path).get_weights(), script.weights[0])
    fit(model, epochs=1)  # and the model can be used


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full_while_bytes_are_written(tmp_path, monkeypatch):
    def opened(handle, mode):
        os.close(handle)
        return Path("/dev/full").open(mode)

    monkeypatch.setattr("os.fdopen", opened)
    with pytest.raises(OSError, match=r"No space left on device: '.*table'"):
        write_atomically(tmp_path / "table", b"x" * 100_000)
    assert names(tmp_path) == []


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(OSError, match=r"x\.safetensors"):
        fit(made(), ModelCheckpoint(tmp_path / "x.safetensors"))
    assert names(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("argument", ["epoch", 2])
def test_batches_are_not_watched_for_nothing(argument, board_package):
    given = [ModelCheckpoint("x.safetensors", save_freq=argument), TensorBoard(update_freq=argument)]
    assert len(CallbackList(given, made(), {}).named("on_train_batch_end")) == (0 if argument == "epoch" else 2)


# CSVLogger


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_holds_the_history(tmp_path):
    log = CSVLogger(tmp_path / "new" / "log.csv")
    rate = LearningRateScheduler(lambda epoch: 0.1)
    history = fit(made(), rate, log).history
    rows = read(tmp_path / "new" / "log.csv")
    assert list(rows[0]) == ["epoch", "learning_rate", "loss", "mae", "val_loss", "val_mae"]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values


def test_lines_are_there_after_each_epoch(tmp_path):
    log = CSVLogger(tmp_path / "log.csv")
    with pytest.raises(KeyboardInterrupt):
        fit(made(), log, Fail())
    assert len(read(tmp_path / "log.csv")) == 2
    fit(made(), log, epochs=1)
    assert len(read(tmp_path / "log.csv")) == 1
    log.append = True
    fit(made(), log, epochs=4, initial_epoch=1)
    assert [row["epoch"] for row in read(tmp_path / "log.csv")] == ["0", "1", "2", "3"]


def test_tables_that_do_not_fit(tmp_path):
    path = tmp_path / "log.csv"
    fit(made(), CSVLogger(path))
    with pytest.raises(ValueError, match=r"logs for the columns epoch, loss, mae, .* received learning_rate"):
        fit(made(), LearningRateScheduler(lambda epoch: 0.1), CSVLogger(path, append=True))
    assert len(read(path)) == 3
    path.write_text("name,age\n")
    with pytest.raises(ValueError, match=r"first column is 'epoch', received .*log.csv' with the columns name, age"):
        fit(made(), CSVLogger(path, append=True))
    assert path.read_text() == "name,age\n"
    with pytest.raises(ValueError, match="separator to be one character"):
        CSVLogger(path, separator="")


def test_logs_of_several_numbers(board_package, tmp_path):
    """As of a metric that gives a number for each class."""

    class Several(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_f1"] = np.array([0.25, 0.5]) * (epoch + 1)

    fit(made(), Several(), CSVLogger(tmp_path / "log.csv"), TensorBoard(tmp_path), epochs=2)
    assert [json.loads(row["val_f1"]) for row in read(tmp_path / "log.csv")] == [[0.25, 0.5], [0.5, 1.0]]
    assert numbers(tmp_path / "validation", "epoch_f1_1") == [0.5, 1.0]
    with pytest.raises(ValueError, match="'val_f1' to be a number, received 2 of them"):
        fit(made(), Several(), ModelCheckpoint(tmp_path / "x.safetensors", "val_f1", save_best_only=True, mode="max"))


# TensorBoard


def crc32c(data):
    """The checksum of RFC 3720, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 & -(value & 1))
    return value ^ 0xFFFFFFFF


def checked(data, masked):
    crc = crc32c(data)
    assert ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == masked
    return data


def events(folder):
    """Every event of the files in a folder, read as TensorFlow frames its records: length, its CRC, data, its CRC."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            header = checked(content[place : place + 8], *struct.unpack_from("<I", content, place + 8))
            (length,) = struct.unpack("<Q", header)
            data = content[place + 12 : place + 12 + length]
            found.append(Event.FromString(checked(data, *struct.unpack_from("<I", content, place + 12 + length))))
            place += 16 + length
    return found


def steps(folder):
    """For each part the names, and their steps."""
    found = {}
    for part in folder.iterdir():
        own = found.setdefault(part.name, {})
        for event in events(part):
            for value in event.summary.value:
                own.setdefault(value.tag, []).append(event.step)
    return found


def numbers(folder, name):
    return [v.simple_value for event in events(folder) for v in event.summary.value if v.tag == name]


@pytest.fixture
def board_package():
    return pytest.importorskip("tensorboardX")


@pytest.mark.parametrize("case", BOARDS)
def test_names_and_steps_as_keras_writes_them(case, board_package, tmp_path):
    recorded = json.loads(Path(__file__).with_name("golden").joinpath("callbacks.json").read_text())
    board(tg, TensorBoard(tmp_path, write_graph=False, **BOARDS[case]))
    assert steps(tmp_path) == recorded["boards"][case]


def test_numbers_on_the_board(board_package, tmp_path):
    model = made()
    history = fit(model, TensorBoard(tmp_path, histogram_freq=1)).history
    (first, *_) = events(tmp_path / "train")
    assert first.file_version == "brain.Event:2"
    np.testing.assert_allclose(numbers(tmp_path / "train", "epoch_loss"), history["loss"], rtol=1e-6)
    np.testing.assert_allclose(numbers(tmp_path / "validation", "epoch_mae"), history["val_mae"], rtol=1e-6)
    values = [value for event in events(tmp_path / "train") for value in event.summary.value]
    (text,) = [value.tensor.string_val[0].decode() for value in values if value.tag == "model/text_summary"]
    assert "(Dense)" in text
    assert all(line.startswith("    ") for line in text.splitlines())
    last = [value.histo for value in values if value.tag.endswith(f"{model.layers[-1].name}/kernel/histogram")][-1]
    kernel = model.layers[-1].kernel.data
    assert (last.num, sum(last.bucket)) == (kernel.size, kernel.size)
    np.testing.assert_allclose([last.min, last.max, last.sum], [kernel.min(), kernel.max(), kernel.sum()], rtol=1e-6)


def test_batches_on_the_board(board_package, tmp_path):
    class Keep(Callback):
        losses = ()

        def on_train_batch_end(self, batch, logs=None):
            self.losses = (*self.losses, logs["loss"])

    fit(made(), keep := Keep(), TensorBoard(tmp_path, update_freq=2))
    np.testing.assert_allclose(numbers(tmp_path / "train", "batch_loss"), keep.losses[1::2], rtol=1e-6)
    assert steps(tmp_path)["train"]["batch_loss"] == [2, 4, 6, 8]


def test_a_board_of_each_fit(board_package, tmp_path):
    """A second one in the same second does not overwrite the first."""
    for _ in range(2):
        fit(made(), TensorBoard(tmp_path), epochs=1)
    assert steps(tmp_path)["train"]["epoch_loss"] == [0, 0]


def test_boards_leave_no_thread_and_no_open_file(board_package, tmp_path):
    threads = threading.active_count()
    written = TensorBoard(tmp_path)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(made(), written, Fail())
        assert threading.active_count() == threads
    assert len(numbers(tmp_path / "train", "epoch_loss")) == 4
    del written
    gc.collect()  # an open file would warn


def test_weights_that_are_not_finite_on_the_board(board_package, tmp_path):
    model = made()
    model.layers[-1].kernel.assign_(np.array([[1.0], [np.nan], [np.inf], [2.0]]))
    callback = TensorBoard(tmp_path, histogram_freq=1)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {})
    callback.on_train_end()
    found = [v.histo for e in events(tmp_path / "train") for v in e.summary.value if v.tag.endswith("kernel/histogram")]
    assert found[-1].num == 2


@pytest.mark.parametrize(("options", "kind"), [
    ({"histogram_freq": -1}, ValueError), ({"update_freq": "epochs"}, ValueError), ({"update_freq": 0}, ValueError),
    ({"update_freq": 1.5}, TypeError), ({"write_graph": "no"}, TypeError), ({"write_images": True}, TypeError),
])  # fmt: skip
def test_what_a_board_refuses(options, kind):
    with pytest.raises(kind, match=next(iter(options))):
        TensorBoard(**options)


def test_a_board_without_its_package(monkeypatch):
    known = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("tensorboardX"):
            raise ImportError("No module named 'tensorboardX'")
        return known(name, *arguments, **keywords)

    monkeypatch.setattr("builtins.__import__", without)
    for name in [name for name in sys.modules if name.startswith("tensorboardX")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad-edu\[tensorboard\]'"):
        TensorBoard()


@pytest.mark.parametrize(("make", "name"), [
    (CSVLogger, "folder"), (CSVLogger, "file/table.csv"),
    (BackupAndRestore, "file"), (BackupAndRestore, "file/b"),
    (ModelCheckpoint, "file/{epoch}/x.safetensors"), (ModelCheckpoint, "folder/x.safetensors"),
    (TensorBoard, "file"), (lambda path: TensorBoard(path, write_graph=False), "file/logs"),
])  # fmt: skip
def test_what_cannot_be_written_is_noticed_before_training(make, name, tmp_path):
    (tmp_path / "folder" / "x.safetensors").mkdir(parents=True)
    (tmp_path / "file").write_text("kept")
    model, seen = made(), sorted(tmp_path.rglob("*"))
    try:
        callback = make(tmp_path / name)
    except ImportError as error:
        pytest.skip(str(error))
    expected = rf"\] {type(callback).__name__} cannot write: (Is a dir|Not a dir|File exists).*: '{tmp_path / name}"
    with pytest.raises((IsADirectoryError, NotADirectoryError, FileExistsError), match=expected):
        fit(model, callback)
    assert model.optimizer.iterations == 0
    assert sorted(tmp_path.rglob("*")) == seen
    assert (tmp_path / "file").read_text() == "kept"


def test_a_look_before_training_leaves_a_table_as_it_was(tmp_path):
    path = tmp_path / "table.csv"
    for kept in ("", "epoch,loss\n"):
        log = CSVLogger(path, append=True)
        log.on_train_begin()
        assert (path.read_text() if path.exists() else "") == kept
        path.write_text("epoch,loss\n")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_errors_of_saving_name_the_path():
    path = "/proc/model.safetensors"  # where root cannot write either
    with pytest.raises(OSError, match=f": '{path}'$"):
        write_atomically(path, b"")
