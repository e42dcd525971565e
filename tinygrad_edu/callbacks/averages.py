"""SwapEMAWeights: evaluates with the averages that the optimizer keeps of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backend import to_device
from ..errors import check_bool, message
from .base import Callback, Logs
from .schedules import optimizer_of


class SwapEMAWeights(Callback):
    """Has `fit` validate, and `evaluate` and `predict` compute, with the exponential moving averages of the weights;
    the optimizer must have `use_ema=True`. It trains on with the weights themselves.

    Args:
        swap_on_epoch: whether the averages also stay in the model from the end of an epoch to the beginning of the
            next, for callbacks that come after this one, such as `ModelCheckpoint`. After the last epoch they stay for
            good, whatever ended the training.

    Raises ValueError if the optimizer keeps no averages.
    """

    def __init__(self, swap_on_epoch: bool = False):
        self.swap_on_epoch = check_bool("SwapEMAWeights", "swap_on_epoch", swap_on_epoch)
        self._weights: list[Any] | None = None  # while the averages stand in for them

    def _optimizer(self) -> Any:
        optimizer = optimizer_of(self)
        if not getattr(optimizer, "use_ema", False):
            found = "one that keeps no averages"
            raise ValueError(message("SwapEMAWeights", "an optimizer with use_ema=True", found))
        return optimizer

    def _put_averages(self, logs: Logs | None = None) -> None:
        optimizer = self._optimizer()
        if self._weights is None and optimizer.iterations:  # there are averages since the first step
            self._weights = [p.data.copy() for p in optimizer.parameters]
            optimizer.finalize_variable_values()

    def _put_weights(self, logs: Logs | None = None) -> None:
        if self._weights is not None:
            for p, array in zip(self._optimizer().parameters, self._weights, strict=True):
                p.assign_(to_device(array, p.device))
            self._weights = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._optimizer()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._put_weights()  # also those that an interrupted training left here

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._put_averages()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._weights = None

    on_test_begin = on_predict_begin = _put_averages
    on_test_end = on_predict_end = _put_weights

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self._weights}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        self._weights = values["weights"]
