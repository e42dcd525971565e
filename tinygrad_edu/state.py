"""Switches that the whole package reads: gradient, training and debug mode, default dtype and device. Each thread has
its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import numpy

from .errors import TraceError, message


class _State(threading.local):
    grad_enabled: bool = True
    training: bool = False
    dtype: numpy.dtype[Any] = numpy.dtype("float32")
    matmul_precision: str = "float32"
    debug: bool = False
    device: Any = None  # a backend.Device; None stands for the CPU, so that this module needs no other
    made_up: bool = False  # a layer runs only to find the shape of its output: it does not check its inputs' values
    repeating: bool = False  # a checkpoint computes again what was computed, and noted, before
    penalties: Any = None  # where layers note what they add to the loss, from the outermost call on
    trace: Any = None  # the jit.Trace that records this thread's operations


state = _State()


class Switch:
    """Sets one attribute of the state at once; used in a `with` block, puts the old value back at its end."""

    def __init__(self, name: str, value: object):
        self._name, self._old = name, getattr(state, name)
        setattr(state, name, value)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        setattr(state, self._name, self._old)

    def __repr__(self) -> str:
        return f"<{self._name} is {getattr(state, self._name)!r}, {self._old!r} before>"


def use_dtype(dtype: Any) -> Switch:
    """Sets the default floating dtype of this thread, for good or for a `with` block.

    It is the dtype of tensors made from Python numbers, of new parameters, and of the result of integers under `exp`,
    `mean` or division. Raises ValueError if `dtype` is not float16, float32 or float64.

    >>> import tinygrad_edu as tg
    >>> with tg.use_dtype("float64"):
    ...     print(tg.tensor([1.0]).dtype)
    float64
    """
    resolved = numpy.dtype(dtype)
    if resolved.name not in ("float16", "float32", "float64"):
        raise ValueError(message("use_dtype", "float16, float32 or float64", repr(dtype)))
    return Switch("dtype", resolved)


def default_dtype() -> numpy.dtype[Any]:
    """The default floating dtype of this thread; float32 unless `use_dtype` said otherwise."""
    return state.dtype


def debug(on: bool = True) -> Switch:
    """Sets whether this thread looks for values that cannot be (ids and labels out of range) in each call of what runs
    under `jit` on CUDA, for good or for a `with` block. A look waits for the device; otherwise only the first call of a
    recording and the first batch of each `fit`, `evaluate` and `predict` are looked at. The CPU always looks.

    Raises TypeError unless `on` is True or False.

    >>> import tinygrad_edu as tg
    >>> with tg.debug():
    ...     y = tg.embedding(tg.ones((3, 2)), tg.tensor([2, 0]))
    """
    if not isinstance(on, bool):
        raise TypeError(message("debug", "True or False", repr(on)))
    return Switch("debug", on)


PRECISIONS = ("float32", "tf32")
POLICIES = {"float32": "float32"} | {
    prefix + dtype: dtype for dtype in ("bfloat16", "float16") for prefix in ("", "mixed_")
}
"""What a policy's name, ours or Keras's, makes of `matmul_precision`."""


def set_matmul_precision(precision: str) -> Switch:
    """Sets how exactly this thread multiplies float32 matrices on CUDA, for good or for a `with` block: "float32", or
    "tf32", for tensor cores (cards since Ampere): factors are rounded to 10 bits behind the point, sums stay float32,
    and results are off by about 1e-3 of the largest terms. Attention (of heads up to 256) and depthwise convolution,
    whose own kernels multiply, stay in float32. The CPU takes no notice.

    "tf32" needs no other care: the range stays that of float32. `mixed_precision` goes further, and sets the same
    switch: the call that comes last counts. Raises ValueError for another name.

    >>> import tinygrad_edu as tg
    >>> with tg.set_matmul_precision("tf32"):
    ...     y = tg.ones((2, 2)) @ tg.ones((2, 2))
    """
    if precision not in PRECISIONS:
        hint = "use mixed_precision for the 16-bit floats." if precision in POLICIES else ""
        raise ValueError(message("set_matmul_precision", " or ".join(map(repr, PRECISIONS)), repr(precision), hint))
    return _precision("set_matmul_precision", precision)


def mixed_precision(policy: str) -> Switch:
    """Sets that this thread multiplies float32 matrices on CUDA by tensor cores in 16 bits, for good or for a `with`
    block; "float32" ends it. Factors are rounded, sums are float32, and so are products. Weights, gradients and
    optimizer states stay float32, and so do attention (of heads up to 256) and depthwise convolution, whose own kernels
    multiply in float32. The CPU takes no notice, but for what `compile` does.

    - "bfloat16" (or "mixed_bfloat16", Keras's name): 7 bits behind the point, and the range of float32. The one to
      begin with.
    - "float16" (or "mixed_float16"): 10 bits behind the point, as "tf32" has, but 65504 is the largest number, and
      gradients below 6e-8 are lost. So `compile` puts the optimizer into an `optimizers.LossScaleOptimizer` under this
      policy; in a loop of your own, do so yourself.

    Compile and train under the same policy, and go backward inside of the block, too. For tensor cores with no loss of
    range, see `set_matmul_precision`. Raises ValueError for another name, TraceError inside of a jitted function that
    is called under another policy.

    >>> import tinygrad_edu as tg
    >>> with tg.mixed_precision("bfloat16"):
    ...     y = tg.ones((2, 2)) @ tg.ones((2, 2))
    >>> y.dtype
    dtype('float32')
    """
    if policy not in POLICIES:
        hint = "use set_matmul_precision." if policy == "tf32" else ""
        raise ValueError(message("mixed_precision", ", ".join(map(repr, POLICIES)), repr(policy), hint))
    return _precision("mixed_precision", POLICIES[policy])


def _precision(where: str, precision: str) -> Switch:
    """Sets it. Raises TraceError where that would change it for a part of what `jit` records."""
    if state.trace is not None and precision != state.matmul_precision:
        found = f"{precision!r} inside of one, in place of {state.matmul_precision!r}"
        error = TraceError(message(where, "one precision for a jitted function", found, "set it around the call."))
        state.trace.refused = error  # which `except Exception` must not hide
        raise error
    return Switch("matmul_precision", precision)
