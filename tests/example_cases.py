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


def restores(f, reconstruction, denoising, nats):
    """Whether the errors are below these shares of PCA's, and the nats so many below those of independent pixels."""
    return (
        f["error of reconstructions"] < reconstruction * f["of PCA with two components"]
        and f["error after denoising"] < denoising * f["of PCA as a filter"] < denoising * f["of the noisy images"]
        and f["variational: nats per digit"] < f["of independent pixels"] - nats
    )


def explains(f, right, ratio, gap):
    """Whether the network is good, and erasing what each method points at is worse than erasing at random."""
    erased = [f[f"without the pixels of {name}"] for name in ("saliency", "integrated gradients", "occlusion")]
    return (
        f["probability of the true class"] > right
        and max(erased) < ratio * f["without pixels at random"]
        and f["gap of integrated gradients"] < gap
    )


CASES = {
    "autoencoder": Case(
        quick=lambda f: restores(f, reconstruction=1.0, denoising=0.9, nats=2.0),
        full=lambda f: restores(f, reconstruction=0.75, denoising=0.6, nats=4.0),
    ),
    "digits_cnn": Case(
        quick=lambda f: f["test accuracy"] >= 0.95,
        full=lambda f: f["test accuracy"] >= 0.985,
    ),
    "interpretability": Case(
        quick=lambda f: explains(f, right=0.75, ratio=0.75, gap=0.03),
        full=lambda f: explains(f, right=0.95, ratio=0.7, gap=0.005),
    ),
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
