"""Which dtypes arrays may have."""

from __future__ import annotations

from typing import Any

import numpy

from ..errors import message


def as_dtype(where: str, dtype: Any, floating: bool = False) -> numpy.dtype[Any]:
    """The dtype of that name. Raises TypeError for others than booleans, integers and floats of 16 to 64 bits, or than
    such floats."""
    try:
        resolved = numpy.dtype(dtype)
        if resolved.kind in ("f" if floating else "fiub") and resolved.itemsize <= 8:
            return resolved
    except TypeError:
        pass
    kinds = "" if floating else "booleans, integers, or "
    raise TypeError(message(where, f"a dtype of {kinds}floats of 16 to 64 bits", repr(dtype)))
