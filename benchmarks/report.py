"""The tables of the training rows. A line is a row of the benchmarks, a column a framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import figures
from .harness import Table
from .peers import OURS, PEERS, SGEMM
from .training import STEPS, Record

Cell = Callable[[Record, str], Any]

PHASES = {
    "forward": "forward: network and loss",
    "gradient": "forward and backward",
    "step": "a whole step: forward, backward and Adam; in rows with `fit` a step of `fit`, with its data and metrics",
    "predict": "the outputs alone, without a gradient, from array to array",
    "predict_one": "the same for one row",
}
OF_ALL = ("step", "predict", "predict_one")
"""Those in which each of ours is compared with the others, and not just the first."""
MIB, MILLION = 2.0**20, 1e6


def tables(records: Sequence[Record], best: float, frameworks: Sequence[Record]) -> list[Table]:
    """`best` is the shortest calibration of the session."""
    present = [name for name in (*OURS, *PEERS) if any(name in record["frameworks"] for record in records)]

    def by_row(title: str, note: str, names: Sequence[str], cell: Cell, least: float = 0.0) -> Table:
        chosen = [record for record in records if record["operations"]["forward"] >= least]
        lines = [[record["row"], *(cell(record, name) for name in names)] for record in chosen]
        return Table(title, note, ["row", *names], lines)

    found = [rows_table(records, best)]
    if any(record["skipped"] for record in records):
        found.append(skipped_table(records))
    for phase, what in PHASES.items():
        found.append(by_row(f"time, {phase}", f"Microseconds of {what}.", present, micro(best, phase)))
    ours = [name for name in present if name in OURS]
    for mine in ours:
        others = [name for name in present if name != mine and (name in PEERS or mine == ours[0])]
        for phase in PHASES if mine == ours[0] else OF_ALL:
            note = f"Time of {mine} / time of the other, below 1 where we are faster, and its 95 % interval."
            found.append(by_row(f"ratio, {phase}, {mine}", note, others, ratio(best, phase, mine)))
    found += [
        by_row(
            "share of sgemm",
            "GFLOP/s of the matrix products in forward / backward / whole step, as a share of the same products alone "
            f"by NumPy's BLAS in the same run, whose GFLOP/s are in the column {SGEMM}. Only rows of a million "
            "operations or more.",
            [SGEMM, *present],
            shares(best),
            least=MILLION,
        ),
        by_row(
            "tensor memory", "MiB: the most that tensors hold at a time in a step.", present, mebibytes("peak bytes")
        ),
        by_row("resident memory", "MiB of the process after all rounds.", present, mebibytes("resident bytes")),
        by_row(
            "first call",
            "Seconds to build the network and take the first step, imports apart: empty caches on disk / full ones.",
            present,
            first_call,
        ),
    ]
    if any("sent" in facts for record in records for facts in record["frameworks"].values()):
        note = "Microseconds for the host to send a step to the device, which it does not wait for."
        found.append(by_row("host", note, present, host))
        found.append(
            by_row("launches", "What the device runs for a step: kernels, copies and so on.", present, launches)
        )
    columns = ["framework", "version", "import ms", "installed MiB", "threads", "cores busy"]
    note = (
        "Import: the median over all processes of the run. Installed: with all that it depends on. Threads: as many as "
        "it says it uses, where it does. Cores busy: the seconds of all cores per second of a step, in the largest row."
    )
    lines = [
        [f["name"], f["version"], f["import"] * 1e3, f["installed"] and f["installed"] / MIB, f["threads"], f["busy"]]
        for f in frameworks
    ]
    found.append(Table("frameworks", note, columns, lines))
    return [table for table in found if table.lines and len(table.columns) > 1]


def rows_table(records: Sequence[Record], best: float) -> Table:
    """What each row is, and how many of its rounds are kept."""
    lines = []
    for record in records:
        rounds = figures.quiet_rounds(record, best)
        few = min(kept for kept, _ in rounds.values()) < record["rounds wanted"]
        counts = ", ".join(f"{kept} of {tried}" for kept, tried in rounds.values())
        lines.append([record["row"], record["network"], counts + (" (too few)" if few else "")])
    close = records[0]["tolerance"]
    note = f"A framework counts where its first {STEPS} losses, and its outputs, are PyTorch's to {close:g}. "
    if limit := records[0]["too slow"]:
        note += (
            "Rounds (of each phase) count where the calibration before them took at most "
            f"{limit:g} times the session's best, {best * 1e3:.1f} ms."
        )
    else:
        note += "Quick: all rounds count."
    return Table("rows", note, ["row", "network", "rounds kept"], lines)


def skipped_table(records: Sequence[Record]) -> Table:
    """Who is missing, where and why."""
    rows: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for name, why in record["skipped"].items():
            rows.setdefault((name, why), []).append(record["row"])
    lines = [[name, ", ".join(where), why] for (name, why), where in rows.items()]
    return Table("skipped", "Frameworks that are missing, and why.", ["framework", "rows", "why"], lines)


def frameworks(records: Sequence[Record], sizes: Callable[[str], int | None]) -> list[Record]:
    """What does not depend on the row: version, seconds of the import, installed bytes, threads and cores in use."""
    found = []
    for name in (*OURS, *PEERS):
        facts = [record["frameworks"][name] for record in records if name in record["frameworks"]]
        if facts:
            imports = figures.median([seconds for f in facts for seconds in f["imports"]])
            largest = max(records, key=lambda r: (name in r["frameworks"], r["operations"]["forward"]))
            found.append(
                {
                    "name": name,
                    "version": facts[0]["version"],
                    "import": imports,
                    "installed": sizes(name),
                    "threads": facts[0]["threads"],
                    "busy": figures.cores_busy(largest, in_row(largest, "step"), name),
                }
            )
    return found


# Cells


def in_row(record: Record, phase: str) -> str:
    """The phase of that name: rows with `fit` have their step by it."""
    return "fit" if phase == "step" and "fit" in record["rounds"] else phase


def micro(best: float, phase: str) -> Cell:
    def cell(record: Record, name: str) -> float | None:
        seconds = figures.median(figures.times(record, best, in_row(record, phase), name))
        return None if seconds is None else seconds * 1e6

    return cell


def ratio(best: float, phase: str, mine: str) -> Cell:
    def cell(record: Record, name: str) -> str | None:
        values = figures.ratios(record, best, in_row(record, phase), mine, name)
        if not values:
            return None
        limits = figures.interval(values)
        return f"{figures.median(values):.2f}" + (f" [{limits[0]:.2f}, {limits[1]:.2f}]" if limits else "")

    return cell


def shares(best: float) -> Cell:
    def cell(record: Record, name: str) -> str | None:
        parts = ("forward", "gradient" if name == SGEMM else "backward", in_row(record, "step"))
        if name == SGEMM:
            values = [figures.gflops(record, best, part, name) for part in parts]
            return " / ".join("-" if value is None else f"{value:.0f}" for value in values)
        values = [figures.share(record, best, part, name) for part in parts]
        shown = " / ".join("-" if value is None else f"{value:.0%}" for value in values)
        return shown if any(value is not None for value in values) else None

    return cell


def mebibytes(fact: str) -> Cell:
    def cell(record: Record, name: str) -> float | None:
        value = record["frameworks"].get(name, {}).get(fact)
        return None if value is None else value / MIB

    return cell


def host(record: Record, name: str) -> float | None:
    seconds = record["frameworks"].get(name, {}).get("sent", {}).get("seconds")
    return None if seconds is None else seconds * 1e6


def launches(record: Record, name: str) -> int | None:
    count: int | None = record["frameworks"].get(name, {}).get("sent", {}).get("launches")
    return count


def first_call(record: Record, name: str) -> str | None:
    facts = record["frameworks"].get(name)
    return f"{facts['first cold']:.2f} / {facts['first warm']:.2f}" if facts and "first cold" in facts else None
