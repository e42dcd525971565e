"""Loops that do the same to several arrays become one launch, and no others do."""

import itertools

import numpy as np
import pytest

from tinygrad_edu.kernels.cuda.launches import Launches
from tinygrad_edu.kernels.cuda.together import MOST, Several, together
from tinygrad_edu.kernels.loops import Builder, Operand
from tinygrad_edu.kernels.native import Launch

pytestmark = pytest.mark.gpu


def scaled(n, factor=2.0, step=1, dtype="float32"):
    """y = x * factor + x"""
    loops = Builder((n,), dtype)
    x = loops.load(Operand(dtype, (step,)))
    loops.store(loops.apply("add", loops.apply("multiply", x, factor), x), Operand(dtype, (1,)))
    return loops.finish()


def placed(*steps):
    return [(Launch(loops, (0, 1)), list(places)) for loops, places in steps]


def at(*kilobytes):
    return [k << 10 for k in kilobytes]


CASES = {
    "the same, of any length": ([(scaled(8), at(0, 1)), (scaled(100), at(2, 3)), (scaled(12), at(4, 5))], [3]),
    "in place": ([(scaled(8), at(0, 0)), (scaled(16), at(1, 1))], [2]),
    "what all read": ([(scaled(8), at(0, 1)), (scaled(8), at(0, 2))], [2]),
    "one reads what the other writes": ([(scaled(8), at(0, 1)), (scaled(8), at(1, 2))], [1, 1]),
    "one writes what the other reads": ([(scaled(8), at(1, 2)), (scaled(8), at(0, 1))], [1, 1]),
    "both write": ([(scaled(8), at(1, 2)), (scaled(8), at(3, 2))], [1, 1]),
    "the last byte": ([(scaled(256), at(0, 1)), (scaled(8), [3 << 10, (2 << 10) - 4])], [1, 1]),
    "just behind": ([(scaled(256), at(0, 1)), (scaled(8), at(4, 2))], [2]),
    "other steps": ([(scaled(8), at(0, 1)), (scaled(8, 3.0), at(2, 3))], [1, 1]),
    "other dtypes": ([(scaled(8), at(0, 1)), (scaled(8, dtype="float64"), at(2, 3))], [1, 1]),
    "other strides": ([(scaled(8), at(0, 1)), (scaled(8, step=0), at(2, 3))], [1, 1]),
    "vectors and single numbers": ([(scaled(8), at(0, 1)), (scaled(7), at(2, 3)), (scaled(4), at(4, 5))], [2, 1]),
    "not by neighbours": ([(scaled(8, step=2), at(0, 1)), (scaled(8, step=2), at(2, 3))], [1, 1]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_one_launch(case):
    steps, expected = CASES[case]
    found = together(placed(*steps))
    assert [len(step.lengths) if isinstance(step, Several) else 1 for step, _ in found] == expected
    chain = itertools.chain.from_iterable
    assert sorted(chain(places for _, places in found)) == sorted(chain(places for _, places in steps))


def test_no_launch_has_too_many_parameters():
    steps = placed(*((scaled(8), at(2 * i, 2 * i + 1)) for i in range(MOST)))
    lengths = [len(step.lengths) for step, _ in together(steps)]
    assert max(lengths) == MOST // 2
    assert sum(lengths) == MOST


@pytest.mark.parametrize("lengths", [(1, 5, 1025), (4, 1024, 2048, 100_000), (8, 7, 4, 257, 1)], ids=str)
def test_the_launches_compute(lengths):
    import cupy

    rng = np.random.default_rng(len(lengths))
    xs = [rng.standard_normal(n).astype("float32") for n in lengths]
    arrays = [cupy.asarray(x) for x in xs] + [cupy.zeros(n, "float32") for n in lengths]
    steps = [Launch(scaled(n), (i, i + len(xs))) for i, n in enumerate(lengths)]
    launches = Launches(steps, len(arrays), [])
    launches.pointers[:] = [a.data.ptr for a in arrays]
    launches.run()
    for x, y in zip(xs, arrays[len(xs) :], strict=True):
        np.testing.assert_array_equal(y.get(), x * np.float32(2) + x)
