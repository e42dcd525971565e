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
from recording import close, main

CASES = {name: case for name, case in CASES.items() if case.keras}


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
    return found


if __name__ == "__main__":
    main(__file__, ".npz", record(), close(1e-5, 1e-8))
