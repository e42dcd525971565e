"""Fused loops: the NumPy reference and the machine code, both against formulas in float64 that know neither."""

import ctypes
import functools
import importlib.util
import itertools
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from tinygrad_edu import ops
from tinygrad_edu.autograd import Primitive
from tinygrad_edu.kernels import blocks, llvm
from tinygrad_edu.kernels.loops import (
    ARGUMENTS,
    COMPARISONS,
    LOGIC,
    NUMBERS,
    REALS,
    REDUCTIONS,
    SOURCES,
    TESTS,
    Builder,
    Loops,
    Op,
    Operand,
    Unsupported,
    check,
    collapse,
    expand,
    levels,
    split,
)

needs_llvm = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed: no machine code"
)
HOW = ["blocks", pytest.param("llvm", marks=needs_llvm), pytest.param("cuda", marks=pytest.mark.gpu)]
FLOATS = ["float32", "float64"]
EPSILON = {"float32": 2.0**-24, "float64": 2.0**-53}  # half a unit in the last place


# Running


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that NumPy's loops run in many blocks, and on all threads, with small arrays too."""
    monkeypatch.setattr(blocks, "BLOCK", 256)


@functools.cache
def machine_code(loops):
    """A function of (arrays, scalars, start, stop)."""
    kernels = llvm.compile_text(llvm.text(loops, "kernel"), ["kernel"])
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = prototype(kernels.addresses["kernel"])

    def call(arrays, scalars, start, stop, keep=kernels):
        table = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        numbers = (ctypes.c_double * max(1, len(scalars)))(*scalars)
        function(table, numbers, start, stop)

    return call


def run_on(how, loops, arrays, scalars=()):
    """Run on these arrays, inputs before outputs."""
    check(loops)
    if how == "blocks":
        count = len(loops.inputs)
        blocks.run(loops, arrays[:count], arrays[count:], scalars)
    elif how == "cuda":
        run_on_cuda(loops, arrays, scalars)
    else:
        machine_code(loops)(arrays, scalars, 0, split(loops)[1])


def run_on_cuda(loops, arrays, scalars):
    """The same on copies of the memory that the arrays lie in, which is copied back."""
    import cupy

    from tinygrad_edu.kernels.cuda.compiled import are_aligned, kernel_of

    starts, copies = {}, {}
    for a in arrays:
        root = a
        while isinstance(root.base, np.ndarray):
            root = root.base
        start, stop = np.lib.array_utils.byte_bounds(root)
        host = (ctypes.c_uint8 * max(1, stop - start)).from_address(start)
        starts[id(a)] = id(root), a.ctypes.data - start
        if id(root) not in copies:
            copies[id(root)] = root, np.frombuffer(host, np.uint8), cupy.asarray(np.frombuffer(host, np.uint8))
    addresses = [copies[root][2].data.ptr + offset for root, offset in (starts[id(a)] for a in arrays)]
    kernel = kernel_of(loops, are_aligned(addresses), 0)
    partial, numbers = cupy.empty(kernel.source.partial + 8, np.uint8), cupy.asarray([*scalars, 0.0])
    kernel.bound(addresses, partial.data.ptr, numbers.data.ptr, range(len(scalars)))()
    for root, host, copy in copies.values():
        if root.size:
            host[:] = copy.get()


def place_of(operand, loops, level):
    """An array full of a value that nothing computes, for an output."""
    lengths = {"row": (*loops.shape[:-1], 1), "column": loops.shape[-1:]}.get(level, loops.shape)
    shape = [n if s else 1 for n, s in zip(lengths, operand.strides[-len(lengths) :], strict=True)]
    return np.full(shape, 77, operand.dtype)


def run(how, loops, inputs, scalars=()):
    """The outputs, for loops whose outputs are contiguous."""
    kinds = {op.value: level for op, level in zip(loops.ops, levels(loops), strict=True) if op.name == "store"}
    outputs = [place_of(operand, loops, kinds[i]) for i, operand in enumerate(loops.outputs)]
    run_on(how, loops, [*inputs, *outputs], scalars)
    return outputs


def contiguous(dtype, shape):
    """How loops of that shape run through an array of that shape."""
    return Operand(dtype, tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape))))


