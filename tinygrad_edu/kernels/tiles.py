"""Tiles: some rows and columns of a matrix product, whose sums stay in registers while it runs.

Beside a matrix that is packed once for many products, or stays in the cache, that is faster than a BLAS, which packs
anew for each.
"""

from __future__ import annotations

from typing import Any

from . import llvm
from .polynomials import Code, number

LANES = {"float32": 16, "float64": 8}
"""The numbers of a vector."""
NOTES = """
!0 = distinct !{!0, !1}
!1 = !{!"llvm.loop.unroll.disable"}
"""
"""What the text of a tile refers to."""


def vectors() -> int:
    """How many sums of LANES numbers registers hold beside what else they have to: those of a tile."""
    return 8 if "+avx512f" in llvm.host()[2] else 4


def tile(
    a: Any, b: Any, c: Any, rows: int, columns: int, k: int, lda: int, ldb: int, ldc: int, width: int, apart: int,
    beta: float = 0.0, along: int = 1,
) -> None:  # fmt: skip
    """c = a @ b + beta * c for so many `rows` and `columns`, a sum of k products each.

    Rows of a, b and c are `lda`, `ldb` and `ldc` elements apart, the columns of a `along`. The columns of b are those
    of panels of `width`, which are `apart`. Constants are rows, columns, width and beta.
    """
    for first in range(0, columns, width):
        panel = b[first // width * apart :]
        for r in range(rows):
            for j in range(min(width, columns - first)):
                at = r * ldc + first + j
                total = sum(a[r * lda + i * along] * panel[i * ldb + j] for i in range(k))
                c[at] = total + (beta * c[at] if beta else 0)


def tile_text(
    code: Code, dtype: str, places: tuple[str, str, str], rows: int, columns: int, width: int, beta: float,
    k: str, lda: str, ldb: str, ldc: str, apart: str, along: str,
) -> None:  # fmt: skip
    """Writes what `tile` does, from pointers and values of type i64."""
    type, size = llvm.TYPES[dtype], llvm.SIZES[dtype]
    lanes = [min(width, columns - first) for first in range(0, columns, width)]
    vectors = [f"<{n} x {type}>" for n in lanes]
    a, b, c = places

    def at(base: str, position: str | int, stride: str | int) -> str:
        return code.value(f"getelementptr {type}, ptr {base}, i64 {code.value(f'mul i64 {position}, {stride}')}")

    def spread(value: str, n: int) -> str:
        one = code.value(f"insertelement <{n} x {type}> poison, {type} {value}, i64 0")
        return code.value(f"shufflevector <{n} x {type}> {one}, <{n} x {type}> poison, <{n} x i32> zeroinitializer")

    def multiply_add(x: str, y: str, z: str, n: int) -> str:
        vector, function = f"<{n} x {type}>", f"@llvm.fmuladd.v{n}f{8 * size}"
        code.declared[f"declare {vector} {function}({vector}, {vector}, {vector})"] = None
        return f"call {vector} {function}({vector} {x}, {vector} {y}, {vector} {z})"

    lines = [at(a, r, lda) for r in range(rows)]
    panels = [at(b, p, apart) for p in range(len(lanes))]
    label = f"tile{next(code.names)}"
    i, sums = f"%{label}.i", [[f"%{label}.{r}.{p}" for p in range(len(lanes))] for r in range(rows)]
    code.label(f"{label}.entry")
    code.label(label)
    code.add(f"{i} = phi i64 [ 0, %{label}.entry ], [ {i}.next, %{label} ]")
    for row in sums:
        for total, vector in zip(row, vectors, strict=True):
            code.add(f"{total} = phi {vector} [ zeroinitializer, %{label}.entry ], [ {total}.next, %{label} ]")
    below = [
        code.value(f"load {vector}, ptr {at(panel, i, ldb)}, align {size}")
        for panel, vector in zip(panels, vectors, strict=True)
    ]
    for row, line in zip(sums, lines, strict=True):
        factor = code.value(f"load {type}, ptr {at(line, i, along)}")
        for total, values, n in zip(row, below, lanes, strict=True):
            spread_out = spread(factor, n)
            code.add(f"{total}.next = {multiply_add(spread_out, values, total, n)}")
    code.add(f"{i}.next = add i64 {i}, 1")
    code.add(f"br i1 {code.value(f'icmp slt i64 {i}.next, {k}')}, label %{label}, label %{label}.exit, !llvm.loop !0")
    code.lines.append(f"{label}.exit:")
    for r, row in enumerate(sums):
        line = at(c, r, ldc)
        for p, (total, n) in enumerate(zip(row, lanes, strict=True)):
            place, value = at(line, p, width), f"{total}.next"
            if beta:
                old = code.value(f"load {vectors[p]}, ptr {place}, align {size}")
                value = code.value(multiply_add(spread(number(beta, type), n), old, value, n))
            code.add(f"store {vectors[p]} {value}, ptr {place}, align {size}")
