"""Devices, random numbers, memory, and the thread-local defaults."""

import contextlib
import itertools
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import tinygrad_edu as tg
from tinygrad_edu import backend
from tinygrad_edu.backend import devices, sum_over
from tinygrad_edu.backend.random import KEYED, philox_words

CPU = tg.device("cpu")
GOLDEN = {
    "bits": [3736820870, 1905878514, 738130592],
    "uniform": [0.4048713445663452, 0.02498757839202881, 0.6653652191162109],
    "normal": [0.8321459459008791, -0.052059589433573625, 1.0764955074703617],
    "integers": [465, 86, 357, 38, 448],
    "permutation": [6, 5, 3, 4, 1, 0, 2, 7],
}
SIGNIFICANT = 1e-4  # the seeds are fixed, so a test below fails only if the numbers change


@pytest.fixture
def generator():
    return tg.Generator(seed=2024)


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(devices, "cuda_status", lambda: (False, "there is none in this test"))


# Memory


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, [(-3, 1 << 25), (-1, 1 << 30)]), ({"TINYGRAD_EDU_MALLOC": "0"}, []), ({"MALLOC_TRIM_THRESHOLD_": "1"}, [])],
)
def test_freed_memory_is_kept(monkeypatch, variables, expected):
    for name in ("TINYGRAD_EDU_MALLOC", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    calls = []
    library = SimpleNamespace(mallopt=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    backend.keep_freed_memory()
    assert calls == (expected if os.name == "posix" else [])
    del library.mallopt
    backend.keep_freed_memory()  # another C library


# Devices


def test_device_names():
    assert tg.device("cpu") is CPU
    assert tg.device(CPU) is CPU
    assert (str(CPU), str(tg.Device("cuda")), str(tg.Device("cuda", 1))) == ("cpu", "cuda:0", "cuda:1")
    assert tg.Device("cuda") == tg.Device("cuda", 0) != tg.Device("cuda", 1)
    assert CPU.xp is np


@pytest.mark.parametrize(
    "name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:1.0", "cpu:0", "CPU", "cuda0", 3, None]
)
def test_unknown_device_names(name):
    with pytest.raises(ValueError, match=r"device: expected 'cpu', 'cuda', 'cuda:N' or 'auto', received "):
        tg.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_cuda_that_cannot_be_used(name, no_cuda):
    with pytest.raises(
        tg.DeviceError, match=r"received none: there is none in this test\. Hint: tinygrad-edu doctor tells more"
    ):
        tg.device(name)


@pytest.mark.parametrize("works", [False, True])
def test_auto_says_once_why(works, monkeypatch, capsys):
    monkeypatch.setattr(devices, "cuda_status", lambda: (works, "a reason"))
    devices._automatic.cache_clear()
    try:
        chosen = {tg.device("auto") for _ in range(3)}
    finally:
        devices._automatic.cache_clear()
    assert chosen == {tg.Device("cuda") if works else CPU}
    printed = capsys.readouterr()
    assert printed.err == f"tinygrad_edu: device 'auto' is {'cuda:0' if works else 'cpu'}: a reason\n"
    assert printed.out == ""


def test_cuda_status_gives_a_reason_in_words():
    works, reason = backend.cuda_status()
    assert "CuPy" in reason
    assert works or "pip install" in reason or "driver" in reason or "failed" in reason


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise ImportError('no cupy')", "CuPy cannot be imported (no cupy); pip install"),
        ("class cuda:\n    is_available = staticmethod(lambda: False)", "sees no CUDA device"),
        (
            "class cuda:\n    is_available = staticmethod(lambda: True)\ndef ones(*a, **k): raise OSError('libnvrtc')",
            "a 2x2 product failed: OSError: libnvrtc",
        ),
        (
            "import numpy\nclass cuda:\n    is_available = staticmethod(lambda: True)\nones = numpy.zeros",
            "computed 0.0 where a 2x2 product sums to 8.0",
        ),
    ],
    ids=["absent", "no driver", "broken", "wrong"],
)
def test_cuda_is_tried_not_just_imported(fault, reason, tmp_path):
    (tmp_path / "cupy.py").write_text(fault)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tinygrad_edu.backend import cuda_status; "
    code += "print(cuda_status())"
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=Path(tg.__file__).parents[1], text=True)
    assert printed.startswith("(False, ")
    assert reason in printed


