"""Callbacks decide what Keras's do: the cases of callback_cases.py, recorded by golden/make_callbacks.py."""

import inspect
import json
from pathlib import Path

import pytest
from callback_cases import decisions

import tinygrad_edu as tg
from tinygrad_edu import callbacks

KERAS = json.loads(Path(__file__).with_name("golden").joinpath("callbacks.json").read_text())


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return decisions(callbacks, tmp_path_factory.mktemp("callbacks"), (".safetensors", ".safetensors"))


# The first loss that is looked at is NaN. In Keras it is the best, and no later one improves on it.
DIFFERENT = {"stopping start, late nan"}


@pytest.mark.parametrize("case", sorted(KERAS.keys() - DIFFERENT - {"version", "boards", "arguments"}))
def test_as_keras_decides(ours, case):
    assert json.loads(json.dumps(ours[case])) == KERAS[case]


LEFT_OUT = {"TensorBoard": {"write_images", "profile_batch", "embeddings_freq", "embeddings_metadata"}}


@pytest.mark.parametrize("name", KERAS["arguments"])
def test_arguments_of_keras(name):
    """Names, defaults, and the order of those that may be given by position."""
    parameters = inspect.signature(getattr(tg.callbacks, name)).parameters.values()
    own = [[p.name, None if p.default is p.empty else p.default] for p in parameters if p.kind is not p.VAR_KEYWORD]
    assert own == [one for one in KERAS["arguments"][name] if one[0] not in LEFT_OUT.get(name, ())]
