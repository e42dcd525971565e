"""LambdaCallback: hooks from functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import choice, message
from .base import Callback

Hook = Callable[..., Any] | None


class LambdaCallback(Callback):
    """A callback made of functions, each with the arguments of the hook of its name: (epoch, logs), (batch, logs) or
    (logs). Raises ValueError for a name that is no hook.

    >>> import tinygrad_edu as tg
    >>> model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> show = tg.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: print("epoch", epoch))
    >>> history = model.fit([[1.0, 2.0]], [3.0], epochs=2, callbacks=[show], verbose=0)
    epoch 0
    epoch 1
    """

    def __init__(
        self,
        on_epoch_begin: Hook = None,
        on_epoch_end: Hook = None,
        on_train_begin: Hook = None,
        on_train_end: Hook = None,
        on_train_batch_begin: Hook = None,
        on_train_batch_end: Hook = None,
        **others: Hook,
    ):
        hooks = [name for name in dir(Callback) if name.startswith("on_")]
        named = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **others,
        }
        for name, function in named.items():
            if name not in hooks:
                raise choice("LambdaCallback", "each argument", name, hooks)
            if function is not None:
                if not callable(function):
                    raise TypeError(message("LambdaCallback", f"{name} to be a function", repr(function)))
                setattr(self, name, function)
