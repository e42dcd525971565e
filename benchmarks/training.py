"""The run of a training row: processes are started, losses compared, rounds timed.

It gives a record, which goes into the JSON file: raw times and facts, nothing computed. `figures` reads it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .network import Network
from .peers import OURS, REFERENCE, SGEMM
from .session import Failure, Session, Worker

Record = dict[str, Any]

STEPS, TOLERANCE = 20, {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2}
"""A framework counts only if so many of its first losses, and its outputs, are PyTorch's, but for this share, which
depends on how exactly both multiply."""
KEPT, SPARE, QUICK_KEPT, AT_MOST, TOO_SLOW = 15, 3, 2, 60, 1.3
"""Rounds wanted; more of them, for a later row may find a shorter calibration, by which fewer count; in a quick run;
rounds tried; how many times the best of the session a calibration may take."""


def run(row: str, network: Network, names: Sequence[str], session: Session) -> Record:
    """Measures the frameworks of these names on one row. Who drops out is named in the record under "skipped", with the
    reason; of ours, who drops out for another reason than being absent or too slow, also under "wrong"."""
    network = network.quick() if session.quick else network
    record: Record = {
        "row": row,
        "network": str(network),
        "operations": {phase: network.operations(phase) for phase in network.phases},
        "steps": {phase: network.batches if phase == "fit" else 1 for phase in network.phases},
        "frameworks": {},
        "skipped": {},
        "wrong": [],
        "rounds": {phase: [] for phase in network.phases},
        "rounds wanted": QUICK_KEPT if session.quick else KEPT,
        "tolerance": TOLERANCE[session.precision],
        "too slow": None if session.quick else TOO_SLOW,
    }
    workers: dict[str, Worker] = {}

    def drop(name: str, failure: Failure) -> None:
        record["frameworks"].pop(name, None)
        record["skipped"][name] = str(failure)
        if name in OURS and not failure.absent:
            record["wrong"].append(name)
        if name in workers:
            workers.pop(name).close()

    try:
        with tempfile.TemporaryDirectory() as caches:
            for name in dict.fromkeys((REFERENCE, *names, SGEMM)):
                progress(f"{row}: {name} starts")
                try:
                    workers[name], record["frameworks"][name] = prepare(name, row, session, str(Path(caches, name)))
                except Failure as failure:
                    drop(name, failure)
            for name, fault in disagreements(record, TOLERANCE[session.precision]).items():
                drop(name, fault)
            if REFERENCE in workers and REFERENCE not in names:
                workers.pop(REFERENCE).close()
                del record["frameworks"][REFERENCE]
            if set(workers) - {SGEMM}:
                take_turns(record, workers, session, drop)
    finally:
        for worker in workers.values():
            worker.close()
        progress("")
    return record


def prepare(name: str, row: str, session: Session, caches: str) -> tuple[Worker, Record]:
    """A worker that is warm, and what was learned on the way: the first call with empty caches on disk, in a process
    that then ends; the most bytes of tensors and the outputs by first weights, in another; and in the one that stays,
    the first call with full caches, the losses, and how often to repeat each phase. In a quick run they are one. Who
    has no phase of training has only outputs and these repetitions."""
    facts: Record = {"imports": [], "iterations": {}}
    worker = session.worker(name, row, caches)

    def hello() -> Record:
        answer = worker.ask("hello")
        facts["imports"].append(answer["import"])
        return answer

    answer = hello()
    facts |= {"version": answer["version"], "phases": answer["phases"]}
    trains = name != SGEMM and not {"step", "fit"}.isdisjoint(answer["phases"])
    if trains:
        facts["first cold"] = worker.ask("first")["seconds"]
        worker = another(worker, name, row, session, caches)
        hello()
        facts["peak bytes"] = worker.ask("peak")["bytes"]
    if name != SGEMM:
        facts["outputs"] = worker.ask("outputs")["outputs"]
        worker = another(worker, name, row, session, caches)
        hello()
    if not trains:
        facts["threads"] = worker.ask("build")["threads"]
    else:
        first = worker.ask("first")
        facts |= {"first warm": first["seconds"], "threads": first["threads"]}
        facts["losses"] = [first["loss"], *worker.ask("losses", start=1, stop=STEPS)["losses"]]
    if facts["threads"] not in (None, session.threads):
        worker.close()
        raise Failure(f"uses {facts['threads']} threads, not {session.threads}")
    if trains and session.device != "cpu" and "step" in facts["phases"]:
        facts["sent"] = worker.ask("sent")
    for phase in facts["phases"]:
        facts["iterations"][phase] = worker.ask("tune", phase=phase, seconds=session.turn)["times"]
    return worker, facts


def another(worker: Worker, name: str, row: str, session: Session, caches: str) -> Worker:
    """A fresh process in its place; in a quick run, and on CUDA, where it takes many seconds to start, the same."""
    if session.quick or session.device != "cpu":
        return worker
    worker.close()
    return session.worker(name, row, caches)


def disagreements(record: Record, tolerance: float) -> dict[str, Failure]:
    """The frameworks whose first losses, or whose outputs, are not PyTorch's."""
    found = {}
    facts = {name: facts for name, facts in record["frameworks"].items() if name != SGEMM}
    for name in facts:
        if REFERENCE not in facts:
            why = f"no losses of PyTorch to agree with: {record['skipped'][REFERENCE]}"
            found[name] = Failure(why, absent=True)
        elif fault := fault_of(facts[name], facts[REFERENCE], tolerance):
            found[name] = Failure(f"wrong: {fault}")
    return found


