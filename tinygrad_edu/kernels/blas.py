"""The matrix product of the BLAS library that NumPy has loaded in this process, as plain function addresses.

Machine code calls it without Python in between. NumPy's wheels carry OpenBLAS with 64-bit integers; distributions
link OpenBLAS, BLIS, MKL or the reference BLAS under other names; macOS has Accelerate.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from .polynomials import Code, number

# Before and after `cblas_sgemm`. OpenBLAS's names for its thread count carry the same two.
_NAMES = (
    ("scipy_", "64_"),
    ("", "64_"),
    ("", "_64"),
    ("", "$NEWLAPACK$ILP64"),
    ("scipy_", ""),
    ("", "$NEWLAPACK"),
    ("", ""),
)

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
"""The numbers that CBLAS gives to the order of a matrix and to its two forms."""


@dataclass(frozen=True)
class Blas:
    """Addresses of `cblas_sgemm` and `cblas_dgemm` in `library`, whose integers have `bits` bits.

    `get_threads` and `set_threads` are None where the library offers no such call: it then splits its work, or does
    not, as it pleases. `core` is the processor for which OpenBLAS has chosen its kernels, as it calls it.
    """

    library: str
    bits: int
    sgemm: int
    dgemm: int
    get_threads: Callable[[], int] | None
    set_threads: Callable[[int], Any] | None
    core: str = ""


@functools.cache
def find() -> Blas | None:
    """NumPy's BLAS, tried out on a 2x3 by 3x2 product in both precisions; None where none can be used."""
    for library in _libraries():
        for prefix, suffix in _NAMES:
            gemms = [getattr(library, f"{prefix}cblas_{kind}gemm{suffix}", None) for kind in "sd"]
            if None in gemms:
                continue
            config = getattr(library, f"{prefix}openblas_get_config{suffix}", None)
            bits = 64 if "64" in suffix or b"USE64BITINT" in _text(config) else 32
            if _multiplies(gemms[0], "float32", bits) and _multiplies(gemms[1], "float64", bits):
                calls = _thread_calls(library, prefix, suffix)
                core = _text(getattr(library, f"{prefix}openblas_get_corename{suffix}", None)).decode()
                return Blas(library._name, bits, address_of(gemms[0]), address_of(gemms[1]), *calls, core)
    return None


def _libraries() -> Iterator[ctypes.CDLL]:
    """NumPy's extension module, through which the dynamic linker finds the symbols of all it depends on, then the
    libraries that NumPy's wheel carries (Windows looks no further than the module itself)."""
    folder = Path(numpy.__file__).parent
    extension = importlib.import_module("numpy._core._multiarray_umath").__file__
    bundled = [*folder.glob(".dylibs/*"), *folder.parent.glob("numpy.libs/*")]
    for path in [extension, *map(str, sorted(bundled))]:
        try:
            yield ctypes.CDLL(path)
        except (OSError, TypeError):  # not a library; or NumPy linked into the interpreter, without a file
            continue


def address_of(function: Any) -> int:
    """The address of a function of a library."""
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _text(config: Any) -> bytes:
    if config is None:
        return b""
    config.restype = ctypes.c_char_p
    return config() or b""


def _multiplies(gemm: Any, dtype: str, bits: int) -> bool:
    """Whether this CBLAS function multiplies a 2x3 by a 3x2 matrix, the first of them given transposed."""
    a, b = (numpy.arange(1, 7, dtype=dtype).reshape(3, 2) for _ in range(2))
    c = numpy.zeros((2, 2), dtype)
    integer = ctypes.c_int64 if bits == 64 else ctypes.c_int32
    real = ctypes.c_float if dtype == "float32" else ctypes.c_double
    sizes, flags = [integer] * 3, [ctypes.c_int32] * 3
    matrix = [ctypes.c_void_p, integer]
    gemm.restype, gemm.argtypes = None, [*flags, *sizes, real, *matrix, *matrix, real, *matrix]
    gemm(ROW_MAJOR, TRANSPOSED, PLAIN, 2, 2, 3, 1, a.ctypes.data, 2, b.ctypes.data, 2, 0, c.ctypes.data, 2)
    return c.tolist() == [[35, 44], [44, 56]]


def _thread_calls(library: ctypes.CDLL, prefix: str, suffix: str) -> tuple[Any, Any]:
    """The functions that read and set the library's thread count, or (None, None)."""
    for getter, setter, integer in (
        (f"{prefix}openblas_get_num_threads{suffix}", f"{prefix}openblas_set_num_threads{suffix}", ctypes.c_int),
        ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads", ctypes.c_int),
        ("bli_thread_get_num_threads", "bli_thread_set_num_threads", ctypes.c_ssize_t),
    ):
        if hasattr(library, getter) and hasattr(library, setter):
            get, put = getattr(library, getter), getattr(library, setter)
            get.argtypes, get.restype, put.argtypes, put.restype = [], integer, [integer], None
            return get, put
    return None, None


