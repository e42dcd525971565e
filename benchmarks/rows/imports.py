"""How long `import` takes: a fresh interpreter each time, in turns."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ..harness import Settings, Table, medians

CODE = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"


def seconds(module: str, bytecode: str) -> float:
    """The time of one import. Compiled modules are kept in the folder `bytecode`, as pip does when it installs."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    command = [sys.executable, "-c", CODE.format(module=module)]
    root = Path(__file__).parents[2]  # so that the child finds the package of this checkout
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def run(settings: Settings) -> Table:
    modules = ["numpy", "tinygrad_edu"]
    if importlib.util.find_spec("torch") and not settings.quick:
        modules.append("torch")
    table = Table(
        "imports",
        "Milliseconds of `import` in a fresh interpreter (without its own start), median of interleaved rounds.",
        ["module", "ms", "of numpy's"],
    )
    times: dict[str, list[float]] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(2 if settings.quick else 21):
            for module in modules:
                elapsed = seconds(module, bytecode)
                if number:  # the first round compiles, and fills the disk cache
                    times[module].append(elapsed)
    table.raw |= times
    found = medians(times)
    table.lines = [[m, found[m] * 1e3, found[m] / found["numpy"]] for m in modules]
    return table
