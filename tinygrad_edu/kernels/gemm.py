"""Matrix products: what they are, and the text of the function that does one, by loops or by BLAS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import message
from . import blas, llvm
from .tiles import HINTS, at, loop

_SMALL = 300_000  # multiplications; larger products always call BLAS
_LANES = {"float32": 16, "float64": 8}
_ROWS = 4  # of a small product, computed together


@dataclass(frozen=True)
class Gemm:
    """c = alpha * a @ b + beta * c for row-major matrices in slots of the table of pointers.

    a is (m, k), or (k, m) if it is transposed first; b is (k, n) or (n, k); c is (m, n) and read only if beta is not
    0. `lda`, `ldb` and `ldc` count the elements from one row in memory to the next. There are `batch` such products;
    `strides` count the elements from one to the next in a, b and c. float16 is for CUDA alone. Raises ValueError for
    what does not fit.
    """

    dtype: str
    m: int
    n: int
    k: int
    a: int
    b: int
    c: int
    transpose_a: bool
    transpose_b: bool
    lda: int
    ldb: int
    ldc: int
    alpha: float = 1.0
    beta: float = 0.0
    batch: int = 1
    strides: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", *_LANES):
            raise ValueError(message("Gemm", "float16, float32 or float64", self.dtype))
        if min(self.m, self.n, self.k, self.batch, *self.strides) < 0:
            raise ValueError(message("Gemm", "no negative sizes or strides", repr(self)))
        widths = (self.m if self.transpose_a else self.k, self.k if self.transpose_b else self.n, self.n)
        if any(step < width for step, width in zip((self.lda, self.ldb, self.ldc), widths, strict=True)):
            raise ValueError(message("Gemm", f"lda, ldb, ldc of at least {widths}", repr(self)))
        across, down = (self.batch - 1) * self.strides[2] + self.n, (self.m - 1) * self.ldc + self.n
        if self.batch > 1 and self.strides[2] < (self.n if across <= self.ldc else down):
            raise ValueError(message("Gemm", "results of a batch that do not overlap", repr(self)))

    def on(self, a: int, b: int, c: int) -> Gemm:
        """The same for other slots."""
        return replace(self, a=a, b=b, c=c)

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.a, self.b, self.c) if self.beta else (self.a, self.b)

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.c,)


def is_small(gemm: Gemm) -> bool:
    """Whether loops of our own are about as fast as a call of BLAS, whose cost does not show in `called` alone: a
    program without such calls starts faster. The times, in nanoseconds, are fitted to measurements (AVX-512)."""
    lanes, products = _LANES[gemm.dtype], gemm.m * gemm.n * gemm.k
    own = 25 + 0.27 * max(gemm.m, _ROWS) * -(-gemm.n // lanes) * gemm.k + 0.45 * gemm.k * gemm.n * gemm.transpose_b
    called = 150 + 0.28 * products / lanes
    return products <= _SMALL and own <= 1.3 * called


def rows_of(a: Any) -> tuple[bool, int] | None:
    """Whether matrices, the last two axes, lie transposed, and the elements from one row in memory to the next; None
    if they lie in another way."""
    size = a.dtype.itemsize
    for transposed in (False, True):
        order = (-1, -2) if transposed else (-2, -1)
        rows, columns = (a.shape[axis] for axis in order)
        far, near = (a.strides[axis] for axis in order)
        step: int = far // size if rows > 1 else columns
        if (near == size or columns == 1) and step >= columns and not (rows > 1 and far % size):
            return transposed, step
    return None


def share_of(code: llvm.Code, who: str, length: int | str, granularity: int) -> tuple[str, str]:
    """The first position of a thread's share of `length`, and the one after its last: constants for a single thread,
    whose function LLVM then makes for them."""
    if who == "i64 0, i64 1":
        return "0", str(length)
    thread, threads = (word.removeprefix("i64 ") for word in who.split(", "))
    after = code.value(f"add i64 {thread}, 1")
    start, stop = (
        code.value(f"call i64 @bound(i64 {i}, i64 {threads}, i64 {length}, i64 {granularity})") for i in (thread, after)
    )
    return start, stop


# Text


def gemm_text(gemm: Gemm, name: str, threads: int, share: bool) -> str:
    """The function that does a thread's share of a product: some of the batch, of the rows, or of the columns."""
    code, type = llvm.Code(), llvm.TYPES[gemm.dtype]
    lanes, items, rows, columns = _LANES[gemm.dtype], ("0", str(gemm.batch)), ("0", str(gemm.m)), ("0", str(gemm.n))
    if share and gemm.batch >= threads:
        items = share_of(code, "i64 %thread, i64 %threads", gemm.batch, 1)
    elif share and (gemm.m >= gemm.n or is_small(gemm)):
        rows = share_of(code, "i64 %thread, i64 %threads", gemm.m, _ROWS)
    elif share:
        columns = share_of(code, "i64 %thread, i64 %threads", gemm.n, lanes)
    height = code.value(f"sub i64 {rows[1]}, {rows[0]}")
    width = code.value(f"sub i64 {columns[1]}, {columns[0]}")

    def item(number: str, _: Sequence[str]) -> None:
        starts = (
            (rows[0], 1 if gemm.transpose_a else gemm.lda, "0", 0),
            (columns[0], gemm.ldb if gemm.transpose_b else 1, "0", 0),
            (rows[0], gemm.ldc, columns[0], 1),
        )
        a, b, c = (
            at(code, type, f"%{matrix}", (number, stride), (first, step), (second, one))
            for matrix, stride, (first, step, second, one) in zip("abc", gemm.strides, starts, strict=True)
        )
        if is_small(gemm):
            _small_gemm(code, gemm, a, b, c, height if share else str(gemm.m))
        else:
            forms, sizes = (gemm.transpose_a, gemm.transpose_b), (height, width, str(gemm.k))
            matrices = ((a, str(gemm.lda)), (b, str(gemm.ldb)), (c, str(gemm.ldc)))
            blas.call(code, "%function", gemm.dtype, forms, sizes, matrices, gemm.alpha, gemm.beta)

    empty = [code.value(f"icmp eq i64 {size}, 0") for size in (height, width)]
    code.add(f"br i1 {code.value(f'or i1 {empty[0]}, {empty[1]}')}, label %end, label %begin")
    code.lines.append("begin:")
    loop(code, *items, 1, item)
    code.label("end")
    head = f"define internal void @{name}(i64 %thread, i64 %threads, ptr %a, ptr %b, ptr %c, ptr %function) {{"
    panel = [f"  %panel = alloca [{gemm.k * lanes} x {type}], align 64"] if _packs(gemm) else []
    return "\n".join([*code.declared, head, *panel, *code.lines, "  ret void", "}", HINTS])