def test_arrays_know_their_device():
    array = np.ones(2)
    assert backend.array_module(1.0, array) is np
    assert backend.device_of(array) is CPU
    assert backend.to_device(array, CPU) is array
    assert backend.to_host(array) is array


def test_synchronize_and_memory_on_the_cpu():
    tg.synchronize()
    tg.synchronize("cpu")
    before = tg.memory_in_use("cpu")
    held = np.ones(16 * 2**20)
    assert held.nbytes / 2 < tg.memory_in_use() - before < 2 * held.nbytes


@pytest.mark.gpu
def test_cuda_device():
    import cupy

    cuda = tg.device("cuda")
    assert str(cuda) == "cuda:0"
    assert cuda.xp is cupy
    assert tg.device("cuda:0") == cuda
    with pytest.raises(tg.DeviceError, match=r"expected a CUDA device below \d+, received 'cuda:99'"):
        tg.device("cuda:99")
    with tg.use_device("cuda"):
        assert tg.zeros((2,)).device == tg.tensor([1.0]).device == cuda
        tg.synchronize()


@pytest.mark.gpu
def test_moving_arrays_and_memory_in_use_on_cuda():
    cuda = tg.device("cuda")
    tg.synchronize("cuda")
    before = tg.memory_in_use("cuda")
    array = np.arange(2**18, dtype=np.float32)
    there = backend.to_device(array, cuda)
    assert backend.array_module(array, there) is cuda.xp
    assert backend.device_of(there) == cuda
    assert backend.to_device(there, cuda) is there
    np.testing.assert_array_equal(backend.to_host(there), array)
    assert tg.memory_in_use("cuda") - before == array.nbytes
    del there
    assert tg.memory_in_use("cuda") == before


@pytest.mark.gpu
def test_gradients_come_back_to_the_device_they_started_from():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda") * 3.0
    assert (x.to("cpu") is x, y.device) == (True, tg.device("cuda"))
    y.sum().backward()
    assert x.grad.device == CPU
    assert x.grad.tolist() == [3.0, 3.0]
    assert tg.grad(lambda x: (x.to("cuda").to("cpu") ** 3).sum())(x.detach()).tolist() == [3.0, 12.0]


@pytest.mark.gpu
def test_mixed_devices_raise():
    x, y = tg.ones((2, 2)), tg.ones((2, 2), device="cuda")
    for operation in (tg.add, tg.matmul, lambda a, b: tg.where(a > 0, a, b), lambda a, b: tg.concatenate([a, b])):
        with pytest.raises(tg.DeviceError, match=r"on cpu .*on cuda:0.*\.to\(device\)"):
            operation(x, y)
    with pytest.raises(tg.DeviceError, match=r"assign_: expected a value on cuda:0, received one on cpu"):
        y.assign_(x)
    with pytest.raises(tg.DeviceError, match=r"call \.to\('cpu'\) first"):
        np.asarray(y)
    assert y.numpy().tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert "device='cuda:0'" in repr(y)


# Defaults of the thread


def test_use_dtype():
    assert tg.default_dtype() == np.float32
    with tg.use_dtype("float64"):
        assert tg.default_dtype() == tg.tensor([1.0]).dtype == tg.zeros((2,)).dtype == np.float64
        with tg.use_dtype(np.float16):
            assert tg.exp(tg.tensor([1])).dtype == np.float16
        assert tg.default_dtype() == np.float64
    assert tg.default_dtype() == np.float32


