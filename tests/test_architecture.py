"""The arrows between the rooms: read from every import, those inside functions too, and checked against one table."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_edu

PACKAGE = Path(tinygrad_edu.__file__).parent

# Room (a module or folder of the package): the rooms that it may import. `face` is the package's own __init__.py.
CORE = "errors state backend autograd ops"
PARTS = CORE + " initializers regularizers constraints losses metrics layers optimizers data"
ALLOWED = {
    "errors": "",
    "tree": "",
    "files": "errors",
    "state": "errors",
    "backend": "errors state",
    "kernels": "errors state backend",
    "autograd": "errors state backend",
    "ops": "errors state backend autograd kernels",
    "jit": "errors state backend autograd kernels tree",
    "registry": "errors",
    "initializers": CORE + " registry",
    "regularizers": CORE + " registry",
    "constraints": CORE + " registry",
    "losses": CORE,
    "metrics": CORE + " losses",
    "layers": CORE + " initializers regularizers constraints tree",
    "optimizers": CORE + " jit",
    "data": CORE + " tree",
    "datasets": "errors data files",
    "utils": CORE,
    "callbacks": CORE + " metrics optimizers files tree",
    "models": PARTS + " callbacks jit tree files",
    "face": PARTS + " datasets utils callbacks models jit kernels viz",
    "optable": "backend ops",
    "checks": CORE + " optable",
    "viz": CORE,
    "cli": PARTS + " kernels datasets callbacks models face checks files viz",
}


@dataclass(frozen=True)
class Import:
    """One import of one module of the package by another; `deferred` when it stands inside a function."""

    importer: str
    target: str
    line: int
    deferred: bool


def room(module):
    """`ops.shape` -> `ops`; the package's own __init__ is the module with the empty name."""
    return module.split(".")[0] or "face"


def module_name(path, package):
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_imports(node, deferred=False):
    """Yield every import statement and whether it waits for a call; leave out what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from runtime_imports(ast.Module(child.orelse, []), deferred)
        else:
            inside_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from runtime_imports(child, deferred or inside_function)


def imported_names(statement, path, package):
    """Yield the dotted names that a statement may import: `b` of `from a import b` may be a module or a name in one."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    base = statement.module or ""
    if statement.level:
        folder = path.parent
        for _ in range(statement.level - 1):
            folder = folder.parent
        base = ".".join(filter(None, [package.name, *folder.relative_to(package).parts, base]))
    yield from (f"{base}.{alias.name}" for alias in statement.names)


def modules(package):
    """Return the files of the package; the programs that a wheel holds beside them are no part of it."""
    return [path for path in sorted(package.rglob("*.py")) if (package / "examples") not in path.parents]


def read_imports(package):
    """Return every import between modules of the package."""
    paths = {module_name(path, package): path for path in modules(package)}
    found = []
    for importer, path in paths.items():
        for statement, deferred in runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported_names(statement, path, package):
                top, _, target = name.partition(".")
                if top != package.name:
                    continue
                while target not in paths:  # a name inside a module: the module is what is imported
                    target = target.rpartition(".")[0]
                found.append(Import(importer, target, statement.lineno, deferred))
    return found


def forbidden_arrows(imports, allowed):
    """Return a line for each import that the table does not allow."""
    lines = []
    for entry in imports:
        source, target = room(entry.importer), room(entry.target)
        where = f"{entry.importer or 'face'}:{entry.line}"
        if source not in allowed:
            lines.append(f"{where}: the room {source!r} has no row in ALLOWED")
        elif source != target and target not in allowed[source].split():
            lines.append(f"{where}: {source} may not import {target}, only: {allowed[source] or 'nothing'}")
    return lines


def circle(arrows):
    """Return one circle among the (from, to) pairs, as a list that ends where it starts, or None."""
    graph = {}
    for source, target in arrows:
        graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]  # graphlib lists it against the arrows
    return None


def circle_of_rooms(imports):
    arrows = {(room(entry.importer), room(entry.target)) for entry in imports}
    return circle((source, target) for source, target in arrows if source != target)


def circle_of_modules(imports):
    """Only imports at import time: one inside a function may close a circle without harm."""
    return circle((entry.importer, entry.target) for entry in imports if not entry.deferred)


def test_arrows_run_downwards():
    assert forbidden_arrows(read_imports(PACKAGE), ALLOWED) == []


def test_every_module_is_in_a_room_of_the_table():
    rooms = {room(module_name(path, PACKAGE)) for path in modules(PACKAGE)}
    assert rooms <= ALLOWED.keys()


def test_no_circles():
    imports = read_imports(PACKAGE)
    assert circle_of_rooms(imports) is None
    assert circle_of_modules(imports) is None


