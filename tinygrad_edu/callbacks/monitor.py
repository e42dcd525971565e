"""Monitor: what callbacks have in common that wait for a number in the logs to become better."""

from __future__ import annotations

import math
import types
from typing import Any

from ..errors import check_number, choice, message
from .base import Callback, Logs

RISING = {
    "Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy", "TopKCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy", "Precision", "Recall", "SensitivityAtSpecificity", "SpecificityAtSensitivity",
    "PrecisionAtRecall", "RecallAtPrecision", "AUC", "FBetaScore", "IoU", "BinaryIoU", "MeanIoU", "OneHotIoU",
    "OneHotMeanIoU", "CosineSimilarity", "R2Score",
}  # fmt: skip
"""The metrics that are the better the larger they are."""
FALLING = {
    "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
    "RootMeanSquaredError", "LogCoshError", "Hinge", "SquaredHinge", "CategoricalHinge", "KLDivergence", "Poisson",
    "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy",
}  # fmt: skip
"""The metrics that are the better the smaller they are."""


class Monitor(Callback):
    """Watches one number of the logs: `monitor`, which is to fall ("min"), to rise ("max"), or which of both its name
    or metric says ("auto").

    A change of `min_delta` or less is no improvement, and NaN never is one.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float):
        self.where = type(self).__name__
        if mode not in ("auto", "min", "max"):
            raise choice(self.where, "mode", mode, ("auto", "min", "max"))
        if not isinstance(monitor, str):
            raise TypeError(message(self.where, "monitor to be a name in the logs", repr(monitor)))
        self.monitor, self.mode = monitor, mode
        self.min_delta = check_number(self.where, "min_delta", abs(min_delta), "that is finite", lambda _: True)

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether a value improves on another, which None stands for none."""
        if math.isnan(value):
            return False
        if than is None:
            return True
        return value - self.min_delta > than if self._rises() else value + self.min_delta < than

    def watched(self, logs: Logs | None) -> float | None:
        """The monitored number; None at the end of an epoch without a validation, where others have one.

        Raises ValueError that lists the names there are, where it is missing.
        """
        logs = logs or {}
        if self.monitor in logs:
            value = as_plain(logs[self.monitor])
            if isinstance(value, list):
                hint = "choose a metric that averages."
                raise ValueError(message(self.where, f"{self.monitor!r} to be a number", f"{len(value)} of them", hint))
            return float(value)
        has_none = not any(name.startswith("val_") for name in logs)
        if self.monitor.startswith("val_") and has_none and self.params.get("validates"):
            return None
        hint = "validation_data or validation_split" if self.monitor.removeprefix("val_") in logs else ""
        if hint and self.monitor.startswith("val_"):
            expected, found = f"{self.monitor!r} among the logs", f"no validation: {', '.join(logs)}"
            raise ValueError(message(self.where, expected, found, f"give fit {hint}."))
        raise choice(self.where, "monitor", self.monitor, logs)

    def _rises(self) -> bool:
        """Whether larger numbers are better. Raises ValueError where nothing tells."""
        name = self.monitor.removeprefix("val_")
        if self.mode != "auto" or name == "loss" or name.endswith("_loss"):
            return self.mode == "max"
        metrics = list(getattr(self.model, "metrics", ()))
        found = [m for m in metrics if m.name == name] or [m for m in metrics if name.endswith(f"_{m.name}")]
        if not found:
            names = list(getattr(self.model, "_compiled_metrics", dict)()) + [metric.name for metric in metrics]
            known = {f"{start}{one}" for one in ("loss", *names) for start in ("", "val_")}
            raise choice(self.where, "monitor (with mode='auto')", self.monitor, known)
        kinds = {kind.__name__ for metric in found for kind in type(metric).__mro__}
        if bool(kinds & RISING) == bool(kinds & FALLING):
            kind = type(found[0]).__name__
            what = "a function or loss of your own" if kind == "MeanMetricWrapper" else f"a {kind}"
            expected = "mode='min' or mode='max', for a monitor whose better direction is not known"
            raise ValueError(message(self.where, expected, f"mode='auto' for {self.monitor!r}, which is {what}"))
        return bool(kinds & RISING)


def unwatched(callback: Callback, hook: str) -> None:
    """Has `fit` skip a hook of one callback: watching every batch costs time."""
    # bound to the class, for a method bound to the callback would keep it in memory
    setattr(callback, hook, types.MethodType(getattr(Callback, hook), Callback))


def check_verbose(where: str, value: Any) -> int:
    if value not in (0, 1, 2):
        raise choice(where, "verbose", value, ("0", "1", "2"))
    return int(value)


def check_rate(where: str, name: str, value: Any) -> float:
    return check_number(where, name, value, "above 0", lambda v: v > 0)


def as_plain(value: Any) -> Any:
    """A tensor or an array as a number, or as nested lists."""
    return value.tolist() if hasattr(value, "tolist") else value
