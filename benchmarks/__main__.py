"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import THREAD_VARIABLES
from .peers import ENTRIES, OURS, PEERS, REFERENCE

ROWS = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "rows")]))
PRECISIONS = ("float32", "tf32", "bfloat16")
GROUPS = ("all", "training", "core")
SCALING = "scaling"
"""The core row that has a picture."""


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Times tinygrad_edu beside its peers.")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="of matrix products on CUDA, in the training rows (default: %(default)s); bfloat16 is mixed precision",
    )
    names = ", ".join((*GROUPS, *ROWS))
    parser.add_argument("--rows", default="all", help=f"names with commas between, of: {names}")
    parser.add_argument(
        "--peers", help=f"in the training rows, of {', '.join(PEERS)}; by default all, with --quick only {REFERENCE}"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it run, not how fast")
    parser.add_argument("--json", metavar="FILE", help="write every figure and every raw time to FILE")
    parser.add_argument("--chart", metavar="FILE", help=f"draw the training rows and {SCALING} into FILE, a PNG")
    parser.add_argument("--threads", type=int, help=f"of each framework (default: {cores()}, with --quick 1)")
    parser.add_argument(
        "--limit", type=float, default=180.0, metavar="SECONDS", help="for one answer of a framework (%(default)s)"
    )
    options = parser.parse_args(arguments)
    options.peers = options.peers.split(",") if options.peers else [REFERENCE] if options.quick else list(PEERS)
    options.threads = options.threads or (1 if options.quick else cores())
    options.rows = options.rows.split(",")
    if options.device == "cpu" and options.precision != "float32":
        parser.error("--precision is for --device cuda: on the CPU all products are in float32")
    if options.chart and importlib.util.find_spec("matplotlib") is None:
        parser.error("--chart needs matplotlib: pip install 'tinygrad-edu[viz]'")
    for option, names, known in (("--rows", options.rows, (*GROUPS, *ROWS)), ("--peers", options.peers, PEERS)):
        unknown = sorted(set(names) - set(known))
        if unknown:
            parser.error(f"{option}: expected names of {', '.join(known)}, received {', '.join(unknown)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rows one after the other; returns 1 if a result of ours was wrong, else 0."""
    options = parse(arguments)
    for variable in THREAD_VARIABLES:  # BLAS reads them when NumPy is imported, which is below
        os.environ[variable] = str(options.threads)
    from . import harness
    from .network import network_of

    settings = harness.Settings(options.device, options.quick, options.threads)
    facts = harness.machine(settings) | ({"products": options.precision} if options.device == "cuda" else {})
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    modules = {name: importlib.import_module(f"{__package__}.rows.{name}") for name in ROWS}
    with_network = {name: module for name, module in modules.items() if hasattr(module, "NETWORK")}
    networks = {name: network_of(module, options.device) for name, module in with_network.items()}
    groups = {"all": ROWS, "training": list(networks), "core": [name for name in ROWS if name not in networks]}
    rows = list(dict.fromkeys(name for given in options.rows for name in groups.get(given, [given])))
    found: dict[str, Any] = {"machine": facts, "tables": [], "wrong": []}
    smallest_first = sorted(networks, key=lambda name: networks[name].operations("forward"))
    networks = {name: networks[name] for name in smallest_first if name in rows}
    if networks and importlib.util.find_spec(ENTRIES[REFERENCE].module) is None:
        print(f"\nskipped: {', '.join(networks)}: they need PyTorch, whose losses say which framework counts")
    elif networks:
        training_rows(found, networks, options)
    for name in [name for name in rows if not hasattr(modules[name], "NETWORK")]:
        try:
            table = modules[name].run(settings)
        except AssertionError as error:
            print(f"\n{name}: WRONG RESULT, no figures: {error}", flush=True)
            found["wrong"].append(name)
            continue
        add(found, table)
    save(found, options.json)
    if options.chart:
        from .chart import draw, growths

        if "training" in found or growths(found):
            draw(found, Path(options.chart))
        else:
            print(f"\nno chart: it shows training rows and {SCALING}, and there are figures of none")
    return 1 if found["wrong"] else 0


def training_rows(found: dict[str, Any], networks: dict[str, Any], options: argparse.Namespace) -> None:
    """Measures them, and prints and adds to `found` what came out."""
    from . import figures, report, sizes, training
    from .session import Session

    session = Session(options.threads, options.limit, options.quick, options.device, options.precision)
    records: list[training.Record] = []
    for row, network in networks.items():
        records.append(training.run(row, network, [*OURS, *options.peers], session))
        found["training"] = {"best calibration": session.best, "rows": records}
        save(found, options.json)  # a long run that is cut short leaves its raw times
    frameworks = report.frameworks(records, lambda name: sizes.installed_bytes(ENTRIES[name]))
    for table in report.tables(records, session.best, frameworks):
        add(found, table)
    for record in records:
        for name in record["wrong"]:
            print(f"\n{record['row']}: WRONG RESULT of {name}: {record['skipped'][name]}", flush=True)
            found["wrong"].append(f"{record['row']}: {name}")
    found["training"]["frameworks"] = frameworks
    for record in records:
        record["figures"] = figures.summary(record, session.best)


def save(found: dict[str, Any], path: str | None) -> None:
    if path:
        Path(path).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def add(found: dict[str, Any], table: Any) -> None:
    print("\n" + table.text(), flush=True)
    found["tables"].append(table.facts())


if __name__ == "__main__":
    sys.exit(main())
