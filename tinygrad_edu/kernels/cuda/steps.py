"""CUDA C of one step of fused loops: arithmetic, comparisons, casts, functions."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from ..loops import COMPARISONS, FLOATS, Op

TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "long long",
    "int32": "int",
    "uint8": "unsigned char",
    "bool": "bool",
    "float16": "unsigned short",  # written, but not computed in
    "bfloat16": "unsigned short",
}
_UNSIGNED = {"int64": "unsigned long long", "int32": "unsigned", "uint8": "unsigned"}
_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_RELATIONS = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
_LOGIC = {"logical_and": "&&", "logical_or": "||", "logical_xor": "!="}
_EXTREMES = {"maximum": ">", "minimum": "<", "row_max": ">", "row_min": "<"}
_FUNCTIONS = {  # by another name in C
    "absolute": "fabs",
    "power": "pow",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
}

# To the nearest, ties to even; by bits, for CUDA's headers for these types would need a path. Sums of bits carry into
# the exponent.
ROUNDED = {
    "bfloat16": """
    if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;  // NaN
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;""",
    "float16": """
    const unsigned sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return sign | 0x7e00;  // NaN
    if (size >= 0x47800000) return sign | 0x7c00;  // 65536 or more
    if (size < 0x38800000)  // below 2^-14, where numbers are as far apart as the floats from 0.5 on
        return sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000);
    return sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;""",
}


def rounder(dtype: str) -> str:
    """A function that rounds a float to that dtype of 16 bits."""
    body = f"const unsigned bits = __float_as_uint(value);{ROUNDED[dtype]}"
    return f"__device__ unsigned short to_{dtype}(float value) {{\n    {body}\n}}\n"


HELPERS = """
template <typename I, typename F> __device__ I nearest(F a, F low, F high, I least, I most) {
    return a >= high ? most : a <= low ? least : a == a ? (I)a : (I)0;
}
"""
"""What floats that an integer's dtype cannot hold become: the nearest that it can, NaN 0 (as in `kernels.steps`)."""

_LIMITS = {
    "int64": (
        "-9223372036854775808.0",
        "9223372036854775808.0",
        "(-9223372036854775807LL - 1)",
        "9223372036854775807LL",
    ),
    "int32": ("-2147483648.0", "2147483648.0", "(-2147483647 - 1)", "2147483647"),
    "uint8": ("0.0", "255.0", "(unsigned char)0", "(unsigned char)255"),
}


def number(value: float, dtype: str) -> str:
    """A float as C writes it, to its last bit.

    >>> number(0.1, "float32"), number(float("inf"), "float64")
    ('0x1.99999a0000000p-4f', '__longlong_as_double(0x7ff0000000000000LL)')
    """
    if dtype == "float32" and math.isfinite(value):
        (value,) = struct.unpack("f", struct.pack("f", value))
    if math.isfinite(value):
        return f"{value.hex()}{'f' if dtype == 'float32' else ''}"
    if dtype == "float32":
        return f"__int_as_float(0x{struct.unpack('<I', struct.pack('<f', value))[0]:08x})"
    return f"__longlong_as_double(0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016x}LL)"


def constant(op: Op) -> str:
    text = str(op.value)
    if op.dtype in FLOATS:
        return number(float(text), op.dtype)
    if op.dtype == "int64":
        return _LIMITS["int64"][2] if int(text) == -(2**63) else f"{text}LL"
    return text.lower()


def combine(name: str, dtype: str, a: str, b: str) -> str:
    """add, subtract, multiply, divide, or an extreme, of two values of that dtype."""
    if name in _EXTREMES:
        wins = f"{a} {_EXTREMES[name]} {b}"
        return f"({wins} || {a} != {a}) ? {a} : {b}" if dtype in FLOATS else f"{wins} ? {a} : {b}"
    if dtype in FLOATS:
        return f"{a} {_SIGNS[name]} {b}"
    unsigned = _UNSIGNED[dtype]  # where overflow is defined
    return f"({TYPES[dtype]})(({unsigned}){a} {_SIGNS[name]} ({unsigned}){b})"


def cast(a: str, old: str, new: str) -> str:
    if old == new:
        return a
    if new == "bool":
        return f"{a} != 0"
    if new in ROUNDED:
        return f"to_{new}({a})"
    if old in FLOATS and new in _LIMITS:
        low, high, least, most = _LIMITS[new]
        suffix = "f" if old == "float32" else ""
        return f"nearest<{TYPES[new]}, {TYPES[old]}>({a}, {low}{suffix}, {high}{suffix}, {least}, {most})"
    return f"({TYPES[new]}){a}"


def lowest(op: Op) -> str:
    """What a reduction over a row starts from."""
    if op.name == "row_sum":
        return f"({TYPES[op.dtype]})0"
    if op.dtype in FLOATS:
        return number(-math.inf if op.name == "row_max" else math.inf, op.dtype)
    return _LIMITS[op.dtype][2 if op.name == "row_max" else 3]


def compute(op: Op, args: Sequence[str], old: str) -> str:
    """A step that is no source, store or reduction, of values whose (last one's) dtype is `old`."""
    a = args[0]
    if op.name == "cast":
        return cast(a, old, op.dtype)
    if op.name == "where":
        return f"{a} ? {args[1]} : {args[2]}"
    if op.name in COMPARISONS:
        return f"{a} {_RELATIONS[op.name]} {args[1]}"
    if op.name == "logical_not":
        return f"!{a}"
    if op.name in _LOGIC:
        return f"{a} {_LOGIC[op.name]} {args[1]}"
    if op.name in _SIGNS or op.name in _EXTREMES:
        return combine(op.name, op.dtype, a, args[1])
    type = TYPES[op.dtype]
    if op.name == "sign":
        below = f"{a} < 0 ? ({type})-1 : " if op.dtype != "uint8" else ""
        return f"{a} > 0 ? ({type})1 : {below}{a} == 0 ? ({type})0 : {a}"  # NaN stays
    if op.name in ("isnan", "isfinite", "isinf"):
        if op.name == "isnan":
            return f"{a} != {a}"
        size = f"fabs{'f' if old == 'float32' else ''}({a})"
        return f"{size} {'<' if op.name == 'isfinite' else '=='} {number(math.inf, old)}"
    if op.dtype in FLOATS:
        if op.name == "negative":
            return f"-{a}"
        function = _FUNCTIONS.get(op.name, op.name)
        return f"{function}{'f' if op.dtype == 'float32' else ''}({', '.join(args)})"
    opposite = f"({type})(({_UNSIGNED[op.dtype]})0 - ({_UNSIGNED[op.dtype]}){a})"
    if op.name == "negative":
        return opposite
    return a if op.dtype == "uint8" else f"{a} < 0 ? {opposite} : {a}"
