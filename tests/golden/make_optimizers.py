"""Records what the optimizers of Keras do with the parameters of optimizer_cases.py, in float64, and their arguments.

pip install tensorflow-cpu keras
python tests/golden/make_optimizers.py            # writes optimizers.npz
python tests/golden/make_optimizers.py --check    # compares with it, and fails on a difference
"""

import inspect
import json
import sys
from pathlib import Path

import keras
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from optimizer_cases import CASES, START, STEPS, gradient
from recording import close, main


def kind(case):
    found = {name.lower(): value for name, value in vars(keras.optimizers).items() if inspect.isclass(value)}
    return found[case.split(",")[0]]


def arrays():
    """All parameters after each of the STEPS, by case, and the arguments of each optimizer, as "adam arguments"."""
    found = {}
    for case, settings in CASES.items():
        optimizer = kind(case)(**settings)
        variables = [keras.Variable(value, name=name) for name, value in START.items()]
        optimizer.build(variables)
        rows = []
        for step in range(1, STEPS[-1] + 1):
            gradients = [gradient(name, v.numpy()) for name, v in zip(START, variables, strict=True)]
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients])
            if step in STEPS:
                rows.append(numpy.concatenate([v.numpy().ravel() for v in variables]))
        given = inspect.signature(kind(case)).parameters.values()
        arguments = [(p.name, p.default) for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]
        found[case] = numpy.array(rows)
        found[f"{case.split(',')[0]} arguments"] = numpy.array(json.dumps(arguments))
    return found


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    main(__file__, ".npz", arrays(), close(1e-10, 1e-12))
