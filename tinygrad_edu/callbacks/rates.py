"""LearningRateFinder: which learning rate to train with."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import default_generator, to_device, to_host
from ..errors import check_integer, check_number, message
from .base import Callback, Logs
from .monitor import check_rate
from .schedules import optimizer_of


class LearningRateFinder(Callback):
    """Raises the learning rate from batch to batch, while it records the loss, and then leaves the model as it was.

    The rate of batch k of `steps` is min_lr (max_lr / min_lr)^(k / (steps - 1)). The training ends after `steps`
    batches, or when the smoothed loss is above `divergence` times its least, or not finite. Then weights, buffers, the
    optimizer with its rate, and the package's random numbers are what they were when the training began. (Smith,
    "Cyclical learning rates for training neural networks", 2017; smoothed and ended as in fastai.)

    Args:
        min_lr, max_lr: the first and the last rate.
        steps: how many batches; `fit` must have as many, in all its epochs.
        smoothing: the loss of batch k counts with (1 - smoothing) in the moving average, which is corrected for its
            start at 0 as in Adam.
        divergence: how many times the least smoothed loss ends the search.

    Attributes:
        learning_rates, losses: the rates, and the smoothed losses of the batches before their steps.

    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(1,))])
    >>> model.compile("sgd", "mse")
    >>> finder = tg.callbacks.LearningRateFinder(steps=50)
    >>> x = [[0.1 * i] for i in range(10)]
    >>> history = model.fit(x, x, batch_size=1, epochs=5, callbacks=[finder], verbose=0)
    >>> model.optimizer.learning_rate = finder.suggestion
    """

    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        steps: int = 100,
        smoothing: float = 0.98,
        divergence: float = 4.0,
    ):
        self.where = type(self).__name__
        self.min_lr = check_rate(self.where, "min_lr", min_lr)
        above = f"above min_lr = {self.min_lr:g}"
        self.max_lr = check_number(self.where, "max_lr", max_lr, above, lambda v: v > self.min_lr)
        self.steps = check_integer(self.where, "steps", steps, 3)
        self.smoothing = check_number(self.where, "smoothing", smoothing, "in [0, 1)", lambda v: 0 <= v < 1)
        self.divergence = check_number(self.where, "divergence", divergence, "above 1", lambda v: v > 1)
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self._kept: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        batches, epochs = self.params["steps"], self.params["epochs"] - self.model.progress.epoch
        if batches is not None and batches * epochs < self.steps:
            found = f"{batches * epochs} in {epochs} epochs"
            hint = f"fit with epochs={math.ceil(self.steps / batches)}, or choose fewer steps."
            raise ValueError(message(self.where, f"at least {self.steps} batches", found, hint))
        self.learning_rates, self.losses, self._average = [], [], 0.0
        values = [(t, numpy.array(to_host(t.data))) for t in self._tensors()]
        self._kept = values, optimizer_of(self).state_dict(), default_generator.state

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._kept is not None:
            share = len(self.learning_rates) / (self.steps - 1)
            self.model.optimizer.learning_rate = self.min_lr * (self.max_lr / self.min_lr) ** share
            for metric in self.model.metrics:  # so that the logs are of this batch alone
                metric.reset_state()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._kept is None or logs is None:
            return
        self._average = self.smoothing * self._average + (1 - self.smoothing) * logs["loss"]
        smoothed = self._average / (1 - self.smoothing ** (len(self.losses) + 1))
        if math.isfinite(smoothed):
            self.learning_rates.append(float(self.model.optimizer.learning_rate))
            self.losses.append(smoothed)
        ended = not math.isfinite(smoothed) or smoothed > self.divergence * min(self.losses)
        if ended or len(self.losses) == self.steps:
            self.model.stop_training = True
            kept = self._kept
            self.restore()
            self._kept = kept  # for the end of `fit`, where an optimizer puts its averages into the weights

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.restore()

    def restore(self) -> None:
        """Leaves the model as it was before the search; for a search that was interrupted."""
        if self._kept is not None:
            (values, optimizer, generator), self._kept = self._kept, None
            for t, array in values:
                t.assign_(to_device(array, t.device))
            self.model.optimizer.load_state_dict(optimizer)
            default_generator.state = generator

    def _tensors(self) -> list[Tensor]:
        pairs = [*self.model.named_parameters(), *self.model.named_buffers()]
        return [t for _, t in pairs]

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply over the logarithm of the rate, the first tenth of the
        steps aside, in which the average still follows single batches; None if it never falls."""
        first = self.steps // 10
        if len(self.losses) < first + 2:
            return None
        slopes = numpy.gradient(numpy.array(self.losses))[first:]
        steepest = int(slopes.argmin())
        return self.learning_rates[first + steepest] if slopes[steepest] < 0 else None

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws the smoothed loss over the rate, and the suggestion, with matplotlib; returns its figure, or writes it
        to a file if there is a path. Raises ImportError without matplotlib."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("LearningRateFinder.plot needs matplotlib: pip install 'tinygrad-edu[viz]'") from error
        figure = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot(self.learning_rates, self.losses)
        axes.set(xscale="log", xlabel="learning rate", ylabel="smoothed loss")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, linestyle="--", color="gray", label=f"suggestion {self.suggestion:.2g}")
            axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure
