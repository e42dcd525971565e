"""Native programs and what they stand on: NumPy's BLAS by address, the thread pool, the cache of object code."""

import ctypes
import dataclasses
import gc
import importlib.util
import itertools
import linecache
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref

import numpy
import pytest

from tinygrad_edu.kernels import blas, cache, gemm, native, pool, products, waiting
from tinygrad_edu.kernels.loops import Builder, Operand, collapse, expand
from tinygrad_edu.kernels.native import Gemm, Launch

needs_llvm = pytest.mark.skipif(importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed")
needs_blas = pytest.mark.skipif(blas.find() is None, reason="NumPy has no BLAS that can be called by address")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, cache_folder):
    """A cache of the tests' own, and the default number of threads after each."""
    monkeypatch.setenv("TINYGRAD_EDU_CACHE", str(cache_folder))
    yield
    pool.set_threads(None)


@pytest.fixture
def switch_often():
    """Threads that all compute in Python take turns quickly."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def share_all(monkeypatch):
    """Programs use all threads for all steps that can be divided, however small."""
    monkeypatch.setattr(native, "_WORTH_SHARING", 0)
    monkeypatch.setattr(native, "_WORTH_WAKING", 0)


def address(array):
    return array.ctypes.data


def run_on(program, arrays, scalars=()):
    program.pointers[:] = [address(array) for array in arrays]
    program.scalars[: len(scalars)] = scalars
    program.run()


def elementwise(expression, size, inputs=1, scalars=0):
    """Loops over arrays a, b, ... and scalars s, t."""
    builder = Builder((size,))
    values = {name: builder.load(Operand("float32", (1,))) for name in "abc"[:inputs]}
    values |= {name: builder.scalar() for name in "st"[:scalars]}
    builder.store(expand(expression, values, builder), Operand("float32", (1,)))
    return collapse(builder.finish())


def centre(rows, columns):
    """a - s: each row less the vector s."""
    builder = Builder((rows, columns))
    a, s = (builder.load(Operand("float32", strides)) for strides in ((columns, 1), (0, 1)))
    builder.store(expand("a - s", {"a": a, "s": s}, builder), Operand("float32", (columns, 1)))
    return collapse(builder.finish())


def reduction(name, rows, columns):
    builder = Builder((rows, columns))
    total = builder.reduce(name, builder.load(Operand("float32", (columns, 1))))
    builder.store(total, Operand("float32", (1, 0) if name == "row_sum" else (0, 1)))
    return builder.finish()


def plain_gemm(m, n, k, slots=(0, 1, 2), transpose_a=False, transpose_b=False, dtype="float32", **more):
    strides = (m if transpose_a else k, k if transpose_b else n, n)
    return Gemm(dtype, m, n, k, *slots, transpose_a, transpose_b, *strides, **more)


# BLAS


@needs_blas
def test_blas_is_numpys_and_the_probe_tells_the_precisions_apart():
    found = blas.find()
    assert found is blas.find()
    assert found.bits in (32, 64)
    prototype = ctypes.CFUNCTYPE(None)
    assert blas._multiplies(prototype(found.sgemm), "float32", found.bits)
    assert blas._multiplies(prototype(found.dgemm), "float64", found.bits)
    assert not blas._multiplies(prototype(found.sgemm), "float64", found.bits)


def test_no_blas_is_found_where_no_library_has_one(monkeypatch):
    monkeypatch.setattr(blas, "_libraries", lambda: iter([ctypes.CDLL(None)]))
    monkeypatch.setattr(blas, "_NAMES", (("no_such_", ""),))
    assert blas.find.__wrapped__() is None


@pytest.fixture
def two_blas_threads():
    found = blas.find()
    if found is None or found.set_threads is None:
        pytest.skip("a BLAS whose thread count cannot be set")
    before = found.get_threads()
    found.set_threads(2)
    yield found.get_threads
    found.set_threads(before)


def test_one_thread_lasts_until_the_last_block_ends(two_blas_threads):
    with blas.one_thread():
        with blas.one_thread():
            assert two_blas_threads() == 1
        assert two_blas_threads() == 1
    assert two_blas_threads() == 2


def test_one_thread_ends_with_an_exception(two_blas_threads):
    with pytest.raises(KeyError), blas.one_thread():
        raise KeyError
    assert two_blas_threads() == 2


def test_one_thread_in_overlapping_blocks_of_two_threads(two_blas_threads):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with blas.one_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with blas.one_thread():
        thread.start()
        inside.wait()
    assert two_blas_threads() == 1  # the other block is still open
    leave.set()
    thread.join()
    assert two_blas_threads() == 2


# The pool


@pytest.mark.parametrize(
    ("own", "openmp", "expected"),
    [("3", "5", 3), ("", "5", 5), ("", "4,2", 4), ("", "nonsense", None), ("", "0", None), ("", "", None)],
)
def test_the_default_number_of_threads(monkeypatch, own, openmp, expected):
    monkeypatch.setenv("TINYGRAD_EDU_THREADS", own)
    monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    pool.set_threads(None)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert pool.threads() == (expected or cores)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_in_the_environment_raises(monkeypatch, value):
    monkeypatch.setenv("TINYGRAD_EDU_THREADS", value)
    pool.set_threads(None)
    with pytest.raises(ValueError, match="TINYGRAD_EDU_THREADS: expected an integer of at least 1"):
        pool.threads()
    monkeypatch.undo()


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_set_threads_refuses(value, error):
    with pytest.raises(error, match="set_threads: expected"):
        pool.set_threads(value)


def workers():
    return [worker for worker in threading.enumerate() if "_work" in worker.name]


def test_workers_start_when_needed_and_end_when_not():
    pool.set_threads(1)
    pool.set_threads(4)
    assert workers() == []
    pool.map(str, range(2))
    assert len(workers()) == 1
    pool.map(str, range(9))
    assert len(workers()) == 3
    pool.set_threads(2)
    assert workers() == []
    assert all(thread.daemon for thread in workers())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_map_keeps_the_order_and_computes_each_once(count):
    pool.set_threads(count)
    calls = []
    for size in (0, 1, 2, 7, 100):
        calls.clear()
        assert pool.map(lambda n: calls.append(n) or n * n, range(size)) == [n * n for n in range(size)]
        assert sorted(calls) == list(range(size))


def test_map_uses_other_threads():
    pool.set_threads(2)
    both = threading.Barrier(2)
    names = pool.map(lambda _: both.wait() is None or threading.get_ident(), range(2))
    assert len(set(names)) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_map_raises_what_the_earliest_item_raised_and_works_again(count):
    pool.set_threads(count)

    def fail(n):
        if n in (3, 5, 8):
            raise ValueError(n)
        return n

    for _ in range(50):
        with pytest.raises(ValueError, match="3"):
            pool.map(fail, range(10))
    assert pool.map(fail, range(3)) == [0, 1, 2]


def test_map_raises_the_earliest_of_two_and_waits_for_both():
    pool.set_threads(2)
    both, late, ended = threading.Barrier(2), threading.Event(), []

    def fail(n):
        both.wait()
        here = threading.current_thread() is threading.main_thread()
        if not here:
            late.wait()
            time.sleep(0.05)  # the caller has nothing left to do by then, or soon
        late.set()
        ended.append(here)
        raise ValueError(n)

    for _ in range(5):
        late.clear()
        with pytest.raises(ValueError, match="0"):
            pool.map(fail, range(2))
    assert ended == [True, False] * 5


def test_map_within_map_runs_in_the_same_thread():
    pool.set_threads(3)

    def outer(n):
        here = threading.get_ident()
        return pool.map(lambda m: (n * m, threading.get_ident() == here), range(3))

    assert pool.map(outer, range(6)) == [[(n * m, True) for m in range(3)] for n in range(6)]


def test_set_threads_within_map_raises():
    pool.set_threads(2)
    with pytest.raises(RuntimeError, match=r"outside pool\.map"):
        pool.map(lambda n: pool.set_threads(3), range(4))


def test_map_keeps_numpys_error_state():
    pool.set_threads(2)
    both = threading.Barrier(2)

    def divide(_):
        both.wait()
        return numpy.float32(1) / numpy.zeros(1, "float32")

    with numpy.errstate(divide="ignore"):
        assert numpy.isinf(pool.map(divide, range(2))).all()
    with numpy.errstate(divide="raise"), pytest.raises(FloatingPointError):
        pool.map(divide, range(2))


def test_two_threads_may_map_at_once(switch_often):
    pool.set_threads(3)
    found = {}

    def use(name):
        found[name] = [pool.map(lambda n: n + name, range(20)) for _ in range(200)]

    users = [threading.Thread(target=use, args=(name,)) for name in (1000, 2000)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert all(result == [n + name for n in range(20)] for name, results in found.items() for result in results)
    assert len(found) == 2


# Each thread writes the turn into its own cell, waits, looks at its neighbour's cell, waits again. `scalars` is the
# number of turns, `arrays` the cells (a cache line each), followed by how often a neighbour's cell was wrong.
STRESS = """
define void @stress(i64 %thread, i64 %threads, ptr %arrays, ptr %scalars, ptr %shared) {
  %own.word = mul i64 %thread, 8
  %own = getelementptr i64, ptr %arrays, i64 %own.word
  %after = add i64 %thread, 1
  %neighbour = urem i64 %after, %threads
  %other.word = mul i64 %neighbour, 8
  %other = getelementptr i64, ptr %arrays, i64 %other.word
  %turns = load i64, ptr %scalars
  br label %loop
loop:
  %turn = phi i64 [ 0, %0 ], [ %next, %loop ]
  %wrong = phi i64 [ 0, %0 ], [ %wrong.next, %loop ]
  %next = add i64 %turn, 1
  store i64 %next, ptr %own
  call void @barrier(ptr %shared, i64 %threads)
  %seen = load i64, ptr %other
  %differs = icmp ne i64 %seen, %next
  %one = zext i1 %differs to i64
  %wrong.next = add i64 %wrong, %one
  call void @barrier(ptr %shared, i64 %threads)
  %more = icmp ult i64 %next, %turns
  br i1 %more, label %loop, label %end
end:
  %count = getelementptr i64, ptr %own, i64 1
  store i64 %wrong.next, ptr %count
  ret void
}
"""


def stress_code():
    return cache.Code(waiting.barrier_text() + STRESS, ["stress"])


def run_stress(code, count, turns):
    """The cells and the numbers of errors of `count` threads."""
    cells, number = numpy.zeros((count, 8), "int64"), numpy.array([turns])
    places = code.addresses["stress"], address(cells), address(number)
    function, arrays, scalars = (ctypes.c_void_p(place) for place in places)
    pool.run(function, count, arrays, scalars)
    return cells[:, 0].tolist(), cells[:, 1].tolist()


@needs_llvm
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_barrier_shows_each_thread_what_the_others_wrote(count):
    pool.set_threads(count)
    assert run_stress(stress_code(), count, 3000) == ([3000] * count, [0] * count)


@needs_llvm
@pytest.mark.parametrize("count", [2, 4])
def test_many_short_runs(count):
    pool.set_threads(count)
    code = stress_code()
    for _ in range(1000):
        assert run_stress(code, count, 1) == ([1] * count, [0] * count)


@needs_llvm
def test_runs_after_the_workers_fell_asleep_and_between_maps():
    pool.set_threads(3)
    code = stress_code()
    for n in range(30):
        assert run_stress(code, 3, 5) == ([5] * 3, [0] * 3)
        if n % 3 == 0:
            time.sleep(0.002)  # whether they sleep by then or not, the results are the same
        if n % 2 == 0:
            assert pool.map(abs, [-1, -2, -3, -4]) == [1, 2, 3, 4]


@needs_llvm
def test_run_uses_no_more_threads_than_there_are():
    pool.set_threads(2)
    assert run_stress(stress_code(), 4, 3) == ([3, 3, 0, 0], [0] * 4)


@needs_llvm
def test_run_within_map_uses_the_calling_thread_alone():
    pool.set_threads(2)
    code = stress_code()
    expected = ([3, 0], [0, 0])
    assert pool.map(lambda _: run_stress(code, 2, 3), range(4)) == [expected] * 4


@needs_llvm
def test_two_threads_may_run_at_once_while_a_third_changes_the_number_of_threads(switch_often):
    pool.set_threads(2)
    code = stress_code()
    wrong, users = [], []

    def use():
        for _ in range(200):
            cells, errors = run_stress(code, 3, 3)
            if errors != [0, 0, 0] or cells not in ([3, 0, 0], [3, 3, 0], [3, 3, 3]):
                wrong.append((cells, errors))

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for count in (1, 3, 2, 3) * 5:
        pool.set_threads(count)
    for user in users:
        user.join()
    assert wrong == []


def interrupt_at(line, action):
    """Runs `action` with a KeyboardInterrupt at the line-th line of the pool's code; whether it came.

    Not at lines where Python never looks for signals: the end of a `with` block, `try`, and what `finally` starts with.
    """
    left = line

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != pool.__file__:
            return None
        text = linecache.getline(pool.__file__, frame.f_lineno).strip()
        left -= 0 if text in ("with _lock:", "try:", "_here.inside = False") else 1
        if left == 0:
            left = -1
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@needs_llvm
@pytest.mark.parametrize("use", ["run", "map"])
@pytest.mark.parametrize("fresh", [True, False])
def test_an_interrupt_at_any_line_leaves_the_pool_usable(use, fresh):
    code = stress_code()
    pool.set_threads(3)
    run_stress(code, 3, 1)

    def use_both():
        return run_stress(code, 3, 2) == ([2] * 3, [0] * 3) and pool.map(abs, [-1, -2, -3]) == [1, 2, 3]

    for line in itertools.count(1):
        if fresh:
            pool.set_threads(2)
            pool.set_threads(3)
        came = interrupt_at(line, lambda: run_stress(code, 3, 2) if use == "run" else pool.map(abs, [-3, 4, 5]))
        good = [use_both()]
        other = threading.Thread(target=lambda good=good: good.append(use_both()))
        other.start()
        other.join()
        assert good == [True, True]
        assert not pool._here.inside
        if not came:
            break
    assert line > 10


@needs_llvm
@needs_fork
def test_a_forked_child_has_a_pool_of_its_own():
    pool.set_threads(3)
    code = stress_code()
    run_stress(code, 3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while there are threads: that is the point
        child = os.fork()
    if child == 0:
        good = run_stress(code, 3, 3) == ([3] * 3, [0] * 3) and pool.map(abs, [-1, 2]) == [1, 2]
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert run_stress(code, 3, 3) == ([3] * 3, [0] * 3)


@needs_llvm
def test_workers_that_waited_without_machine_code_run_it():
    pool.set_threads(3)
    assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
    assert pool._pool.native is None
    assert run_stress(stress_code(), 3, 3) == ([3] * 3, [0] * 3)


@pytest.mark.parametrize("last", ["", "pool.map(abs, range(4))", "native.program([], 2).run()"])
def test_the_interpreter_ends_with_workers_alive(last, tmp_path):
    if "program" in last:
        pytest.importorskip("llvmlite")
    program = f"from tinygrad_edu.kernels import native, pool; pool.set_threads(3); pool.map(abs, range(9)); {last}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Products

SIZES = [(1, 1, 1), (4, 8, 2), (5, 17, 3), (33, 20, 70), (1, 40, 9), (64, 1, 30), (130, 67, 45)]
LARGE = [(1, 300, 200), (150, 90, 110), (64, 1, 700), (31, 33, 35)]
FACTORS = [(1.0, 0.0), (0.5, 0.0), (-1.5, 1.0), (2.0, -0.25)]


def gemm_cases(sizes, dtype, seed):
    """(description in slots of its own, its arrays, the right result) for all forms of such products."""
    random = numpy.random.default_rng(seed)
    cases = itertools.product(sizes, (False, True), (False, True), (1, 4))
    for number, ((m, n, k), transpose_a, transpose_b, batch) in enumerate(cases):
        alpha, beta = FACTORS[number % len(FACTORS)]
        lda, ldb, ldc = (m if transpose_a else k) + number % 3, (k if transpose_b else n) + number % 2, n + number % 4
        a, b, c = (
            random.standard_normal((batch, rows, width)).astype(dtype)
            for rows, width in ((k if transpose_a else m, lda), (n if transpose_b else k, ldb), (m, ldc))
        )
        if beta == 0:
            c[:] = numpy.nan  # what is not read does not matter
        left = a[:, :, : m if transpose_a else k].astype("float64")
        right = b[:, :, : k if transpose_b else n].astype("float64")
        left = left.swapaxes(1, 2) if transpose_a else left
        right = right.swapaxes(1, 2) if transpose_b else right
        right_result = c.astype("float64")
        right_result[:, :, :n] = alpha * (left @ right) + (beta * right_result[:, :, :n] if beta else 0)
        strides = (a[0].size, b[0].size, c[0].size)
        slots = (3 * number, 3 * number + 1, 3 * number + 2)
        sizes_and_slots = (m, n, k, *slots, transpose_a, transpose_b, lda, ldb, ldc)
        yield Gemm(dtype, *sizes_and_slots, alpha, beta, batch, strides), (a, b, c), right_result


@needs_llvm
@needs_blas
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loops", [True, False])
def test_products_equal_numpys(monkeypatch, share_all, threads, dtype, loops):
    for module in (gemm, native):
        monkeypatch.setattr(module, "is_small", lambda product: loops)
    pool.set_threads(3)
    cases = list(gemm_cases(SIZES if loops else SIZES + LARGE, dtype, seed=3))
    program = native.program([product for product, _, _ in cases], threads)
    assert program.threads == threads
    assert ("call void %function" in program.text) == (not loops)
    run_on(program, [array for _, arrays, _ in cases for array in arrays])
    for product, (_, _, c), right in cases:
        tolerance = 4 * (product.k + 2) ** 0.5 * numpy.finfo(dtype).eps * (1 + abs(product.alpha) * product.k**0.5)
        numpy.testing.assert_allclose(c, right, rtol=tolerance, atol=tolerance, err_msg=str(product))


@needs_llvm
@needs_blas
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_tiles_equal_numpys(monkeypatch, share_all, threads, dtype):
    for name, size in (
        ("_WIDE", 24),
        ("_DEEP", 20),
        ("_SIDE", 24),
        ("_ROWS", 40),
        ("_ALIASES", 8),
        ("_LIMIT", 20 * 24 * 24),
    ):
        monkeypatch.setattr(products, name, size)
    pool.set_threads(3)
    cases = []
    for product, arrays, _ in gemm_cases(
        [(5, 17, 3), (64, 1, 30), (130, 67, 45), (1, 300, 200), (90, 150, 130), (30, 45, 90)], dtype, seed=4
    ):
        if product.batch == 1 and not (product.transpose_a and product.transpose_b):
            a, b, c = range(3 * len(cases), 3 * len(cases) + 3)
            cases.append((dataclasses.replace(product, a=a, b=b, c=c, alpha=1.0, beta=0.0), arrays))
    program = native.program([products.task(product) for product, _ in cases], threads)
    assert program.threads == threads
    run_on(program, [array for _, arrays in cases for array in arrays])
    for product, (a, b, c) in cases:
        left = a[0, :, : product.m].T if product.transpose_a else a[0, :, : product.k]
        right = b[0, :, : product.k].T if product.transpose_b else b[0, :, : product.n]
        expected = left.astype("float64") @ right.astype("float64")
        tolerance = 4 * (product.k + 2) ** 0.5 * numpy.finfo(dtype).eps * (1 + product.k**0.5)
        numpy.testing.assert_allclose(c[0, :, : product.n], expected, tolerance, tolerance, err_msg=str(product))


@needs_llvm
@needs_blas
def test_which_products_are_tiles(monkeypatch):
    library = dataclasses.replace(blas.find(), core="SkylakeX")
    monkeypatch.setattr(blas, "find", lambda: library)
    for sizes in ((2048, 128, 128), (1000, 10, 500), (64, 512, 9216)):
        assert products.suits(plain_gemm(*sizes))
        assert products.suits(plain_gemm(*sizes, transpose_a=True, dtype="float64"))
    assert products.suits(plain_gemm(2048, 128, 512, transpose_b=True))
    assert products.suits(plain_gemm(128, 64, 64, transpose_b=True))  # a tile itself, but better put in order
    assert not products.suits(plain_gemm(64, 512, 9216, transpose_b=True))  # with too few rows for that
    assert not products.suits(plain_gemm(2048, 128, 128, transpose_a=True, transpose_b=True))
    assert not products.suits(plain_gemm(64, 64, 64))
    assert not products.suits(plain_gemm(1024, 1024, 1024))
    assert not products.suits(plain_gemm(2048, 128, 128, beta=1.0))
    library = dataclasses.replace(library, core="Haswell")
    assert not products.suits(plain_gemm(2048, 128, 128))


@needs_llvm
@needs_blas
def test_which_products_are_loops():
    assert gemm.is_small(plain_gemm(4, 8, 2))
    assert gemm.is_small(plain_gemm(32, 32, 32, transpose_a=True))
    assert not gemm.is_small(plain_gemm(128, 784, 512))
    assert not gemm.is_small(plain_gemm(1, 128, 128, transpose_b=True))
    assert not gemm.is_small(plain_gemm(256, 1, 64))


@needs_llvm
@needs_blas
@pytest.mark.parametrize("size", [8, 200])
def test_a_product_reads_nan_and_inf_as_numpy_does(size):
    a, b, c = (numpy.ones((size, size), "float32") for _ in range(3))
    a[0, 0], b[3, 4], a[5, 5] = numpy.inf, numpy.nan, 0
    run_on(native.program([plain_gemm(size, size, size)], 1), (a, b, c))
    with numpy.errstate(invalid="ignore"):
        numpy.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "int32"}, "float32 or float64"),
        ({"m": -1}, "no negative sizes"),
        ({"lda": 2}, "lda, ldb, ldc of at least"),
        ({"ldb": 3}, "lda, ldb, ldc of at least"),
        ({"ldc": 0}, "lda, ldb, ldc of at least"),
        ({"batch": 2, "strides": (6, 12, 0)}, "do not overlap"),
    ],
)
def test_descriptions_that_do_not_fit_raise(change, words):
    right = {"dtype": "float32", "m": 2, "n": 4, "k": 3, "a": 0, "b": 1, "c": 2, "transpose_a": False}
    right |= {"transpose_b": False, "lda": 3, "ldb": 4, "ldc": 4}
    Gemm(**right)
    with pytest.raises(ValueError, match=words):
        Gemm(**(right | change))


def test_a_launch_wants_as_many_slots_as_its_loops_have():
    with pytest.raises(ValueError, match="Launch: expected 3 arrays and 1 scalars, received 2 and 1"):
        Launch(elementwise("a + s * b", 5, 2, 1), (0, 1), (0,))


@needs_llvm
def test_large_products_without_a_blas_raise(monkeypatch):
    monkeypatch.setattr(blas, "find", lambda: None)
    native.program([plain_gemm(8, 8, 8)], 1)
    with pytest.raises(RuntimeError, match="a BLAS library for large products"):
        native.program([plain_gemm(128, 784, 512)], 1)


@needs_llvm
@needs_blas
def test_products_are_not_shared_with_a_blas_that_has_threads_of_its_own(monkeypatch, share_all):
    product = plain_gemm(128, 784, 512)
    assert native._shared(product)
    found = blas.find()
    monkeypatch.setattr(blas, "find", lambda: blas.Blas("", 64, found.sgemm, found.dgemm, None, None))
    assert not native._shared(product)


@needs_llvm
@needs_blas
@pytest.mark.parametrize("threads", [1, 2])
def test_blas_uses_one_thread_within_a_program_only(two_blas_threads, share_all, threads):
    a, b, c = (numpy.ones((200, 200), "float32") for _ in range(3))
    pool.set_threads(2)
    program = native.program([plain_gemm(200, 200, 200)] * 3, threads)
    run_on(program, (a, b, c))
    assert two_blas_threads() == 2
    assert (c == 200).all()
    seen = []
    watch = ctypes.CFUNCTYPE(None)(lambda: seen.append(two_blas_threads()))
    program._table[3] = blas.address_of(watch)  # in the place of BLAS
    program.run()
    assert seen == [1] * 3 * threads
    assert two_blas_threads() == 2


@needs_llvm
@needs_fork
def test_a_child_forked_during_a_program_has_its_blas_threads_back(two_blas_threads):
    program = native.program([plain_gemm(200, 200, 200)], 1)
    inside, leave = threading.Event(), threading.Event()

    @ctypes.CFUNCTYPE(None)
    def wait():
        inside.set()
        leave.wait()

    program._table[3] = blas.address_of(wait)
    user = threading.Thread(target=program.run)
    user.start()
    inside.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        seen = [two_blas_threads()]
        watch = ctypes.CFUNCTYPE(None)(lambda: seen.append(two_blas_threads()))
        program._table[3] = blas.address_of(watch)
        program.run()
        os._exit(0 if [*seen, two_blas_threads()] == [2, 1, 2] else 1)
    leave.set()
    user.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert two_blas_threads() == 2


# Programs


@needs_llvm
def test_a_program_of_two_steps():
    steps = [Launch(elementwise("a + b", 40, 2), (0, 1, 2)), Launch(elementwise("s * a - t", 40, 1, 2), (2, 2), (1, 0))]
    a, b = numpy.arange(80, dtype="float32").reshape(2, 40)
    c = numpy.empty_like(a)
    program = native.program(steps)
    run_on(program, (a, b, c), (3.0, 2.0))
    numpy.testing.assert_array_equal(c, 2 * (a + b) - 3)
    program.scalars[0] = 5.0
    program.run()
    numpy.testing.assert_array_equal(c, 2 * (a + b) - 5)


@needs_llvm
@pytest.mark.parametrize(("size", "threads"), [(40, 1), (1 << 20, 1), (1 << 20, 2)])
def test_a_program_that_is_given_arrays(size, threads):
    """All kinds: one that is brief, one that is not, one of two threads; parts of an array, and one array twice."""
    steps = [Launch(elementwise("a + b", size, 2), (0, 1, 3)), Launch(elementwise("s * a", size, 1, 1), (2, 4), (0,))]
    program = native.program(steps, threads, given=[[(0, 0), (2, 4 * size)], [(3, 0)]])
    assert (program.threads, program.is_brief) == (threads, size == 40)
    weight, twice = numpy.arange(size, dtype="float32"), numpy.empty(size, "float32")
    program.pointers[[1, 4]], program.scalars[0] = [address(weight), address(twice)], 2.0
    for _ in range(2):
        x, total = numpy.random.default_rng(0).random((2, size), "float32"), numpy.empty(size, "float32")
        program.run(x, total)
        numpy.testing.assert_array_equal(total, x[0] + weight)
        numpy.testing.assert_array_equal(twice, 2 * x[1])


@needs_llvm
def test_the_builtin_function_of_a_program_holds_what_it_needs():
    program = native.program([Launch(elementwise("s * a", 8, 1, 1), (0, 1), (0,))], 1, given=[[(0, 0)], [(1, 0)]])
    program.scalars[0] = 3.0
    enter, table = program.enter, program._table
    x, y = numpy.arange(8, dtype="float32"), numpy.empty(8, "float32")
    counts = [sys.getrefcount(a) for a in (x, y, table)]
    for _ in range(1000):
        enter(x, y)
    assert [sys.getrefcount(a) for a in (x, y, table)] == counts
    gone, code = weakref.ref(program), weakref.ref(enter.__module__[1])
    del program
    assert gone() is None
    gc.collect()
    enter(x, y)
    numpy.testing.assert_array_equal(y, 3 * x)
    del enter
    assert code() is None


@needs_llvm
def test_programs_of_nothing():
    native.program([]).run()
    empty = [plain_gemm(0, 3, 2), plain_gemm(3, 0, 2), Launch(elementwise("a * s", 0, 1, 1), (0, 4), (2,))]
    program = native.program(empty, 3)
    program.run()
    assert (len(program.pointers), len(program.scalars)) == (5, 3)  # entries for all slots, needed or not
    c = numpy.full((3, 4), 7, "float32")
    run_on(native.program([plain_gemm(3, 4, 0, beta=2.0)]), (c, c, c))
    assert (c == 14).all()


ROWS, COLUMNS = 37, 100


def chain():
    """Steps of which each reads what other threads have written, on (x, y, column sums, row sums, weights)."""
    return [
        Launch(reduction("column_sum", ROWS, COLUMNS), (0, 2)),  # columns of all rows
        Launch(centre(ROWS, COLUMNS), (0, 2, 1)),  # rows, of all columns
        plain_gemm(ROWS, COLUMNS, COLUMNS, (1, 4, 0)),  # rows, or columns
        Launch(reduction("row_sum", ROWS, COLUMNS), (0, 3)),
        Launch(elementwise("a * 0.5", ROWS), (3, 3)),
        plain_gemm(1, COLUMNS, ROWS, (3, 0, 2)),
        plain_gemm(COLUMNS, COLUMNS, ROWS, (1, 0, 4), transpose_a=True, alpha=1e-4, beta=0.5),
        Launch(elementwise("clip(a, -1, 1)", COLUMNS * COLUMNS), (4, 4)),
        Launch(elementwise("clip(a, -1, 1)", ROWS * COLUMNS), (0, 0)),
    ]


def chain_arrays():
    random = numpy.random.default_rng(5)
    shapes = [(ROWS, COLUMNS), (ROWS, COLUMNS), (COLUMNS,), (ROWS,), (COLUMNS, COLUMNS)]
    return [(random.standard_normal(shape) * 0.1).astype("float32") for shape in shapes]


@needs_llvm
@needs_blas
@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("places", [None, [(0, 16 * i, 16 * i + 16) for i in range(5)]])
@pytest.mark.parametrize("own_loops", [True, False])
def test_a_chain_of_dependent_steps_has_the_same_bits_each_time(monkeypatch, share_all, threads, places, own_loops):
    for module in (gemm, native):
        monkeypatch.setattr(module, "is_small", lambda product: own_loops)
    pool.set_threads(threads)
    program = native.program(chain(), threads, places)
    assert program.threads == threads
    first = chain_arrays()
    run_on(program, first)
    for _ in range(1000):
        again = chain_arrays()
        run_on(program, again)
        for one, other in zip(first, again, strict=True):
            assert one.tobytes() == other.tobytes()
    alone = chain_arrays()
    run_on(native.program(chain(), 1), alone)
    for one, other in zip(first, alone, strict=True):
        numpy.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@needs_llvm
@needs_blas
def test_two_threads_may_run_programs_at_once(share_all, switch_often):
    pool.set_threads(2)
    starts, expected = chain_arrays(), chain_arrays()
    run_on(native.program(chain(), 2), expected)
    wrong = []

    def use(threads):
        arrays = chain_arrays()
        program = native.program(chain(), threads)
        for _ in range(100):
            for array, start in zip(arrays, starts, strict=True):
                array[...] = start
            run_on(program, arrays)
            close = (numpy.allclose(a, b, 1e-4, 1e-5) for a, b in zip(arrays, expected, strict=True))
            if not all(close):
                wrong.append(threads)

    users = [threading.Thread(target=use, args=(threads,)) for threads in (1, 2, 2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert wrong == []


@needs_llvm
def test_a_program_for_more_threads_than_the_pool_has_now(share_all):
    pool.set_threads(4)
    steps = [Launch(elementwise("a + 1", 1000), (0, 0))] * 3
    program, x = native.program(steps, 4), numpy.zeros(1000, "float32")
    assert program.threads == 4
    for done, count in enumerate((4, 1, 2, 3), 1):
        pool.set_threads(count)
        run_on(program, [x])
        assert (x == 3 * done).all()


@needs_llvm
@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(i, 0, 4000) for i in range(6)], [False, True, False, True]),
        ([(0, 4000 * i, 4000 * i + 4000) for i in range(6)], [False, True, False, True]),
        ([(0, 3999 * i, 3999 * i + 4000) for i in range(6)], [False, True, True, True]),  # of each the last byte
        ([(0, 4000 * (i % 3), 4000 * (i % 3) + 4000) for i in range(6)], [False, True, True, True]),
        (None, [False, True, True, True]),
    ],
)
def test_barriers_stand_where_steps_share_memory(share_all, places, expected):
    loops = elementwise("a + 1", 1000)
    steps = [Launch(loops, slots) for slots in ((0, 1), (1, 2), (3, 4), (5, 3))]  # the last writes what the third reads
    assert native._barriers(steps, [True] * 4, places) == expected
    assert native._barriers(steps, [False] * 4, places) == [False] * 4
    text = native.program(steps, 2, places).text
    assert text.count("call void @barrier") == sum(expected)
    assert text.count("define internal void @step") == 1  # the same loops on other arrays
    assert "barrier" not in native.program(steps, 1, places).text.replace("@program", "")


@needs_llvm
@pytest.mark.parametrize("threads", [1, 2])
def test_what_calls_many_steps_is_not_optimised(share_all, threads, monkeypatch):
    monkeypatch.setattr(native, "_LONG", 3)
    steps = [Launch(elementwise("a + 1", 1000), (i, i + 1)) for i in range(4)]
    assert "optnone" not in native.program(steps[:3], threads).text
    program = native.program(steps, threads)
    assert "optnone" in program.text
    arrays = [numpy.zeros(1000, "float32") for _ in range(5)]
    run_on(program, arrays)
    for i, a in enumerate(arrays):
        numpy.testing.assert_array_equal(a, i)


@needs_llvm
def test_steps_too_small_to_share_are_left_to_the_first_thread(monkeypatch):
    monkeypatch.setattr(native, "_WORTH_WAKING", 0)
    pool.set_threads(3)
    large, small = elementwise("tanh(a)", 100_000), elementwise("a + 1", 10)
    x, y = numpy.linspace(-1, 1, 100_000, dtype="float32"), numpy.zeros(10, "float32")
    program = native.program([Launch(small, (1, 1)), Launch(large, (0, 0)), Launch(small, (1, 1))], 3)
    assert program.threads == 3
    right = numpy.tanh(x)
    run_on(program, [x, y])
    assert (y == 2).all()
    numpy.testing.assert_allclose(x, right, rtol=1e-5)
    assert native.program([Launch(small, (1, 1))] * 20, 3).threads == 1


@needs_llvm
def test_the_same_steps_give_the_same_text_and_equal_steps_share_a_function():
    steps = [*chain(), *chain()]
    text = native.program(steps, 2).text
    assert text == native.program([*chain(), *chain()], 2).text
    assert len(set(chain())) == 9
    assert text.count("define internal void @step") == 8  # two differ in length only


@needs_llvm
@needs_blas
def test_a_single_thread_has_constant_shares(share_all):
    assert "call i64 @bound" in native.program(chain(), 2).text
    assert "call i64 @bound" not in native.program(chain(), 1).text


def test_modules_join_without_clashes():
    body = "define void @a() #0 {\n  call void @f(), !x !1\n}\n"
    first = f"declare void @f()\n{body}attributes #0 = {{ cold }}\n!0 = !{{}}\n!1 = !{{!0}}"
    assert native._joined([first, first.replace("@a", "@b").replace("cold", "hot")]) == (
        "declare void @f()\n"
        "define void @a() #0 {\n  call void @f(), !x !1\n}\n!0 = !{}\n!1 = !{!0}\n"
        "define void @b() #1 {\n  call void @f(), !x !3\n}\n!2 = !{}\n!3 = !{!2}\n"
        "attributes #0 = { cold }\nattributes #1 = { hot }\n"
    )


def test_flops_and_traffic():
    product = plain_gemm(2, 3, 5, batch=4, strides=(10, 0, 6), beta=1.0)
    assert native.flops(product) == 4 * 2 * 2 * 3 * 5
    assert native.traffic(product) == 4 * (4 * 10 + 15 + 4 * 2 * 6)
    double = plain_gemm(2, 3, 5, dtype="float64")
    assert native.traffic(double) == 8 * (10 + 15 + 6)
    launch = Launch(centre(7, 9), (0, 1, 2))
    assert native.flops(launch) == 63
    assert native.traffic(launch) == 4 * (63 + 9 + 63)
    total = Launch(reduction("row_sum", 7, 9), (0, 1))
    assert native.flops(total) == 63
    assert native.traffic(total) == 4 * (63 + 7)
    totals = Launch(reduction("column_sum", 7, 9), (0, 1))
    assert native.traffic(totals) == 4 * (63 + 9)


# The cache

ANSWER = "define i64 @answer() {{ ret i64 {} }}"


def answer(number):
    code = cache.Code(ANSWER.format(number), ["answer"])
    return ctypes.CFUNCTYPE(ctypes.c_int64)(code.addresses["answer"])()


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """A new folder as the cache, and the list of all texts that are compiled."""
    texts, compile = [], cache.llvm.object_code
    monkeypatch.setattr(cache.llvm, "object_code", lambda text: texts.append(text) or compile(text))
    monkeypatch.setenv("TINYGRAD_EDU_CACHE", str(tmp_path / "new" / "folder"))
    return texts


def only_file():
    (path,) = cache.directory().iterdir()
    return path


@needs_llvm
def test_code_is_compiled_once(compiled):
    assert [answer(n) for n in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert len(compiled) == 2
    folder = cache.directory()
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{cache.key(t)}.code" for t in compiled)
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


@needs_llvm
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(32) + data[32:],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    ],
)
def test_damaged_files_are_replaced(compiled, damage):
    answer(1)
    path = only_file()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert answer(1) == 1
    assert len(compiled) == 2
    assert path.read_bytes() == good
    assert answer(1) == 1
    assert len(compiled) == 2


@needs_llvm
def test_a_file_under_anothers_name_is_not_taken(compiled):
    answer(1)
    path = only_file()
    path.rename(path.with_name(f"{cache.key(ANSWER.format(2))}.code"))
    assert answer(2) == 2
    assert len(compiled) == 2


@needs_llvm
@pytest.mark.parametrize("change", [("FORMAT", 99), ("_target", lambda: ("another processor",))])
def test_the_key_depends_on_more_than_the_text(monkeypatch, change):
    before = cache.key("text")
    cache._target.cache_clear()
    monkeypatch.setattr(cache, *change)
    assert cache.key("text") != before
    monkeypatch.undo()
    cache._target.cache_clear()
    assert cache.key("text") == before != cache.key("text ")


@needs_llvm
@pytest.mark.parametrize("value", ["0", "off", "OFF"])
def test_the_cache_can_be_turned_off(monkeypatch, compiled, tmp_path, value):
    monkeypatch.setenv("TINYGRAD_EDU_CACHE", value)
    monkeypatch.chdir(tmp_path)
    assert [answer(1), answer(1)] == [1, 1]
    assert len(compiled) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("base", ["xdg", "relative", None])
def test_the_default_directory(monkeypatch, tmp_path, base):
    monkeypatch.delenv("TINYGRAD_EDU_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", {"xdg": str(tmp_path / "xdg"), "relative": "here", None: ""}[base])
    expected = tmp_path / "xdg" if base == "xdg" else tmp_path / "home" / ".cache"
    assert cache.directory() == expected / "tinygrad_edu"


@needs_llvm
def test_a_directory_that_cannot_be_made_or_written(monkeypatch, compiled, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_EDU_CACHE", str(tmp_path / "file" / "folder"))
    assert answer(1) == 1
    monkeypatch.setenv("TINYGRAD_EDU_CACHE", str(tmp_path / "full"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    assert answer(1) == 1
    assert list((tmp_path / "full").iterdir()) == []  # nothing half written stays
    monkeypatch.setattr(cache.tempfile, "mkstemp", full)  # as in a directory that is read-only
    assert answer(1) == 1
    assert len(compiled) == 3


@needs_llvm
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="a system without users")
def test_what_others_may_have_written_is_not_trusted(monkeypatch, compiled):
    answer(1)
    folder, path = cache.directory(), only_file()
    for changed, mode in ((path, 0o622), (folder, 0o777)):
        before = changed.stat().st_mode
        changed.chmod(mode)
        compiled.clear()
        assert answer(1) == 1
        assert len(compiled) == 1
        changed.chmod(before & 0o7777)
    monkeypatch.setattr(cache.os, "getuid", lambda: os.stat(path).st_uid + 1)
    assert cache.directory() is None
    assert cache.load(cache.key(compiled[0])) is None


@needs_llvm
def test_the_least_recently_used_files_go(monkeypatch, compiled):
    texts = [ANSWER.format(n) for n in range(6)]
    for n in range(5):
        answer(n)
    folder = cache.directory()
    other = folder / "notes.txt"
    other.write_text("not ours")
    os.utime(other, (0, 0))
    leftover = folder / f"{cache.key('x')}.abc.tmp"  # of a process that was killed
    leftover.write_bytes(bytes(100))
    paths = [folder / f"{cache.key(text)}.code" for text in texts]
    for age, path in enumerate([leftover, *paths[:5]]):
        os.utime(path, (1000 + age, 1000 + age))
    answer(1)  # used again
    monkeypatch.setattr(cache, "LIMIT", 3 * paths[0].stat().st_size + 50)
    answer(5)
    assert [path.exists() for path in paths] == [False, True, False, False, True, True]
    assert (other.exists(), leftover.exists()) == (True, False)


def write_often(number):
    import tinygrad_edu.kernels.cache as cache

    texts = [ANSWER.format(n) for n in range(4)]
    for turn in range(30):
        cache.store(cache.key(texts[turn % 4]), bytes([turn % 4]) * 5000)
        found = cache.load(cache.key(texts[(turn + number) % 4]))
        if found not in (None, bytes([(turn + number) % 4]) * 5000):
            return f"{found[:9]!r} in turn {turn}"
    return "good"


@needs_llvm
def test_two_processes_may_write_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_EDU_CACHE", str(tmp_path / "both"))
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        assert processes.map(write_often, range(2)) == ["good", "good"]
    assert len(list((tmp_path / "both").iterdir())) == 4