def test_use_dtype_for_good_and_after_an_error():
    def inside():
        raise KeyError

    switch = tg.use_dtype("float64")
    assert tg.tensor(1.0).dtype == np.float64
    with pytest.raises(KeyError), tg.use_dtype("float16"):
        inside()
    assert tg.default_dtype() == np.float64
    switch.__exit__(None, None, None)
    assert tg.default_dtype() == np.float32


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "float128"])
def test_use_dtype_refuses_what_is_no_float(dtype):
    with pytest.raises(ValueError, match=f"use_dtype: expected float16, float32 or float64, received '{dtype}'"):
        tg.use_dtype(dtype)


def test_use_device():
    assert tg.default_device() == CPU
    with tg.use_device("cpu"):
        assert tg.default_device() == CPU
    with pytest.raises(ValueError, match="device: expected"):
        tg.use_device("abacus")
    assert tg.default_device() == CPU


def test_defaults_belong_to_their_thread():
    seen = []
    with tg.use_dtype("float64"), tg.no_grad():
        thread = threading.Thread(
            target=lambda: seen.append((tg.default_dtype(), (tg.tensor(1.0, requires_grad=True) * 2).requires_grad))
        )
        thread.start()
        thread.join()
    assert seen == [(np.dtype("float32"), True)]


# Random numbers


def reference_words(blocks, seed, stream, offset):
    """NumPy's Philox, its key and counter given as whole integers."""
    return np.random.Philox(key=seed + (stream << 64), counter=offset).random_raw(4 * blocks)


KEYS = [(0, 0, 0), (7, 3, 10), (2**63 + 1, 0, 0), (2**64 - 1, 2**63, 2**64 - 2)]


@pytest.mark.parametrize("key", KEYS)
def test_words_are_philox(key):
    np.testing.assert_array_equal(philox_words(5, *key, CPU), reference_words(5, *key))


def test_a_known_answer():
    # The first vector of the published test file of Random123 (philox4x64-10, all ones), reached by counter + 1.
    ones = 2**64 - 1
    words = np.random.Philox(key=[ones, ones], counter=[ones - 1, ones, ones, ones]).random_raw(4)
    expected = [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]
    assert words.tolist() == expected


def test_golden_numbers():
    """A change here moves every seed, golden file and resumed run of every user."""
    generator = tg.Generator(seed=42, stream=1)
    assert generator.bits((3,)).tolist() == GOLDEN["bits"]
    assert generator.uniform((3,)).tolist() == GOLDEN["uniform"]
    assert generator.normal((3,), dtype="float64").tolist() == pytest.approx(GOLDEN["normal"], rel=1e-14)
    assert generator.integers((5,), 0, 1000).tolist() == GOLDEN["integers"]
    assert generator.permutation(8).tolist() == GOLDEN["permutation"]
    assert generator.state == (42, 1, 7)


def keyed_draw(generator, *keys):
    """Of words inside blocks of these keys, the outermost first."""
    with contextlib.ExitStack() as blocks:
        for key in keys:
            blocks.enter_context(generator.keyed(key))
        return generator.words(4, CPU).tolist()


def test_keyed_draws_depend_on_the_key_and_the_offset():
    for seed, blocks in ((0, 0), (1, 0), (1, 3)):
        generator = tg.Generator(seed)
        generator.words(4 * blocks, CPU)
        assert keyed_draw(generator, 7) == philox_words(1, 7, KEYED, blocks, CPU).tolist()
        assert generator.state == (seed, 0, blocks + 1)
        assert generator.words(4, CPU).tolist() == philox_words(1, seed, 0, blocks + 1, CPU).tolist()


def test_nested_keys():
    expected = {key: keyed_draw(tg.Generator(), key) for key in (7, 8, None)}
    assert expected[None] == tg.Generator().words(4, CPU).tolist()
    assert keyed_draw(tg.Generator(), 7, 8) == expected[8]
    assert keyed_draw(tg.Generator(), 7, None) == expected[7]  # None changes nothing
    generator = tg.Generator()
    with generator.keyed(7):
        for inner in (8, None):
            with pytest.raises(KeyError), generator.keyed(inner):
                raise KeyError
        assert generator.words(4, CPU).tolist() == expected[7]  # and the outer key comes back


