"""jit: a training step recorded once (trace) and replayed fast (plan, run)."""

from .step import Jit, jit

__all__ = ["Jit", "jit"]
