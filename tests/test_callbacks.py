"""Callbacks: the order of the hooks, History, early ends, and what the progress bar writes."""

import contextlib
import gc
import io
import re
import weakref

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.callbacks import Callback, History, LazyLogs, TerminateOnNaN, progress
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
            return lambda *arguments: self.calls.append((name[3:], *arguments[:-1], dict(arguments[-1])))
        return super().__getattribute__(name)


def test_order_and_logs_of_the_hooks():
    record = Record()
    trained = model()
    history = trained.fit(X, Y, batch_size=5, epochs=2, validation_split=0.2, callbacks=record, verbose=0)
    test = ["test_begin", "test_batch_begin", "test_batch_end", "test_end"]
    epoch = ["epoch_begin", *["train_batch_begin", "train_batch_end"] * 2, *test, "epoch_end"]
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


def test_logs_that_are_kept_do_not_change():
    class Keep(Callback):
        def __init__(self):
            self.kept, self.read = [], []

        def on_train_batch_end(self, batch, logs=None):
            self.kept.append(logs)

    class Read(Keep):
        def on_train_batch_end(self, batch, logs=None):
            self.read.append(dict(logs))

    found = []
    for watch in (Keep(), Read()):
        model().fit(X, Y, batch_size=2, epochs=2, callbacks=watch, verbose=0)
        found.append([dict(logs) for logs in watch.kept] + watch.read)
    assert found[0] == found[1]


@pytest.mark.parametrize("own", [["on_batch_begin", "on_batch_end"], ["on_batch_end", "on_train_batch_end"]])
def test_hooks_of_batches_have_two_names(own):
    calls = []
    hooks = {name: lambda self, batch, logs=None, name=name: calls.append((name, batch, list(logs))) for name in own}
    both = type("Own", (Callback,), hooks)()
    model().fit(X, Y, callbacks=both, verbose=0)
    begin, end = [], ["loss", "mae"]
    if "on_batch_begin" in own:
        assert calls == [("on_batch_begin", 0, begin), ("on_batch_end", 0, end)]
    else:  # the longer name is the one that is called
        assert calls == [("on_train_batch_end", 0, end)]
    calls.clear()
    both.on_train_batch_begin(3, {})
    assert calls == ([("on_batch_begin", 3, [])] if "on_batch_begin" in own else [])


def test_callbacks_are_called_in_their_order():
    calls = []

    class Named(Callback):
        def __init__(self, name):
            self.name = name

        def on_train_batch_begin(self, batch, logs=None):
            calls.append(self.name)

    model().fit(X, Y, batch_size=10, callbacks=[Named("a"), Named("b")], verbose=0)
    assert calls == ["a", "b"]


@pytest.mark.parametrize(("name", "hint"), [
    ("on_epoch_ends", "on_epoch_end"), ("on_train_batches_end", "on_train_batch_end"), ("on_predicted", "on_predict"),
])  # fmt: skip
def test_hooks_that_do_not_exist(name, hint):
    kind = type("Own", (Callback,), {name: lambda self, *arguments: None})
    with pytest.raises(ValueError, match=f"the hooks of Own .*received '{name}'. Hint: did you mean '{hint}"):
        model().fit(X, Y, callbacks=[kind()], verbose=0)


@pytest.mark.parametrize("callbacks", [Callback, 3, [Callback]])
def test_what_is_no_callback_leaves_the_history(callbacks):
    trained = model()
    history = trained.fit(X, Y, verbose=0)
    with pytest.raises(TypeError, match="expected callbacks to be a list of Callback objects"):
        trained.fit(X, Y, callbacks=callbacks, verbose=0)
    assert trained.history is history


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_a_fitted_model_is_freed_without_the_collector(verbose):
    trained = model()
    alive = weakref.ref(trained)
    gc.collect()
    gc.disable()
    try:
        trained.fit(X, Y, verbose=verbose)
        del trained
        assert alive() is None
    finally:
        gc.enable()


def test_stop_training_ends_after_the_batch():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    record = Record()
    trained = model()
    history = trained.fit(X, Y, batch_size=2, epochs=5, callbacks=[Stop(), record], verbose=0)
    assert [call[0] for call in record.calls].count("train_batch_end") == 2
    assert history.epoch == [0]
    assert trained.fit(X, Y, verbose=0).epoch == [0]  # the next training starts anew


