"""The command line: what it writes, its exit status, and how it refuses."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tinygrad_edu import cli, models
from tinygrad_edu.callbacks import History
from tinygrad_edu.cli import digits as train_digits
from tinygrad_edu.datasets import digits


def run(capsys, *arguments):
    """Return exit status, output and errors of the command."""
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_train_digits(tmp_path, capsys):
    status, out, err = run(capsys, "train", "digits", "--out", tmp_path / "run")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Training on 1,438 digits, testing on 359 others; 9,610 parameters; cpu."
    assert sum(line.startswith("Epoch ") for line in lines) == 60
    saved = json.loads((tmp_path / "run" / "history.json").read_text())
    accuracy = saved["results"]["test_accuracy"]
    assert accuracy >= 0.97
    assert f"Test accuracy  {accuracy:.2%}" in lines
    assert "Parameters     9,610" in lines
    assert saved["settings"]["epochs"] == len(saved["epoch"]) == len(saved["history"]["loss"]) == 60
    assert "\x1b" not in out
    text = (tmp_path / "run" / "history.json").read_text()
    assert len(text.splitlines()) < 25  # a list in one line
    (_, _), (x_test, y_test) = digits.load_data()
    loaded = models.load_model(tmp_path / "run" / "model.safetensors")
    assert (loaded.predict(x_test / 16).argmax(axis=1) == y_test).mean() == pytest.approx(accuracy)


def test_run_folders_are_numbered(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits-7").mkdir(parents=True)
    for number in (8, 9):
        status, out, _ = run(capsys, "train", "digits", "--epochs", 1)
        assert status == 0
        assert f"runs{os.sep}digits-{number}" in out
        files = {path.name for path in (tmp_path / "runs" / f"digits-{number}").iterdir()}
        assert files - {"curves.png"} == {"model.safetensors", "history.json"}


def test_curves(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    _, out, _ = run(capsys, "train", "digits", "--epochs", 2, "--out", tmp_path)
    assert "(model.safetensors, history.json, curves.png)" in out
    assert "pip install" not in out
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("epochs", [1, 3])
def test_curves_have_whole_epochs_and_the_test_accuracy(tmp_path, monkeypatch, epochs):
    figures = []
    figure = pytest.importorskip("matplotlib.figure").Figure
    monkeypatch.setattr("matplotlib.figure.Figure", lambda **options: figures.append(figure(**options)) or figures[0])
    history = History()
    for epoch in range(epochs):
        history.on_epoch_end(epoch, {"loss": 1.0 - 0.1 * epoch, "accuracy": 0.5 + 0.1 * epoch})
    assert train_digits.draw_curves(tmp_path / "curves.png", history, 0.97)
    loss, accuracy = figures[0].axes
    for axes in (loss, accuracy):
        assert all(tick == int(tick) for tick in axes.get_xticks())
    assert loss.get_legend() is None
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["test data, at the end: 97.00%"]


def test_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, _ = run(capsys, "train", "digits", "--epochs", 1, "--out", tmp_path)
    assert status == 0
    assert "(model.safetensors, history.json)" in out
    assert out.endswith("No curves without matplotlib: pip install 'tinygrad-edu[viz]' draws them.\n")


def test_options_decide(tmp_path, capsys):
    folders = (tmp_path / str(n) for n in range(9))

    def weights(*options):
        folder = next(folders)
        assert run(capsys, "train", "digits", "--epochs", 1, "--out", folder, *options)[0] == 0
        return np.concatenate([w.ravel() for w in models.load_model(folder / "model.safetensors").get_weights()])

    first = weights("--seed", 3)
    np.testing.assert_array_equal(weights("--seed", 3), first)
    for options in [("--seed", 4), ("--seed", 3, "--batch-size", 100), ("--seed", 3, "--learning-rate", 0.1)]:
        assert (weights(*options) != first).any()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_trained(tmp_path, number):
    # a shell starts what is in the background with SIGINT ignored, and the child would inherit that
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "import sys; from tinygrad_edu.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-u", "-c", code, "train", "digits", "--epochs", "100000", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                process.send_signal(number)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""
    assert "Interrupted: keeping what was trained so far." in out
    saved = json.loads((tmp_path / "history.json").read_text())
    assert saved["results"]["interrupted"] is True
    assert len(saved["epoch"]) == len(saved["history"]["loss"]) >= 3
    assert models.load_model(tmp_path / "model.safetensors").built


COMMAND = [sys.executable, "-c", "import sys; from tinygrad_edu.cli import main; sys.exit(main())", "train", "digits"]


def is_kept(folder, interrupted):
    saved = json.loads((folder / "history.json").read_text())
    assert saved["results"]["interrupted"] is interrupted
    assert models.load_model(folder / "model.safetensors").built


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_output_does_not_throw_the_training_away(tmp_path):
    with open("/dev/full", "w") as full:
        command = [*COMMAND, "--epochs", "2", "--out", str(tmp_path)]
        # with a buffer, which first overflows in the training
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    is_kept(tmp_path, True)


def test_a_closed_pipe_does_not_throw_the_training_away(tmp_path):
    command = [*COMMAND[:1], "-u", *COMMAND[1:], "--epochs", "100000", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert b"Broken pipe" in err
    assert b"Traceback" not in err
    is_kept(tmp_path, True)


def test_without_an_output(tmp_path):
    command = " ".join(f"'{part}'" for part in [*COMMAND, "--epochs", "1", "--out", str(tmp_path)])
    done = subprocess.run(["sh", "-c", f"exec {command} >&-"], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    is_kept(tmp_path, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_while_the_run_is_written(tmp_path, capsys, monkeypatch, number):
    write = train_digits.write_run

    def interrupted(*arguments):
        os.kill(os.getpid(), number)
        return write(*arguments)

    monkeypatch.setattr(train_digits, "write_run", interrupted)
    before = signal.getsignal(number)
    assert run(capsys, "train", "digits", "--epochs", 1, "--out", tmp_path)[0] == 0
    assert signal.getsignal(number) is before
    is_kept(tmp_path, False)


def test_a_run_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_text("mine")
    status, out, err = run(capsys, "train", "digits", "--out", tmp_path)
    assert (status, out) == (1, "")
    assert "expected a folder without a run" in err
    assert (tmp_path / "model.safetensors").read_text() == "mine"
    assert run(capsys, "train", "digits", "--out", "")[0] == 1


def test_the_seed_is_checked_before_the_folder_is_made(tmp_path, capsys):
    status, _, err = run(capsys, "train", "digits", "--seed", 10**40, "--out", tmp_path / "run")
    assert status == 1
    assert "seed" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_no_number(tmp_path, capsys):
    with pytest.warns(UserWarning, match="Sequential fit: expected a loss that is finite"):
        status, _, err = run(capsys, "train", "digits", "--learning-rate", 1e30, "--epochs", 2, "--out", tmp_path)
    assert status == 1
    assert (
        "expected a finite loss, received one that is NaN or infinite. Hint: choose a smaller --learning-rate." in err
    )

    def refuse(constant):
        raise AssertionError(constant)

    saved = json.loads((tmp_path / "history.json").read_text(), parse_constant=refuse)
    assert None in saved["history"]["loss"]


@pytest.mark.parametrize(("arguments", "text"), [
    (("train",), "the following arguments are required: NAME"),
    (("trian",), "invalid choice: 'trian' (choose from "),
    (("train", "mnist"), "argument NAME: invalid choice: 'mnist' (choose from "),
    (("train", "digits", "--epochs", "0"), "argument --epochs: expected an integer of at least 1, received '0'"),
    (("train", "digits", "--epochs", "two"), "received 'two'"),
    (("train", "digits", "--batch-size", "-5"), "argument --batch-size: expected an integer of at least 1, received '-5'"),
    (("train", "digits", "--seed", "-1"), "argument --seed: expected an integer of at least 0, received '-1'"),
    (("train", "digits", "--learning-rate", "nan"), "argument --learning-rate: expected a number above 0, received 'nan'"),
    (("train", "digits", "--learning-rate", "0"), "received '0'"),
])  # fmt: skip
def test_wrong_arguments(capsys, arguments, text):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert text in err


def test_a_wrong_device(tmp_path, capsys):
    status, _, err = run(capsys, "train", "digits", "--device", "tpu", "--out", tmp_path)
    assert status == 1
    assert err == "tinygrad-edu: error: device: expected 'cpu', 'cuda', 'cuda:N' or 'auto', received 'tpu'.\n"


def test_a_folder_that_cannot_be_written_is_found_before_the_training(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    status, out, err = run(capsys, "train", "digits", "--out", tmp_path / "file" / "run")
    assert (status, out) == (1, "")
    assert err.startswith(f"tinygrad-edu: error: cannot write to the folder '{tmp_path / 'file' / 'run'}': ")
    assert err.endswith("Choose another with --out.\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    status, out, err = run(capsys, "train", "digits", "--out", tmp_path / "run")
    assert (status, out) == (1, "")
    assert "No space left on device. Choose another with --out." in err


def test_help(capsys):
    for arguments in (["--help"], ["train", "--help"], ["train", "digits", "--help"], ["check", "--help"]):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert "SUPPRESS" not in out
        assert "None" not in out
    assert "--learning-rate" in run(capsys, "train", "digits", "--help")[1]
    assert "example:\n  tinygrad-edu train digits --epochs 10" in run(capsys, "train", "digits", "--help")[1]
    assert run(capsys) == run(capsys, "--help")
    assert run(capsys, "--version")[1].startswith("tinygrad-edu ")


@pytest.mark.gpu
def test_train_digits_on_cuda(tmp_path, capsys):
    status, out, err = run(capsys, "train", "digits", "--device", "cuda", "--epochs", 1, "--out", tmp_path)
    assert (status, err) == (0, "")
    assert "cuda:0" in out
