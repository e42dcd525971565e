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


def learns_gates(f):
    gates = all(f[f"{gate} by {way}"] == 1 for gate in ("AND", "OR") for way in ("rule", "descent"))
    noisy = all(f[f"noisy {gate} by descent"] > 0.98 for gate in ("AND", "OR"))
    return gates and noisy and f["XOR by rule"] <= 0.75 and f["XOR by descent"] <= 0.75


def learns_xor(f, loss):
    fits = f["loss by hand"] < loss and f["loss of Sequential"] < loss
    return fits and f["loss of one layer"] > 0.69 and f["noisy copies, by hand"] > 0.98 > f["noisy copies, one line"]


def descends(f):
    ways = "full", "mini-batch", "stochastic"
    near = all(f[f"{way}, excess loss"] < 0.01 for way in ways)
    return near and all(f[f"{way}, test loss"] < 0.1 * f["mean predictor, test loss"] for way in ways)


def remembers(f, share, error):
    """Forecasts with at most this share of the naive one's error; the gated networks add with less than this one."""
    near = all(f[f"{name} RMSE"] < share * f["last value RMSE"] for name in ("SimpleRNN", "LSTM", "GRU"))
    return near and max(f["adding: LSTM MSE"], f["adding: GRU MSE"]) < error


def recommends(f, share):
    """Errors at most this share of those of the biases, and more hits than either of the simple rankings."""
    ways = "factorization", "neural"
    near = all(f[f"RMSE, {way}"] < share * f["RMSE, biases"] for way in ways)
    return near and all(
        f[f"{measure}, {way}"] > 1.3 * f[f"{measure}, {simple}"]
        for measure in ("hit rate@10", "NDCG@10")
        for way in ways
        for simple in ("biases", "popularity")
    )


CASES = {
    "perceptron": Case(quick=learns_gates, full=learns_gates),
    "xor": Case(quick=lambda f: learns_xor(f, 1e-2), full=lambda f: learns_xor(f, 1e-3)),
    "blobs": Case(quick=lambda f: f["test accuracy"] == 1, full=lambda f: f["test accuracy"] == 1),
    "descent": Case(quick=descends, full=descends),
    "forecasting": Case(
        quick=lambda f: remembers(f, 0.6, 0.05),
        full=lambda f: (
            remembers(f, 0.5, 0.01)
            and max(f["LSTM RMSE"], f["GRU RMSE"]) < 0.8 * f["linear autoregression RMSE"]
            and f["adding: SimpleRNN MSE"] > 0.9 * f["adding: always the mean MSE"]
        ),
    ),
    "sentiment": Case(
        quick=lambda f: min(f["LSTM: test accuracy"], f["attention: test accuracy"]) > 0.85,
        full=lambda f: (
            min(f["LSTM: test accuracy"], f["attention: test accuracy"]) > 0.98
            and f["bag of words: test accuracy"] < 0.75
        ),
    ),
    "recommender": Case(quick=lambda f: recommends(f, 0.8), full=lambda f: recommends(f, 0.65)),
    "newton": Case(quick=lambda f: f["value"] < 1e-12, full=lambda f: f["value"] < 1e-12),
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
