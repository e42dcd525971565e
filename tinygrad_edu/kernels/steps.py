"""LLVM code of one step of fused loops: arithmetic, comparisons, casts, functions."""

from __future__ import annotations

from collections.abc import Sequence

from .loops import COMPARISONS, FLOATS, Op
from .polynomials import FORMATS, POLYNOMIALS, Code, Real, number

TYPES = {"float32": "float", "float64": "double", "int64": "i64", "int32": "i32", "uint8": "i8", "bool": "i1"}
MEMORY = {**TYPES, "bool": "i8"}
SIZES = {"float32": 4, "float64": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1, "float16": 2, "bfloat16": 2}

_FLOAT = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_INTEGER = {"add": "add", "subtract": "sub", "multiply": "mul"}
_COMPARE = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge"}
_EXTREMES = {"maximum": "max", "minimum": "min", "row_max": "max", "row_min": "min"}
_INTRINSICS = {  # by another name in LLVM
    "absolute": "fabs",
    "power": "pow",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
}


def combine(code: Code, name: str, dtype: str, a: str, b: str, flags: str = "") -> str:
    """add, subtract, multiply, divide, or an extreme, of two values of that dtype."""
    type = TYPES[dtype]
    if name in _EXTREMES:
        kind = _EXTREMES[name]
        if dtype in FLOATS:  # nsz: which of 0 and -0 is larger is left open, as in NumPy
            return code.call(f"{kind}imum", type, a, b, flags="nsz")
        return code.call(("u" if dtype == "uint8" else "s") + kind, type, a, b)
    return code.value(f"{(_FLOAT if dtype in FLOATS else _INTEGER)[name]} {flags} {type} {a}, {b}")


def _compare(code: Code, name: str, dtype: str, a: str, b: str) -> str:
    relation = _COMPARE[name]
    if dtype in FLOATS:
        return code.value(f"fcmp {'u' if relation == 'ne' else 'o'}{relation} {TYPES[dtype]} {a}, {b}")
    if relation not in ("eq", "ne"):
        relation = ("u" if dtype in ("uint8", "bool") else "s") + relation
    return code.value(f"icmp {relation} {TYPES[dtype]} {a}, {b}")


def zero_of(dtype: str) -> str:
    return number(0.0, TYPES[dtype]) if dtype in FLOATS else "false" if dtype == "bool" else "0"


def _one(dtype: str) -> str:
    return number(1.0, TYPES[dtype]) if dtype in FLOATS else "1"


def cast(code: Code, a: str, old: str, new: str) -> str:
    if old == new:
        return a
    if new == "bool":
        return _compare(code, "not_equal", old, a, zero_of(old))
    if old in FLOATS and new not in FLOATS:  # what does not fit becomes the nearest that does, NaN 0
        function = "fptoui.sat" if new == "uint8" else "fptosi.sat"
        suffix = {"float32": "f32", "float64": "f64"}[old]
        name = f"@llvm.{function}.{TYPES[new]}.{suffix}"
        code.declared[f"declare {TYPES[new]} {name}({TYPES[old]})"] = None
        return code.value(f"call {TYPES[new]} {name}({TYPES[old]} {a})")
    if old in FLOATS:
        op = "fpext" if new == "float64" else "fptrunc"
    elif new in FLOATS:
        op = "uitofp" if old in ("bool", "uint8") else "sitofp"
    elif SIZES[new] > SIZES[old] or old == "bool":
        op = "zext" if old in ("bool", "uint8") else "sext"
    else:
        op = "trunc"
    return code.value(f"{op} {TYPES[old]} {a} to {TYPES[new]}")


def constant(op: Op) -> str:
    text = str(op.value)
    return number(float(text), TYPES[op.dtype]) if op.dtype in FLOATS else text.lower()


def _sign(code: Code, dtype: str, a: str) -> str:
    type, one, zero = TYPES[dtype], _one(dtype), zero_of(dtype)
    minus = number(-1.0, type) if dtype in FLOATS else "-1"
    y = code.value(f"select i1 {_compare(code, 'equal', dtype, a, zero)}, {type} {zero}, {type} {a}")  # NaN stays
    y = code.value(f"select i1 {_compare(code, 'less', dtype, a, zero)}, {type} {minus}, {type} {y}")
    return code.value(f"select i1 {_compare(code, 'greater', dtype, a, zero)}, {type} {one}, {type} {y}")


def compute(code: Code, op: Op, args: Sequence[str], old: str) -> str:
    """A step that is no source, store or reduction, of values whose (last one's) dtype is `old`."""
    type, a = TYPES[op.dtype], args[0]
    real = Real(code, a, FORMATS[TYPES[old]]) if old in FLOATS else None
    if op.name == "cast":
        return cast(code, a, old, op.dtype)
    if op.name == "where":
        return code.value(f"select i1 {a}, {type} {args[1]}, {type} {args[2]}")
    if op.name in COMPARISONS:
        return _compare(code, op.name, old, a, args[1])
    if op.name == "logical_not":
        return code.value(f"xor i1 {a}, true")
    if op.name.startswith("logical"):
        return code.value(f"{op.name.removeprefix('logical_')} i1 {a}, {args[1]}")
    if op.name == "sign":
        return _sign(code, op.dtype, a)
    if op.name in _FLOAT or op.name in _EXTREMES:
        return combine(code, op.name, op.dtype, a, args[1])
    if real is None:
        if op.name == "negative":
            return code.value(f"sub {type} 0, {a}")
        return a if op.dtype == "uint8" else code.call("abs", type, a, "i1 false")
    if op.name == "negative":
        return code.value(f"fneg {type} {a}")
    if op.name == "isnan":
        return real.is_("uno", real)
    if op.name in ("isfinite", "isinf"):
        return abs(real).is_("olt" if op.name == "isfinite" else "oeq", float("inf"))
    if op.name in POLYNOMIALS:
        return POLYNOMIALS[op.name](real).name
    return code.call(_INTRINSICS.get(op.name, op.name), type, *args)
