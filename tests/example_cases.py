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


def tabular(figures, auc, share_of_linear):
    """Few rows and much chance in them: on diabetes no network can do much better than a linear model."""
    return (
        figures["breast cancer AUC"] > auc
        and figures["breast cancer accuracy"] > 0.9
        and figures["housing RMSE"] < share_of_linear * figures["housing RMSE, a linear model"]
        and figures["diabetes RMSE"] < 0.85 * figures["diabetes RMSE, the mean"]
        and figures["diabetes RMSE"] < 1.15 * figures["diabetes RMSE, a linear model"]
    )


def gains(figures):
    """How much each cure of overfitting adds to the accuracy on the test part."""
    cures = ("dropout", "L2", "early stopping", "augmentation", "batch norm")
    return {cure: figures[f"test accuracy, {cure}"] - figures["test accuracy, plain"] for cure in cures}


def gradients(figures, residual, relu, clipped):
    """Without a cure the gradient vanishes or explodes and the network stays at chance; the cures reach more."""
    ratio = {
        name: figures[f"gradient ratio, {name}"] for name in ("sigmoid", "sigmoid, residual", "ReLU", "ReLU, too large")
    }
    return (
        ratio["sigmoid"] < 1e-9
        and 0.05 < ratio["sigmoid, residual"] < 50
        and 0.05 < ratio["ReLU"] < 20
        and ratio["ReLU, too large"] > 50
        and figures["test accuracy, sigmoid"] < 0.2
        and figures["test accuracy, ReLU, too large"] < 0.2
        and figures["test accuracy, sigmoid, residual"] > residual
        and figures["test accuracy, ReLU"] > relu
        and figures["test accuracy, ReLU, too large, clipped"] > clipped
    )


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


def learns_letters(f, rival):
    """The rivals too depend on the text, which is another in each version of Python."""
    return max(f["GPT bits per character"], f["LSTM bits per character"]) < f[rival] - 0.3


CASES = {
    "perceptron": Case(quick=learns_gates, full=learns_gates),
    "xor": Case(quick=lambda f: learns_xor(f, 1e-2), full=lambda f: learns_xor(f, 1e-3)),
    "blobs": Case(quick=lambda f: f["test accuracy"] == 1, full=lambda f: f["test accuracy"] == 1),
    "tabular": Case(
        quick=lambda f: tabular(f, auc=0.98, share_of_linear=0.6),
        full=lambda f: tabular(f, auc=0.99, share_of_linear=0.5),
    ),
    "descent": Case(quick=descends, full=descends),
    "overfitting": Case(
        quick=lambda f: (
            f["training accuracy, plain"] > 0.8
            and f["test accuracy, plain"] > 0.75
            and max(gains(f)[cure] for cure in ("dropout", "L2", "early stopping")) > 0.01
        ),
        full=lambda f: (
            f["training accuracy, plain"] > 0.99
            and f["test accuracy, plain"] < 0.85
            and min(gains(f).values()) > 0.01
            and min(gains(f)[cure] for cure in ("early stopping", "augmentation")) > 0.04
        ),
    ),
    "gradients": Case(
        quick=lambda f: gradients(f, residual=0.2, relu=0.4, clipped=0.0),
        full=lambda f: gradients(f, residual=0.8, relu=0.9, clipped=0.7),
    ),
    "digits_cnn": Case(
        quick=lambda f: f["test accuracy"] > 0.9,
        full=lambda f: f["test accuracy"] >= 0.985,
    ),
    "autoencoder": Case(
        quick=lambda f: restores(f, reconstruction=1.0, denoising=0.9, nats=2.0),
        full=lambda f: restores(f, reconstruction=0.75, denoising=0.6, nats=4.0),
    ),
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
    "characters": Case(quick=lambda f: learns_letters(f, "unigrams"), full=lambda f: learns_letters(f, "trigrams")),
    "translation": Case(
        quick=lambda f: f["exact translations"] > 0.5 > f["without attention"],
        full=lambda f: f["exact translations"] >= 0.98 and f["without attention"] < 0.5,
    ),
    "recommender": Case(quick=lambda f: recommends(f, 0.8), full=lambda f: recommends(f, 0.65)),
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