@pytest.mark.parametrize("key", [1.5, -1, 2**64, "a", True])
def test_wrong_keys(key):
    expected = r"Generator: expected seed to be an integer from 0 to 2\*\*64 - 1"
    with pytest.raises(ValueError, match=expected), tg.Generator().keyed(key):
        pass


def test_draws_follow_the_words():
    """Uniforms are the upper 24 of 32 bits, normals Box and Muller's of two halves, each from whole blocks of words."""
    words = tg.Generator(5).words(8, CPU)
    bits = words.view(np.uint32)
    np.testing.assert_array_equal(tg.Generator(5).bits((2, 5)), bits[:10].reshape(2, 5))
    unit = (bits >> 8) / 2.0**24
    np.testing.assert_array_equal(tg.Generator(5).uniform((11,), dtype="float64"), unit[:11])
    radius = np.sqrt(-2 * np.log(unit[:4] + 2.0**-24))
    both = np.concatenate([radius * np.cos(2 * np.pi * unit[4:8]), radius * np.sin(2 * np.pi * unit[4:8])])
    np.testing.assert_allclose(tg.Generator(5).normal((7,), dtype="float64"), both[:7], rtol=1e-12, atol=1e-14)


def test_uniform_distribution(generator):
    x = generator.uniform((100_000,))
    assert x.dtype == np.float32
    assert x.min() >= 0.0
    assert x.max() < 1.0
    assert stats.kstest(x, "uniform").pvalue > SIGNIFICANT
    y = generator.uniform((100, 1000), -3.0, 5.0, dtype="float64")
    assert (y.shape, y.dtype) == ((100, 1000), np.float64)
    assert stats.kstest(y.ravel(), "uniform", args=(-3.0, 8.0)).pvalue > SIGNIFICANT
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.015


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 2.0), (-1.0, 0.0), (100.0, 100.5)])
def test_uniform_never_reaches_its_upper_end(dtype, low, high, generator, monkeypatch):
    largest = np.full((4,), 2**32 - 1, dtype=np.uint32)
    monkeypatch.setattr(tg.Generator, "bits", lambda self, shape, device=None: largest)
    x = generator.uniform((4,), low, high, dtype=dtype)
    assert x.dtype == dtype
    assert (x < high).all()
    assert (x >= low).all()


def test_normal_distribution(generator):
    x = generator.normal((100_001,), dtype="float64")
    assert stats.kstest(x, "norm").pvalue > SIGNIFICANT
    assert x.mean() == pytest.approx(0, abs=0.02)
    assert x.std() == pytest.approx(1, abs=0.02)
    assert stats.skew(x) == pytest.approx(0, abs=0.05)
    assert stats.kurtosis(x) == pytest.approx(0, abs=0.1)
    assert abs(x).max() < 5.8
    y = generator.normal((1000, 100), mean=4.0, std=0.5)
    assert (y.shape, y.dtype) == ((1000, 100), np.float32)
    assert stats.kstest(y.ravel(), "norm", args=(4.0, 0.5)).pvalue > SIGNIFICANT


def test_integers(generator):
    x = generator.integers((60_000,), -2, 4)
    assert x.dtype == np.int64
    assert stats.chisquare(np.bincount(x + 2, minlength=6)).pvalue > SIGNIFICANT
    assert set(x.tolist()) == set(range(-2, 4))
    assert generator.integers((3,), 5, 6).tolist() == [5, 5, 5]
    large = generator.integers((1000,), -(2**62), 2**62)
    assert large.min() < -(2**61)
    assert large.max() > 2**61


def test_permutation(generator):
    assert sorted(generator.permutation(1000).tolist()) == list(range(1000))
    assert generator.permutation(0).tolist() == []
    assert generator.permutation(1).tolist() == [0]
    counts = np.zeros(24)
    for _ in range(4800):
        counts[_rank(generator.permutation(4))] += 1
    assert stats.chisquare(counts).pvalue > SIGNIFICANT


