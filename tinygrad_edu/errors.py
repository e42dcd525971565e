"""The exceptions of the package, and the one form of their messages.

Every message says where, what was expected, what came and, after "Hint:", what to do. Wrong values raise `ValueError`,
wrong types `TypeError`; the three classes here narrow those down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from math import isfinite
from numbers import Real
from operator import index
from typing import Any, SupportsIndex

import numpy


class ShapeError(ValueError):
    """Arrays whose shapes or axes do not fit together."""


class DeviceError(RuntimeError):
    """Arrays on different devices, or a device that cannot be used."""


class GradientError(RuntimeError):
    """A gradient that cannot be computed: no graph, a freed graph, an overwritten array."""


class TraceError(RuntimeError):
    """Something that a jitted function cannot do, such as control flow that needs a traced value."""


def message(where: str, expected: str, received: str, hint: str = "") -> str:
    """The house form of an error text.

    >>> message("take", "ids below 3", "7", "check the vocabulary size.")
    'take: expected ids below 3, received 7. Hint: check the vocabulary size.'
    """
    return f"{where}: expected {expected}, received {received}." + (f" Hint: {hint}" if hint else "")


def choice(where: str, name: str, value: object, choices: Iterable[str]) -> ValueError:
    """The error for a `value` that is none of `choices`, with the nearest one as the hint.

    >>> str(choice("Dense", "activation", "rleu", ["relu", "tanh"]))
    "Dense: expected activation to be one of 'relu', 'tanh', received 'rleu'. Hint: did you mean 'relu'?"
    """
    choices = sorted(choices)
    near = get_close_matches(str(value), choices, n=1)
    expected = f"{name} to be one of {', '.join(map(repr, choices))}"
    return ValueError(message(where, expected, repr(value), f"did you mean {near[0]!r}?" if near else ""))


def check_integer(where: str, name: str, value: object, least: int) -> int:
    """`value` as an int, if it is an integer of at least `least`; else TypeError or ValueError.

    >>> check_integer("fit", "epochs", 3, 1)
    3
    """
    expected = f"{name} to be an integer of at least {least}"
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(message(where, expected, repr(value)))
    if index(value) < least:
        raise ValueError(message(where, expected, repr(value)))
    return index(value)


def check_bool(where: str, name: str, value: object) -> bool:
    """`value`, if it is True or False; else TypeError, for a text such as "no" would count as True.

    >>> check_bool("Dense", "use_bias", False)
    False
    """
    if not isinstance(value, (bool, numpy.bool_)):
        raise TypeError(message(where, f"{name} to be True or False", repr(value)))
    return bool(value)


def check_integers(where: str, wanted: str, values: object) -> tuple[int, ...]:
    """`values`, a list, tuple or array of integers, as a tuple; else TypeError, which says what is `wanted`.

    >>> check_integers("Permute", "dims to be integers", [2, 1])
    (2, 1)
    """
    found = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else (None,)
    if any(isinstance(value, bool) or not isinstance(value, SupportsIndex) for value in found):
        raise TypeError(message(where, wanted, repr(values)))
    return tuple(map(index, found))


def check_number(where: str, name: str, value: object, wanted: str, accepts: Callable[[float], bool]) -> float:
    """`value` as a float, if it is a number that `accepts` takes; else TypeError or ValueError. NaN and inf never pass.

    >>> check_number("Dropout", "rate", 0.5, "in [0, 1)", lambda rate: 0 <= rate < 1)
    0.5
    """
    expected = f"{name} to be a number {wanted}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message(where, expected, repr(value)))
    if not isfinite(value) or not accepts(float(value)):
        raise ValueError(message(where, expected, repr(value)))
    return float(value)


def check_cast(where: str, name: str, array: Any, dtype: Any) -> Any:
    """`array` in that dtype, if no number changes by more than rounding.

    Raises ValueError for a finite number that would become inf, or an integer dtype's fraction or overflow.

    >>> check_cast("fit", "ids", numpy.array([1.0, 2.0]), "int64")
    array([1, 2])
    """
    if array.dtype == dtype:
        return array
    with numpy.errstate(over="ignore", invalid="ignore"):  # found below
        cast = array.astype(dtype)
    if cast.dtype.kind == "f":
        wrong = (abs(cast) == numpy.inf) & (array != cast)
    else:
        wrong = cast != array
    if bool(wrong.any()):
        whole = "" if cast.dtype.kind == "f" else "to be whole and "
        raise ValueError(message(where, f"{name} {whole}in the range of {cast.dtype}", f"{array[wrong][0].item()}"))
    return cast


Shapes = Mapping[str, tuple[int, ...]]


def check_names(where: str, expected: Shapes, received: Shapes, strict: bool = True, hint: str = "") -> None:
    """Raises one ValueError (ShapeError if a shape differs) that lists every missing, unexpected and mis-shaped name.

    Without `strict` only shapes count.

    >>> check_names("load", {"w": (2, 3)}, {"w": (2, 3)})
    """
    faults = []
    missing = [name for name in expected if name not in received]
    unexpected = [name for name in received if name not in expected]
    wrong = [name for name in expected if name in received and expected[name] != received[name]]
    if strict and missing:
        faults.append(f"missing {', '.join(missing)}")
    if strict and unexpected:
        faults.append(f"unexpected {', '.join(unexpected)}")
    faults += [f"{name} of shape {received[name]} instead of {expected[name]}" for name in wrong]
    if faults:
        kind = ShapeError if wrong else ValueError
        raise kind(message(where, f"{len(expected)} arrays with its names and shapes", "; ".join(faults), hint))
