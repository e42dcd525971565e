"""Layers, with Keras's names and arguments; images and sequences have their channels last."""

from .activation_layers import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .activations import ACTIVATIONS
from .attention import AdditiveAttention, Attention, GroupQueryAttention, MultiHeadAttention
from .base import ActivatedLayer, Layer
from .core import Dense, Identity, Input, InputLayer, Lambda, Masking
from .dropout import (
    AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D,
)
from .embedding import Embedding
from .merging import Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract
from .normalization import (
    BatchNormalization, GroupNormalization, LayerNormalization, RMSNormalization, UnitNormalization,
)
from .operation import Operation
from .perceptron import Perceptron
from .positions import PositionEmbedding, RotaryEmbedding, SinusoidalPositionEncoding
from .reshaping import (
    Cropping1D, Cropping2D, Cropping3D, Flatten, Permute, RepeatVector, Reshape, UpSampling1D, UpSampling2D,
    UpSampling3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D,
)
from .symbolic import Symbol
from .transformer import TransformerDecoderBlock, TransformerEncoderBlock

__all__ = [
    "ACTIVATIONS", "ELU", "ActivatedLayer", "Activation", "Add", "AdditiveAttention", "AlphaDropout", "Attention",
    "Average", "BatchNormalization", "Concatenate", "Cropping1D", "Cropping2D", "Cropping3D", "Dense", "Dot", "Dropout",
    "Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "GroupNormalization", "GroupQueryAttention", "Identity",
    "Input", "InputLayer", "Lambda", "Layer", "LayerNormalization", "LeakyReLU", "Masking", "Maximum", "Minimum",
    "MultiHeadAttention", "Multiply", "Operation", "PReLU", "Perceptron", "Permute", "PositionEmbedding",
    "RMSNormalization", "ReLU", "RepeatVector", "Reshape", "RotaryEmbedding", "SinusoidalPositionEncoding", "Softmax",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Subtract", "Symbol", "TransformerDecoderBlock",
    "TransformerEncoderBlock", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D",
    "ZeroPadding2D", "ZeroPadding3D",
]
