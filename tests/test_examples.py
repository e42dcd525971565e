"""Every program of `examples/` reaches its figure in its short form and draws its picture."""

import ast
import runpy
import sys

import numpy as np
import pytest
from example_cases import CASES, EXAMPLES

import tinygrad_edu as tg
from tinygrad_edu import datasets
from tinygrad_edu.cli import programs


def test_every_example_has_a_case_and_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(programs.examples()) == set(CASES)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in CASES if f"`{name}.py`" not in readme] == []


@pytest.mark.parametrize("name", CASES)
def test_every_docstring_has_one_form(name):
    """A first line that `tinygrad-edu train --help` can show, what the program teaches, what to try."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")))
    first, *_, last = text.split("\n\n")
    assert "\n" not in first
    assert len(first) < 90
    assert first[-1] == "."
    assert last.startswith("Try: ")


@pytest.mark.parametrize("name", CASES)
def test_example(name, tmp_path):
    pytest.importorskip("matplotlib")
    tg.seed(0)
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    figures = main(quick=True, plot=str(tmp_path / "picture.png"))
    assert all(np.isfinite(list(figures.values()))), figures
    assert CASES[name].quick(figures), figures
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


SLOW_EMULATED = {"sentiment", "characters"}
"""Minutes under the emulator: they have most operations of the others, many times."""


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_example_on_cuda(name):
    if name in SLOW_EMULATED and "emugpu" in sys.modules:
        pytest.skip("takes minutes under the emulator")
    tg.seed(0)
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    with tg.use_device("cuda"):
        figures = main(quick=True)
    assert CASES[name].quick(figures), figures


def test_sentiment_of_reviews(monkeypatch, tmp_path, capsys):
    """The path of `--data imdb`, on reviews in the form of `imdb.load_data` of one word each, 4 or 5."""
    pytest.importorskip("matplotlib")
    tg.seed(0)
    random = np.random.default_rng(0)

    def reviews(count):
        labels, lists = random.integers(0, 2, count), np.empty(count, dtype=object)
        lists[:] = [
            [1] + [5 - label] * length for label, length in zip(labels, random.integers(1, 300, count), strict=True)
        ]
        return lists, labels

    def load_data(num_words):
        return reviews(300), reviews(200)

    monkeypatch.setattr(datasets.imdb, "load_data", load_data)
    monkeypatch.setattr(datasets.imdb, "get_word_index", lambda: {"good": 1, "bad": 2})
    main = runpy.run_path(str(EXAMPLES / "sentiment.py"))["main"]
    figures = main(quick=True, plot=str(tmp_path / "picture.png"), data="imdb")
    assert figures["bag of words: test accuracy"] > 0.9, figures
    assert all(np.isfinite(list(figures.values()))), figures
    assert "  [START] good good" in capsys.readouterr().out