def _rank(permutation):
    """The number of a permutation of four, from 0 to 23."""
    left, rank = list(range(4)), 0
    for value in permutation:
        rank = rank * len(left) + left.index(value)
        left.remove(value)
    return rank


def test_bits(generator):
    x = generator.bits((50_000,))
    assert x.dtype == np.uint32
    ones = np.unpackbits(x.view(np.uint8)).reshape(-1, 32).sum(axis=0)
    assert abs(ones / len(x) - 0.5).max() < 0.012


def test_empty_and_0d_draws(generator):
    assert generator.uniform((0, 3)).shape == (0, 3)
    assert generator.normal((0,)).shape == (0,)
    assert generator.uniform(()).shape == generator.normal(()).shape == ()


def test_seed_and_streams():
    assert tg.Generator(1).uniform((4,)).tolist() == tg.Generator(1).uniform((4,)).tolist()
    assert tg.Generator(1).uniform((4,)).tolist() != tg.Generator(2).uniform((4,)).tolist()
    assert tg.Generator(1, stream=1).uniform((4,)).tolist() != tg.Generator(1, stream=2).uniform((4,)).tolist()
    assert tg.Generator(np.int64(1)).state == (1, 0, 0)


def test_seed_of_the_package():
    def draws():
        return [
            tg.uniform((3,)).tolist(),
            tg.normal((3,)).tolist(),
            tg.integers((3,), 0, 100).tolist(),
            tg.permutation(5).tolist(),
            tg.dropout(tg.ones((20,)), 0.5).tolist(),
        ]

    tg.seed(11)
    first = draws()
    second = draws()
    tg.seed(11)
    assert draws() == first != second


def test_state(generator):
    generator.uniform((5,))
    state = generator.state
    assert state == (2024, 0, 1)
    expected = generator.normal((9,)).tolist()
    generator.state = state
    assert generator.normal((9,)).tolist() == expected


def test_threads_share_a_generator_without_drawing_twice(generator):
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: generator.bits((64,)).tobytes(), range(400)))
    one_by_one = tg.Generator(2024)
    assert sorted(drawn) == sorted(one_by_one.bits((64,)).tobytes() for _ in range(400))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None, True])
def test_bad_seeds(seed):
    with pytest.raises(ValueError, match=r"Generator: expected seed to be an integer from 0 to 2\*\*64 - 1, received"):
        tg.Generator(seed)
    with pytest.raises(ValueError, match="expected seed"):
        tg.seed(seed)
    with pytest.raises(ValueError, match="expected stream"):
        tg.Generator(0, stream=seed)


def test_bad_arguments_of_draws():
    with pytest.raises(ValueError, match=r"integers: expected low < high, .*, received low=3, high=3"):
        tg.integers((2,), 3, 3)
    with pytest.raises(ValueError, match=r"uniform: expected low <= high, received low=1.0, high=0.5"):
        tg.uniform((2,), 1.0, 0.5)
    with pytest.raises(ValueError, match=r"normal: expected std of at least 0, received -1.0"):
        tg.normal((2,), std=-1.0)


@pytest.mark.parametrize("bounds", [(0, 2.5), (0.0, 3), ("0", 3)])
def test_integers_refuses_bounds_that_are_no_integers(bounds, generator):
    with pytest.raises(TypeError, match="integers: expected"):
        generator.integers((2,), *bounds)


@pytest.mark.parametrize("state", [(1, 2), (1, 2, -1), (1.5, 0, 0), "abc", None])
def test_a_wrong_state_is_refused_when_it_is_set(state, generator):
    with pytest.raises(ValueError, match="Generator: expected"):
        generator.state = state
    assert generator.state == (2024, 0, 0)


@pytest.mark.gpu
@pytest.mark.parametrize("key", KEYS)
def test_the_kernel_computes_the_same_words(key):
    words = backend.to_host(philox_words(300, *key, tg.device("cuda")))
    np.testing.assert_array_equal(words, reference_words(300, *key))


