"""Every program of `examples/` reaches its figure in its short form and draws its picture."""

import runpy

import numpy as np
import pytest
from example_cases import CASES, EXAMPLES

import tinygrad_edu as tg
from tinygrad_edu.cli import programs


def test_every_example_has_a_case_and_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(programs.examples()) == set(CASES)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in CASES if f"`{name}.py`" not in readme] == []


@pytest.mark.parametrize("name", CASES)
def test_example(name, tmp_path):
    pytest.importorskip("matplotlib")
    tg.seed(0)
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    figures = main(quick=True, plot=str(tmp_path / "picture.png"))
    assert all(np.isfinite(list(figures.values()))), figures
    assert CASES[name].quick(figures), figures
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
