"""Every operation on CUDA gives what it gives on the CPU, forward and backward.

Under the emulator one float32 sample an operation, because each new kernel takes time to compile; on a GPU every
sample, and so under the emulator when TINYGRAD_EDU_ALL_SAMPLES is set.
"""

import os
import sys

import numpy
import pytest
from op_cases import ROWS, assert_near, gradients, numbers, outputs, tensors, title

import tinygrad_edu as tg
from tinygrad_edu import Generator, Tensor
from tinygrad_edu.ops import creation

pytestmark = pytest.mark.gpu


def chosen(row):
    """(sample, dtype) pairs to compare."""
    if "emugpu" not in sys.modules or "TINYGRAD_EDU_ALL_SAMPLES" in os.environ:
        return [(number, dtype) for number in numbers(row) for dtype in ("float32", "float64")]
    return [(max(numbers(row), key=lambda n: (row.sample_order(n), row.samples[n].cost > 0, -n)), "float32")]


@pytest.mark.parametrize("row", ROWS)
def test_cuda_equals_the_cpu(row):
    import cupy

    for number, dtype in chosen(row):
        where = title(row, number)
        host, device = row.arrays(number, dtype), row.arrays(number, dtype, move=cupy.asarray)
        expected = outputs(row.call(number, tensors(host)))
        with tg.use_device("cuda"):
            found = outputs(row.call(number, tensors(device)))
        for y, z in zip(found, expected, strict=True):
            assert type(y) is Tensor, where
            assert str(y.device) == "cuda:0", where
            assert y.dtype == z.dtype, f"{where}: {y.dtype} instead of {z.dtype}"
            assert_near(y, z.data, 4 * row.slack, where)
        if row.sample_order(number):
            on_cpu = gradients(row, number, host, create_graph=True)
            with tg.use_device("cuda"):
                plain, _ = gradients(row, number, device)
                on_cuda = gradients(row, number, device, create_graph=True)
            for gs, hs in ((plain, on_cpu[0]), *zip(on_cuda, on_cpu, strict=True)):
                for g, h in zip(gs, hs, strict=True):
                    assert str(g.device) == "cuda:0", where
                    assert g.dtype == h.dtype, f"{where}: {g.dtype} instead of {h.dtype}"
                    assert_near(g, h.data, 16 * row.slack, f"{where}: gradient")
        for a, b in zip(device, host, strict=True):
            assert numpy.array_equal(a.get(), b, equal_nan=b.dtype.kind == "f"), f"{where}: an input was changed"


def test_moving_is_differentiable():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x.to("cuda") * x.to("cuda")).to("cpu")
    assert str(y.device) == "cpu"
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert str(x.grad.device) == "cpu"
    assert tg.hessian(lambda t: (t.to("cuda") ** 3).sum().to("cpu"))(x.detach()).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert x.to("cpu") is x


def test_host_keys_index_tensors_on_cuda():
    x = tg.arange(6.0, device="cuda").reshape(2, 3)
    assert x[:, numpy.array([2, 0])].tolist() == x[:, [2, 0]].tolist() == [[2.0, 0.0], [5.0, 3.0]]
    assert x[numpy.array([True, False])].tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, ids: x[ids],
        lambda x, ids: tg.take(x, ids),
        lambda x, ids: tg.embedding(x.reshape(3, 1), ids),
        lambda x, ids: tg.one_hot(ids, 3),
        lambda x, ids: tg.scatter_add(x, ids, 1.0),
        lambda x, ids: tg.index_put(x, ids, 1.0),
        lambda x, ids: tg.cross_entropy(tg.ones((2, 3), device="cuda"), ids),
    ],
)
@pytest.mark.parametrize("bad", [3, -4])
def test_indices_out_of_bounds_raise_although_cupy_wraps_them(call, bad):
    x, ids = tg.ones((3,), device="cuda"), tg.tensor([0, bad], device="cuda")
    with pytest.raises(IndexError, match=f"expected indices from .*, received {bad}"):
        call(x, ids)


def test_scalars_stay_weak_on_cuda():
    x = tg.ones((2,), device="cuda")
    for value in (2, 2.0, numpy.float64(2.0), numpy.array(2.0)):
        for y in (
            x * value,
            value * x,
            x / value,
            value - x,
            x**value,
            tg.maximum(x, value),
            tg.where(x > 0, x, value),
        ):
            assert y.dtype == "float32"
            assert str(y.device) == "cuda:0"


MADE = {
    "full": lambda device: tg.full((2,), 1.0, device=device),
    "eye": lambda device: tg.eye(2, device=device),
    "arange": lambda device: tg.arange(3, device=device),
    "linspace": lambda device: tg.linspace(0, 1, 3, device=device),
    "uniform": lambda device: tg.uniform((2,), device=device),
    "normal": lambda device: tg.normal((2,), device=device),
    "integers": lambda device: tg.integers((2,), 0, 5, device=device),
    "permutation": lambda device: tg.permutation(3, device=device),
    "keep_mask": lambda device: creation.keep_mask(shape=(2,), rate=0.5, dtype="float32", device=device),
}


@pytest.mark.parametrize("name", MADE)
def test_new_tensors_are_computed_on_their_device(name, monkeypatch):
    import cupy

    inside, computed = [], []
    real = cupy.cuda.Device

    class Spy:
        """Of the second device, although there may be one only."""

        def __init__(self, index):
            assert index == 1

        def __enter__(self):
            inside.append(real(0).__enter__())

        def __exit__(self, *error):
            inside.pop().__exit__(*error)

    def note(function):
        def noted(*args, **keywords):
            computed.append(bool(inside))
            return function(*args, **keywords)

        return noted

    monkeypatch.setattr(cupy.cuda, "Device", Spy)
    for function in ("full", "eye", "arange", "linspace"):
        monkeypatch.setattr(cupy, function, note(getattr(cupy, function)))
    monkeypatch.setattr(Generator, "_begin", note(Generator._begin))
    MADE[name](tg.Device("cuda", 1))
    assert computed == [True]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, ids: tg.embedding(x, ids),
        lambda x, ids: tg.take(x, ids, axis=0),
        lambda x, ids: tg.take_along_axis(x, ids[:, None], 0),
        lambda x, ids: tg.one_hot(ids, 3),
    ],
)
def test_indices_are_checked_once(call):
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts what is read back")
    x, ids = tg.ones((3, 1), device="cuda"), tg.tensor([0, 2], device="cuda")
    with emugpu.count_launches() as launches:
        call(x, ids)
    assert len(launches.device_to_host) == 1
