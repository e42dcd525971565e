"""`tinygrad-edu train NAME` and `python examples/NAME.py`: options, figures, errors before the training."""

import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
from example_cases import EXAMPLES

import tinygrad_edu as tg
from tinygrad_edu import cli
from tinygrad_edu.cli import programs

CALLS = []


def program(quick=False, plot=None, data: Literal["small", "large"] = "small"):
    CALLS.append({"quick": quick, "plot": plot, "data": data, "drawn": tg.uniform((2,)), "device": tg.default_device()})
    return {"a figure of many words": 0.123456, "count": 12.0}


def run(capsys, *options):
    """Return exit status, output, errors and what the program was called with, if it was."""
    CALLS.clear()
    with pytest.raises(SystemExit) as end:
        sys.exit(cli.exit_status(lambda: programs.run_with_options(program, options)))
    return end.value.code, *capsys.readouterr(), CALLS[0] if CALLS else None


def test_defaults(capsys):
    status, out, err, call = run(capsys)
    assert (status, err) == (0, "")
    assert out == "a figure of many words 0.1235\ncount                  12\n"
    assert (call["quick"], call["plot"], call["data"], str(call["device"])) == (False, None, "small", "cpu")
    tg.seed(0)
    np.testing.assert_array_equal(call["drawn"].numpy(), tg.uniform((2,)).numpy())


def test_options(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    picture = str(tmp_path / "a.svg")
    _, out, _, call = run(capsys, "--quick", "--plot", picture, "--data", "large", "--seed", "3")
    assert out.endswith(f"\nPicture: {picture}\n")
    assert (call["quick"], call["plot"], call["data"]) == (True, picture, "large")
    tg.seed(3)
    np.testing.assert_array_equal(call["drawn"].numpy(), tg.uniform((2,)).numpy())
    assert list(tmp_path.iterdir()) == []  # the program writes it, the check does not
    assert run(capsys, "--plot")[-1]["plot"] == "test_cli_programs.png"


@pytest.mark.parametrize(("options", "status", "text"), [
    (("--seed", "-1"), 2, "argument --seed: expected an integer of at least 0, received '-1'"),
    (("--data", "huge"), 2, "argument --data: invalid choice: 'huge'"),
    (("--epochs", "3"), 2, "unrecognized arguments: --epochs 3"),
    (("--device", "tpu"), 1, "error: device: expected 'cpu', 'cuda', 'cuda:N' or 'auto', received 'tpu'.\n"),
    (("--plot", "a.txt"), 1, "error: --plot: expected a file that ends in one of "),
    (("--plot", "a"), 1, "received 'a'."),
    (("--plot", "nowhere/a.png"), 1, "Choose another file with --plot.\n"),
])  # fmt: skip
def test_mistakes_are_found_before_the_training(capsys, options, status, text):
    if "--plot" in options:
        pytest.importorskip("matplotlib")
    found, _, err, call = run(capsys, *options)
    assert (found, call) == (status, None)
    assert text in err


def test_a_picture_is_a_file(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "a.png"
    folder.mkdir()
    status, _, err, call = run(capsys, "--plot", str(folder))
    assert (status, call) == (1, None)
    assert err == f"tinygrad-edu: error: --plot: expected a file, received the folder {str(folder)!r}.\n"
    assert run(capsys, "--plot", str(tmp_path / "B.PNG"))[0] == 0


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, ImportError])
def test_an_error_in_a_program_has_its_line(capsys, kind):
    def changed():
        raise kind("wrong")

    assert cli.exit_status(lambda: programs.run_with_options(changed, [])) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert 'raise kind("wrong")' in err
    assert err.endswith("Error: wrong\n")


def test_a_picture_needs_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err, call = run(capsys, "--plot")
    assert (status, call) == (1, None)
    assert err == "tinygrad-edu: error: viz needs matplotlib: pip install 'tinygrad-edu[viz]'\n"


def test_an_interrupt(capsys):
    def interrupted():
        raise KeyboardInterrupt

    assert cli.exit_status(lambda: programs.run_with_options(interrupted, [])) == 130
    assert capsys.readouterr().err == "tinygrad-edu: interrupted\n"


def test_every_program_is_listed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    out = capsys.readouterr().out
    lines = out.splitlines()  # a long name has one of its own
    assert [name for name in programs.examples() if not any(line.split()[:1] == [name] for line in lines)] == []


def test_the_command_and_the_file_do_the_same(capsys):
    assert cli.main(["train", "newton", "--quick"]) == 0
    out = capsys.readouterr().out
    assert "step 6" in out
    assert subprocess.check_output([sys.executable, EXAMPLES / "newton.py"], text=True) == out


def test_help_is_the_docstring(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "newton", "--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: tinygrad-edu train newton [-h] [--quick] [--plot [FILE]]")
    assert "Newton's method" in out


@pytest.mark.gpu
def test_on_cuda(capsys):
    assert str(run(capsys, "--device", "cuda")[-1]["device"]) == "cuda:0"