def fault_of(facts: Record, expected: Record, tolerance: float) -> str | None:
    """The first loss, if it has any, or output that is wrong; outputs are compared beside the largest of them."""
    scale = max(map(abs, expected["outputs"]))
    for what in ("losses", "outputs") if "losses" in facts else ("outputs",):
        for i, (value, right) in enumerate(zip(facts[what], expected[what], strict=True)):
            if not abs(value - right) <= tolerance * (abs(right) if what == "losses" else scale):  # NaN must not pass
                where = f"the loss of step {i}" if what == "losses" else "an output"
                return f"{where} is {value:.6g}, PyTorch's {right:.6g}"
    return None


def take_turns(
    record: Record, workers: dict[str, Worker], session: Session, drop: Callable[[str, Failure], None]
) -> None:
    """Rounds until enough of each phase are kept, or too many were tried. A round is a calibration, and then one phase
    by each framework in turns, another one first each time."""
    wanted = record["rounds wanted"] + (0 if session.quick else SPARE)
    for number in range(wanted + 1 if session.quick else AT_MOST):
        progress(f"{record['row']}: round {number + 1}")
        for phase, rounds in record["rounds"].items():
            if sum(kept(record, phase, session.best)) >= wanted:
                continue
            turns = [name for name in workers if phase in record["frameworks"][name]["phases"]]
            first = number % max(1, len(turns))
            found: Record = {"calibration": session.calibrate(), "seconds": {}, "cpu": {}}
            rounds.append(found)
            for name in turns[first:] + turns[:first]:
                session.rest()
                try:
                    times = record["frameworks"][name]["iterations"][phase]
                    answer = workers[name].ask("run", phase=phase, times=times)
                except Failure as failure:
                    drop(name, failure)
                    continue
                found["seconds"][name], found["cpu"][name] = answer["seconds"], answer["cpu"]
    for name in [name for name in workers if name != SGEMM]:
        try:
            record["frameworks"][name]["resident bytes"] = workers[name].ask("resident")["bytes"]
        except Failure as failure:
            drop(name, failure)


def kept(record: Record, phase: str, best: float) -> list[bool]:
    """For each round of a phase, whether its calibration says that the machine was quiet; in a quick run all count."""
    limit = record["too slow"]
    return [limit is None or found["calibration"] <= limit * best for found in record["rounds"][phase]]


def progress(text: str) -> None:
    """One line that changes, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)
