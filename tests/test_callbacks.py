"""Callbacks: the order of the hooks, History, early ends, and what the progress bar writes."""

import contextlib
import io
import re

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.callbacks import Callback, History, LazyLogs, TerminateOnNaN
from tinygrad_edu.layers import Dense
from tinygrad_edu.models import Sequential
from tinygrad_edu.optimizers import SGD

X, Y = np.ones((10, 2)), np.ones(10)


def model(learning_rate=0.1):
    tg.seed(0)
    made = Sequential([Dense(1, input_dim=2)])
    made.compile(SGD(learning_rate), "mse", metrics=["mae"])
    return made


class Record(Callback):
    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda *arguments: self.calls.append((name[3:], *arguments))
        return super().__getattribute__(name)


class RecordBatches(Callback):
    def __init__(self, calls):
        self.calls = calls

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("train_batch_begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("train_batch_end", batch, dict(logs)))


def test_order_and_logs_of_the_hooks():
    record = Record()
    trained = model()
    history = trained.fit(
        X, Y, batch_size=5, epochs=2, validation_split=0.2, callbacks=[record, RecordBatches(record.calls)], verbose=0
    )
    epoch = ["epoch_begin", *["train_batch_begin", "train_batch_end"] * 2, "test_begin", "test_end", "epoch_end"]
    assert [call[0] for call in record.calls] == ["train_begin", *epoch, *epoch, "train_end"]
    ends = [call for call in record.calls if call[0] == "epoch_end"]
    assert [call[1] for call in ends] == [0, 1]
    assert list(ends[0][2]) == ["loss", "mae", "val_loss", "val_mae"]
    assert ends[1][2]["val_loss"] == history.history["val_loss"][1]
    batches = [call for call in record.calls if call[0] == "train_batch_end"]
    assert [call[1] for call in batches] == [0, 1, 0, 1]
    assert batches[1][2]["loss"] == ends[0][2]["loss"]  # the mean so far, at the last batch
    assert record.model is trained
    assert record.params["epochs"] == 2
    assert record.params["steps"] == 2


def test_logs_are_read_only_when_somebody_looks():
    reads = []
    logs = LazyLogs(lambda: reads.append(1) or {"loss": 1.0})
    assert reads == []
    assert (logs["loss"], logs.get("loss"), list(logs), len(logs)) == (1.0, 1.0, ["loss"], 1)
    assert reads == [1]


def test_stop_training_ends_after_the_batch():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    record = RecordBatches([])
    trained = model()
    history = trained.fit(X, Y, batch_size=2, epochs=5, callbacks=[Stop(), record], verbose=0)
    assert len(record.calls) == 4
    assert history.epoch == [0]
    assert trained.fit(X, Y, verbose=0).epoch == [0]  # the next training starts anew


def test_terminate_on_nan(capsys):
    trained = model(learning_rate=1e30)
    with np.errstate(all="ignore"):
        history = trained.fit(X, Y, batch_size=2, epochs=50, callbacks=TerminateOnNaN(), verbose=0)
    assert len(history.epoch) == 1
    assert re.match(r"TerminateOnNaN: the loss is (nan|inf) at batch \d; the training ends\n", capsys.readouterr().out)


def test_history_by_hand():
    history = History()
    history.on_epoch_end(3, {"loss": 1.0})
    history.on_epoch_end(4, {"loss": 0.5})
    assert (history.epoch, history.history) == ([3, 4], {"loss": [1.0, 0.5]})
    assert repr(history) == "<History of 2 epochs: loss>"


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_a_line_an_epoch_into_a_pipe(verbose, capsys):
    model().fit(X, Y, epochs=3, verbose=verbose, validation_split=0.2, initial_epoch=1)
    out = capsys.readouterr().out
    line = r"Epoch {}/3 - loss: \S+ - mae: \S+ - val_loss: \S+ - val_mae: \S+ - \d+\.\ds\n"
    assert re.fullmatch(line.format(2) + line.format(3), out)


def test_silence(capsys):
    model().fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("tinygrad_edu.callbacks.progress.REFRESH", 0.0)
    return Terminal()


def test_a_bar_on_a_terminal(terminal):
    with contextlib.redirect_stdout(terminal):
        model().fit(X, Y, batch_size=2, epochs=2)
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"Epoch 1/2 .*━.* 3/10 .*left +loss: \S+ - mae: \S+", out)
    assert re.search(r"Epoch 2/2 - loss: \S+ - mae: \S+ - \d\.\ds", out)
    assert "10/10" in out


def test_lines_on_a_terminal_if_asked_for(terminal):
    with contextlib.redirect_stdout(terminal):
        model().fit(X, Y, epochs=2, verbose=2)
    assert terminal.getvalue().count("Epoch") == 2
    assert "\x1b" not in terminal.getvalue()


def test_the_bar_is_taken_off_when_training_fails(terminal):
    class Fail(Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with contextlib.redirect_stdout(terminal), pytest.raises(KeyboardInterrupt):
        model().fit(X, Y, callbacks=Fail())
    assert "\x1b[?25l" in terminal.getvalue()  # hides the cursor
    assert "\x1b[?25h" in terminal.getvalue()  # shows it again
