"""tinygrad_edu: a deep-learning framework that one person can read in an afternoon and still train real models with."""

__version__ = "0.1.0"

from . import (
    callbacks,
    constraints,
    data,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
    viz,
)
from .autograd import (
    Function,
    GradcheckError,
    Tensor,
    checkpoint,
    enable_grad,
    grad,
    gradcheck,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    tensor,
    value_and_grad,
    vjp,
)
from .backend import Device, Generator, default_device, device, memory_in_use, seed, synchronize, use_device
from .errors import DeviceError, GradientError, ShapeError, TraceError
from .jit import jit
from .kernels.pool import set_threads
from .layers import Input
from .models import Model, Sequential
from .ops import *  # noqa: F403
from .ops import __all__ as _operations
from .state import debug, default_dtype, mixed_precision, set_matmul_precision, use_dtype

__all__ = [
    "Device", "DeviceError", "Function", "Generator", "GradcheckError", "GradientError", "Input", "Model",
    "Sequential", "ShapeError", "Tensor", "TraceError", "callbacks", "checkpoint", "constraints", "data", "datasets",
    "debug", "default_device", "default_dtype", "device", "enable_grad", "grad", "gradcheck", "hessian", "hvp",
    "initializers", "jacobian", "jit", "jvp", "layers", "losses", "memory_in_use", "metrics", "mixed_precision",
    "models", "no_grad", "optimizers", "regularizers", "seed", "set_matmul_precision", "set_threads", "synchronize",
    "tensor", "use_device", "use_dtype", "utils", "value_and_grad", "viz", "vjp",
]
__all__ += _operations