def test_the_table_itself_runs_downwards():
    assert circle((source, target) for source, row in ALLOWED.items() for target in row.split()) is None
    for top in ("models", "viz", "cli", "face"):
        assert {source for source, row in ALLOWED.items() if top in row.split()} <= {"cli", "face"}
    assert "layers" not in ALLOWED["optimizers"].split()


PUBLIC = [name for name in tinygrad_edu.__all__ if isinstance(getattr(tinygrad_edu, name), ModuleType)]


@pytest.mark.parametrize("room", PUBLIC)
def test_public_modules_name_what_is_theirs(room):
    module = getattr(tinygrad_edu, room)
    for name in module.__all__:
        origin = getattr(getattr(module, name), "__module__", None)
        assert origin is None or origin.startswith("tinygrad_edu."), name
    assert len(PUBLIC) > 8


def test_importing_the_package_is_light():
    code = "import sys; before = set(sys.modules); import tinygrad_edu; print(*set(sys.modules) - before)"
    # Run beside the package, so that the child finds the very package that is tested here.
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=PACKAGE.parent, text=True)
    assert not {"tinygrad_edu.jit.plan", "tinygrad_edu.kernels.llvm"} & set(printed.split())  # for the first recording
    loaded = {name.split(".")[0] for name in printed.split()}
    assert "tinygrad_edu" in loaded
    assert loaded & {"scipy", "rich", "cupy", "cupyx", "matplotlib", "torch", "safetensors", "tensorboardX"} == set()


# The checks above hold only if the checker sees what it should: these run it on small made-up packages.


@pytest.fixture
def made_up(tmp_path):
    """Return a function that writes files ({name without .py: source}) as a package `p` and reads its imports."""

    def make(files):
        for name, source in {"__init__": "", **files}.items():
            path = tmp_path / "p" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        return read_imports(tmp_path / "p")

    return make


def pairs(imports):
    return [(entry.importer, entry.target) for entry in imports]


TABLE = {"low": "", "high": "low", "face": "low high"}


def test_a_clean_tree_passes(made_up):
    imports = made_up(
        {
            "__init__": "from . import high\nfrom .low import f",
            "high": "import os\nfrom p.low import f\nimport p.low as low",
            "low": "import numpy as np",
        }
    )
    assert pairs(imports) == [("", "high"), ("", "low"), ("high", "low"), ("high", "low")]
    assert forbidden_arrows(imports, TABLE) == []
    assert circle_of_rooms(imports) is circle_of_modules(imports) is None


@pytest.mark.parametrize(
    "source",
    [
        "import p.high",
        "from p import high",
        "from . import high",
        "from .high import g",
        "import os, p.high as h",
        "try:\n    from p.high import g\nexcept ImportError:\n    pass",
        "def f():\n    from p.high import g",
        "class C:\n    async def f(self):\n        if self:\n            import p.high",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import p.high",
    ],
)
def test_an_arrow_that_runs_up_is_found(made_up, source):
    (line,) = forbidden_arrows(made_up({"low": source, "high": ""}), TABLE)
    assert line.startswith("low:")
    assert line.endswith("low may not import high, only: nothing")


@pytest.mark.parametrize("source", ["import p", "from p import g", "from . import g", "from p import *"])
def test_importing_the_face_from_below_is_found(made_up, source):
    assert forbidden_arrows(made_up({"low": source}), TABLE) == ["low:1: low may not import face, only: nothing"]


def test_a_room_without_a_row_is_found(made_up):
    imports = made_up({"attic": "from . import low", "low": ""})
    assert forbidden_arrows(imports, TABLE) == ["attic:1: the room 'attic' has no row in ALLOWED"]


def test_imports_for_type_checkers_are_no_arrows(made_up):
    assert made_up({"low": "if TYPE_CHECKING:\n    from .high import g", "high": ""}) == []


def test_relative_imports_inside_a_room(made_up):
    imports = made_up(
        {
            "high/__init__": "from . import a",
            "high/a": "from .b import f\nfrom ..low import g\nfrom .. import low",
            "high/b": "",
            "low": "",
        }
    )
    assert pairs(imports) == [("high", "high.a"), ("high.a", "high.b"), ("high.a", "low"), ("high.a", "low")]
    assert forbidden_arrows(imports, TABLE) == []


def test_a_circle_between_modules_is_found(made_up):
    imports = made_up({"high/__init__": "", "high/a": "from . import b", "high/b": "from .a import f"})
    assert circle_of_modules(imports) in (["high.a", "high.b", "high.a"], ["high.b", "high.a", "high.b"])
    assert circle_of_rooms(imports) is None


def test_a_circle_between_rooms_is_found_even_when_deferred(made_up):
    imports = made_up({"low": "def f():\n    import p.high", "high": "import p.low"})
    assert circle_of_modules(imports) is None
    assert circle_of_rooms(imports) in (["low", "high", "low"], ["high", "low", "high"])
