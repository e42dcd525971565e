"""jit: a training step recorded once (trace) and replayed fast (plan, run)."""

from .explain import explain
from .step import NOT_RECORDED, Jit, jit, weakly

setattr(jit, "explain", explain)  # as users call it: tg.jit.explain(step)

__all__ = ["NOT_RECORDED", "Jit", "explain", "jit", "weakly"]
