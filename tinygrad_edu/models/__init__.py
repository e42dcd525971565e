"""Models: layers that can be compiled, fitted, evaluated, saved and loaded."""

from .model import Model
from .saving import load_model
from .sequential import Sequential

__all__ = ["Model", "Sequential", "load_model"]
