"""What a framework takes on disk, with all that it depends on."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from .peers import Entry

ROOT = Path(__file__).parents[1]


def installed_bytes(entry: Entry) -> int | None:
    """The files of a distribution and, through all levels, of those it requires; compiled bytecode apart. None if it is
    not installed. Our own files and requirements are those of the checkout."""
    if entry.distribution == "tinygrad_edu":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        own = sum(path.stat().st_size for path in (ROOT / "tinygrad_edu").rglob("*") if counts(path))
        wanted = project["dependencies"] + project["optional-dependencies"].get(entry.extra, [])
    else:
        own, wanted = 0, [entry.distribution]
    try:
        return own + sum(size_of(name) for name in closure(wanted))
    except metadata.PackageNotFoundError:
        return None


def closure(requirements: list[str]) -> set[str]:
    """The names of what is required, and required by that. Raises PackageNotFoundError if the first are not there; what
    those require, but is not installed, another system may need."""
    found: set[str] = set()
    new = {name_of(requirement) for requirement in requirements}
    for name in new:
        metadata.distribution(name)
    while new:
        found |= new
        required = {name_of(line) for name in new for line in metadata.requires(name) or () if "extra ==" not in line}
        new = {name for name in required - found if is_installed(name)}
    return found


def name_of(requirement: str) -> str:
    """numpy of "numpy>=2"."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def size_of(name: str) -> int:
    files = [Path(str(file.locate())) for file in metadata.files(name) or ()]
    return sum(path.stat().st_size for path in files if counts(path))


def counts(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"
