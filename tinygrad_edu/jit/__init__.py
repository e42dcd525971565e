"""jit: a training step recorded once (trace) and replayed fast (plan, run)."""

from ..autograd import Primitive
from . import eager
from .explain import explain, profile
from .step import MODES, NOT_RECORDED, Jit, jit, weakly

setattr(jit, "explain", explain)  # as users call them: tg.jit.explain(step)
setattr(jit, "profile", profile)

Primitive.fused = eager

__all__ = ["MODES", "NOT_RECORDED", "Jit", "explain", "jit", "profile", "weakly"]
