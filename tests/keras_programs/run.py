"""Runs the programs of this folder as they are, with Keras, and fails if one of them learns less than it should.

pip install tensorflow-cpu keras
python tests/keras_programs/run.py
"""

import contextlib
import io
import re
import sys
from pathlib import Path

BOUNDS = {"mlp": 0.93, "cnn": 0.9, "lstm": 0.95, "rare": 0.965}
"""The accuracy that each program reaches, with Keras 3.15.1 (1.0, 0.98, 1.0 and 0.98) and with tinygrad_edu."""


def source(name):
    return Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")


def accuracy(name, text):
    """Runs a program and returns its whole output and the accuracy that it prints last."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, f"{name}.py", "exec"), {"__name__": "__main__"})
    return printed.getvalue(), float(re.findall(r"^test accuracy: ([\d.]+)$", printed.getvalue(), re.MULTILINE)[-1])


if __name__ == "__main__":
    found = {name: accuracy(name, source(name))[1] for name in BOUNDS}
    print(*(f"{name}: accuracy {found[name]} (at least {bound})" for name, bound in BOUNDS.items()), sep="\n")
    sys.exit(any(found[name] < bound for name, bound in BOUNDS.items()))
