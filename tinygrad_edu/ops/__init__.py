"""Every differentiable operation, a file per family."""

from . import bind as _bind  # noqa: F401  (attaches operators and methods to Tensor)
from .activations import elu, gelu, leaky_relu, log_sigmoid, mish, relu, selu, sigmoid, silu, softplus, softsign
from .attention import scaled_dot_product_attention
from .convolution import conv2d, conv2d_transpose
from .creation import arange, eye, full, integers, linspace, normal, ones, permutation, uniform, zeros
from .elementwise import (
    absolute, add, arccos, arcsin, arctan, arctan2, astype, ceil, clip, cos, cosh, divide, equal, erf, exp, expm1,
    floor, greater, greater_equal, heaviside, isfinite, isinf, isnan, less, less_equal, log, log1p, log2, logaddexp,
    logical_and, logical_not, logical_or, logical_xor, maximum, minimum, multiply, negative, not_equal, ones_like,
    power, reciprocal, round, sign, sin, sinh, sqrt, square, subtract, tan, tanh, where, zeros_like,
)
from .indexing import index_put, one_hot, scatter_add, take, take_along_axis
from .linalg import dot, einsum, matmul, outer, tensordot, trace
from .networks import binary_cross_entropy_with_logits, cross_entropy, dropout, embedding, linear, log_softmax, softmax
from .normalization import batch_norm, batch_norm_inference, layer_norm
from .pooling import average_pool2d, max_pool2d
from .recurrent import gru, lstm, simple_rnn
from .reductions import all, any, argmax, argmin, cumsum, logsumexp, max, mean, min, norm, prod, std, sum, var
from .shape import (
    broadcast_to, concatenate, diagonal, expand_dims, flip, moveaxis, pad, ravel, repeat, reshape, roll, split,
    squeeze, stack, swapaxes, tile, transpose, tril, triu,
)

__all__ = [
    "absolute", "add", "all", "any", "arange", "arccos", "arcsin", "arctan", "arctan2", "argmax", "argmin", "astype",
    "average_pool2d", "batch_norm", "batch_norm_inference", "binary_cross_entropy_with_logits", "broadcast_to", "ceil",
    "clip", "concatenate", "conv2d", "conv2d_transpose", "cos", "cosh", "cross_entropy", "cumsum", "diagonal",
    "divide", "dot", "dropout", "einsum", "elu", "embedding", "equal", "erf", "exp", "expand_dims", "expm1", "eye",
    "flip", "floor", "full", "gelu", "greater", "greater_equal", "gru", "heaviside", "index_put", "integers",
    "isfinite", "isinf", "isnan", "layer_norm", "leaky_relu", "less", "less_equal", "linear", "linspace", "log",
    "log1p", "log2", "log_sigmoid", "log_softmax", "logaddexp", "logical_and", "logical_not", "logical_or",
    "logical_xor", "logsumexp", "lstm", "matmul", "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mish",
    "moveaxis", "multiply", "negative", "norm", "normal", "not_equal", "one_hot", "ones", "ones_like", "outer", "pad",
    "permutation", "power", "prod", "ravel", "reciprocal", "relu", "repeat", "reshape", "roll", "round",
    "scaled_dot_product_attention", "scatter_add", "selu", "sigmoid", "sign", "silu", "simple_rnn", "sin", "sinh",
    "softmax", "softplus", "softsign", "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum",
    "swapaxes", "take", "take_along_axis", "tan", "tanh", "tensordot", "tile", "trace", "transpose", "tril", "triu",
    "uniform", "var", "where", "zeros", "zeros_like",
]