def _packs(gemm: Gemm) -> bool:
    return is_small(gemm) and gemm.transpose_b


def _small_gemm(code: llvm.Code, gemm: Gemm, a: str, b: str, c: str, height: str) -> None:
    """A vector's worth of columns after the other; of each, some rows at a time."""
    lanes = _LANES[gemm.dtype]
    rest = gemm.n % lanes

    def columns(j: str, lanes: int) -> None:
        if gemm.transpose_b:
            _pack(code, gemm, b, j, lanes)
        at_a_time = min(_ROWS, gemm.m)
        pieces = code.value(f"udiv i64 {height}, {at_a_time}")
        whole = code.value(f"mul i64 {pieces}, {at_a_time}")
        loop(code, "0", whole, at_a_time, lambda i, _: _tile(code, gemm, (a, b, c), i, at_a_time, j, lanes))
        if at_a_time > 1:
            loop(code, whole, height, 1, lambda i, _: _tile(code, gemm, (a, b, c), i, 1, j, lanes))

    if gemm.n >= lanes:
        loop(code, "0", str(gemm.n - rest), lanes, lambda j, _: columns(j, lanes))
    if rest:
        columns(str(gemm.n - rest), rest)


def _pack(code: llvm.Code, gemm: Gemm, b: str, j: str, lanes: int) -> None:
    """Those columns of a transposed b, which are not neighbours in memory, as rows of %panel."""
    type = llvm.TYPES[gemm.dtype]

    def row(k: str, _: Sequence[str]) -> None:
        first = at(code, type, b, (j, gemm.ldb), (k, 1))
        for lane in range(lanes):
            value = code.value(f"load {type}, ptr {at(code, type, first, (str(lane), gemm.ldb))}")
            code.add(f"store {type} {value}, ptr {at(code, type, '%panel', (k, lanes), (str(lane), 1))}")

    loop(code, "0", str(gemm.k), 1, row)


def _tile(code: llvm.Code, gemm: Gemm, places: tuple[str, str, str], i: str, rows: int, j: str, lanes: int) -> None:
    """Rows from i and columns from j on of c, each row of them a vector that stays in a register."""
    a, b, c = places
    number = llvm.TYPES[gemm.dtype]
    vector, kind = f"<{lanes} x {number}>", f"v{lanes}f{8 * llvm.SIZES[gemm.dtype]}"
    align = llvm.SIZES[gemm.dtype]
    code.declared[f"declare {vector} @llvm.fmuladd.{kind}({vector}, {vector}, {vector})"] = None

    def multiply_add(x: str, y: str, z: str) -> str:
        return code.value(f"call {vector} @llvm.fmuladd.{kind}({vector} {x}, {vector} {y}, {vector} {z})")

    def all_lanes(value: str) -> str:
        first = code.value(f"insertelement {vector} poison, {number} {value}, i64 0")
        return code.value(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer")

    def products(k: str, totals: Sequence[str]) -> list[str]:
        if gemm.transpose_b:
            place = at(code, number, "%panel", (k, lanes))
        else:
            place = at(code, number, b, (k, gemm.ldb), (j, 1))
        row = code.value(f"load {vector}, ptr {place}, align {align}")
        sums = []
        for r, total in enumerate(totals):
            down, along = (1, gemm.lda) if gemm.transpose_a else (gemm.lda, 1)
            place = at(code, number, a, (i, down), (str(r), down), (k, along))
            sums.append(multiply_add(all_lanes(code.value(f"load {number}, ptr {place}")), row, total))
        return sums

    sums = loop(code, "0", str(gemm.k), 1, products, [(vector, "zeroinitializer")] * rows, True)
    for r, total in enumerate(sums):
        place = at(code, number, c, (i, gemm.ldc), (str(r), gemm.ldc), (j, 1))
        if gemm.alpha != 1:
            total = code.value(f"fmul {vector} {total}, {all_lanes(llvm.number(gemm.alpha, number))}")
        if gemm.beta:
            old = code.value(f"load {vector}, ptr {place}, align {align}")
            total = multiply_add(all_lanes(llvm.number(gemm.beta, number)), old, total)
        code.add(f"store {vector} {total}, ptr {place}, align {align}")
