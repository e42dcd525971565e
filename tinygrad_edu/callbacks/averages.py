"""SwapEMAWeights: evaluates with the averages that the optimizer keeps of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import check_bool, message
from .base import Callback, Logs
from .schedules import optimizer_of


class SwapEMAWeights(Callback):
    """Exchanges the weights with their exponential moving averages while `fit` validates; the optimizer must have
    `use_ema=True`.

    Args:
        swap_on_epoch: whether the averages also stay in the model from the end of an epoch to the beginning of the
            next, for callbacks that come after this one, such as `ModelCheckpoint`. After the last epoch they stay for
            good.

    Raises ValueError when the training begins if the optimizer keeps no averages.
    """

    def __init__(self, swap_on_epoch: bool = False):
        self.swap_on_epoch = check_bool("SwapEMAWeights", "swap_on_epoch", swap_on_epoch)
        self._swapped = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if not getattr(optimizer_of(self), "use_ema", False):
            found = "one that keeps no averages"
            raise ValueError(message("SwapEMAWeights", "an optimizer with use_ema=True", found))
        self._swap(False)  # an interrupted training may have left them in

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._swap(self.swap_on_epoch)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._swapped = False

    def _swap(self, averages: bool) -> None:
        """Puts the averages into the model, or the weights."""
        if self._swapped != averages:
            self.model.optimizer.swap_ema()
            self._swapped = averages

    def state_dict(self) -> dict[str, Any]:
        return {"swapped": self._swapped}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        self._swapped = values["swapped"]
