"""EarlyStopping: ends the training when a number in the logs no longer becomes better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import check_bool, check_integer, check_number
from .base import Logs
from .monitor import Monitor, check_verbose


class EarlyStopping(Monitor):
    """Ends the training after `patience` epochs without an improvement.

    Args:
        monitor: the name of a number in the logs.
        min_delta: a change of no more than this is no improvement.
        patience: epochs without an improvement before the training ends.
        verbose: 1 prints when the training ends and which epoch is restored.
        mode: "min", "max", or "auto": which of both the metric says.
        baseline: the training also ends if this number is not passed for `patience` epochs.
        restore_best_weights: whether weights and buffers (as the means of BatchNormalization) become those of the best
            epoch, the first of several that are equal, when `fit` ends; also when it ends after its last epoch. The
            optimizer's state stays that of the last one. After an error nothing is restored.
        start_from_epoch: epochs that are not looked at in the beginning.

    NaN is never the best. Raises ValueError at the end of the first epoch if the logs lack `monitor`, and when the
    training begins if mode="auto" cannot tell what is better.

    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    >>> model.compile(tg.optimizers.SGD(learning_rate=0.0), "mse")
    >>> stop = tg.callbacks.EarlyStopping("loss", patience=3)
    >>> len(model.fit([[1.0, 2.0]], [3.0], epochs=10, callbacks=[stop], verbose=0).epoch)
    4
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience = check_integer(self.where, "patience", patience, 0)
        self.verbose = check_verbose(self.where, verbose)
        self.baseline = baseline
        if baseline is not None:
            self.baseline = check_number(self.where, "baseline", baseline, "that is finite", lambda _: True)
        self.restore_best_weights = check_bool(self.where, "restore_best_weights", restore_best_weights)
        self.start_from_epoch = check_integer(self.where, "start_from_epoch", start_from_epoch, 0)
        self._reset()

    def _reset(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()
        self._rises()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.watched(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.is_better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        names = ("wait", "stopped_epoch", "best_epoch", "best", "best_weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)