def operand_of(array, shape):
    """How loops of that shape run through an array that broadcasts to it."""
    array = np.broadcast_to(array, shape)
    return Operand(array.dtype.name, tuple(stride // array.itemsize for stride in array.strides))


def apply_to(name, arrays, dtype, floats="float32"):
    """Loops of one function of arrays of one shape."""
    builder = Builder(arrays[0].shape, floats)
    value = builder.apply(name, *(builder.load(operand_of(a, a.shape)) for a in arrays))
    builder.store(value, contiguous(dtype or value.dtype, arrays[0].shape))
    return builder.finish()


def expression(text, shape, dtype="float32", scalars=(), **operands):
    """Loops of one expression of operands, stored contiguously."""
    builder = Builder(shape, dtype)
    names = {name: builder.load(operand) for name, operand in operands.items()}
    names |= {name: builder.scalar() for name in scalars}
    builder.store(expand(text, names, builder), contiguous(dtype, shape))
    return builder.finish()


def close(found, expected, relative, absolute=0.0):
    """Equal within the bound; NaN, infinities and the sign of zeros exactly."""
    with np.errstate(all="ignore"):
        as_stored = np.asarray(expected).astype(found.dtype)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(as_stored))
    special = ~np.isfinite(as_stored) & ~np.isnan(as_stored)
    np.testing.assert_array_equal(found[special], as_stored[special])
    usual = np.isfinite(as_stored)
    error = np.abs(found[usual] - expected[usual])
    limit = relative * np.abs(expected[usual]) + absolute + np.finfo(found.dtype).smallest_subnormal
    wrong = error > limit
    assert not wrong.any(), (
        f"{wrong.sum()} of {wrong.size}: {found[usual][wrong][:5]}, not {expected[usual][wrong][:5]}"
    )


# Functions of one element


def samples(dtype, low, high, count=3000):
    """Numbers between the bounds on a linear and on a logarithmic scale, and the special ones."""
    random = np.random.default_rng(0)
    tiny = np.finfo(dtype).smallest_subnormal
    sizes = np.exp(random.uniform(np.log(np.finfo(dtype).tiny), np.log(max(abs(low), abs(high))), count))
    signed = np.concatenate([sizes, -sizes])
    special = [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 2.5, 100, -100, 1e5, -1e5, np.inf, -np.inf, np.nan, tiny, -tiny]
    special += [np.finfo(dtype).max, np.finfo(dtype).min, np.finfo(dtype).tiny / 4, 1 + np.finfo(dtype).eps]
    inside = np.concatenate([random.uniform(low, high, count), signed[(signed >= low) & (signed <= high)]])
    return np.concatenate([inside, special]).astype(dtype)


# Name: reference in float64, the range of the samples, and the bound on the error in float32, in units of EPSILON.
FUNCTIONS = {
    "exp": (np.exp, -110, 90, 1.7),
    "expm1": (np.expm1, -25, 90, 2.2),
    "log": (np.log, 0, 1e30, 1.5),
    "log1p": (np.log1p, -1, 1e30, 1.5),
    "tanh": (np.tanh, -12, 12, 3.1),
    "erf": (scipy.special.erf, -6, 6, 1.5),
    "log2": (np.log2, 0, 1e30, 4),
    "sin": (np.sin, -1000, 1000, 4),
    "cos": (np.cos, -1000, 1000, 4),
    "tan": (np.tan, -10, 10, 4),
    "sinh": (np.sinh, -80, 80, 4),
    "cosh": (np.cosh, -80, 80, 4),
    "arcsin": (np.arcsin, -1, 1, 4),
    "arccos": (np.arccos, -1, 1, 4),
    "arctan": (np.arctan, -50, 50, 4),
    "sqrt": (np.sqrt, 0, 1e30, 1.01),
    "floor": (np.floor, -50, 50, 0),
    "ceil": (np.ceil, -50, 50, 0),
    "rint": (np.rint, -50, 50, 0),
    "negative": (np.negative, -50, 50, 0),
    "absolute": (np.absolute, -50, 50, 0),
    "sign": (np.sign, -50, 50, 0),
}
POLYNOMIALS = ("exp", "expm1", "log", "log1p", "tanh", "erf")
ODD = ("expm1", "log1p", "tanh", "erf", "sin", "negative")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_number(name, dtype, how):
    reference, low, high, units = FUNCTIONS[name]
    x = samples(dtype, low, high)
    (y,) = run(how, apply_to(name, [x], dtype), [x])
    with np.errstate(all="ignore"):
        expected = reference(x.astype("float64"))
    # the reference itself is rounded in float64, and NumPy's float32 functions err by up to four units
    units = max(units, 8) if how == "blocks" and units else units + 2 if dtype == "float64" and units else units
    near_zero = np.finfo(dtype).smallest_subnormal
    close(y, expected, units * EPSILON[dtype], near_zero)
    if name in ODD:
        np.testing.assert_array_equal(np.signbit(y[x == 0]), np.signbit(expected[x == 0]))


@needs_llvm
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_error_over_all_float32(name):
    # every 2053rd of all bit patterns, whatever number it stands for
    x = np.arange(0, 1 << 32, 2053, dtype=np.uint64).astype(np.uint32).view("float32")
    reference, _, _, units = FUNCTIONS[name]
    (y,) = run("llvm", apply_to(name, [x], "float32"), [x])
    with np.errstate(all="ignore"):
        close(y, reference(x.astype("float64")), units * EPSILON["float32"])


def powers(dtype):
    random = np.random.default_rng(1)
    special = np.array([0.0, -0.0, 1, -1, 2, -2, 0.5, -3, 3, np.inf, -np.inf, np.nan], dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(special, special))
    return [
        np.concatenate([random.uniform(0, 5, 200).astype(dtype), a]),
        np.concatenate([random.uniform(-5, 5, 200).astype(dtype), b]),
    ]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["power", "arctan2"])
def test_a_function_of_two_numbers(name, dtype, how):
    a, b = powers(dtype)
    (y,) = run(how, apply_to(name, [a, b], dtype), [a, b])
    with np.errstate(all="ignore"):
        close(y, getattr(np, name)(a.astype("float64"), b.astype("float64")), 8 * EPSILON[dtype])


