"""Every example runs as it stands and prints the figure that it promises."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
FIGURES = {
    "newton": "minimum at (1.000000, 1.000000)",
    "spirals_by_hand": "accuracy 100.0%",
}


def test_every_example_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(FIGURES)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in readme for name in FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_example(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert FIGURES[name] in capsys.readouterr().out
