"""Kernels written in Python: machine code against the same function called as Python, and against NumPy."""

import importlib.util
import math
import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from tinygrad_edu.kernels import llvm, native, pool
from tinygrad_edu.kernels.language import barrier, exp, gemm, kernel, local, log, sqrt, tanh
from tinygrad_edu.kernels.tiles import tile

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed: no machine code"
)


@kernel(writes=("y",))
def scale_rows(x, factors, y, start, stop, columns):
    """A docstring is no statement."""
    for row in range(start, stop):
        for j in range(columns):
            y[row * columns + j] = factors[row] * x[row * columns + j]


@kernel(writes=("y",))
def arithmetic(x, y, start, stop):
    for i in range(start, stop):
        a = x[i]
        total = 1.0
        total += a * 2 - a / 3
        total -= -a
        total *= 0.5
        y[i] = total + float(i) / 4 + i // 2 + i % 3


@kernel(writes=("y",))
def functions(x, y, start, stop):
    for i in range(start, stop):
        a = abs(x[i])
        y[i] = max(min(exp(-a) + tanh(x[i]), 0.9), -math.inf) + log(1.0 + a) * sqrt(a)


@kernel(writes=("y",))
def branches(x, y, start, stop, flag):
    for i in range(start, stop):
        if x[i] > 0 and not x[i] > 1:
            y[i] = 1
        else:
            if i < 3 or i == 5:
                y[i] = 2
            else:
                y[i] = 3 if x[i] <= -1 else 4
        if flag:
            y[i] += 10
        if not flag and flag == 0:
            y[i] += 20


@kernel(writes=("y",))
def sums(x, y, start, stop, columns):
    for row in range(start, stop):
        total = 0.0
        largest = -math.inf
        count = 0
        for j in range(1, columns, 2):
            total += x[row * columns + j]
            largest = max(largest, x[row * columns + j])
            count += 1
        y[row] = total + largest + float(count)


@kernel(writes=("y", "n"))
def integers(ids, x, y, n, start, stop, columns):
    for i in range(start, stop):
        near = x[ids[i] * columns :]
        for j in range(columns):
            y[i * columns + j] = near[j]
        n[i] = ids[i] * 2 - min(i, 3)


@kernel()
def total_of(x, count):
    total = 0.0
    for i in range(count):
        total += x[i]
    return total


@kernel()
def doubled(x, y, count, factor=2.0):
    for i in range(count):
        y[i] = x[i] * factor


@kernel(writes=("y",))
def inlined(x, y, start, stop, columns):
    for row in range(start, stop):
        buffer = local(8)
        doubled(x[row * columns :], buffer, columns)
        first = total_of(buffer, columns)
        doubled(buffer, buffer, columns, 0.5)
        y[row] = first + total_of(buffer, columns)


@kernel()
def added(total, x, count):
    for i in range(count):
        total += x[i]
    return total


@kernel(writes=("y",))
def names(x, y, start, stop, base, columns):
    """Parameters that are assigned, one of them while it is inlined, and a name assigned in an inner loop only."""
    for row in range(start, stop):
        base = base * 0.5 + 1.0
        for j in range(columns):
            last = x[row * columns + j]
        y[row] = added(base, x[row * columns :], columns) + last


@kernel(writes=("y",))
def products(x, w, y, start, stop, scratch, columns, filters):
    size = stop - start
    for k in range(size * columns):
        scratch[k] = 2.0 * x[start * columns + k]
    gemm(scratch, w, y[start * filters :], size, filters, columns, columns, filters, filters)
    gemm(x[start * columns :], w, y[start * filters :], size, filters, columns, columns, filters, filters, beta=-1.0)


@kernel(writes=("y",))
def transposed(x, w, y, start, stop, rows, columns, filters):
    for _ in range(start, stop):
        gemm(x, w, y, columns, filters, rows, columns, rows, filters, True, True)


class Plane(NamedTuple):
    rows: int
    columns: int

    @property
    def size(self):
        return self.rows * self.columns


