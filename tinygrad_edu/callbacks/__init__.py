"""Callbacks: what watches and steers `fit`, with Keras's hooks."""

from .base import Callback, CallbackList, History, LazyLogs, TerminateOnNaN
from .progress import ProgressBar, StepBar
from .resumption import Progress

__all__ = ["Callback", "CallbackList", "History", "LazyLogs", "Progress", "ProgressBar", "StepBar", "TerminateOnNaN"]
