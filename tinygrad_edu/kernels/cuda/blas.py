"""Matrix products by cuBLASLt, which is called through ctypes.

CuPy's own products cannot be recorded in CUDA graphs, copy transposed stacks of matrices and take one dtype only; this
takes rows of any distance, transposed or not, and stacks of them. cuBLASLt counts by columns, we by rows: it is asked
for c.T = b.T @ a.T, which lies in memory as c = a @ b does.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import itertools
import math
import weakref
from collections.abc import Sequence
from ctypes import byref, c_float, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import replace
from typing import Any

import numpy

from ...errors import message
from ...state import state
from ..gemm import Gemm, rows_of
from ..loops import HALVES
from . import rounding

WORKSPACE = 32 << 20
"""Bytes that a product may use besides: what NVIDIA recommends for Hopper."""
_ALIGNED = 256  # bytes, as memory from CuPy is
_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType_t
_COMPUTE = {"float32": 68, "float64": 70, "tf32": 77}  # cublasComputeType_t
_SUMS = {"float16": "float32", "float32": "float32", "float64": "float64"}  # of products of which dtype
_NUMBER = {"float32": c_float, "float64": ctypes.c_double}

# cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t, cublasLtMatmulPreferenceAttributes_t
_TRANSPOSE_A, _TRANSPOSE_B = 3, 4
_EPILOGUE, _BIAS = 7, 8
_ADD_BIAS = 4  # cublasLtEpilogue_t
_BATCH, _STRIDE = 5, 6
_MAX_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


def loaded(name: str) -> Any:
    """NVIDIA's library of that name ("cublasLt"), loaded; None if it is not found."""
    with contextlib.suppress(ImportError, RuntimeError):  # no pathfinder, or it finds none
        pathfinder = importlib.import_module("cuda.pathfinder")
        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)
    for version in (13, 12):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(f"lib{name}.so.{version}")
    return None


@functools.cache
def library() -> Any:
    """cuBLASLt. Raises OSError if it is not found."""
    found = loaded("cublasLt")
    if found is None:
        raise OSError(message("cublasLt", "libcublasLt", "none", "tinygrad-edu doctor tells what is missing."))
    return found


def _check(status: int) -> None:
    if status:
        raise RuntimeError(message("cublasLt", "status 0", f"status {status}"))


@functools.cache
def _handle(device: int) -> c_void_p:
    handle = c_void_p()
    _check(library().cublasLtCreate(byref(handle)))
    return handle


class Plan:
    """A product as cuBLASLt will do it: its descriptions and the algorithm that it chose for matrices at multiples of
    `alignment` bytes (the factors of `factors`, if that is given), in that precision if they are float32. In 16 bits it
    takes factors that are rounded already. To each row the vector at the address `bias` is added, unless that is 0.

    Attributes:
        workspace: bytes of memory that it needs besides.
    """

    def __init__(self, product: Gemm, alignment: int, precision: str, bias: int, factors: int = 0):
        import cupy

        self.product, lt = product, library()
        self._handle = _handle(cupy.cuda.Device().id)
        self._description = c_void_p()
        sums = _SUMS[product.dtype]
        single = product.dtype == "float32"
        compute = _COMPUTE["tf32" if single and precision == "tf32" else sums]
        _check(lt.cublasLtMatmulDescCreate(byref(self._description), compute, _TYPES[sums]))
        for side, transposed in ((_TRANSPOSE_A, product.transpose_b), (_TRANSPOSE_B, product.transpose_a)):
            _set(lt.cublasLtMatmulDescSetAttribute, self._description, side, c_int(transposed))
        if bias:
            for attribute, value in ((_EPILOGUE, c_int(_ADD_BIAS)), (_BIAS, c_void_p(bias))):
                _set(lt.cublasLtMatmulDescSetAttribute, self._description, attribute, value)
        rounded = single and precision in HALVES
        self._layouts = _layouts(product, precision if rounded else product.dtype)
        weakref.finalize(self, _destroy, lt, self._description, self._layouts).atexit = False
        self._alpha, self._beta = map(_NUMBER[sums], (product.alpha, product.beta))
        self._algorithm, self.workspace = self._chosen(factors or alignment, alignment)

    def _chosen(self, factors: int, result: int) -> tuple[Any, int]:
        """The algorithm for matrices that are aligned so, and the memory that it needs."""
        lt, preference, found, answer = library(), c_void_p(), c_int(), _Heuristic()
        _check(lt.cublasLtMatmulPreferenceCreate(byref(preference)))
        alignments = zip(_ALIGNMENTS, (factors, factors, result, result), strict=True)
        settings = [(_MAX_WORKSPACE, c_uint64(WORKSPACE)), *((who, c_uint32(at)) for who, at in alignments)]
        for attribute, value in settings:
            _set(lt.cublasLtMatmulPreferenceSetAttribute, preference, attribute, value)
        layouts = [*self._layouts, self._layouts[-1]]
        arguments = (self._handle, self._description, *layouts, preference, c_int(1), byref(answer), byref(found))
        status = lt.cublasLtMatmulAlgoGetHeuristic(*arguments)
        lt.cublasLtMatmulPreferenceDestroy(preference)
        if status or not found.value or answer.state:
            raise RuntimeError(message("cublasLt", f"an algorithm for {self.product}", f"none (status {status})"))
        return answer.algorithm, answer.workspace

    def launch(self, a: int, b: int, c: int, workspace: int) -> None:
        """Computes the product of matrices at these addresses, in the stream in use."""
        import cupy

        stream = c_void_p(cupy.cuda.get_current_stream().ptr)
        first, second, third = self._layouts
        alpha, beta = byref(self._alpha), byref(self._beta)
        factors = alpha, c_void_p(b), first, c_void_p(a), second, beta
        result = c_void_p(c), third
        memory = c_void_p(workspace), c_size_t(self.workspace)
        how = self._handle, self._description
        _check(library().cublasLtMatmul(*how, *factors, *result, *result, byref(self._algorithm), *memory, stream))