@kernel(writes=("y",))
def tiles(x, w, y, start, stop, deep, plane, spread, kind):
    """Tiles of two axes of rows, sums over three of which two lie as one, part of the last vector."""
    channels, filters = spread
    for number in range(start, stop):
        near = x[number * plane.size :]
        to = y[number * 100 :]
        if kind == "same":
            tile(near, w, to, 19, ((2, 7, 50), (2, 1, 20)), ((min(number, 2), 14, 60), (2, 7, 3 * 20), (deep, 1, 20)))
            tile(near, w, to, 19, ((2, 7, 50), (2, 1, 20)), ((2, 7, 60), (deep, 1, 20)), add=True)
        if kind == "spread":
            tile(near, w, to, 17, ((3, 7, 20),), ((2, 14, 60), (channels, 1, 20)), (channels, filters))
        if kind == "alike":
            tile(near, w, to, 3, ((2, 7, 10),), ((deep, 1, 5),), (1, 1), alike=True)
        if kind == "fold":
            tile(near, w, to, 18, ((3, 7, 2),), ((2, 14, 20),), (1, 1), fold=True)
            tile(near, w, to, 18, ((2, 7, 2),), ((deep, 14, 20),), (1, 1), add=True, fold=True)
        if kind == "within":  # some columns begin before, or end behind, of what there is; or both
            tile(near, w, to, 19, ((2, 40, 50), (2, 10, 20)), ((2, 20, 60), (3, 5, 20), (deep, 1, 7)), within=(-5, 15))
            tile(near, w, to, 5, ((4, 5, 12),), ((3, 5, 20), (1, 1, 7)), add=True, within=(0, 15))
            tile(near[5:], w, to[40:], 7, ((4, 5, 12),), ((3, 5, 20), (deep, 1, 7)), (1, 2), within=(10, 40))
        if kind == "groups":
            tile(near, w, to, 11, ((2, 7, 50),), ((deep, 1, 40),), groups=(3, 13, 12), add=True)
            tile(near, w, to[70:], 3, ((2, 7, 15),), ((deep, 1, 40),), fold=True, groups=(3, 13, 12))


@kernel(writes=("states",), exchanges=("states",))
def exchange(x, states, start, stop, steps, columns):
    """Each element from two of the step before, which other threads may have written."""
    for j in range(start, stop):
        states[j] = x[j]
    for t in range(steps):
        barrier()
        old = states[t * columns :]
        for j in range(start, stop):
            states[(t + 1) * columns + j] = 0.5 * old[(j + 1) % columns] + 0.25 * old[columns - 1 - j]


RNG = np.random.default_rng(0)
TILES = {"x": RNG.normal(size=400), "w": RNG.normal(size=400), "y": np.zeros(400)}
X = RNG.normal(size=(12, 7)).astype("float32")
W = RNG.normal(size=(7, 5)).astype("float32")
IDS = np.array([2, 0, 11, 5, 5], "int32")

# kernel, arrays by parameter (outputs as zeros), numbers, what `start` and `stop` divide
CASES = {
    "scale_rows": (scale_rows, {"x": X, "factors": X[:, 0], "y": 0 * X}, {"columns": 7}, 12),
    "arithmetic": (arithmetic, {"x": X.ravel(), "y": 0 * X.ravel()}, {}, 84),
    "functions": (functions, {"x": X.ravel(), "y": 0 * X.ravel()}, {}, 84),
    "branches": (branches, {"x": X.ravel(), "y": 0 * X.ravel()}, {"flag": 1}, 84),
    "branches, not": (branches, {"x": X.ravel(), "y": 0 * X.ravel()}, {"flag": 0}, 84),
    "sums": (sums, {"x": X, "y": np.zeros(12, "float32")}, {"columns": 7}, 12),
    "integers": (
        integers,
        {"ids": IDS, "x": X, "y": np.zeros((5, 7), "float32"), "n": np.zeros(5, "int64")},
        {"columns": 7},
        5,
    ),
    "inlined": (inlined, {"x": X, "y": np.zeros(12, "float32")}, {"columns": 7}, 12),
    "names": (names, {"x": X[:1], "y": np.zeros(1, "float32")}, {"base": 0.25, "columns": 7}, 1),
    "products": (
        products,
        {"x": X, "w": W, "y": np.zeros((12, 5), "float32")},
        {"columns": 7, "filters": 5},
        12,
    ),
    "transposed": (
        transposed,
        {"x": X, "w": RNG.normal(size=(3, 12)).astype("float32"), "y": np.zeros((7, 3), "float32")},
        {"rows": 12, "columns": 7, "filters": 3},
        1,
    ),
    "exchange": (exchange, {"x": X, "states": np.zeros((2001, 84), "float32")}, {"steps": 2000, "columns": 84}, 84),
    "exchange, few": (exchange, {"x": X[0, :2], "states": np.zeros((9, 2))}, {"steps": 8, "columns": 2}, 2),
}


KINDS = (
    ("same", (0, 1)),
    ("spread", (1, 1)),
    ("spread", (3, 2)),
    ("alike", (1, 1)),
    ("fold", (1, 1)),
    ("within", (0, 1)),
    ("groups", (0, 1)),
)
for kind, spread in KINDS:
    numbers = {"deep": 3, "plane": Plane(12, 7), "spread": spread, "kind": kind}
    CASES[f"tiles, {kind} {spread}"] = (tiles, TILES, numbers, 4)


