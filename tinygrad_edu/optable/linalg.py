"""Linear algebra."""

from __future__ import annotations

from typing import Any

import numpy

from .. import ops
from .sample import R, Row, S, Z


def _einsum(subscripts: str, *operands: Any) -> Any:
    return numpy.einsum(subscripts, *operands)


ROWS = (
    Row(
        "matmul",
        ops.matmul,
        numpy.matmul,
        (
            S(R(2, 3), R(3, 2)),
            S(R(3), R(3)),
            S(R(2, 3), R(3)),
            S(R(2), R(2, 3)),
            S(R(2, 2, 3), R(3, 2)),
            S(R(2, 3), R(2, 3, 2)),
            S(R(2, 2, 3), R(2, 3, 2)),
            S(R(2, 1, 2, 3), R(3, 3, 2)),
            S(R(1, 2, 3), R(4, 3, 2)),
            S(R(3), R(2, 3, 2)),
            S(R(2, 2, 3), R(3)),
            S(R(0, 3), R(3, 2)),
            S(R(2, 0), R(0, 3)),
            S(R(0, 2, 3), R(3, 2)),
            S(R(3, 4, layout="T"), R(4, 3, layout="T")),
            S(R(2, 3, layout="S"), R(3, 2, layout="S")),
            S(Z(2, 3), Z(3, 2)),
            S(Z(2, 3), R(3, 2)),
        ),
    ),
    Row(
        "dot",
        ops.dot,
        numpy.dot,
        (
            S(R(3), R(3)),
            S(R(2, 3), R(3, 2)),
            S(R(2, 3), R(3)),
            S(R(2, 2, 3), R(3)),
            S(R(2, 3), R(2, 3, 2)),
            S(R(2, 1, 3), R(2, 3, 2)),
            S(R(), R(2, 3)),
            S(R(2), R()),
            S(R(0), R(0)),
        ),
    ),
    Row("outer", ops.outer, numpy.outer, (S(R(2), R(3)), S(R(2, 2), R(3)), S(R(), R(2)), S(R(0), R(2)), S(Z(2), R(2)))),
    Row(
        "tensordot",
        ops.tensordot,
        numpy.tensordot,
        (
            S(R(2, 2, 3), R(2, 3, 2)),
            S(R(2, 3), R(3, 2), axes=1),
            S(R(2), R(3), axes=0),
            S(R(2, 3, 4), R(4, 2, 3), axes=([0, 2], [1, 0])),
            S(R(2, 3), R(2, 4), axes=(0, 0)),
            S(R(2, 3, 2), R(3, 2), axes=((-2,), (-2,))),
            S(R(0, 3), R(3, 2), axes=1),
            S(R(4, 3, layout="T"), R(3, 4, layout="S"), axes=1),
        ),
    ),
    Row(
        "einsum",
        ops.einsum,
        _einsum,
        (
            S("ij,jk->ik", R(2, 3), R(3, 2)),
            S("ij,jk", R(2, 3), R(3, 2)),
            S("ba,cb", R(2, 3), R(4, 2)),
            S("ii", R(3, 3)),
            S("ii->i", R(3, 3)),
            S("iij->j", R(3, 3, 2)),
            S("iij,i->ji", R(2, 2, 3), R(2)),
            S("ij->", R(2, 3)),
            S("ij->ji", R(2, 3)),
            S("ij,k->i", R(2, 3), R(2)),
            S("i,j->ij", R(2), R(3)),
            S("bij,bjk->bik", R(2, 2, 3), R(2, 3, 2)),
            S("...ij,...jk->...ik", R(2, 2, 3), R(3, 2)),
            S("...ij,...jk->...ik", R(2, 1, 2, 3), R(3, 3, 2)),
            S("i...,i...->...", R(2, 3), R(2, 1)),
            S("...ii->...i", R(2, 3, 3)),
            S("i...", R(2, 3)),
            S("...i->...", R(2, 3)),
            S("ij,ij->ij", R(2, 3), R(1, 3)),
            S("ij,jk->ik", R(2, 1), R(3, 2)),
            S("ij,jk,kl->il", R(2, 3), R(3, 2), R(2, 2)),
            S("i,i,i->", R(3), R(3), R(3)),
            S("ii,jj->ij", R(2, 2), R(3, 3)),
            S("iii->i", R(2, 2, 2)),
            S(",i->i", R(), R(3)),
            S("->", R()),
            S("ij,jk->ik", R(0, 3), R(3, 2)),
            S("ij,jk->ik", R(2, 0), R(0, 2)),
            S("ij, kj -> ik", R(4, 3, layout="T"), R(2, 3)),
            S("ij,j->i", Z(2, 3), Z(3)),
            S("ij,j->i", Z(2, 3), R(3)),
            S("aA,Ab->ab", R(2, 3), R(3, 2)),
        ),
    ),
    Row(
        "trace",
        ops.trace,
        numpy.trace,
        (S(R(3, 3)), S(R(3, 4), 1), S(R(4, 3), offset=-1), S(R(2, 3, 4), 0, 1, -1), S(R(0, 3)), S(Z(3, 3))),
    ),
)