def pairs(dtype):
    """Two arrays with every pair of some numbers of that dtype."""
    if dtype == "bool":
        numbers = np.array([False, True])
    elif dtype in FLOATS:
        numbers = np.array([0.0, -0.0, 1.5, -2.25, 3, 1e-3, 1e30, np.inf, -np.inf, np.nan, 0.1], dtype)
    else:
        limits = np.iinfo(dtype)
        numbers = np.array([0, 1, 2, 7, 100, limits.max, limits.max - 1, limits.min, limits.min // 2], dtype)
    a, b = np.meshgrid(numbers, numbers)
    return a.ravel().copy(), b.ravel().copy()


BINARY = [
    *((name, dtype) for name in ("add", "subtract", "multiply", "maximum", "minimum") for dtype in llvm.TYPES),
    *((name, dtype) for name in COMPARISONS for dtype in llvm.TYPES),
    *(("divide", dtype) for dtype in FLOATS),
    *((name, dtype) for name in LOGIC if name != "logical_not" for dtype in llvm.TYPES),
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("name", "dtype"), [case for case in BINARY if case[1] != "bool" or case[0] not in (*NUMBERS, "divide")]
)
def test_arithmetic_and_comparisons_equal_numpys_bit_for_bit(name, dtype, how):
    a, b = pairs(dtype)
    (y,) = run(how, apply_to(name, [a, b], None), [a, b])
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


UNARY = [
    *((name, dtype) for name in ("negative", "absolute", "sign") for dtype in llvm.TYPES if dtype != "bool"),
    *((name, dtype) for name in TESTS for dtype in llvm.TYPES),
    *(("logical_not", dtype) for dtype in llvm.TYPES),
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("name", "dtype"), UNARY)
def test_signs_and_tests_equal_numpys(name, dtype, how):
    a, _ = pairs(dtype)
    (y,) = run(how, apply_to(name, [a], None), [a])
    expected = getattr(np, name)(a)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("old", llvm.TYPES)
@pytest.mark.parametrize("new", llvm.TYPES)
def test_casts(old, new, how):
    a, _ = pairs(old)
    if old in FLOATS and new not in (*FLOATS, "bool"):
        a = np.array([0.0, -0.0, 1.9, 2.5, 200.0, 3.0] + ([-1.9, -7.0] if new != "uint8" else []), old)
    builder = Builder(a.shape)
    builder.store(builder.cast(builder.load(operand_of(a, a.shape)), new), contiguous(new, a.shape))
    (y,) = run(how, builder.finish(), [a])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y, a.astype(new))


@needs_llvm
def test_a_float_that_no_integer_holds_becomes_the_nearest():
    x = np.array([np.nan, np.inf, -np.inf, 300.0, -5.0], "float32")
    for dtype, expected in {
        "uint8": [0, 255, 0, 255, 0],
        "int32": [0, 2**31 - 1, -(2**31), 300, -5],
        "int64": [0, 2**63 - 1, -(2**63), 300, -5],
    }.items():
        builder = Builder(x.shape)
        builder.store(builder.cast(builder.load(operand_of(x, x.shape)), dtype), contiguous(dtype, x.shape))
        (y,) = run("llvm", builder.finish(), [x])
        np.testing.assert_array_equal(y, np.array(expected, dtype))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", llvm.TYPES)
def test_where_and_constants(dtype, how):
    a, b = pairs(dtype)
    condition = np.arange(a.size) % 3 == 0
    builder = Builder(a.shape)
    c, x, y = (builder.load(operand_of(array, a.shape)) for array in (condition, a, b))
    builder.store(builder.apply("where", c, x, y), contiguous(dtype, a.shape))
    builder.store(builder.apply("where", c, x, builder.constant(1, dtype)), contiguous(dtype, a.shape))
    first, second = run(how, builder.finish(), [condition, a, b])
    np.testing.assert_array_equal(first, np.where(condition, a, b))
    np.testing.assert_array_equal(second, np.where(condition, a, np.array(1, dtype)))


@pytest.mark.parametrize("how", HOW)
def test_special_constants(how):
    builder = Builder((3,))
    for value in (-0.0, 0.0, np.inf, -np.inf, np.nan, 0.1):
        builder.store(builder.constant(value), contiguous("float32", (3,)))
    found = [y[0] for y in run(how, builder.finish(), [])]
    np.testing.assert_array_equal(found, np.array([-0.0, 0.0, np.inf, -np.inf, np.nan, 0.1], "float32"))
    np.testing.assert_array_equal(np.signbit(found[:2]), [True, False])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", llvm.TYPES)
def test_scalars_are_cast(dtype, how):
    builder = Builder((5,))
    for _ in range(2):
        builder.store(builder.scalar(dtype), contiguous(dtype, (5,)))
    first, second = run(how, builder.finish(), [], [2.75, 0.0])
    np.testing.assert_array_equal(first, np.full(5, 2.75).astype(dtype))
    np.testing.assert_array_equal(second, np.zeros(5, dtype))


def test_every_step_has_a_test():
    tested = {*FUNCTIONS, "power", "arctan2", *(name for name, _ in (*BINARY, *UNARY)), *SOURCES, *REDUCTIONS}
    assert tested | {"cast", "where", "store", "take"} == set(ARGUMENTS)
    assert {*NUMBERS, *REALS, *TESTS, *COMPARISONS, *LOGIC} <= tested


# Shapes and strides


def numbers(shape, dtype="float32", seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * 4).astype(dtype)


LAYOUTS = {
    "contiguous": lambda: (numbers((5, 37)), numbers((5, 37), seed=1)),
    "row vector": lambda: (numbers((5, 37)), numbers((37,), seed=1)),
    "column vector": lambda: (numbers((5, 37)), numbers((5, 1), seed=1)),
    "outer": lambda: (numbers((1, 37)), numbers((5, 1), seed=1)),
    "one number": lambda: (numbers((5, 37)), np.array(1.5, "float32")),
    "transposed": lambda: (numbers((37, 5)).T, numbers((5, 37), seed=1)),
    "both transposed": lambda: (numbers((37, 5)).T, numbers((37, 5), seed=1).T),
    "every second": lambda: (numbers((10, 74))[::2, ::2], numbers((5, 37), seed=1)),
    "reversed": lambda: (numbers((5, 37))[::-1, ::-1], numbers((5, 37), seed=1)),
    "three axes": lambda: (numbers((4, 6, 35)).transpose(1, 0, 2), numbers((4, 35), seed=1)),
    "four axes": lambda: (numbers((2, 3, 4, 5)).transpose(2, 0, 1, 3), numbers((3, 5), seed=1)),
    "five axes, crossed": lambda: (numbers((2, 3, 2, 3, 4)).transpose(4, 2, 0, 3, 1), numbers((3, 1), seed=1)),
    "axes of length 1": lambda: (numbers((1, 5, 1, 9)), numbers((9,), seed=1)),
    "one column": lambda: (numbers((9, 1)), numbers((9, 1), seed=1)),
    "empty": lambda: (numbers((3, 0)), numbers((0,), seed=1)),
    "no rows": lambda: (numbers((0, 3)), numbers((3,), seed=1)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_of_any_layout(layout, collapsed, how):
    a, b = LAYOUTS[layout]()
    shape = np.broadcast_shapes(a.shape, b.shape)
    loops = expression("a * b - a", shape, a=operand_of(a, shape), b=operand_of(b, shape))
    if collapsed:
        loops = collapse(loops)
    y = np.full(shape, 77, "float32")
    run_on(how, loops, [a, b, y])
    np.testing.assert_array_equal(y, a * b - a)


@pytest.mark.parametrize("how", HOW)
def test_outputs_of_any_layout(how):
    a = numbers((6, 20))
    for y in (np.full((20, 6), 77, "float32").T, np.full((12, 40), 77, "float32")[::2, ::2]):
        builder = Builder(a.shape)
        builder.store(expand("-a", {"a": builder.load(operand_of(a, a.shape))}, builder), operand_of(y, a.shape))
        run_on(how, builder.finish(), [a, y])
        np.testing.assert_array_equal(y, -a)
        if y.base.shape == (12, 40):
            assert (y.base[1::2] == 77).all()
            assert (y.base[:, 1::2] == 77).all()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("shape", [(3, 1, 4, 21), (50, 1, 20, 41)], ids=str)
def test_positions(shape, collapsed, how):
    builder = Builder(shape)
    x = numbers(shape)
    total = builder.load(operand_of(x, shape))
    for axis, weight in enumerate((1000, 7, 100, 1)):
        total = builder.apply("add", total, builder.apply("multiply", builder.index(axis), weight))
    builder.store(total, contiguous("float32", shape))
    loops = collapse(builder.finish()) if collapsed else builder.finish()
    (y,) = run(how, loops, [x])
    i, _, j, k = np.indices(shape)
    np.testing.assert_allclose(y.reshape(shape), x + (i * 1000 + j * 100 + k), rtol=1e-6, atol=1e-3)


def f32(*strides):
    return Operand("float32", strides)


# Shape, strides of the input, of the output; what is left of them.
COLLAPSED = {
    "contiguous": (((2, 3, 4), (12, 4, 1), (12, 4, 1)), ((24,), (1,), (1,))),
    "row vector": (((2, 3, 4), (0, 0, 1), (12, 4, 1)), ((6, 4), (0, 1), (4, 1))),
    "one number": (((2, 3), (0, 0), (3, 1)), ((6,), (0,), (1,))),
    "column vector": (((2, 3, 4), (3, 1, 0), (12, 4, 1)), ((6, 4), (1, 0), (4, 1))),
    "length 1": (((1, 5, 1), (9, 2, 7), (5, 1, 1)), ((5,), (2,), (1,))),
    "nothing left": (((1, 1), (1, 1), (1, 1)), ((1,), (0,), (0,))),
    "both transposed": (((3, 4), (1, 3), (1, 3)), ((12,), (1,), (1,))),
    "transposed": (((3, 4), (1, 3), (4, 1)), ((3, 4), (1, 3), (4, 1))),
    "gaps": (((3, 4), (8, 2), (4, 1)), ((12,), (2,), (1,))),
    "wide rows": (((3, 4), (9, 1), (4, 1)), ((3, 4), (9, 1), (4, 1))),
}


@pytest.mark.parametrize("case", COLLAPSED)
def test_collapse(case):
    (shape, a, y), expected = COLLAPSED[case]
    found = collapse(expression("-a", shape, a=f32(*a)))
    builder = Builder(shape)
    builder.store(expand("-a", {"a": builder.load(f32(*a))}, builder), f32(*y))
    found = collapse(builder.finish())
    assert (found.shape, found.inputs[0].strides, found.outputs[0].strides) == expected


def test_collapse_keeps_rows_and_columns_apart():
    def reduced(name, shape, strides):
        builder = Builder(shape)
        builder.store(builder.reduce(name, builder.load(f32(*strides))), f32(*(9,) * len(shape)))
        return collapse(builder.finish())

    assert reduced("row_sum", (2, 3, 4), (12, 4, 1)).shape == (2, 3, 4)  # the output's strides of 9 and 9 do count
    assert reduced("row_sum", (2, 3, 4), (12, 4, 1)).outputs[0].strides == (9, 9, 0)
    assert collapse(softmax((3, 4))).shape == (3, 4)
    assert reduced("column_sum", (2, 3, 4), (12, 4, 1)).shape == (6, 4)  # and here they do not
    assert reduced("column_sum", (1, 3, 1), (3, 1, 1)).shape == (3, 1)
    assert reduced("row_sum", (5,), (1,)).shape == (5,)
    assert reduced("row_sum", (4, 3), (1, 4)).inputs[0].strides == (1, 4)


def test_split():
    a = f32(30, 1)
    assert split(expression("-a", (40, 30), a=a)) == ("rows", 40, 1)
    assert split(collapse(expression("-a", (40, 30), a=a))) == ("columns", 1200, 16)
    assert split(sums((40, 30), "column_sum")) == ("columns", 30, 16)
    assert split(sums((40, 30), "row_sum")) == ("rows", 40, 1)
    assert split(sums((1, 30), "row_sum")) == ("rows", 1, 1)


# In place


@pytest.mark.parametrize("how", HOW)
def test_in_place(how):
    a, b = numbers(1000), numbers(1000, seed=1)
    expected = (a * b + a, b - a)
    builder = Builder(a.shape)
    x, y = builder.load(f32(1)), builder.load(f32(1))
    builder.store(expand("x * y + x", {"x": x, "y": y}, builder), f32(1))
    builder.store(expand("y - x", {"x": x, "y": y}, builder), f32(1))
    run_on(how, builder.finish(), [a, b, a, b])
    np.testing.assert_array_equal(a, expected[0])
    np.testing.assert_array_equal(b, expected[1])


@pytest.mark.parametrize("how", HOW)
def test_in_place_an_early_value_is_stored_late(how):
    # 2 x is known in the first loop over a row, but x is read again in the second one
    x = numbers((4, 50))
    expected = (2 * x, np.abs(x - x.max(1, keepdims=True)).astype("float64").sum(1))
    builder = Builder(x.shape)
    value = builder.load(f32(50, 1))
    builder.store(builder.apply("multiply", value, 2), f32(50, 1))
    away = builder.apply("absolute", builder.apply("subtract", value, builder.reduce("row_max", value)))
    builder.store(builder.reduce("row_sum", away), f32(1, 0))
    total = np.zeros(4, "float32")
    run_on(how, builder.finish(), [x, x, total])
    np.testing.assert_array_equal(x, expected[0])
    np.testing.assert_allclose(total, expected[1], rtol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_softmax_in_place(how):
    x = numbers((6, 77))
    expected = scipy.special.softmax(x.astype("float64"), axis=1)
    run_on(how, softmax((6, 77)), [x, x])
    np.testing.assert_allclose(x, expected, rtol=2e-6)


# Reductions


def sums(shape, *names, dtype="float32"):
    """Loops with these reductions of one input."""
    builder = Builder(shape)
    x = builder.load(contiguous(dtype, shape))
    for name in names:
        strides = (
            (*contiguous(dtype, shape[:-1]).strides, 0) if name != "column_sum" else (0,) * (len(shape) - 1) + (1,)
        )
        builder.store(builder.reduce(name, x), Operand(dtype, strides))
    return builder.finish()


SHAPES = [(1, 1), (1, 1000), (3, 1), (5, 7), (4, 16), (3, 257), (2, 3, 65), (2, 40000), (700, 3), (0, 4), (9,)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions_over_rows(shape, dtype, how):
    x = numbers(shape, dtype)
    total, high, low = run(how, sums(shape, "row_sum", "row_max", "row_min", dtype=dtype), [x])
    np.testing.assert_array_equal(high, x.max(-1, keepdims=True))
    np.testing.assert_array_equal(low, x.min(-1, keepdims=True))
    if dtype in FLOATS:
        bound = 64 * EPSILON[dtype] * np.abs(x.astype("float64")).sum(-1, keepdims=True)
        assert (np.abs(total - x.sum(-1, keepdims=True, dtype="float64")) <= bound).all()
    else:
        np.testing.assert_array_equal(total, x.sum(-1, keepdims=True, dtype=dtype))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize("shape", [*SHAPES, (3, 0)], ids=str)
def test_sums_over_columns(shape, dtype, how):
    x = numbers(shape, dtype)
    (total,) = run(how, sums(shape, "column_sum", dtype=dtype), [x])
    axes = tuple(range(len(shape) - 1))
    if dtype in FLOATS:
        wide = x.astype("float64")
        bound = 2 * max(1, x.size) * EPSILON[dtype] * np.abs(wide).sum(axes)
        assert (np.abs(total - wide.sum(axes)) <= bound).all()
    else:
        np.testing.assert_array_equal(total, x.sum(axes, dtype=dtype))


@pytest.mark.parametrize("how", HOW)
def test_sums_of_nothing(how):
    (total,) = run(how, sums((4, 0), "row_sum"), [numbers((4, 0))])
    np.testing.assert_array_equal(total, np.zeros((4, 1)))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("columns", [1, 5, 16, 100])
def test_reductions_of_infinities_and_nan(columns, dtype, how):
    for special in (np.nan, np.inf, -np.inf):
        for place in {0, columns // 2, columns - 1}:
            x = numbers((2, columns), dtype)
            x[0, place] = special
            total, high, low = run(how, sums((2, columns), "row_sum", "row_max", "row_min", dtype=dtype), [x])
            np.testing.assert_array_equal(high, x.max(1, keepdims=True))
            np.testing.assert_array_equal(low, x.min(1, keepdims=True))
            np.testing.assert_allclose(total, x.sum(1, keepdims=True), rtol=1e-4)


def many_sums(shape=(7, 2500), count=9):
    builder = Builder(shape)
    value = builder.load(contiguous("float32", shape))
    builder.store(builder.apply("multiply", value, 3), contiguous("float32", shape))
    for k in range(count):
        total = builder.reduce("column_sum", builder.apply("multiply", value, k))
        builder.store(total, f32(5, 1))  # the stride over the rows does not count
    return builder.finish()


@pytest.mark.parametrize("how", HOW)
def test_many_sums_over_wide_columns(how):
    x = numbers((7, 2500))
    first, *totals = run(how, many_sums(), [x])
    np.testing.assert_array_equal(first, 3 * x)
    for k, total in enumerate(totals):
        np.testing.assert_allclose(total, (k * x.astype("float64")).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", HOW)
def test_reduced_values_meet_what_repeats_along_the_row(how):
    x, w = numbers((5, 33)), numbers((5, 1), seed=1)
    builder = Builder(x.shape)
    total = builder.reduce("row_sum", builder.load(f32(33, 1)))
    weighted = expand("t * w + 1", {"t": total, "w": builder.load(f32(1, 0))}, builder)
    builder.store(weighted, f32(1, 1))
    (y,) = run(how, builder.finish(), [x, w])
    np.testing.assert_allclose(y, x.sum(1, keepdims=True, dtype="float64") * w + 1, rtol=1e-4)


@pytest.mark.parametrize("how", HOW)
def test_a_sum_of_what_does_not_change_along_the_row(how):
    w = numbers((5, 1))
    builder = Builder((5, 33))
    builder.store(builder.reduce("row_sum", builder.load(f32(1, 0))), f32(1, 0))
    builder.store(builder.reduce("row_max", builder.constant(2.0)), f32(1, 0))
    total, high = run(how, builder.finish(), [w])
    np.testing.assert_allclose(total, 33 * w, rtol=1e-5)
    np.testing.assert_array_equal(high, np.full((5, 1), 2.0))


# Whole groups


def softmax(shape, dtype="float32", log=False):
    builder, operand = Builder(shape, dtype), contiguous(dtype, shape)
    x = builder.load(operand)
    shifted = builder.apply("subtract", x, builder.reduce("row_max", x))
    e = builder.apply("exp", shifted)
    total = builder.reduce("row_sum", e)
    y = builder.apply("subtract", shifted, builder.apply("log", total)) if log else builder.apply("divide", e, total)
    builder.store(y, operand)
    return builder.finish()


def cross_entropy(shape, dtype="float32"):
    """Losses of logits and ids, and the gradient of the sum of the losses."""
    builder, operand, column = Builder(shape, dtype), contiguous(dtype, shape), (1, 0)
    x, ids = builder.load(operand), builder.load(Operand("int64", column))
    hit = builder.apply("equal", builder.index(1), ids)
    shifted = builder.apply("subtract", x, builder.reduce("row_max", x))
    e = builder.apply("exp", shifted)
    total = builder.reduce("row_sum", e)
    picked = builder.reduce("row_sum", builder.apply("where", hit, shifted, 0))
    builder.store(expand("log(t) - p", {"t": total, "p": picked}, builder), Operand(dtype, column))
    builder.store(expand("e / t - hit", {"e": e, "t": total, "hit": hit}, builder), operand)
    return builder.finish()


def layer_norm(shape, dtype="float32"):
    builder, operand, vector = Builder(shape, dtype), contiguous(dtype, shape), Operand(dtype, (0, 1))
    x, w, b = builder.load(operand), builder.load(vector), builder.load(vector)
    away = expand("x - s / n", {"x": x, "s": builder.reduce("row_sum", x), "n": shape[1]}, builder)
    spread = builder.reduce("row_sum", builder.apply("multiply", away, away))
    names = {"d": away, "v": spread, "n": shape[1], "w": w, "b": b}
    builder.store(expand("d / sqrt(v / n + 1e-5) * w + b", names, builder), operand)
    return builder.finish()


def gelu(shape, dtype="float32"):
    builder, operand = Builder(shape, dtype), contiguous(dtype, shape)
    a = builder.load(operand)
    inner = expand("0.7978845608028654 * (a + 0.044715 * a * a * a)", {"a": a}, builder)
    names = {"a": a, "t": builder.apply("tanh", inner)}
    builder.store(expand("0.5 * a * (1 + t)", names, builder), operand)
    slope = "0.5 * (1 + t) + 0.3989422804014327 * a * (1 - t * t) * (1 + 0.134145 * a * a)"
    builder.store(expand(slope, names, builder), operand)
    return builder.finish()


def adam(shape, dtype="float32"):
    builder, operand = Builder(shape, dtype), contiguous(dtype, shape)
    names = {name: builder.load(operand) for name in "pgmv"} | {"rate": builder.scalar()}
    names["m"] = expand("0.9 * m + 0.1 * g", names, builder)
    names["v"] = expand("0.999 * v + 0.001 * g * g", names, builder)
    for value in (expand("p - rate * m / (sqrt(v) + 1e-7)", names, builder), names["m"], names["v"]):
        builder.store(value, operand)
    return builder.finish()


def relu_gradient(shape, dtype="float32"):
    builder, operand = Builder(shape, dtype), contiguous(dtype, shape)
    g, y = builder.load(operand), builder.load(operand)
    value = expand("g * (y > 0)", {"g": g, "y": y}, builder)
    builder.store(value, operand)
    builder.store(builder.reduce("column_sum", value), Operand(dtype, (0, 1)))
    return builder.finish()


GROUP_SHAPES = [(1, 1), (7, 10), (600, 3), (5, 64), (3, 1001), (2, 9000)]  # the last is too long for scratch rows


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", GROUP_SHAPES, ids=str)
def test_softmax(shape, dtype, how):
    x = numbers(shape, dtype)
    wide, units = x.astype("float64"), 100 * EPSILON[dtype]
    (y,) = run(how, softmax(shape, dtype), [x])
    np.testing.assert_allclose(y, scipy.special.softmax(wide, axis=1), rtol=units)
    (y,) = run(how, softmax(shape, dtype, log=True), [x])
    np.testing.assert_allclose(y, scipy.special.log_softmax(wide, axis=1), rtol=units, atol=units)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", GROUP_SHAPES, ids=str)
def test_cross_entropy_and_its_gradient(shape, dtype, how):
    x, ids = numbers(shape, dtype), np.random.default_rng(3).integers(0, shape[1], shape[0])
    losses, gradient = run(how, cross_entropy(shape, dtype), [x, ids])
    wide, units = x.astype("float64"), 100 * EPSILON[dtype]
    rows = np.arange(shape[0])
    expected = scipy.special.softmax(wide, axis=1)
    np.testing.assert_allclose(losses[:, 0], -np.log(expected[rows, ids]), rtol=units, atol=units)
    expected[rows, ids] -= 1
    np.testing.assert_allclose(gradient, expected, rtol=units, atol=units)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", GROUP_SHAPES, ids=str)
def test_layer_norm(shape, dtype, how):
    x, w, b = numbers(shape, dtype), numbers(shape[1], dtype, 1), numbers(shape[1], dtype, 2)
    (y,) = run(how, layer_norm(shape, dtype), [x, w, b])
    wide = x.astype("float64")
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5) * w + b
    np.testing.assert_allclose(y, expected, rtol=200 * EPSILON[dtype], atol=200 * EPSILON[dtype])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
def test_gelu_and_its_derivative(dtype, how):
    x = numbers(1003, dtype)
    y, slope = run(how, gelu(x.shape, dtype), [x])
    wide, units = x.astype("float64"), 40 * EPSILON[dtype]
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (wide + 0.044715 * wide**3))
    np.testing.assert_allclose(y, wide * (1 + t) / 2, rtol=units, atol=units)
    expected = (1 + t) / 2 + wide / 2 * (1 - t**2) * c * (1 + 3 * 0.044715 * wide**2)
    np.testing.assert_allclose(slope, expected, rtol=units, atol=10 * units)  # 1 - t^2 cancels


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
def test_adam_in_place(dtype, how):
    p, g, m, v = (numbers(777, dtype, seed) for seed in range(4))
    v = np.abs(v)
    wide = [a.astype("float64") for a in (p, g, m, v)]
    run_on(how, adam(p.shape, dtype), [p, g, m, v, p, m, v], [0.01])
    m_ = 0.9 * wide[2] + 0.1 * wide[1]
    v_ = 0.999 * wide[3] + 0.001 * wide[1] ** 2
    expected = wide[0] - 0.01 * m_ / (np.sqrt(v_) + 1e-7)
    for found, value in zip((p, m, v), (expected, m_, v_), strict=True):
        np.testing.assert_allclose(found, value, rtol=10 * EPSILON[dtype], atol=10 * EPSILON[dtype])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shape", [(128, 512), (9, 10), (3, 3000)], ids=str)
def test_relu_gradient_and_its_sum(shape, how):
    g, y = numbers(shape), numbers(shape, seed=1)
    gradient, total = run(how, relu_gradient(shape), [g, y])
    np.testing.assert_array_equal(gradient, g * (y > 0))
    np.testing.assert_allclose(total, np.where(y > 0, g, 0).sum(0, dtype="float64"), rtol=1e-4, atol=1e-4)


GROUPS = {
    "add": lambda: expression("a + b", (4096,), a=f32(1), b=f32(1)),
    "bias": lambda: expression("maximum(a + b, 0)", (64, 100), a=f32(100, 1), b=f32(0, 1)),
    "dropout": lambda: expression("where(c, a * 2, 0)", (4096,), a=f32(1), c=Operand("bool", (1,))),
    **{name: lambda name=name: expression(f"{name}(a)", (4096,), a=f32(1)) for name in POLYNOMIALS},
    "gelu": lambda: gelu((4096,)),
    "softmax": lambda: softmax((64, 100)),
    "log softmax": lambda: softmax((64, 100), log=True),
    "cross entropy": lambda: cross_entropy((64, 100)),
    "layer norm": lambda: layer_norm((64, 100)),
    "adam": lambda: adam((4096,)),
    "relu gradient": lambda: relu_gradient((128, 512)),
    "row max": lambda: sums((64, 100), "row_max"),
    "row sum": lambda: sums((64, 100), "row_sum"),
    "float64": lambda: softmax((64, 100), "float64"),
}


# Machine code


def rows_of_a_table(columns, idle=((), ())):
    """p + 0.5 * table[ids] written over p."""
    builder = Builder((6, columns))
    p = builder.load(contiguous("float32", (6, columns)))
    ids = builder.load(Operand("int32", (1, 0)))
    row = builder.take(Operand("float32", (0, 1), columns), ids)
    builder.store(builder.apply("add", p, builder.apply("multiply", row, 0.5)), contiguous("float32", (6, columns)))
    return replace(collapse(builder.finish()), idle=idle)


@needs_llvm
@pytest.mark.parametrize("columns", [2, 7, 16, 33])
def test_rows_of_a_table(columns):
    p, table = numbers((6, columns), "float32", 0), numbers((4, columns), "float32", 1)
    ids = np.array([3, 0, 0, 2, 3, 1], "int32")
    expected = p + table[ids] * np.float32(0.5)
    run_on("llvm", rows_of_a_table(columns), [p, ids, table, p])
    np.testing.assert_array_equal(p, expected)


@needs_llvm
@pytest.mark.parametrize("columns", [2, 16, 33])
@pytest.mark.parametrize("inputs", [(), (0,)])
def test_rows_that_are_left_as_they_are(columns, inputs):
    """Where the number is 0 and, if that is asked for, all of the row."""
    p, table = numbers((6, columns), "float32", 0), numbers((4, columns), "float32", 1)
    p[1], p[2, :-1] = 0.0, 0.0  # in the second there is a single number at its end
    ids = np.array([3, 0, 0, 0, 3, 1], "int32")
    left = (ids == 0) & (np.all(p == 0, axis=1) if inputs else True)
    expected = np.where(left[:, None], p, p + table[ids] * np.float32(0.5))
    plain = rows_of_a_table(columns)
    index = next(op.args[0] for op in plain.ops if op.name == "take")
    run_on("llvm", replace(plain, idle=((index,), inputs)), [p, ids, table, p])
    np.testing.assert_array_equal(p, expected)


@needs_llvm
@pytest.mark.parametrize("group", GROUPS)
def test_ranges_cover_split_work(group):
    loops = GROUPS[group]()
    random = np.random.default_rng(0)
    inputs = [
        random.integers(0, 2 if o.dtype == "bool" else 50, o_length(o, loops)).astype(o.dtype)
        if o.dtype in ("bool", "int64")
        else np.abs(numbers(o_length(o, loops), o.dtype, i))
        for i, o in enumerate(loops.inputs)
    ]
    whole = run("llvm", loops, inputs, [0.01])
    parts = [np.full_like(y, 77) for y in whole]
    _, length, step = split(loops)
    bounds = [0, step, length // 2 // step * step, length]
    for start, stop in itertools.pairwise(bounds[1:]):
        machine_code(loops)([*inputs, *parts], [0.01], start, stop)
    for y, expected in zip(parts, whole, strict=True):  # the first piece has not been computed yet
        rows = split(loops)[0] == "rows" or y.ndim == 1
        first = y[:step] if rows else y[..., :step]
        assert (first == 77).all()
        rest = (slice(step, None),) if rows else (..., slice(step, None))
        np.testing.assert_allclose(y[rest], expected[rest], rtol=1e-6)
    machine_code(loops)([*inputs, *parts], [0.01], 0, step)
    for y, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-6)


def o_length(operand, loops):
    return 1 + sum(stride * (n - 1) for stride, n in zip(operand.strides, loops.shape, strict=True))


PACKED = {  # what arithmetic, logic or comparison on whole vectors looks like
    "x86_64": r"\bv?(add|sub|mul|div|max|min|fn?m(add|sub)\d+|and|or|blendv|sqrt|cmp\w*)p[sd]\b.*%[{}]mm",
    "aarch64": r"\bf(add|sub|mul|div|max|min|maxnm|mla|mls|cm\w+|sqrt)\s+v\d+\.[24][sd]",
}
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def packed(assembly, registers="xyz"):
    machine = ARCHITECTURES.get(platform.machine().lower(), platform.machine().lower())
    if machine not in PACKED:
        pytest.skip(f"no pattern for the vector instructions of {machine}")
    return re.search(PACKED[machine].replace("{}", registers), assembly)


def library_calls(assembly):
    """The functions of one number at a time that are called."""
    named = re.findall(r"^\s+(?:callq?|bl|jmp|b)\s+_?([a-z]\w+)|movabsq\s+\$([a-z]\w+)", assembly, re.MULTILINE)
    return {name for pair in named for name in pair if name} - {"memset", "memcpy"}


@needs_llvm
@pytest.mark.parametrize("group", GROUPS)
def test_kernels_run_in_vectors(group):
    assembly = llvm.machine_text(llvm.text(GROUPS[group](), "kernel"))
    wide = "yz" if platform.machine().lower() in ("x86_64", "amd64") and "+avx2" in llvm.host()[2] else "xyz"
    assert packed(assembly, wide)
    assert not library_calls(assembly)


@needs_llvm
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="AVX2 is x86's")
@pytest.mark.parametrize("group", GROUPS)
def test_kernels_run_in_vectors_with_avx2_alone(group):
    assert packed(llvm.machine_text(llvm.text(GROUPS[group](), "kernel"), "haswell"), "y")


@needs_llvm
def test_a_kernel_in_scalars_is_noticed():
    text = llvm.text(expression("a + b", (4096,), a=f32(1), b=f32(1)), "kernel")
    assert not packed(llvm.machine_text(text.replace("{ nounwind", "{ noinline optnone nounwind")))
    assert library_calls(llvm.machine_text(llvm.text(expression("sin(a)", (4096,), a=f32(1)), "kernel"))) == {"sinf"}


@needs_llvm
@pytest.mark.parametrize("group", GROUPS)
def test_vectors_do_not_wait_for_a_proof_that_arrays_are_apart(group):
    # such a check at run time fails where an output is an input, and then every number is computed alone
    optimised = llvm._optimise(llvm.text(GROUPS[group](), "kernel"), llvm._machine())
    assert "memcheck" not in str(optimised)


def stack(loops):
    """The bytes that each array on the stack takes."""
    found = re.findall(r"alloca \[(\d+) x (\w+)\]", llvm.text(loops, "kernel"))
    return [int(count) * {"float": 4, "double": 8, "i64": 8}[type] for count, type in found]


def many_functions(columns):
    """The sum over a row of 9 functions of it, and then what they are without that sum."""
    builder = Builder((2, columns))
    x = builder.load(contiguous("float32", (2, columns)))
    values = [builder.apply("exp", builder.apply("multiply", x, -k)) for k in range(1, 10)]
    total = builder.reduce("row_sum", functools.reduce(lambda a, b: builder.apply("add", a, b), values))
    for value in values:
        builder.store(builder.apply("subtract", value, total), contiguous("float32", (2, columns)))
    return builder.finish()


def test_what_is_computed_once_and_what_the_stack_holds():
    assert stack(softmax((64, 100))) == [400]  # exp once, for it is kept
    assert stack(softmax((64, 20000))) == []  # exp twice
    assert stack(layer_norm((64, 100))) == []  # differences are computed again
    assert stack(many_functions(100)) == [400] * 9
    assert stack(many_functions(1500)) == [6000] * 5
    assert stack(sums((8, 100000), "column_sum")) == [4096]
    assert sum(stack(many_sums())) <= 1 << 15


@pytest.mark.parametrize("how", HOW)
def test_more_functions_than_the_stack_holds(how):
    x = np.abs(numbers((2, 1500)))
    values = [np.exp(-k * x.astype("float64")) for k in range(1, 10)]
    for y, value in zip(run(how, many_functions(1500), [x]), values, strict=True):
        np.testing.assert_allclose(y, value - sum(values).sum(1, keepdims=True), rtol=1e-5)


def all_texts():
    return "\n".join(llvm.text(make(), f"kernel{i}") for i, make in enumerate(GROUPS.values()))


def test_equal_loops_give_equal_text_in_any_process():
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import hashlib, test_kernels_loops as t\n"
        "print(hashlib.sha256(t.all_texts().encode()).hexdigest(), 'llvmlite' in sys.modules)"
    )
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)}
        found.add(
            subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
        )
    assert len(found) == 1
    assert b"False" in found.pop()  # writing text takes no compiler


def test_equal_groups_are_equal():
    assert softmax((3, 4)) == softmax((3, 4))
    assert hash(softmax((3, 4))) == hash(softmax((3, 4)))
    assert softmax((3, 4)) != softmax((3, 5))
    constants = [expression(text, (4,), a=f32(1)) for text in ("a + 0.0", "a + -0.0", "a + (1e999 - 1e999)")]
    assert len(set(constants)) == 3
    assert constants[2] == expression("a + (1e999 - 1e999)", (4,), a=f32(1))  # NaN too


# Expressions


def primitives():
    """Every primitive of the package with an expression."""
    found = {}
    for module in vars(ops).values():
        for value in vars(module).values() if hasattr(module, "__path__") or hasattr(module, "__spec__") else ():
            if isinstance(value, Primitive) and value.expression:
                found[value.expression] = value
    return found


ATTRIBUTES = {"negative_slope": 0.2, "alpha": 1.5, "low": -1.0, "high": None, "exponent": 3, "width": 4.0}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("text", primitives())
def test_expressions_of_the_package(text, dtype, how):
    primitive = primitives()[text]
    names = re.findall(r"\b[a-z]\w*\b(?!\()", text)
    arrays = {
        name: np.abs(numbers(200, dtype, i)) / 17 + 0.01 for i, name in enumerate(sorted({*names} - {*ATTRIBUTES}))
    }
    attributes = {name: ATTRIBUTES[name] for name in names if name in ATTRIBUTES}
    for i, name in enumerate(arrays):
        if "log" not in text and "sqrt(a)" not in text and "**" not in text and "arc" not in text:
            arrays[name] *= np.where(numbers(200, seed=10 + i) > 0, 1, -1).astype(dtype)
    if "condition" in arrays:
        arrays["condition"] = arrays["condition"] > 0
    builder = Builder((200,), dtype)
    steps = {name: builder.load(operand_of(a, a.shape)) for name, a in arrays.items()}
    if not steps:
        steps, arrays = {"a": builder.load(contiguous(dtype, (200,)))}, {"a": numbers(200, dtype)}
    expected = primitive.forward(np, *(arrays[name] for name in primitive.arguments), **attributes)
    result = expand(text, {**steps, **attributes}, builder)
    assert result.dtype == expected.dtype.name
    builder.store(result, contiguous(expected.dtype.name, (200,)))
    (y,) = run(how, builder.finish(), list(arrays.values()))
    np.testing.assert_allclose(y, expected, rtol=30 * EPSILON[dtype], atol=30 * EPSILON[dtype])


def test_the_package_has_expressions():
    assert len(primitives()) > 45


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7, 32, -1, -2, 0.5, 1.5, -0.5, 2.5, 0.75, 33, 1e3, -40])
@pytest.mark.parametrize("dtype", FLOATS)
def test_constant_powers(exponent, dtype, how):
    x = np.array([0.0, 0.3, 0.9, 1.0, 1.1, 2.0, np.inf, np.nan], dtype)
    loops = expression(f"a ** {exponent}", x.shape, dtype, a=operand_of(x, x.shape))
    (y,) = run(how, loops, [x])
    with np.errstate(all="ignore"):
        close(y, x.astype("float64") ** exponent, 8 * EPSILON[dtype])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("low", "high"), [(-1, 2.5), (None, 1), (0.5, None), (None, None), (2, -2)])
