"""What the records of training rows say: medians, ratios with their intervals, shares of the speed of bare products."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from .peers import OURS, PEERS, SGEMM
from .training import Record, kept

CONFIDENCE = 0.95


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """An interval for the median of what the values are drawn from, with at least this confidence; None for too few.

    It lies between two order statistics, at ranks that the sign test gives, and assumes no distribution: each draw is
    below the median with probability 1/2, so how many are is binomial (Conover, Practical Nonparametric Statistics, 3rd
    ed., section 3.2; 15 values: from the 4th to the 12th, 96.5 %).
    """
    n = len(values)
    below, tail = 0, 0.5**n
    while 2.0 * tail <= 1.0 - confidence:  # the probability that the median is outside, on either side
        below += 1
        tail += math.comb(n, below) * 0.5**n
    return (sorted(values)[below - 1], sorted(values)[n - below]) if below else None


def times(record: Record, best: float, phase: str, name: str) -> dict[int, float]:
    """The seconds of one step in each round that is kept, by the number of the round."""
    rounds = record["rounds"][phase]
    if name not in record["frameworks"] or phase not in record["frameworks"][name]["phases"]:
        return {}
    steps = record["frameworks"][name]["iterations"][phase] * record["steps"][phase]
    quiet = kept(record, phase, best)
    return {
        i: found["seconds"][name] / steps for i, found in enumerate(rounds) if quiet[i] and name in found["seconds"]
    }


def median(values: Sequence[float] | dict[int, float]) -> float | None:
    found = list(values.values()) if isinstance(values, dict) else list(values)
    return statistics.median(found) if found else None


def ratios(record: Record, best: float, phase: str, ours: str, peer: str) -> list[float]:
    """The time of one beside that of the other, round by round."""
    a, b = (times(record, best, phase, name) for name in (ours, peer))
    return [a[i] / b[i] for i in a if i in b]


def share(record: Record, best: float, phase: str, name: str) -> float | None:
    """The GFLOP/s of the matrix products in a phase, as a share of the same products alone. "backward" is what the
    phase "gradient" takes longer than "forward"."""
    if phase != "backward":
        return median(ratios(record, best, phase, SGEMM, name))
    spans = []
    for who in (SGEMM, name):
        forward, both = (times(record, best, part, who) for part in ("forward", "gradient"))
        spans.append({i: both[i] - forward[i] for i in both if i in forward})
    bare, full = spans
    return median([bare[i] / full[i] for i in bare if i in full and full[i] > 0])


def gflops(record: Record, best: float, phase: str, name: str) -> float | None:
    """Of the matrix products in a phase."""
    seconds = median(times(record, best, phase, name))
    return seconds and record["operations"][phase] / seconds / 1e9


def cores_busy(record: Record, phase: str, name: str) -> float | None:
    """The seconds of all cores together per second of the clock, in a phase."""
    rounds = record["rounds"][phase]
    return median([found["cpu"][name] / found["seconds"][name] for found in rounds if name in found["cpu"]])


def quiet_rounds(record: Record, best: float) -> dict[str, tuple[int, int]]:
    """For each phase, how many rounds are kept, and how many were tried."""
    return {phase: (sum(kept(record, phase, best)), len(rounds)) for phase, rounds in record["rounds"].items()}


def summary(record: Record, best: float) -> dict[str, Any]:
    """All figures of a row, for the JSON file."""
    found: dict[str, Any] = {"kept": quiet_rounds(record, best), "seconds": {}, "gflops": {}, "share": {}, "ratios": {}}
    for phase in record["rounds"]:
        names = record["frameworks"]
        found["seconds"][phase] = {name: median(times(record, best, phase, name)) for name in names}
        found["gflops"][phase] = {name: gflops(record, best, phase, name) for name in names}
        for a in OURS:
            for b in (*OURS, *PEERS):
                values = ratios(record, best, phase, a, b)
                if values and a != b:
                    found["ratios"].setdefault(phase, {})[f"{a} / {b}"] = [median(values), interval(values)]
    for phase in [*record["rounds"], "backward"]:
        found["share"][phase] = {
            name: share(record, best, phase, name) for name in record["frameworks"] if name != SGEMM
        }
    return found
