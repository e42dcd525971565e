"""What jit takes for arrays and for numbers."""

from __future__ import annotations

from typing import Any

import numpy

from ..autograd import Tensor


def is_array(a: Any) -> bool:
    """Whether it is a tensor or an array; layers have a dtype too."""
    return isinstance(a, Tensor) or (hasattr(a, "dtype") and hasattr(a, "shape"))


def plain(a: Any) -> Any:
    """An argument; a NumPy scalar or 0-d array is the Python number that it is for operations too."""
    item = a.item() if isinstance(a, (numpy.generic, numpy.ndarray)) and a.ndim == 0 else a
    return a if isinstance(item, numpy.generic) else item  # a long double stays what it is


def is_number(a: Any) -> bool:
    return isinstance(a, (int, float)) and not isinstance(a, bool)
