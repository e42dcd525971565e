"""Records what Keras computes for each case of loss_cases.py: a value for each row, reductions with and without
weights, gradients, and the arguments of its losses.

    pip install tensorflow-cpu keras
    python tests/golden/make_losses.py            # writes losses.npz
    python tests/golden/make_losses.py --check    # compares with it, and fails on a difference

Each array of the file is named by its case and what it is: "mse/rows", "mse/reduced" (without and with weights, by each
reduction), "mse/gradient" (of the sum).
"""

import inspect
import json
import sys
from pathlib import Path

import keras
import numpy
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loss_cases import CASES, REDUCTIONS

CASES = {name: case for name, case in CASES.items() if case.keras}

FILE = Path(__file__).with_name("losses.npz")


def compute(name, case):
    """The arrays of a case, by name, in float64."""
    kind = getattr(keras.losses, case.kind)

    def loss(reduction):
        return kind(**case.options, reduction=reduction, dtype="float64")

    y, p = tf.constant(case.y), tf.constant(case.p)
    rows = numpy.asarray(loss("none")(y, p))
    # Keras weighs each value of a loss (batch, time) on its own
    weights = numpy.broadcast_to(case.weights().reshape(-1, *(1,) * (rows.ndim - 1)), rows.shape)
    reduced = [[loss(one)(y, p, given) for one in REDUCTIONS] for given in (None, weights)]
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss("sum")(y, p)
    found = {"rows": rows, "reduced": numpy.array(reduced), "gradient": numpy.asarray(tape.gradient(value, p))}
    return {f"{name}/{what}": array for what, array in found.items()}


def arguments(function):
    """The arguments of a loss of Keras and their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: "required" if p.default is p.empty else p.default for p in parameters}


def record():
    found = {}
    for name, case in CASES.items():
        found |= compute(name, case)
    losses = {name: value for name, value in vars(keras.losses).items() if callable(value)}
    found["arguments"] = numpy.array(json.dumps({name: arguments(value) for name, value in sorted(losses.items())}))
    found["version"] = numpy.array(keras.__version__)
    return found


def check(found):
    """Names of arrays that are not as in the file."""
    with numpy.load(FILE) as file:
        known = dict(file)
    same = {
        name
        for name in found.keys() & known.keys()
        if (found[name] == known[name] if found[name].dtype.kind == "U" else numpy.allclose(found[name], known[name]))
    }
    return sorted((found.keys() | known.keys()) - same - {"version"})


if __name__ == "__main__":
    arrays = record()
    if "--check" not in sys.argv:
        numpy.savez_compressed(FILE, **arrays)
        print(f"{len(CASES)} cases of Keras {keras.__version__} in {FILE.name}, {FILE.stat().st_size:,} bytes")
        sys.exit()
    wrong = check(arrays)
    print(f"Keras {keras.__version__}: {len(CASES)} cases compared with {FILE.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
