"""A row for each program of `examples/`: what its figures must be, in its short form and in full.

`python tests/example_cases.py [NAME ...]` runs the programs in full, one after the other, each in a process of its own,
prints figures and seconds, and fails if one misses its figure.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class Case:
    """Each is given the figures that `main` returned and tells whether they are reached."""

    quick: Callable[[Mapping[str, float]], bool]
    full: Callable[[Mapping[str, float]], bool]


CASES = {
    "forecasting": Case(
        quick=lambda f: (
            max(f[f"{name} RMSE"] for name in ("SimpleRNN", "LSTM", "GRU")) < 0.75 * f["last value RMSE"]
            and max(f["adding: LSTM MSE"], f["adding: GRU MSE"]) < 0.5 * f["adding: always the mean MSE"]
        ),
        full=lambda f: (
            max(f[f"{name} RMSE"] for name in ("SimpleRNN", "LSTM", "GRU"))
            < 0.9 * min(f["last value RMSE"], f["linear autoregression RMSE"])
            and max(f["adding: LSTM MSE"], f["adding: GRU MSE"]) < 0.01
            and f["adding: SimpleRNN MSE"] > 0.9 * f["adding: always the mean MSE"]
        ),
    ),
    "newton": Case(quick=lambda f: f["value"] < 1e-12, full=lambda f: f["value"] < 1e-12),
    "sentiment": Case(
        quick=lambda f: min(f["LSTM: test accuracy"], f["attention: test accuracy"]) > 0.75,
        full=lambda f: (
            min(f["LSTM: test accuracy"], f["attention: test accuracy"]) > 0.98
            and f["bag of words: test accuracy"] < 0.75
        ),
    ),
}


IN_A_PROCESS = """
import json, runpy, sys
import tinygrad_edu as tg
tg.seed(int(sys.argv[2]))
figures = runpy.run_path(sys.argv[1])["main"]()
print(json.dumps({name: float(value) for name, value in figures.items()}))
"""


def run_in_full(name, seed=0):
    """The figures of a program and its seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-W", "error", "-c", IN_A_PROCESS, str(EXAMPLES / f"{name}.py"), str(seed)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return json.loads(lines[-1]), time.perf_counter() - started


def main(names):
    missed = []
    for name in names or CASES:
        figures, seconds = run_in_full(name)
        reached = CASES[name].full(figures)
        missed += [] if reached else [name]
        text = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        print(f"{name:<20} {seconds:5.1f} s  {'reached' if reached else 'MISSED '}  {text}", flush=True)
    return f"missed: {', '.join(missed)}" if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
