"""Schedules that Keras has too: the class, its arguments, how many steps are looked at."""

CASES = {
    "exponential": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.7}, 40),
    "exponential stairs": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.5, "staircase": True},
        40,
    ),
    "inverse time": ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.3}, 40),
    "inverse time stairs": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.3, "staircase": True},
        40,
    ),
    "piecewise": ("PiecewiseConstantDecay", {"boundaries": [3, 11, 12], "values": [0.3, 0.2, 0.1, 0.05]}, 20),
    "polynomial": ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10}, 20),
    "polynomial power": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 12, "end_learning_rate": 0.02, "power": 2.5},
        20,
    ),
    "polynomial cycle": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 6, "end_learning_rate": 0.01, "power": 0.5, "cycle": True},
        30,
    ),
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 15}, 20),
    "cosine alpha": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 15, "alpha": 0.2}, 20),
    "cosine warm-up": (
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 15, "alpha": 0.1, "warmup_target": 0.1, "warmup_steps": 5},
        25,
    ),
    "restarts": ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 5}, 40),
    "restarts equal": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 6, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1},
        40,
    ),
    "restarts both": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 4, "t_mul": 1.5, "m_mul": 0.8, "alpha": 0.05},
        40,
    ),
}