class Rounded:
    """A product of float32 in 16 bits: its factors are rounded into the workspace, then multiplied.

    Attributes:
        workspace: bytes of memory that it needs besides: for both factors, and for the product.
    """

    def __init__(self, product: Gemm, alignment: int, dtype: str, bias: int):
        self._dtype, self._factors = dtype, rounding.factors_of(product)
        a, b = (rows.dense() for rows in self._factors)
        dense = replace(product, lda=a.step, ldb=b.step, strides=(a.stride, b.stride, product.strides[2]))
        self._plan = Plan(dense, alignment, dtype, bias, _ALIGNED)
        first, second = (-(-2 * rows.size // _ALIGNED) * _ALIGNED for rows in (a, b))
        self._places = 0, first, first + second
        self.workspace = first + second + self._plan.workspace

    def launch(self, a: int, b: int, c: int, workspace: int) -> None:
        """Computes the product of matrices at these addresses, in the stream in use."""
        first, second, rest = (workspace + place for place in self._places)
        for rows, source, target in zip(self._factors, (a, b), (first, second), strict=True):
            rows.round(source, target, self._dtype)
        self._plan.launch(first, second, c, rest)


def _destroy(lt: Any, description: c_void_p, layouts: Sequence[c_void_p]) -> None:
    for layout in layouts:
        lt.cublasLtMatrixLayoutDestroy(layout)
    lt.cublasLtMatmulDescDestroy(description)


def _set(function: Any, target: c_void_p, attribute: int, value: Any) -> None:
    _check(function(target, c_int(attribute), byref(value), c_size_t(ctypes.sizeof(value))))


def _layouts(product: Gemm, factors: str) -> list[c_void_p]:
    """Those of b, a and c, where the factors are of that dtype."""
    m, n, k = product.m, product.n, product.k
    a = (m, k) if product.transpose_a else (k, m)
    b = (k, n) if product.transpose_b else (n, k)
    kinds = _TYPES[factors], _TYPES[factors], _TYPES[product.dtype]
    steps = product.ldb, product.lda, product.ldc
    strides = product.strides[1], product.strides[0], product.strides[2]
    return [
        _layout(kind, shape, step, product.batch, stride)
        for kind, shape, step, stride in zip(kinds, (b, a, (n, m)), steps, strides, strict=True)
    ]


def _layout(kind: int, shape: tuple[int, int], step: int, batch: int, stride: int) -> c_void_p:
    layout, lt = c_void_p(), library()
    _check(lt.cublasLtMatrixLayoutCreate(byref(layout), kind, *map(c_uint64, shape), c_int64(step)))
    if batch > 1:
        _set(lt.cublasLtMatrixLayoutSetAttribute, layout, _BATCH, c_int(batch))
        _set(lt.cublasLtMatrixLayoutSetAttribute, layout, _STRIDE, c_int64(stride))
    return layout


@functools.lru_cache(4096)
def plan_of(
    product: Gemm, alignment: int, device: int, precision: str, bias: int = 0, is_rounded: bool = False
) -> Plan | Rounded:
    """The plan of a product on that device, which is in use; any number of callers may share it. `is_rounded`: whether
    the factors are of the precision already."""
    rounds = product.dtype == "float32" and precision in HALVES and not is_rounded
    return (Rounded if rounds else Plan)(product, alignment, precision, bias)


def alignment_of(*addresses: int) -> int:
    """The largest power of two that divides them all, at most 256."""
    return math.gcd(_ALIGNED, *addresses)


# Arrays


def product_of(a: Any, b: Any, c: Any) -> Gemm | None:
    """The product a @ b of (stacks of) matrices, written to c, from shapes, strides and dtypes; None for what
    cuBLASLt cannot do. Factors may be rounded to 16 bits where c is float32."""
    rounded = a.dtype.name in HALVES and c.dtype == "float32"
    if a.dtype != b.dtype or not (rounded or a.dtype == c.dtype) or min(a.ndim, b.ndim, c.ndim) < 2:
        return None
    if c.dtype.name not in _SUMS:
        return None
    if 0 in (*a.shape, *b.shape):
        return None
    (m, k), n = a.shape[-2:], b.shape[-1]
    found = [_lying(x, c.shape[:-2]) for x in (a, b, c)]
    if any(x is None for x in found) or found[2][0]:  # type: ignore[index]
        return None
    (ta, lda, sa), (tb, ldb, sb), (_, ldc, sc) = found  # type: ignore[misc]
    product = Gemm(
        c.dtype.name, m, n, k, 0, 1, 2, ta, tb, lda, ldb, ldc, batch=math.prod(c.shape[:-2]), strides=(sa, sb, sc)
    )
    if product.batch > 1 and not tb and not sb and sa == m * lda and sc == m * ldc and not ta:
        return replace(product, m=m * product.batch, batch=1, strides=(0, 0, 0))  # one matrix b for all rows
    return product


def _lying(x: Any, stack: tuple[int, ...]) -> tuple[bool, int, int] | None:
    """Whether matrices lie transposed, and the elements from row to row and, over the stack, from each to the next."""
    rows, size = rows_of(x), x.dtype.itemsize
    lead = x.ndim - 2
    steps = [0] * (len(stack) - lead) + [s if n > 1 else 0 for n, s in zip(x.shape[:-2], x.strides[:-2], strict=True)]
    long = [(n, step) for n, step in zip(stack, steps, strict=True) if n > 1]
    regular = all(outer == n * inner for (_, outer), (n, inner) in itertools.pairwise(long))
    if rows is None or not regular or any(step % size for step in steps):
        return None
    return *rows, long[-1][1] // size if long else 0


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """`cupy.matmul`, of two arrays of floats by cuBLASLt; matrices that this cannot take are copied."""
    import cupy

    if not all(isinstance(x, cupy.ndarray) and x.ndim > 1 and x.size and x.dtype.name in _SUMS for x in (a, b)):
        return cupy.matmul(a, b, out=out)
    if a.shape[-1] != b.shape[-2] or a.dtype != b.dtype:
        return cupy.matmul(a, b, out=out)  # which says what is wrong
    stack = numpy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (x if _lying(x, stack) else _copied(x, stack) for x in (a, b))
    y = cupy.empty((*stack, a.shape[-2], b.shape[-1]), a.dtype) if out is None else out
    product = product_of(a, b, y) if y.shape[:-2] == stack else None
    if product is None:  # such an `out`
        out[...] = matmul(a, b)
        return out
    addresses = a.data.ptr, b.data.ptr, y.data.ptr
    plan = plan_of(product, alignment_of(*addresses), cupy.cuda.Device().id, state.matmul_precision)
    workspace = cupy.cuda.alloc(plan.workspace) if plan.workspace else None
    plan.launch(*addresses, workspace.ptr if workspace else 0)
    return y


def _copied(x: Any, stack: tuple[int, ...]) -> Any:
    import cupy

    whole = cupy.broadcast_to(x, (*stack, *x.shape[-2:])) if x.ndim > 2 else x
    return cupy.ascontiguousarray(whole)
