"""Progress: where a training stands, so that it can go on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Where `fit` stands: `model.progress`, looked at in a hook.

    With the weights, the state of the optimizer and this, a training that was interrupted goes on as if it had not
    been: a callback sets `model.progress` in `on_train_begin`, and `fit` begins there. All is plain numbers:
    `dataclasses.asdict` makes what JSON can hold, and `Progress(**saved)` reads it.

    Attributes:
        epoch: the epoch under way; the next one where none of its batches is done.
        batch: how many of its batches are done.
        generator_state: what `default_generator.state` was when the pass over the data began, before its shuffle.
        skipped: how many batches of this pass belong to earlier epochs; not 0 only where `steps_per_epoch` cuts passes.
        generator_now: what `default_generator.state` is; None leaves it as it is when `fit` goes on.
        passes: how many passes over the data were begun before this one.
        metrics: for each of `model.metrics` what it has gathered in the epoch; None for nothing.

    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> class Save(tg.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.saved = self.model.progress
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=2, verbose=0, callbacks=[save := Save()])
    >>> save.saved.epoch, save.saved.batch
    (2, 0)
    >>> model.progress = save.saved
    >>> model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, verbose=0).epoch
    [2]
    """

    epoch: int
    batch: int
    generator_state: tuple[int, int, int]
    skipped: int = 0
    generator_now: tuple[int, int, int] | None = None
    metrics: list[list[Any]] | None = None
    passes: int = 0
