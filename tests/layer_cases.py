"""Layers as data: how each is made and what it is called on. The cases are in the folder cases, a file per family.

Read by test_layer_table.py and by golden/make_keras.py, which runs without tinygrad_edu: so nothing of it is imported
here. A case's numbers depend on its name only.
"""

import zlib
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy


@dataclass(frozen=True)
class F:
    """Floats between -1 and 1 (or the bounds), to which there is a gradient."""

    shape: tuple
    low: float = -1.0
    high: float = 1.0

    def __init__(self, *shape, low=-1.0, high=1.0):
        for name, value in (("shape", shape), ("low", low), ("high", high)):
            object.__setattr__(self, name, value)

    def make(self, random):
        return random.uniform(self.low, self.high, self.shape).astype("float32")


@dataclass(frozen=True)
class V:
    """Given values: ids, masks of booleans, text."""

    values: Any

    def make(self, random):
        return numpy.array(self.values)


@dataclass(frozen=True)
class L:
    """A layer: its class, by name, and its arguments, among which may be layers again."""

    name: str
    config: dict

    def __init__(self, name, **config):
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "config", config)

    def make(self, layers):
        config = mapped(lambda leaf: leaf.make(layers) if isinstance(leaf, L) else leaf, self.config)
        return getattr(layers, self.name)(**config)


@dataclass(frozen=True)
class Case:
    """A layer and a call of it.

    Attributes:
        name: of the case, once in the table.
        layer: how it is made.
        inputs: what it is called on: a description of an array, or a list or dict of them.
        call: further arguments of the call, by keyword.
        wrong: calls that must fail: pairs of inputs and a regular expression that the error's text matches.
        keras: whether Keras has this layer, so that its numbers are in the golden file.
        order: how often it can be differentiated.
        rows: whether each row of the output depends on the same row of the inputs only.
        positive: the weights, by number, that must be positive.
        saved: whether a model of this layer can be saved and loaded.
        jit: whether it runs under jit.
    """

    name: str
    layer: L
    inputs: Any
    call: dict = field(default_factory=dict)
    wrong: tuple = ()
    keras: bool = True
    order: int = 2
    rows: bool = True
    positive: tuple = ()
    saved: bool = True
    jit: bool = True

    def random(self, purpose):
        return numpy.random.default_rng([zlib.crc32(self.name.encode()), zlib.crc32(purpose.encode())])

    def arrays(self):
        """The inputs and the further arguments, with arrays in the places of their descriptions."""
        random = self.random("inputs")
        return mapped(lambda leaf: leaf.make(random) if isinstance(leaf, (F, V)) else leaf, (self.inputs, self.call))

    def weights(self, shapes):
        """Values for weights of these shapes."""
        random = self.random("weights")
        values = [random.uniform(-0.6, 0.6, shape).astype("float32") for shape in shapes]
        return [abs(value) + 0.1 if i in self.positive else value for i, value in enumerate(values)]

    def cotangents(self, shapes):
        """The factors of the outputs in the number that is differentiated."""
        random = self.random("cotangents")
        return [random.uniform(-1, 1, shape).astype("float32") for shape in shapes]


def leaves(tree):
    """The things inside of nested lists, tuples and dicts."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for branch in tree for leaf in leaves(branch)] if isinstance(tree, (list, tuple)) else [tree]


def mapped(function, tree):
    """A tree of the same form with the function's values for leaves."""
    if isinstance(tree, dict):
        return {key: mapped(function, branch) for key, branch in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, branch) for branch in tree)
    return function(tree)


FAMILIES = (
    "activations",
    "attention",
    "convolution",
    "core",
    "dropout",
    "embedding",
    "merging",
    "normalization",
    "penalties",
    "pooling",
    "preprocessing",
    "recurrent",
    "reshaping",
)
"""The files of the folder cases."""


def every_case():
    return [case for family in FAMILIES for case in import_module(f"cases.{family}").CASES]
