"""jit: a training step recorded once (trace) and replayed fast (plan, run)."""

from ..autograd import Primitive
from . import eager
from .explain import explain
from .step import Jit, jit, weakly

setattr(jit, "explain", explain)  # as users call it: tg.jit.explain(step)

Primitive.fused = eager

__all__ = ["Jit", "explain", "jit", "weakly"]
