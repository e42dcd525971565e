"""`tinygrad-edu check`: its table, its verdicts, its exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_edu as tg
from tinygrad_edu import checks
from tinygrad_edu.backend import Device
from tinygrad_edu.optable import TABLE

CPU = Device("cpu")


def test_every_operation_is_right_and_has_a_line(capsys):
    assert checks.run_check() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "operation",
        "samples",
        "forward",
        "error",
        "gradient",
        "error",
        "second",
        "order",
        "verdict",
    ]
    assert [line.split()[0] for line in lines[1 : len(TABLE) + 1]] == list(TABLE)
    assert all(line.endswith(" ok") for line in lines[1 : len(TABLE) + 1])
    assert lines[-1].startswith(f"{len(TABLE)} operations, ")
    assert "on cpu (numpy" in lines[-1]
    assert "all right" in lines[-1]


def test_one_operation(capsys):
    assert checks.run_check(op="softmax") == 0
    header, line, _, end = capsys.readouterr().out.splitlines()
    assert header.startswith("operation")
    name, samples, forward, gradient, second, verdict = line.split()
    assert (name, int(samples), verdict) == ("softmax", len(TABLE["softmax"].samples), "ok")
    assert float(forward) < 1e-15
    assert 0 < float(gradient) < 1e-8
    assert 0 < float(second) < 1e-8
    assert end.startswith("1 operation, ")


def test_an_operation_without_gradient_has_dashes(capsys):
    assert checks.run_check(op="argmax") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[3:] == ["-", "-", "ok"]


def test_a_wrong_gradient_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(tg.exp, "vjps", (lambda g, y, a: 1.01 * g * y,))
    assert checks.run_check(op="exp") == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].endswith("WRONG")
    assert "gradcheck: argument 0" in printed
    assert "1 WRONG" in printed.splitlines()[-1]


def test_a_wrong_second_gradient_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(tg.cos, "vjps", (lambda g, y, a: 1.01 * g * tg.sin(a),))  # the gradient of sin is right
    assert checks.run_check(op="sin") == 1
    assert "second order" in capsys.readouterr().out.splitlines()[3:][1]


def test_a_wrong_forward_is_reported(capsys, monkeypatch):
    forward = tg.exp.forward
    monkeypatch.setattr(tg.exp, "forward", lambda xp, a, out=None: forward(xp, a, out) * (1 + 1e-12))
    finding = checks.check_row(TABLE["exp"], CPU)
    assert "from NumPy" in finding.faults[0]
    monkeypatch.setattr(tg.exp, "forward", lambda xp, a, out=None: forward(xp, a, out)[None])
    assert "off by inf" in checks.check_row(TABLE["exp"], CPU).faults[0]


def test_a_crash_is_reported(capsys, monkeypatch):
    def crash(xp, a, out=None):
        raise MemoryError("nothing left")

    monkeypatch.setattr(tg.exp, "forward", crash)
    assert checks.run_check(op="exp") == 1
    assert "MemoryError: nothing left" in capsys.readouterr().out


def test_an_unknown_operation_gives_the_nearest_name(capsys):
    assert checks.run_check(op="sofmax") == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert "check: expected --op to be the name of an operation, received 'sofmax'" in found.err
    assert "Hint: did you mean 'softmax'?" in found.err
    assert checks.run_check(op="?") == 2
    assert "without --op it checks them all" in capsys.readouterr().err


def test_an_unknown_device(capsys):
    assert checks.run_check(device="gpu") == 2
    assert "received 'gpu'" in capsys.readouterr().err


def test_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    assert checks.run_check(op="tanh") == 0
    printed = capsys.readouterr().out
    assert "│" in printed
    assert "tanh" in printed
    assert "all right" in printed


def test_plain_lines_need_no_rich():
    code = "import sys; from tinygrad_edu.checks import run_check; run_check(op='exp'); print('rich' in sys.modules)"
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=Path(tg.__file__).parent.parent, text=True)
    assert printed.splitlines()[-1] == "False"


@pytest.mark.gpu
def test_on_cuda(capsys):
    assert checks.run_check(device="cuda", op="multiply") == 0
    assert "on cuda:0 (cupy" in capsys.readouterr().out
