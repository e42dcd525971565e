"""Layers, with Keras's names and arguments; images and sequences have their channels last."""

from .activations import ACTIVATIONS
from .base import ActivatedLayer, Layer
from .core import Activation, Dense, Dropout, Flatten, Input, InputLayer, Reshape
from .operation import Operation
from .recurrent import RNN, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from .sequences import GRU, LSTM, SimpleRNN
from .symbolic import Symbol
from .wrappers import Bidirectional, TimeDistributed

__all__ = [
    "ACTIVATIONS", "GRU", "LSTM", "RNN", "ActivatedLayer", "Activation", "Bidirectional", "Dense", "Dropout", "Flatten",
    "GRUCell", "Input", "InputLayer", "LSTMCell", "Layer", "Operation", "Reshape", "SimpleRNN", "SimpleRNNCell",
    "StackedRNNCells", "Symbol", "TimeDistributed",
]
