"""What optimizers are compared with Keras on: parameters of several shapes, their gradients, and settings."""

import numpy

STEPS = (1, 2, 10, 50)
"""After these the parameters are recorded."""

_random = numpy.random.default_rng(5)
START = {
    "wide.kernel": _random.normal(size=(3, 4)),
    "tall.kernel": _random.normal(size=(4, 2)),
    "bias": _random.normal(size=4),
    "scale": _random.normal(size=()),
    "cube.kernel": _random.normal(size=(2, 2, 3)),
    "embeddings": _random.normal(size=(5, 2)),
    "zeros.kernel": numpy.zeros((2, 2)),
}
SLOPES = {name: _random.uniform(0.2, 3.0, size=value.shape) for name, value in START.items()}


def gradient(name, value):
    """The gradient of a function with several minima, steeper in some directions than in others."""
    return SLOPES[name] * (value - 0.3) + numpy.sin(3.0 * value + SLOPES[name]) + 0.1 * value.sum()


CASES = {
    "adadelta": {},
    "adadelta, rho": {"learning_rate": 1.0, "rho": 0.75, "epsilon": 2**-8, "weight_decay": 0.0625},
    "adagrad": {},
    "adagrad, accumulator": {
        "learning_rate": 0.125, "initial_accumulator_value": 1.0, "epsilon": 2**-6, "weight_decay": 0.125,
    },
    "adam": {},
    "adam, amsgrad": {"learning_rate": 0.125, "beta_1": 0.5, "beta_2": 0.625, "epsilon": 2**-8, "amsgrad": True},
    "adamax": {},
    "adamax, betas": {"learning_rate": 0.0625, "beta_1": 0.75, "beta_2": 0.875, "epsilon": 2**-6, "weight_decay": 0.5},
    "adamw": {},
    "adamw, amsgrad": {"learning_rate": 0.0625, "weight_decay": 0.25, "beta_1": 0.75, "beta_2": 0.625, "amsgrad": True},
    "lamb": {},
    "lamb, betas": {"learning_rate": 2**-7, "beta_1": 0.75, "beta_2": 0.875, "epsilon": 2**-6, "weight_decay": 0.5},
    "lion": {},
    "lion, betas": {"learning_rate": 0.03125, "beta_1": 0.625, "beta_2": 0.875, "weight_decay": 0.125},
    "muon": {},
    "muon, settings": {
        "learning_rate": 2**-7, "adam_beta_1": 0.75, "adam_beta_2": 0.875, "adam_weight_decay": 0.25, "epsilon": 2**-6,
        "weight_decay": 0.125, "exclude_layers": ["^wide"], "exclude_embeddings": False, "muon_a": 3.0, "muon_b": -4.25,
        "muon_c": 1.75, "adam_lr_ratio": 0.5, "momentum": 0.75, "ns_steps": 3, "nesterov": False, "rms_rate": None,
    },
    "nadam": {},
    "nadam, betas": {"learning_rate": 0.0625, "beta_1": 0.75, "beta_2": 0.9375, "epsilon": 2**-6, "weight_decay": 0.5},
    "rmsprop": {},
    "rmsprop, centered": {"learning_rate": 0.0078125, "rho": 0.75, "momentum": 0.5, "epsilon": 2**-8, "centered": True},
    "sgd": {},
    "sgd, nesterov": {"learning_rate": 0.0625, "momentum": 0.75, "nesterov": True, "weight_decay": 0.125},
}  # fmt: skip
"""The arguments by the name of the optimizer, which a comma may follow. These are exact in float32, to which Keras
rounds them also for parameters in float64; the defaults are not."""