@pytest.mark.gpu
def test_both_devices_draw_the_same_numbers():
    def draws(device):
        generator = tg.Generator(9)
        exact = [
            generator.bits((3, 5), device=device),
            generator.uniform((101,), device=device),
            generator.uniform((7,), -2.0, 5.0, dtype="float64", device=device),
            generator.integers((33,), -5, 7, device=device),
            generator.permutation(50, device=device),
            generator.uniform((0,), device=device),
        ]
        return [backend.to_host(x) for x in exact], backend.to_host(generator.normal((999,), device=device))

    (exact_cpu, normal_cpu), (exact_cuda, normal_cuda) = draws("cpu"), draws("cuda")
    for on_cpu, on_cuda in zip(exact_cpu, exact_cuda, strict=True):
        assert on_cpu.dtype == on_cuda.dtype
        np.testing.assert_array_equal(on_cpu, on_cuda)
    # log, cos and sin may differ in the last bit of a float64, which float32 almost always rounds away
    np.testing.assert_array_max_ulp(normal_cpu, normal_cuda, maxulp=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(300, 16), (40, 25, 8), (4096, 1), (7, 3, 5), (2, 5000), (0, 4)])
@pytest.mark.parametrize("order", ["C", "F", "gaps"])
def test_sums_over_any_axes(dtype, shape, order):
    values = np.random.default_rng(0).normal(size=(*shape[:-1], 2 * shape[-1])) * 10
    a = values.astype(dtype)[..., ::2]
    a = a if order == "gaps" else a.copy(order)
    for count in range(len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            for keepdims in (False, True):
                found, expected = sum_over(a, axes, keepdims), a.sum(axis=axes, keepdims=keepdims)
                exact = a.astype("float64").sum(axis=axes, keepdims=keepdims)
                size = np.abs(a.astype("float64")).sum(axis=axes, keepdims=keepdims).max(initial=1.0)
                assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
                slack = np.finfo(dtype).eps * size * 4 if a.dtype.kind == "f" else 0
                np.testing.assert_allclose(found, expected if a.dtype == "float16" else exact, rtol=0, atol=slack)
                out = np.empty(expected.shape, expected.dtype)
                assert sum_over(a, axes, keepdims, out) is out
                np.testing.assert_allclose(out, found, rtol=0, atol=slack)  # NumPy's own differ in the last place


def test_sums_of_what_is_no_number():
    a = np.ones((4096, 4), "float32")
    a[3, 0], a[5, 1] = math.nan, math.inf
    np.testing.assert_array_equal(sum_over(a, (0,)), [math.nan, math.inf, 4096.0, 4096.0])
    a[9, 1] = -math.inf
    with pytest.warns(RuntimeWarning, match="invalid value"):  # as NumPy's own sum
        np.testing.assert_array_equal(sum_over(a, (0,)), [math.nan, math.nan, 4096.0, 4096.0])


def test_sums_over_rows_are_as_exact_as_by_pairs():
    a = np.random.default_rng(1).uniform(size=(1 << 16, 16)).astype("float32")
    exact = a.sum(axis=0, dtype="float64")
    assert np.abs(sum_over(a, (0,)) - exact).max() < np.abs(a.sum(axis=0) - exact).max()


@pytest.mark.gpu
def test_a_device_without_memory_tells_what_holds_it():
    import cupy

    with tg.use_device("cuda"):
        held = tg.zeros((700, 1000), dtype="float64")
        pool = cupy.get_default_memory_pool()
        pool.set_limit(pool.total_bytes() + (1 << 20))
        try:
            with pytest.raises(MemoryError) as caught:
                tg.zeros((1 << 28,))
        finally:
            pool.set_limit(0)
    text = str(caught.value)
    assert "cuda:0: expected 1 GiB of memory, received 1 MiB free of " in text
    assert f"float64{list(held.shape)} 5.341 MiB" in text
    assert "Hint: use a smaller batch_size" in text