def test_stop_evaluating_and_predicting_end_after_the_batch():
    class Stop(Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch == 1

        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = batch == 2

    trained = model()
    found = trained.evaluate(X, Y, batch_size=2, callbacks=Stop())
    assert found == trained.evaluate(X[:4], Y[:4], batch_size=2)
    assert trained.predict(X, batch_size=2, callbacks=[Stop()]).shape == (6, 1)
    assert trained.evaluate(X, Y) == pytest.approx(trained.evaluate(X, Y, batch_size=3))  # the next call is whole


def test_a_history_of_ones_own_is_used():
    own, trained = History(), model()
    assert trained.fit(X, Y, callbacks=[own], verbose=0) is own
    trained.fit(X, Y, callbacks=own, initial_epoch=1, epochs=2, verbose=0)
    assert (own.epoch, trained.history) == ([0, 1], own)


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
    line = r"Epoch {}/3 - loss: \S+ - mae: \S+ - val_loss: \S+ - val_mae: \S+ - \d+ms\n"
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
    assert re.search(r"Epoch 2/2 - loss: \S+ - mae: \S+ - \d+ms", out)
    assert "10/10" in out


def test_a_bar_in_80_columns(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich._console", None)  # it keeps the width it was made with
    tg.seed(0)
    narrow = Sequential([Dense(2, activation="softmax", input_dim=2)])
    narrow.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with contextlib.redirect_stdout(terminal):
        narrow.fit(X, Y.astype(int), batch_size=1, epochs=100, initial_epoch=98, validation_split=0.2)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()))
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    number = r"\d\.\d{4}"
    ended = rf"Epoch 99/100  loss: {number} \(val {number}\)  accuracy: {number} \(val {number}\)  \d+ms *"
    assert sum(re.fullmatch(ended, line) is not None for line in lines) == 1
    bar = rf"Epoch 99/100 [━╸╺]+ +4/16 \S+ left  loss: {number} - accuracy: {number} *"
    assert sum(re.fullmatch(bar, line) is not None for line in lines) == 1


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0.0000"), (0.12345, "0.1235"), (-0.5, "-0.5000"), (0.001, "0.0010"), (1234.5, "1234.5000"),
    (1.234e-5, "1.23e-05"), (23507881322750656512.0, "2.35e+19"), (-1e6, "-1.00e+06"),
    (float("nan"), "nan"), (float("inf"), "inf"),
])  # fmt: skip
def test_numbers(value, text):
    assert progress.as_text({"loss": value}) == f"loss: {text}"


def test_short_text_has_every_value():
    logs = {"loss": 1.0, "mae": 2.0, "val_loss": 3.0, "val_own": 4.0}
    assert progress.as_short_text(logs) == "loss: 1.0000 (val 3.0000)  mae: 2.0000  val_own: 4.0000"


def test_times():
    assert [progress.as_time(seconds) for seconds in (0.0123, 1.25, 75)] == ["12ms", "1.2s", "75.0s"]


@pytest.mark.parametrize("name", ["a[/b]", "a[red]", "a:smile:"])
def test_names_are_not_markup(terminal, name):
    def metric(y, p):
        return tg.absolute(y - p)

    metric.__name__ = name
    named = Sequential([Dense(1, input_dim=2, name=name)], name=name)
    named.compile("sgd", "mse", metrics=[metric])
    with contextlib.redirect_stdout(terminal):
        named.fit(X, Y, epochs=2)
        named.summary()
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert f"- {name}:" in out
    assert "left  loss" in out
    assert f"Model: {name}" in out
    assert f"{name} (Dense)" in out


def test_a_bar_of_unknown_length(terminal):
    with contextlib.redirect_stdout(terminal):
        model().fit(((X[:5], Y[:5]) for _ in range(4)), epochs=1)
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"Epoch 1/1 .* 3/\? .*left +loss: \S+ - mae: \S+", out)


@pytest.mark.parametrize("method", ["evaluate", "predict"])
@pytest.mark.parametrize(("verbose", "shows"), [("auto", True), (1, True), (2, False), (0, False)])
def test_a_bar_for_what_takes_long(method, verbose, shows, terminal, monkeypatch):
    monkeypatch.setattr("tinygrad_edu.callbacks.progress.PATIENCE", 0.0)
    data = {"x": X, "y": Y} if method == "evaluate" else {"x": X}
    with contextlib.redirect_stdout(terminal):
        getattr(model(), method)(**data, batch_size=2, verbose=verbose)
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert ("3/5" in out) == shows
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == shows
    line = method == "evaluate" and verbose in (1, 2)
    assert bool(re.search(r"loss: \S+ - mae: \S+\n$", out)) == line


def test_a_bar_stays_alone(terminal, monkeypatch):
    monkeypatch.setattr("tinygrad_edu.callbacks.progress.PATIENCE", 0.0)

    class Look(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.predict(X, batch_size=2)
            other = model()
            other.fit(X, Y)

    with contextlib.redirect_stdout(terminal):
        model().fit(X, Y, epochs=2, callbacks=Look())
    assert terminal.getvalue().count("\x1b[?25l") == 1
    assert len(re.findall("Epoch 1/1 - loss", terminal.getvalue())) == 2


def test_without_an_output(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    trained = model()
    trained.fit(X, Y)
    trained.summary()


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
