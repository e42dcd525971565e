"""The benchmarks run and check their results; how fast anything is, no test asks."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as tg

ROOT = Path(__file__).parents[1]
CORE = {"graph", "imports", "matmul", "memory", "overhead", "scaling"}
DENSE = {"perceptron", "deep", "xor", "mnist", "wide", "big", "autoencoder"}
TRAINING = DENSE | {"lenet", "resnet", "denoising", "lstm", "gru", "gpt", "recommender", "translation"}


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.harness")


@pytest.fixture
def command(harness, monkeypatch):
    """The command line, run in this process."""
    main = importlib.import_module("benchmarks.__main__")
    for variable in main.THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")  # what the command sets is put back after the test
    return main


def test_rows_are_found(command):
    assert set(command.ROWS) == CORE | TRAINING


def test_quick_run(tmp_path):
    """Of the core and of one training row, beside PyTorch if it is there."""
    arguments = ["-m", "benchmarks", "--quick", "--rows", "core,xor", "--threads", "1"]
    arguments += ["--json", str(tmp_path / "out.json")]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert {table["title"] for table in found["tables"]} >= CORE
    assert found["wrong"] == []
    (row,) = found["training"]["rows"]
    if importlib.util.find_spec("torch"):
        assert {"eager", "torch", "sgemm"} <= set(row["frameworks"])
        assert row["frameworks"]["eager"]["losses"] == pytest.approx(row["frameworks"]["torch"]["losses"], rel=1e-3)
        assert all(found["seconds"]["eager"] > 0 for rounds in row["rounds"].values() for found in rounds)
        assert row["figures"]["ratios"]["step"]["eager / torch"][0] > 0
    else:
        assert "no losses of PyTorch to agree with: No module named 'torch'" in row["skipped"]["eager"]
    assert found["machine"]["threads"] == "1"
    assert "quick" in found["machine"]["mode"]
    for table in found["tables"]:
        assert table["lines"], table["title"]
        assert f"### {table['title']}" in done.stdout
        assert all(len(line) > 1 for line in table["lines"])
        assert all(value > 0 for times in table["raw"].values() for value in times)
        assert all(line.startswith("|") for line in done.stdout.splitlines() if " | " in line)


def test_peers_that_are_absent_are_named_and_skipped(command, harness, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    harness.torch_for.cache_clear()
    try:
        assert command.main(["--quick", "--rows", "overhead,matmul"]) == 0
    finally:
        harness.torch_for.cache_clear()
    printed = capsys.readouterr().out
    assert "Peer: PyTorch absent: not installed" in printed
    assert "| - " in printed.replace("- |", "| - ") or " - |" in printed


def test_a_wrong_result_gets_no_figures(command, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tg.Tensor, "__matmul__", lambda a, b: tg.matmul(a, b) * 1.01)
    path = tmp_path / "out.json"
    assert command.main(["--quick", "--rows", "matmul,memory", "--json", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "matmul: WRONG RESULT, no figures: 32 x 32: off by 0.01 of the largest element" in printed
    assert "### matmul" not in printed
    assert "### memory" in printed
    assert json.loads(path.read_text())["wrong"] == ["matmul"]


@pytest.mark.parametrize("option", ["--rows", "--peers"])
def test_unknown_names(command, capsys, option):
    with pytest.raises(SystemExit):
        command.main([option, "speed,jax"])
    printed = capsys.readouterr().err
    assert f"{option}: expected names of " in printed
    assert "received jax, speed" in printed if option == "--rows" else "received speed" in printed


def test_candidates_take_turns(harness):
    order = []
    candidates = {name: harness.Candidate(lambda name=name: order.append(name)) for name in "abc"}
    times = harness.interleaved(harness.Settings("cpu", True, 1), candidates, rounds=3)
    assert [order[i : i + 3] for i in range(0, 12, 3)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert [len(values) for values in times.values()] == [3, 3, 3]


def test_a_row_stops_when_its_time_is_over(harness):
    candidates = {"a": harness.Candidate(lambda: None)}
    times = harness.interleaved(harness.Settings("cpu", True, 1), candidates, rounds=1000, seconds=0.0)
    assert len(times["a"]) == 3


def test_agreement(harness):
    harness.agree("same", tg.tensor([1.0, 2.0], requires_grad=True), np.array([1.0, 2.0001]))
    with pytest.raises(AssertionError, match=r"y: shapes \(2,\) and \(1,\)"):
        harness.agree("y", np.ones(2), np.ones(1))
    with pytest.raises(AssertionError, match=r"y: off by 0\.01 of the largest element"):
        harness.agree("y", np.array([1.0, 100.0]), np.array([2.0, 100.0]))
    with pytest.raises(AssertionError, match="y: off by nan"):
        harness.agree("y", np.array([np.nan]), np.ones(1))


def test_table(harness):
    table = harness.Table("title", "A note.", ["what", "a", "b"], [["x", 1234.5, None], ["long", 0.01234, 7]])
    assert table.text().splitlines() == [
        "### title",
        "",
        "A note.",
        "",
        "| what |      a | b |",
        "|------|-------:|--:|",
        "| x    |   1234 | - |",
        "| long | 0.0123 | 7 |",
    ]
    assert table.facts()["lines"][0] == {"what": "x", "a": 1234.5, "b": None}


@pytest.mark.gpu
def test_quick_run_on_cuda(command, capsys, tmp_path):
    path = tmp_path / "out.json"
    assert (
        command.main(["--device", "cuda", "--quick", "--rows", "overhead,matmul,graph,memory", "--json", str(path)])
        == 0
    )
    found = json.loads(path.read_text())
    assert [table["title"] for table in found["tables"]] == ["overhead", "matmul", "graph", "memory"]
    assert "CuPy" in found["machine"]["device"]
    assert "cupy.matmul" in capsys.readouterr().out


@pytest.mark.gpu
def test_cuda_is_waited_for_before_the_clock_starts_and_stops(harness, monkeypatch):
    order = []
    monkeypatch.setattr(tg, "synchronize", lambda device: order.append(f"wait for {device}"))
    candidate = harness.Candidate(lambda: order.append("run"), lambda: order.append("prepare") or ())
    harness.interleaved(harness.Settings("cuda", True, 1), {"a": candidate}, rounds=1)
    assert order == ["prepare", "wait for cuda", "run", "wait for cuda"] * 2