def test_clip(low, high, how):
    x = numbers(100)
    builder = Builder(x.shape)
    y = expand("clip(a, low, high)", {"a": builder.load(f32(1)), "low": low, "high": high}, builder)
    builder.store(y, f32(1))
    expected = x if low is high is None else np.clip(x, low, high)
    np.testing.assert_array_equal(run(how, builder.finish(), [x])[0], expected)


# Arguments (dtypes of arrays, or numbers), the function, and the dtype of the result in a group of float32.
PROMOTIONS = [
    (("float32", 2), "multiply", "float32"),
    (("float32", 2.5), "multiply", "float32"),
    (("float64", 2.5), "multiply", "float64"),
    (("float32", "float64"), "add", "float64"),
    (("float32", "int64"), "add", "float32"),
    (("float32", "bool"), "multiply", "float32"),
    (("int64", 2), "multiply", "int64"),
    (("uint8", 2), "multiply", "uint8"),
    (("int64", 2.5), "multiply", "float32"),
    (("bool", 2), "multiply", "int64"),
    (("int64", "int32"), "add", "int64"),
    (("int64", "int64"), "divide", "float32"),
    (("int64",), "exp", "float32"),
    (("int64",), "floor", "int64"),
    (("float64", 0), "greater", "bool"),
    (("int64", 2), "power", "int64"),
    (("int64", 0.5), "power", "float32"),
    (("bool", "float32", 0), "where", "float32"),
    (("float32", "int64", 1), "where", "int64"),
]


