"""Documentation that runs: every `>>>` in the docs and docstrings, and every line of source that a text quotes."""

import ast
import doctest
import importlib
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.state import state

ROOT = Path(__file__).parents[1]
PACKAGE = Path(tg.__file__).parent
TEXTS = sorted(p for p in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")] if p.is_file())
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"# (\S+\.py)\n(.*)", re.DOTALL)


def blocks(text):
    """The Python blocks of a Markdown text, with their line numbers."""
    return [(text.count("\n", 0, match.start()) + 2, match.group(1)) for match in BLOCK.finditer(text)]


def quotes(text):
    """Blocks whose first line names a file: (line, file, quoted lines)."""
    found = ((line, QUOTE.fullmatch(block)) for line, block in blocks(text))
    return [(line, match.group(1), match.group(2)) for line, match in found if match]


def is_in(quoted, source):
    """Whether the quoted lines stand in the source, one after the other, whatever their common indentation."""
    wanted, lines = textwrap.dedent(quoted).splitlines(), source.splitlines()
    candidates = (lines[i : i + len(wanted)] for i in range(len(lines)))
    return any(textwrap.dedent("\n".join(candidate)).splitlines() == wanted for candidate in candidates)


def docstrings():
    """(module, name, line, text) of each docstring of the package that has an example."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and ">>>" in text:
                    yield module, getattr(node, "name", ""), node.body[0].lineno, text


@pytest.fixture(autouse=True)
def like_a_fresh_start(tmp_path, monkeypatch):
    """In an empty folder, from seed 0, with the defaults of a new thread; what a snippet changes is put back."""
    monkeypatch.chdir(tmp_path)
    for name in ("grad_enabled", "training", "dtype", "device"):
        monkeypatch.setattr(state, name, getattr(state, name))
    tg.seed(0)
    with np.printoptions():
        yield


def run(text, namespace, name, line):
    """Runs the examples of a text, which leave their names in `namespace`. Raises with doctest's report."""
    test = doctest.DocTestParser().get_doctest(text, namespace, name, name, line)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)
    namespace.update(test.globs)


EXAMPLES = list(docstrings())


@pytest.mark.parametrize(
    ("module", "line", "text"),
    [(module, line, text) for module, _, line, text in EXAMPLES],
    ids=[f"{module}.{name}" for module, name, _, _ in EXAMPLES],
)
def test_docstring(module, line, text):
    run(text, dict(vars(importlib.import_module(module))), module, line)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_snippets_of_a_text(path):
    namespace = {}
    for line, block in blocks(path.read_text(encoding="utf-8")):
        if ">>>" in block:
            run(block, namespace, path.name, line)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_quotations_of_a_text(path):
    for line, file, quoted in quotes(path.read_text(encoding="utf-8")):
        assert is_in(quoted, (ROOT / file).read_text(encoding="utf-8")), (
            f"{path.name}:{line} is not in {file}:\n{quoted}"
        )


def test_the_engine_is_quoted():
    text = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    assert {file for _, file, _ in quotes(text)} == {
        "tinygrad_edu/ops/bind.py",
        "tinygrad_edu/ops/elementwise.py",
        "tinygrad_edu/autograd/primitive.py",
        "tinygrad_edu/autograd/engine.py",
    }
    assert sum(">>>" in block for _, block in blocks(text)) == 4


# The checks above hold only if they see what they should.


def test_a_wrong_example_is_found():
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        run(">>> 1 + 1\n3\n", {}, "made up", 1)


def test_a_changed_line_is_found():
    source = "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n"
    assert is_in("def f(self):\n    return 1\n", source)
    assert is_in("    return 2\n", source)
    assert not is_in("def f(self):\n    return 2\n", source)
    assert not is_in("def f(self):\nreturn 1\n", source)
    assert not is_in("return\n", source)


def test_blocks_and_quotes_are_found():
    text = "A\n\n```python\n# a/b.py\nx = 1\n```\n\n```\nno Python\n```\n\n```python\n>>> 1\n1\n\n```\n"
    assert blocks(text) == [(4, "# a/b.py\nx = 1\n"), (13, ">>> 1\n1\n\n")]
    assert quotes(text) == [(4, "a/b.py", "x = 1\n")]
