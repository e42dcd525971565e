"""Whole Keras programs run when `tensorflow.keras` in their imports becomes `tinygrad_edu`."""

import re

import pytest
from keras_programs.run import BOUNDS, accuracy, source

IMPORT = re.compile(r"^(import|from) tensorflow\.keras\b", re.MULTILINE)


def translated(text):
    return IMPORT.sub(r"\1 tinygrad_edu", text)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_keras_program(name):
    text = source(name)
    assert not {"tinygrad_edu"} & set(re.findall(r"\w+", text))
    assert text.count("tensorflow") == len(IMPORT.findall(text)) > 0  # only these lines change
    printed, reached = accuracy(name, translated(text))
    assert reached >= BOUNDS[name]
    assert "Parameters:" in printed


def test_only_imports_are_translated():
    text = "import tensorflow.keras as keras\nfrom tensorflow.keras.layers import Dense\nprint('tensorflow.keras')\n"
    assert translated(text) == (
        "import tinygrad_edu as keras\nfrom tinygrad_edu.layers import Dense\nprint('tensorflow.keras')\n"
    )