@pytest.mark.parametrize(("arguments", "name", "expected"), PROMOTIONS)
def test_dtypes_of_results(arguments, name, expected):
    builder = Builder((4,))
    steps = [builder.load(Operand(a, (1,))) if isinstance(a, str) else a for a in arguments]
    result = builder.apply(name, *steps)
    assert result.dtype == expected
    builder.store(result, Operand(expected, (1,)))
    check(builder.finish())


def test_equal_steps_are_kept_once():
    loops = expression("exp(a) + exp(a) * 2 + 2", (4,), a=f32(1))
    assert [op.name for op in loops.ops] == ["load", "exp", "constant", "multiply", "add", "add", "store"]


def test_numbers_are_computed_at_once():
    loops = expression("a * (2 * sqrt(0.25) - 1 / 4)", (4,), a=f32(1))
    assert [op.value for op in loops.ops if op.name == "constant"] == ["0.75"]


def test_an_expression_of_numbers_takes_the_dtype_asked_for():
    builder = Builder((4,))
    assert expand("0", {}, builder, "int64").dtype == "int64"
    assert expand("1", {}, builder).dtype == "float32"


@pytest.mark.parametrize(
    "text",
    [
        "gamma(a)",
        "a @ a",
        "a if a else a",
        "a[0]",
        "unknown",
        "a < a < a",
        "sum(a)",
        "row_sum(a)",
        "exp(a, a)",
        "store(a)",
    ],
)
def test_unsupported_expressions(text):
    builder = Builder((4,))
    with pytest.raises(Unsupported, match="loops: expected"):
        expand(text, {"a": builder.load(f32(1))}, builder)


