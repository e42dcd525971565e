"""Every differentiable operation, a file per family."""

from . import bind as _bind  # noqa: F401  (attaches operators and methods to Tensor)
from .activations import (
    celu, elu, gelu, glu, hard_shrink, hard_sigmoid, hard_swish, hard_tanh, leaky_relu, log_sigmoid, mish,
    prelu, relu, relu6, selu, sigmoid, silu, soft_shrink, softplus, softsign, sparse_plus, squareplus,
    tanh_shrink, threshold,
)
from .attention import scaled_dot_product_attention
from .convolution import (
    conv1d, conv1d_transpose, conv2d, conv2d_transpose, conv3d, conv3d_transpose, depthwise_conv1d,
    depthwise_conv2d, separable_conv1d, separable_conv2d,
)
from .creation import arange, eye, full, integers, linspace, normal, ones, permutation, uniform, zeros
from .ctc import ctc_loss
from .decompositions import cholesky, det, eigh, inv, slogdet, solve, svd
from .elementwise import (
    absolute, add, arccos, arcsin, arctan, arctan2, astype, ceil, clip, cos, cosh, divide, equal, erf, exp,
    expm1, floor, greater, greater_equal, heaviside, isfinite, isinf, isnan, less, less_equal, log, log1p, log2,
    logaddexp, logical_and, logical_not, logical_or, logical_xor, maximum, minimum, multiply, negative,
    not_equal, ones_like, power, reciprocal, round, sign, sin, sinh, sqrt, square, subtract, tan, tanh, where,
    zeros_like,
)
from .gated import gru, lstm
from .indexing import index_put, one_hot, scatter_add, take, take_along_axis
from .linalg import dot, einsum, matmul, outer, tensordot, trace
from .networks import (
    binary_cross_entropy_with_logits, cross_entropy, dropout, embedding, linear, log_softmax, softmax,
)
from .normalization import batch_norm, batch_norm_inference, group_norm, layer_norm, rms_norm
from .pooling import (
    adaptive_average_pool1d, adaptive_average_pool2d, adaptive_average_pool3d, adaptive_max_pool1d,
    adaptive_max_pool2d, adaptive_max_pool3d, average_pool1d, average_pool2d, average_pool3d,
    global_average_pool, global_max_pool, max_pool1d, max_pool2d, max_pool3d,
)
from .recurrent import simple_rnn
from .reductions import (
    all, any, argmax, argmin, cumprod, cumsum, logsumexp, max, mean, min, norm, prod, std, sum, var,
)
from .resize import resize
from .shape import (
    broadcast_to, concatenate, diagonal, expand_dims, flip, moveaxis, pad, ravel, repeat, reshape, roll, split,
    squeeze, stack, swapaxes, tile, transpose, tril, triu,
)
from .sorting import argsort, searchsorted, sort, topk

__all__ = [
    "absolute", "adaptive_average_pool1d", "adaptive_average_pool2d", "adaptive_average_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "add", "all", "any", "arange", "arccos",
    "arcsin", "arctan", "arctan2", "argmax", "argmin", "argsort", "astype", "average_pool1d", "average_pool2d",
    "average_pool3d", "batch_norm", "batch_norm_inference", "binary_cross_entropy_with_logits", "broadcast_to",
    "ceil", "celu", "cholesky", "clip", "concatenate", "conv1d", "conv1d_transpose", "conv2d", "conv2d_transpose",
    "conv3d", "conv3d_transpose", "cos", "cosh", "cross_entropy", "ctc_loss", "cumprod", "cumsum", "depthwise_conv1d",
    "depthwise_conv2d", "det", "diagonal", "divide", "dot", "dropout", "eigh", "einsum", "elu", "embedding",
    "equal", "erf", "exp", "expand_dims", "expm1", "eye", "flip", "floor", "full", "gelu", "global_average_pool",
    "global_max_pool", "glu", "greater", "greater_equal", "group_norm", "gru", "hard_shrink", "hard_sigmoid",
    "hard_swish", "hard_tanh", "heaviside", "index_put", "integers", "inv", "isfinite", "isinf", "isnan",
    "layer_norm", "leaky_relu", "less", "less_equal", "linear", "linspace", "log", "log1p", "log2", "log_sigmoid",
    "log_softmax", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "lstm",
    "matmul", "max", "max_pool1d", "max_pool2d", "max_pool3d", "maximum", "mean", "min", "minimum", "mish",
    "moveaxis", "multiply", "negative", "norm", "normal", "not_equal", "one_hot", "ones", "ones_like", "outer",
    "pad", "permutation", "power", "prelu", "prod", "ravel", "reciprocal", "relu", "relu6", "repeat", "reshape",
    "resize", "rms_norm", "roll", "round", "scaled_dot_product_attention", "scatter_add", "searchsorted", "selu",
    "separable_conv1d", "separable_conv2d", "sigmoid", "sign", "silu", "simple_rnn", "sin", "sinh", "slogdet",
    "soft_shrink", "softmax", "softplus", "softsign", "solve", "sort", "sparse_plus", "split", "sqrt", "square",
    "squareplus", "squeeze", "stack", "std", "subtract", "sum", "svd", "swapaxes", "take", "take_along_axis",
    "tan", "tanh", "tanh_shrink", "tensordot", "threshold", "tile", "topk", "trace", "transpose", "tril", "triu",
    "uniform", "var", "where", "zeros", "zeros_like",
]
