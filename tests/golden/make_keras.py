"""Records what Keras computes for each case of layer_cases.py: outputs, gradients and the arguments of its layers.

    pip install tensorflow-cpu keras
    python tests/golden/make_keras.py            # writes keras.npz
    python tests/golden/make_keras.py --check    # compares with it, and fails on a difference

Each array of the file is named by its case and what it is: "dense/output 0", "dense/gradient 1" (of the inputs, in
order, then of the trainable weights). The last output is the sum of the layer's `losses`, if it has any.
"""

import inspect
import json
import sys
from pathlib import Path

import keras
import numpy
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from layer_cases import F, every_case, leaves, mapped
from recording import main


def compute(case):
    """The arrays of a case, by name."""
    layer = case.layer.make(keras.layers)
    inputs, call = mapped(lambda a: tf.constant(a) if isinstance(a, numpy.ndarray) else a, case.arrays())
    layer(inputs, **call)  # builds
    layer.set_weights(case.weights([w.shape for w in layer.get_weights()]))
    kinds = leaves((case.inputs, case.call))
    watched = [a for a, kind in zip(leaves((inputs, call)), kinds, strict=True) if isinstance(kind, F)]
    with tf.GradientTape() as tape:
        for a in watched:
            tape.watch(a)
        outputs = [y for y in leaves(layer(inputs, **call)) if y is not None]
        outputs += [tf.add_n(layer.losses)] if layer.losses else []
        factors = case.cotangents([y.shape for y in outputs])
        total = tf.add_n([tf.reduce_sum(tf.cast(y, "float32") * g) for y, g in zip(outputs, factors, strict=True)])
    weights = [w.value for w in layer.trainable_weights]
    found = {f"output {i}": numpy.asarray(y) for i, y in enumerate(outputs)}
    if case.order:
        gradients = tape.gradient(total, [*watched, *weights], unconnected_gradients="zero")
        found |= {f"gradient {i}": numpy.asarray(tf.convert_to_tensor(g)) for i, g in enumerate(gradients)}
    return {f"{case.name}/{name}": array for name, array in found.items()}


def arguments(name):
    """The arguments of a layer of Keras and their defaults."""
    parameters = inspect.signature(getattr(keras.layers, name)).parameters.values()
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {p.name: "required" if p.default is p.empty else p.default for p in named}


def record():
    cases = [case for case in every_case() if case.keras]
    found = {name: array for case in cases for name, array in compute(case).items()}
    signatures = {case.layer.name: arguments(case.layer.name) for case in cases}
    found["arguments"] = numpy.array(json.dumps(signatures, default=str))
    return found


def difference(a, b):
    """The largest difference, relative to the largest magnitude (at least 1); infinite for other shapes or kinds."""
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return numpy.inf
    if a.dtype.kind not in "fiu":
        return 0.0 if (a == b).all() else numpy.inf
    scale = max(1.0, abs(b).max(initial=0))
    return float(abs(a.astype("float64") - b).max(initial=0)) / scale


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main(__file__, ".npz", record(), lambda a, b: difference(a, b) <= 1e-5)