@pytest.mark.parametrize("text", ["i ** -1", "i ** 64", "i ** i", "b ** b", "b + b", "-b", "u + 256", "u - -1"])
def test_unsupported_integers(text):
    builder = Builder((4,))
    names = {
        name: builder.load(Operand(dtype, (1,))) for name, dtype in (("i", "int64"), ("b", "bool"), ("u", "uint8"))
    }
    with pytest.raises(Unsupported):
        expand(text, names, builder)


# Checking

LOAD, STORE = Op("load", "float32", (), 0), Op("store", "float32", (0,), 0)
PLAIN = Loops((3, 4), (f32(4, 1),), (f32(4, 1),), 0, (LOAD, STORE))
ROW, COLUMN = Op("row_sum", "float32", (0,)), Op("column_sum", "float32", (0,))

FAULTS = {
    "no axis": replace(PLAIN, shape=()),
    "negative length": replace(PLAIN, shape=(3, -4)),
    "strides too few": replace(PLAIN, inputs=(f32(1),)),
    "unknown dtype": replace(PLAIN, inputs=(Operand("float16", (4, 1)),)),
    "unknown step": replace(PLAIN, ops=(LOAD, Op("gamma", "float32", (0,)), STORE)),
    "too many arguments": replace(PLAIN, ops=(LOAD, Op("exp", "float32", (0, 0)), STORE)),
    "a later argument": replace(PLAIN, ops=(LOAD, Op("exp", "float32", (2,)), STORE)),
    "a stored argument": replace(PLAIN, ops=(LOAD, STORE, Op("exp", "float32", (1,)))),
    "no such input": replace(PLAIN, inputs=()),
    "no such output": replace(PLAIN, outputs=()),
    "no such axis": replace(PLAIN, ops=(LOAD, Op("index", "int64", (), 2), STORE)),
    "no such scalar": replace(PLAIN, ops=(LOAD, Op("scalar", "float32", (), 0), STORE)),
    "an output without store": replace(PLAIN, ops=(LOAD,)),
    "two stores": replace(PLAIN, ops=(LOAD, STORE, STORE)),
    "another dtype loaded": replace(PLAIN, ops=(Op("load", "float64", (), 0), STORE)),
    "another dtype stored": replace(PLAIN, outputs=(Operand("float64", (4, 1)),)),
    "exp to another dtype": replace(PLAIN, ops=(LOAD, Op("exp", "float64", (0,)), STORE)),
    "comparison to float": replace(PLAIN, ops=(LOAD, Op("less", "float32", (0, 0)), STORE)),
    "logic of floats": replace(PLAIN, ops=(LOAD, Op("logical_not", "bool", (0,)), STORE)),
    "where of a float": replace(PLAIN, ops=(LOAD, Op("where", "float32", (0, 0, 0)), STORE)),
    "a constant that is no text": replace(PLAIN, ops=(LOAD, Op("constant", "float32", (), 1.0), STORE)),
    "an index that is no int64": replace(PLAIN, ops=(LOAD, Op("index", "int32", (), 0), STORE)),
    "one place for many values": replace(PLAIN, outputs=(f32(0, 1),)),
    "one place for many sums": replace(PLAIN, outputs=(f32(0, 1),), ops=(LOAD, ROW, replace(STORE, args=(1,)))),
    "rows and columns": replace(PLAIN, ops=(LOAD, ROW, COLUMN, STORE)),
    "a column sum computed with": replace(PLAIN, ops=(LOAD, COLUMN, Op("exp", "float32", (1,)), STORE)),
    "the largest of none": replace(PLAIN, shape=(3, 0), ops=(LOAD, Op("row_max", "float32", (0,)), STORE)),
}


def test_plain_loops_pass():
    check(PLAIN)


@pytest.mark.parametrize("fault", FAULTS)
def test_contradictions_raise(fault):
    with pytest.raises(ValueError, match="loops: expected"):
        check(FAULTS[fault])