def copies(arrays, dtype):
    """Contiguous copies; floats of that dtype."""
    return {name: a.astype(dtype if a.dtype.kind == "f" else a.dtype, order="C") for name, a in arrays.items()}


def in_python(function, arrays, numbers, length):
    values = {name: a.reshape(-1) for name, a in arrays.items()}
    scratch = {"scratch": np.empty(1000, "float64")} if "scratch" in function.parameters else {}
    function(**values, start=0, stop=length, **scratch, **numbers)


def in_machine_code(function, arrays, numbers, length, threads):
    slots = tuple((name, a.dtype.name, i) for i, (name, a) in enumerate(arrays.items()))
    task = native.Task(function, slots, tuple(numbers.items()), length, 10**7, 10**7, scratch=1000)
    program = native.program([task], threads)
    assert program.threads == min(threads, 1 if length == 1 else threads)
    program.pointers[:] = [a.ctypes.data for a in arrays.values()]
    program.run()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_machine_code_does_what_python_does(name, dtype, threads):
    function, arrays, numbers, length = CASES[name]
    before = pool.threads()
    pool.set_threads(threads)
    try:
        expected, found = copies(arrays, "float64"), copies(arrays, dtype)
        in_python(function, expected, numbers, length)
        in_machine_code(function, found, numbers, length, threads)
    finally:
        pool.set_threads(before)
    tolerance = {"float32": 2e-5, "float64": 1e-13}[dtype]
    for key in arrays:
        np.testing.assert_allclose(found[key], expected[key], tolerance, tolerance, err_msg=key)


def test_the_python_is_right():
    """Against NumPy, so that the definition itself is no mistake."""
    arrays = copies(CASES["products"][1], "float64")
    in_python(products, arrays, {"columns": 7, "filters": 5}, 12)
    np.testing.assert_allclose(arrays["y"], -(X.astype(float) @ W), rtol=1e-6, atol=1e-6)
    arrays = copies(CASES["transposed"][1], "float64")
    in_python(transposed, arrays, {"rows": 12, "columns": 7, "filters": 3}, 1)
    np.testing.assert_allclose(arrays["y"], arrays["x"].T @ arrays["w"].T, rtol=1e-12)
    arrays = copies(CASES["sums"][1], "float64")
    in_python(sums, arrays, {"columns": 7}, 12)
    np.testing.assert_allclose(arrays["y"], X[:, 1::2].sum(axis=1) + X[:, 1::2].max(axis=1) + 3, rtol=1e-6)


def test_the_python_of_tiles_is_right():
    x, w, y = np.arange(12.0), np.arange(20.0), np.ones(12)
    tile(x, w, y, 4, ((3, 4, 4),), ((4, 1, 4),))
    np.testing.assert_array_equal(y.reshape(3, 4), x.reshape(3, 4) @ w[:16].reshape(4, 4))
    tile(x, w, y, 4, ((3, 4, 4),), ((4, 1, 4),), add=True)
    np.testing.assert_array_equal(y.reshape(3, 4), 2 * (x.reshape(3, 4) @ w[:16].reshape(4, 4)))
    tile(x, w, y, 4, ((3, 4, 4),), ((1, 0, 0),), (2, 2))
    np.testing.assert_array_equal(y.reshape(3, 4), x.reshape(3, 4)[:, [0, 0, 2, 2]] * w[:4])
    tile(x, w[3:], y, 4, ((3, 4, 4),), ((1, 0, 0),), (1, 1), alike=True)
    np.testing.assert_array_equal(y, 3 * x)
    tile(x, w, y, 4, ((3, 4, 1),), ((1, 0, 0),), (1, 1), fold=True)
    np.testing.assert_array_equal(y[:3], x.reshape(3, 4) @ w[:4])
    tile(x, w, y, 4, ((3, 4, 1),), ((1, 0, 0),), (1, 1), add=True, fold=True)
    np.testing.assert_array_equal(y[:3], 2 * (x.reshape(3, 4) @ w[:4]))
    tile(x[:6], w, y, 2, ((3, 2, 4),), ((3, 2, 6), (2, 1, 3)), within=(-2, 6))  # a row with zeros beside it
    row = np.concatenate(([0, 0], x[:6], [0, 0]))
    np.testing.assert_array_equal(y.reshape(3, 4)[:, 0], [row[2 * i : 2 * i + 6] @ w[:18:3] for i in range(3)])
    y[:] = 0
    tile(x, w, y, 2, ((3, 4, 4),), ((4, 1, 4),), groups=(2, 2, 2))
    np.testing.assert_array_equal(y.reshape(3, 4), x.reshape(3, 4) @ w[:16].reshape(4, 4))
    tile(x, w, y, 1, ((3, 4, 4),), ((4, 1, 4),), fold=True, groups=(2, 3, 9))
    np.testing.assert_array_equal(y[::4], x.reshape(3, 4) @ w[:16].reshape(4, 4)[:, [0, 3]].sum(axis=1))


