"""Callbacks: what watches and steers `fit`, with Keras's hooks."""

from .averages import SwapEMAWeights
from .backup import BackupAndRestore
from .base import Callback, CallbackList, History, LazyLogs, TerminateOnNaN
from .checkpoints import ModelCheckpoint
from .functions import LambdaCallback
from .progress import ProgressBar, StepBar
from .rates import LearningRateFinder
from .resumption import Progress
from .schedules import LearningRateScheduler, ReduceLROnPlateau
from .stopping import EarlyStopping
from .tables import CSVLogger
from .tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History", "LambdaCallback",
    "LazyLogs", "LearningRateFinder", "LearningRateScheduler", "ModelCheckpoint", "Progress", "ProgressBar",
    "ReduceLROnPlateau", "StepBar", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN",
]
