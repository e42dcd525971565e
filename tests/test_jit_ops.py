"""Every operation of the table under jit: values, gradients and second gradients are those of eager mode, in the first
call and in a replay with other numbers; bit for bit without fusion, up to rounding with it."""

import numpy
import pytest
from op_cases import DIFFERENTIABLE, ROWS, assert_near, gradients, numbers, outputs, tensors, title

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.jit import unset
from tinygrad_edu.optable.sample import fill
from tinygrad_edu.tree import leaves


def versions(row, number):
    """The arrays of a sample in float32, and others of the same kind and layout with other numbers."""
    middle = numpy.float32(sum(row.domain) / 2)

    def moved(a):
        return a * numpy.float32(63 / 64) + middle / 64 if a.dtype.kind == "f" else a

    return row.arrays(number, "float32"), row.arrays(number, "float32", moved)


def has_mask(row, arrays):
    """Whether a boolean array is an index, so that the result's shape depends on its values."""
    return row.name in ("getitem", "index_put", "scatter_add") and any(a.dtype.kind == "b" for a in arrays[1:])


def assert_same(found, expected, where, fuse):
    assert len(found) == len(expected), where
    for a, b in zip(found, expected, strict=True):
        a, b = numpy.asarray(a), numpy.asarray(b)
        assert a.dtype == b.dtype, f"{where}: {a.dtype} instead of {b.dtype}"
        if fuse:
            assert_near(a, b, 100, where)
        else:
            numpy.testing.assert_array_equal(a, b, err_msg=where)


def compare(row, number, compute, fuse):
    """`compute(arrays)`, which returns a list of arrays, eager and under jit."""
    if any(not a.ndim for a in row.arrays(number)):
        pytest.skip("0-d arrays are numbers to jit") if len(numbers(row)) == 1 else None
        return
    step = tg.jit(lambda *arrays: compute(arrays), fuse=fuse)
    first, second = versions(row, number)
    if has_mask(row, first):
        with pytest.raises(tg.TraceError, match="no shape that depends on traced values"):
            step(*first)
        return
    for arrays in (first, second, first):
        tg.seed(5)
        with numpy.errstate(all="ignore"):
            expected = compute(arrays)
            tg.seed(5)
            found = step(*arrays)
        assert_same(found, expected, title(row, number), fuse)
    assert len(step.plans) == 1


def raw(results):
    return [None if t is None else t.detach().data if isinstance(t, Tensor) else t for t in results]


def some(samples, fuse):
    """Those to try: with fusion a few, for each is compiled."""
    return samples[:: max(1, len(samples) // 3)] if fuse else samples


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("fuse", [False, True], ids=["one by one", "fused"])
def test_values(row, fuse):
    for number in some(numbers(row), fuse):
        sample = row.samples[number]

        def compute(arrays, sample=sample):
            result = row.function(*fill(sample.args, iter(tensors(arrays))), **sample.keywords)
            return raw(outputs(result))

        compare(row, number, compute, fuse)


@pytest.mark.parametrize("row", DIFFERENTIABLE)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fuse", [False, True], ids=["one by one", "fused"])
def test_gradients(row, order, fuse):
    if row.random:
        pytest.skip("draws are seeded inside of the call, which a trace refuses")
    for number in some(numbers(row, order), fuse):

        def compute(arrays, number=number):
            first, second = gradients(row, number, arrays, create_graph=order == 2)
            return raw([*first, *(second or ())])

        compare(row, number, compute, fuse)


@pytest.mark.parametrize("compiled", [True, False])
def test_parts_of_a_split_in_loops(compiled, monkeypatch):
    """The parts are views that no call of their own makes, here of a product, and of the result of a Python call."""
    if not compiled:
        monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")

    def compute(x, w):
        found = []
        for a in (x @ w, tg.tensor(x).cumsum(axis=0)):
            first, second = tg.split(a, 2, axis=1)
            found.append(tg.tanh(first) * second)
            found.append(tg.exp(second.reshape(2, -1)))
        return raw(found)

    random = numpy.random.default_rng(0)
    arrays = random.normal(size=(4, 6)).astype("float32"), random.normal(size=(6, 8)).astype("float32")
    step = tg.jit(compute)
    for _ in range(2):
        assert_same(step(*arrays), compute(*arrays), "split", fuse=True)


def layout(array):
    """All but the strides that no element is reached by."""
    if array is None:
        return None
    return array.shape, array.dtype, [step for n, step in zip(array.shape, array.strides, strict=True) if n > 1]


@pytest.mark.parametrize("row", ROWS)
def test_layouts_without_values(row, monkeypatch):
    """What a recording takes for the results of calls that it does not compute lies in memory as they do."""
    monkeypatch.setattr(unset, "LARGE", 0)
    guess = unset.unset

    def checked(primitive, operands, attributes):
        found = guess(primitive, operands, attributes)
        if found is not None:
            with numpy.errstate(all="ignore"):
                expected = primitive.forward(numpy, *operands, **attributes)
            for a, b in zip(leaves(found), leaves(expected), strict=True):
                assert layout(a) == layout(b), f"{title(row, number)}: {primitive.label}"
        return found

    monkeypatch.setattr(unset, "unset", checked)
    for number in some(numbers(row), fuse=True):
        arrays = row.arrays(number, "float32")
        if any(not a.ndim for a in arrays) or has_mask(row, arrays):
            continue

        def compute(*arrays, number=number):
            if row.sample_order(number) and not row.random:
                return raw(gradients(row, number, arrays)[0])
            sample = row.samples[number]
            return raw(outputs(row.function(*fill(sample.args, iter(tensors(arrays))), **sample.keywords)))

        with numpy.errstate(all="ignore"):
            tg.jit(compute, fuse=False)(*arrays)
