"""Layers that prepare data: numbers, texts and images."""

from .lookup import IntegerLookup, StringLookup
from .text import TextVectorization

__all__ = ["IntegerLookup", "StringLookup", "TextVectorization"]
