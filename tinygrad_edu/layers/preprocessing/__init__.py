"""Layers that prepare data: numbers, texts and images."""

from .affine import RandomRotation, RandomTranslation, RandomZoom
from .images import CenterCrop, RandomBrightness, RandomContrast, RandomCrop, RandomFlip, Resizing
from .lookup import IntegerLookup, StringLookup
from .numbers import CategoryEncoding, Discretization, Normalization, Rescaling
from .text import TextVectorization

__all__ = [
    "CategoryEncoding", "CenterCrop", "Discretization", "IntegerLookup", "Normalization", "RandomBrightness",
    "RandomContrast", "RandomCrop", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "Rescaling",
    "Resizing", "StringLookup", "TextVectorization",
]