class _OneThread:
    """The `with` block of `one_thread`; one object counts the blocks that are open, in all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._before = 1

    def __enter__(self) -> None:
        blas = find()
        with self._lock:
            if self._open == 0 and blas and blas.get_threads and blas.set_threads:
                self._before = blas.get_threads()
                if self._before != 1:
                    blas.set_threads(1)
            self._open += 1

    def __exit__(self, *exception: object) -> None:
        blas = find()
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._before != 1 and blas and blas.set_threads:
                blas.set_threads(self._before)


_one_thread = _OneThread()


def one_thread() -> _OneThread:
    """For a `with` block in which BLAS computes in the thread that calls it, so that it can be called from several.

    The count is the library's, so other threads of the program see it too; it is put back when the last block ends,
    also after an exception. Nested blocks cost next to nothing. Without effect where the library has no such call.
    """
    return _one_thread


# The same for machine code, which no Ctrl-C can leave half done: each thread calls it with 1 before its first product
# and with -1 after its last. The state: a lock, how many threads are in between, the count to put back, and the
# addresses of the library's two calls.
ONE_THREAD_TEXT = """
define internal void @one_thread(ptr %state, i64 %change) noinline {
  %open.place = getelementptr i64, ptr %state, i64 1
  %before.place = getelementptr i64, ptr %state, i64 2
  br label %lock
lock:
  %pair = cmpxchg ptr %state, i64 0, i64 1 acq_rel acquire
  %locked = extractvalue { i64, i1 } %pair, 1
  br i1 %locked, label %count, label %lock
count:
  %open = load i64, ptr %open.place
  %open.now = add i64 %open, %change
  store i64 %open.now, ptr %open.place
  %first = icmp eq i64 %open, 0
  br i1 %first, label %save, label %look
save:
  %get.place = getelementptr i64, ptr %state, i64 3
  %get = load ptr, ptr %get.place
  %threads = call i32 %get()
  %threads.wide = zext i32 %threads to i64
  store i64 %threads.wide, ptr %before.place
  br label %look
look:
  %before = load i64, ptr %before.place
  %last = icmp eq i64 %open.now, 0
  %ends = or i1 %first, %last
  %several = icmp ne i64 %before, 1
  %sets = and i1 %ends, %several
  br i1 %sets, label %set, label %unlock
set:
  %set.place = getelementptr i64, ptr %state, i64 4
  %put = load ptr, ptr %set.place
  %wanted = select i1 %first, i64 1, i64 %before
  call void %put(i64 %wanted)
  br label %unlock
unlock:
  store atomic i64 0, ptr %state release, align 8
  ret void
}
"""


@functools.cache
def one_thread_state() -> numpy.ndarray[Any, Any]:
    """The state for the text above. Only for a library whose thread count can be set."""
    blas = find()
    assert blas is not None
    return numpy.array([0, 0, 1, address_of(blas.get_threads), address_of(blas.set_threads)], numpy.int64)


def _forked() -> None:
    """The child of a fork has none of the other threads: their blocks are over, and so is their hold on the locks."""
    _one_thread._lock = threading.Lock()
    if one_thread_state.cache_info().currsize:
        state, blas = one_thread_state(), find()
        if state[1] and blas and blas.set_threads:
            blas.set_threads(int(state[2]))
        state[:2] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def call(
    code: Code,
    function: str,
    dtype: str,
    transposed: Sequence[bool],
    sizes: Sequence[str],
    matrices: Sequence[tuple[str, str]],
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """Writes a call of `gemm`, which is at that address: m, n and k, and of each matrix its address and step."""
    library = find()
    assert library is not None  # who makes a step of this has looked
    type = "float" if dtype == "float32" else "double"

    def whole(text: str) -> str:
        if library.bits == 32 and text.startswith("%"):
            text = code.value(f"trunc i64 {text} to i32")
        return f"i{library.bits} {text}"

    (a, lda), (b, ldb), (c, ldc) = matrices
    arguments = [
        f"i32 {ROW_MAJOR}",
        *(f"i32 {TRANSPOSED if flag else PLAIN}" for flag in transposed),
        *map(whole, sizes),
        f"{type} {number(alpha, type)}",
        *(f"ptr {a}", whole(lda), f"ptr {b}", whole(ldb)),
        f"{type} {number(beta, type)}",
        *(f"ptr {c}", whole(ldc)),
    ]
    code.add(f"call void {function}({', '.join(arguments)})")
