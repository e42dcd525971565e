"""Optimizers: how parameters follow their gradients."""

from typing import Any

from ..errors import choice, message
from . import schedules
from .adaptive import Adadelta, Adagrad, Adamax, Nadam
from .base import Optimizer
from .clipping import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from .layerwise import Lamb, Muon
from .lbfgs import LBFGS
from .options import Options
from .rules import SGD, Adam, AdamW, Lion, RMSprop
from .scaling import LossScaleOptimizer

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (LBFGS, SGD, Adadelta, Adagrad, Adam, AdamW, Adamax, Lamb, Lion, Muon, Nadam, RMSprop)
}


def get(optimizer: Any) -> Optimizer:
    """The optimizer of that name with its defaults; an object is given back as it is.

    Raises ValueError for an unknown name and suggests the nearest.
    """
    if isinstance(optimizer, str):
        if optimizer.lower() not in OPTIMIZERS:
            raise choice("compile", "optimizer", optimizer, OPTIMIZERS)
        return OPTIMIZERS[optimizer.lower()]()  # type: ignore[call-arg]
    if not isinstance(optimizer, Optimizer):
        hint = f"write {optimizer.__name__}()." if isinstance(optimizer, type) else ""
        raise TypeError(message("compile", "an optimizer or its name", repr(optimizer), hint))
    return optimizer


__all__ = [
    "LBFGS", "OPTIMIZERS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "Lion",
    "LossScaleOptimizer", "Muon", "Nadam", "Optimizer", "Options", "RMSprop", "clip_by_global_norm", "clip_by_norm",
    "clip_by_value", "get", "global_norm", "schedules",
]
