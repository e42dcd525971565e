"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROWS = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "rows")]))
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Times tinygrad_edu beside its peers.")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rows", default="all", help=f"names with commas between, of: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it run, not how fast")
    parser.add_argument("--json", metavar="FILE", help="write every figure and every raw time to FILE")
    parser.add_argument("--threads", type=int, default=cores(), help="of BLAS and of PyTorch (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.rows = ROWS if options.rows == "all" else options.rows.split(",")
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        parser.error(f"--rows: expected names of {', '.join(ROWS)}, received {', '.join(unknown)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rows one after the other; returns 1 if a result was wrong, else 0."""
    options = parse(arguments)
    for variable in THREAD_VARIABLES:  # BLAS reads them when NumPy is imported, which is below
        os.environ[variable] = str(options.threads)
    from . import harness

    settings = harness.Settings(options.device, options.quick, options.threads)
    facts = harness.machine(settings)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    tables, wrong = [], []
    for name in options.rows:
        row = importlib.import_module(f"{__package__}.rows.{name}")
        try:
            table = row.run(settings)
        except AssertionError as error:
            print(f"\n{name}: WRONG RESULT, no figures: {error}", flush=True)
            wrong.append(name)
            continue
        print("\n" + table.text(), flush=True)
        tables.append(table)
    if options.json:
        found = {"machine": facts, "tables": [table.facts() for table in tables], "wrong": wrong}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