def test_only_what_threads_exchange_may_change_by_others():
    """LLVM would be free to keep what it read before a barrier."""
    text = exchange.text("f", {"x": "float32", "states": "float32"}, {"steps": 2, "columns": 4})
    assert "ptr noalias %x" in text
    assert "ptr %states" in text


def test_inner_loops_become_vectors():
    from tinygrad_edu.kernels import llvm

    text = scale_rows.text("f", {"x": "float32", "factors": "float32", "y": "float32"}, {"columns": 256})
    assert "x float>" in str(llvm._optimise(text, llvm._machine()))


@kernel()
def unknown_statement(x, start, stop):
    while start < stop:
        x[0] = 1.0


@kernel()
def unknown_function(x, start, stop):
    x[0] = sorted(stop)


@kernel()
def unknown_operation(x, start, stop):
    x[0] = x[1] ** 2


@kernel()
def backwards(x, start, stop):
    for i in range(stop, start, -1):
        x[i] = 1.0


@pytest.mark.parametrize(("function", "text"), [
    (unknown_operation, r"kernel unknown_operation: the language has no 'x\[1\] \*\* 2'"),
    (backwards, r"kernel backwards: the language has no 'for i in range\(stop, start, -1\):"),
    (unknown_statement, "kernel unknown_statement: the language has no 'while start < stop:"),
    (unknown_function, r"kernel unknown_function: the language has no 'sorted\(stop\)'"),
])  # fmt: skip
def test_what_the_language_has_not(function, text):
    with pytest.raises(SyntaxError, match=text):
        function.text("f", {"x": "float32"}, {})


@kernel()
def no_integer(x, start, stop):
    count = 0
    if x[0] > 0:
        count = 0.5
    x[1] = count


def test_floats_do_not_become_integers():
    with pytest.raises(TypeError, match="kernel: an integer is due"):
        no_integer.text("f", {"x": "float32"}, {})


def test_arguments_must_fit():
    with pytest.raises(TypeError, match="kernel scale_rows: arguments that do not fit: columns, rows"):
        scale_rows.text("f", {"x": "float32", "factors": "float32", "y": "float32"}, {"rows": 3})


@kernel(writes=("sums",))
def sum_columns(x, sums, start, stop, columns):
    for row in range(start, stop):
        for j in range(columns):
            sums[j] += x[row * columns + j]


@pytest.mark.parametrize("columns", [16, 24, 32, 64])
def test_short_loops_run_in_vectors(columns):
    """LLVM would unroll them first, into single additions."""
    text = sum_columns.text("f", {"x": "float32", "sums": "float32"}, {"columns": columns})
    optimised = str(llvm._optimise(text, llvm._machine()))
    assert re.search(r"fadd [a-z ]*<\d+ x float>", optimised)
    assert not re.search(r"fadd [a-z ]*float %", optimised)


@kernel(writes=("y",))
def remember(x, y, start, stop, scratch, wide, turns):
    """How far what was put into scratch is from that later on; the second number waits twice as long."""
    for i in range(start, stop):
        for j in range(wide):
            scratch[j] = x[i]
        worst = 0.0
        for j in range(wide + (i + 1) * turns):
            worst = max(worst, abs(scratch[j % wide] - x[i]))
        y[i] = worst


def test_scratch_is_of_one_thread_from_step_to_step():
    """A thread that has gone on to a step with more scratch leaves alone what another still needs."""
    before = pool.threads()
    pool.set_threads(2)
    try:
        arrays = [np.array([i + 1.0, i + 2.0]) for i in range(4)]
        numbers = [{"wide": 1000, "turns": 3_000_000}, {"wide": 5000, "turns": 0}]
        tasks = [
            native.Task(remember, (("x", "float64", 2 * i), ("y", "float64", 2 * i + 1)), tuple(n.items()), 2, 10**7, 0)
            for i, n in enumerate(numbers)
        ]
        tasks = [replace(task, scratch=n["wide"]) for task, n in zip(tasks, numbers, strict=True)]
        apart = [(i, 0, 1) for i in range(4)]  # so that no step waits for another
        program = native.program(tasks, 2, apart)
        program.pointers[:] = [a.ctypes.data for a in arrays]
        for _ in range(10):
            program.run()
            assert not arrays[1].any()
            assert not arrays[3].any()
    finally:
        pool.set_threads(before)
