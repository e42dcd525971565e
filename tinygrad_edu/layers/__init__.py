"""Layers, with Keras's names and arguments; images and sequences have their channels last."""

from .activations import ACTIVATIONS
from .base import ActivatedLayer, Layer
from .core import Activation, Dense, Dropout, Flatten, Input, InputLayer, Reshape
from .operation import Operation
from .preprocessing import (
    CategoryEncoding, CenterCrop, Discretization, IntegerLookup, Normalization, RandomBrightness, RandomContrast,
    RandomCrop, RandomFlip, RandomRotation, RandomTranslation, RandomZoom, Rescaling, Resizing, StringLookup,
    TextVectorization,
)
from .symbolic import Symbol

__all__ = [
    "ACTIVATIONS", "ActivatedLayer", "Activation", "CategoryEncoding", "CenterCrop", "Dense", "Discretization",
    "Dropout", "Flatten", "Input", "InputLayer", "IntegerLookup", "Layer", "Normalization", "Operation",
    "RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom", "Rescaling", "Reshape", "Resizing", "StringLookup", "Symbol", "TextVectorization",
]
