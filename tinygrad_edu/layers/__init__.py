"""Layers, with Keras's names and arguments; images and sequences have their channels last."""

from .activations import ACTIVATIONS
from .base import ActivatedLayer, Layer
from .core import Activation, Dense, Dropout, Flatten, Input, InputLayer, Reshape
from .operation import Operation
from .preprocessing import IntegerLookup, StringLookup, TextVectorization
from .symbolic import Symbol

__all__ = [
    "ACTIVATIONS", "ActivatedLayer", "Activation", "Dense", "Dropout", "Flatten", "Input", "InputLayer", "Layer",
    "Operation", "Reshape", "Symbol",
]
