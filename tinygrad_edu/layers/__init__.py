"""Layers, with Keras's names and arguments; images and sequences have their channels last."""

from .activations import ACTIVATIONS
from .attention import AdditiveAttention, Attention, GroupQueryAttention, MultiHeadAttention
from .base import ActivatedLayer, Layer
from .core import Activation, Dense, Dropout, Flatten, Input, InputLayer, Reshape
from .operation import Operation
from .positions import PositionEmbedding, RotaryEmbedding, SinusoidalPositionEncoding
from .symbolic import Symbol
from .transformer import TransformerDecoderBlock, TransformerEncoderBlock

__all__ = [
    "ACTIVATIONS", "ActivatedLayer", "Activation", "AdditiveAttention", "Attention", "Dense", "Dropout", "Flatten",
    "GroupQueryAttention", "Input", "InputLayer", "Layer", "MultiHeadAttention", "Operation", "PositionEmbedding",
    "Reshape", "RotaryEmbedding", "SinusoidalPositionEncoding", "Symbol", "TransformerDecoderBlock",
    "TransformerEncoderBlock",
]
