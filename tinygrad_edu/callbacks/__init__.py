"""Callbacks: what watches and steers `fit`, with Keras's hooks."""

from .base import Callback, CallbackList, History, LazyLogs, TerminateOnNaN
from .progress import ProgressBar

__all__ = ["Callback", "CallbackList", "History", "LazyLogs", "ProgressBar", "TerminateOnNaN"]
