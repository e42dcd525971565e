"""Copies on CUDA against NumPy, bit for bit: layouts, dtypes, one axis to four; and kernels on parts of arrays."""

import ctypes
import inspect
import math

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.autograd.primitive import primitives
from tinygrad_edu.kernels.cuda import recipes
from tinygrad_edu.ops.indexing import _Slice

pytestmark = pytest.mark.gpu

ALL = _Slice((None, None, None))
DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]
LAYOUTS = {
    "in order": lambda a: a,
    "turned": lambda a: np.ascontiguousarray(a.T).T,
    "backward": lambda a: a[::-1, ..., ::-1].copy()[::-1, ..., ::-1],
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "repeated": lambda a: np.broadcast_to(a[:1], a.shape),
}
TRIED = [  # a primitive, the shapes of its arrays, and its attributes
    ("_reshape", [(3, 4, 5)], {"shape": (5, 12)}),
    ("_reshape", [(40, 33)], {"shape": (1320,)}),
    ("_pad", [(3, 5)], {"widths": ((1, 2), (0, 3)), "value": 2.5}),
    ("_pad", [(2, 3, 4)], {"widths": ((0, 0), (1, 1), (2, 0)), "value": -math.inf}),
    ("_pad", [(2, 3)], {"widths": ((0, 0), (0, 0)), "value": math.nan}),
    ("_basic_scatter", [(2, 3)], {"key": (ALL, -1), "shape": (2, 4, 3)}),
    ("_basic_scatter", [(2, 3)], {"key": (1, ALL, 0), "shape": (2, 2, 5, 3)}),
    ("_basic_scatter", [(3, 1, 2)], {"key": (ALL, None, _Slice((5, None, -3))), "shape": (3, 6)}),
    ("_basic_scatter", [(2, 4)], {"key": (_Slice((1, 5, 2)),), "shape": (6, 4)}),
    ("_basic_scatter", [(6, 4)], {"key": (_Slice((None, None, -1)),), "shape": (6, 4)}),
    ("_concatenate", [(2, 3), (2, 1), (2, 4)], {"axis": 1}),
    ("_concatenate", [(2, 3), (5, 3)], {"axis": 0}),
    ("_concatenate", [(2, 1, 3), (2, 4, 3)], {"axis": 1}),
    ("stack", [(2, 3)] * 3, {"axis": 0}),
    ("stack", [(2, 3)] * 3, {"axis": 1}),
    ("stack", [(2, 3)] * 2, {"axis": 2}),
]


def numbers(rng, shape, dtype):
    found = rng.integers(0, 2 if dtype == "bool" else 200, shape).astype(dtype)
    if found.dtype.kind == "f":
        found[rng.random(shape) < 0.2] = rng.choice([math.nan, math.inf, -0.0])
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "shapes", "attributes"), TRIED, ids=str)
def test_copies(name, shapes, attributes, layout):
    rng = np.random.default_rng(len(shapes))
    floats = name == "_pad" or layout != "in order"
    for dtype in DTYPES[:2] if floats else DTYPES:
        arrays = [LAYOUTS[layout](numbers(rng, shape, dtype)) for shape in shapes]
        views = [moved(a) for a in arrays]
        assert [a.strides for a in views] == [a.strides for a in arrays]
        (found,) = recipes.run(recipes.RECORDED[name], views, attributes)
        expected = inspect.unwrap(primitives[name].forward)(np, *arrays, **attributes)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found.get().view("uint8"), np.ascontiguousarray(expected).view("uint8"))


def moved(a):
    """The array on the device, lying there as it does here."""
    import cupy

    low, high = np.lib.array_utils.byte_bounds(a)
    whole = cupy.asarray(np.frombuffer(ctypes.string_at(low, high - low), "uint8"))
    return cupy.ndarray(a.shape, a.dtype, whole.data + (a.ctypes.data - low), a.strides)


def test_what_is_not_copied():
    import cupy

    a = cupy.zeros((2, 3), "float16")
    assert recipes.run("copies.reshaped", [a], {"shape": (6,)}) is None
    assert recipes.run("copies.stacked", [a.astype("float32"), a.astype("float64")], {"axis": 0}) is None
    assert recipes.run("copies.padded", [a.astype("int64")], {"widths": ((0, 0), (1, 1)), "value": 0.5}) is None


def test_recorded_steps_copy_parts_for_kernels():
    """The numbers of rows are a column of the batch, the first state is every other row of another array."""
    rng = np.random.default_rng(0)
    ids, table, g = rng.integers(0, 7, (6, 2)), rng.normal(size=(7, 3)), rng.normal(size=(6, 3))
    table = tg.tensor(table, device="cuda", requires_grad=True)

    @tg.jit
    def step(ids, g):
        tg.take(table, ids[:, 1], axis=0).backward(g.T)
        found, table.grad = table.grad, None
        return found

    for turn in range(3):
        found = step(tg.tensor(ids, device="cuda"), tg.tensor(np.ascontiguousarray(g.T) * turn, device="cuda"))
        expected = np.zeros((7, 3))
        np.add.at(expected, ids[:, 1], g * turn)
        np.testing.assert_allclose(found.to("cpu").numpy(), expected, 1e-13, 1e-13)
    plan = step.plans[0].replay
    assert plan.graph is not None
    assert not any(plan.is_python(unit) for unit in plan.fusion.units)
