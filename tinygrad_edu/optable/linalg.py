"""Linear algebra."""

from __future__ import annotations

from typing import Any

import numpy

from .. import ops
from .sample import S0, Draw, R, Row, S, V, Z


def _einsum(subscripts: str, *operands: Any) -> Any:
    return numpy.einsum(subscripts, *operands)


def M(*shape: int) -> Draw:
    """Matrices with distinct numbers around 1.5, 3, 4.5... on the diagonal and small ones beside: far from singular,
    positive definite, and their eigenvalues and singular values well apart."""
    values = numpy.random.default_rng(shape).uniform(-0.4, 0.4, shape)
    for i in range(min(shape[-2:])):
        values[..., i, i] += 1.5 * (i + 1)
    return V(values)


SQUARE = (S(M(3, 3)), S(M(2, 3, 3)), S(M(1, 1)), S(M(2, 1, 2, 2)), S(R(0, 3, 3)), S(R(0, 0)), S(V([[2, 1], [1, 3]])))


def _of_symmetric(function: Any) -> Any:
    """`function` of symmetric matrices, for those that read the lower triangle only."""
    return lambda x: function(0.5 * (x + _transposed(x)))


def _transposed(x: Any) -> Any:
    return numpy.swapaxes(x, -1, -2) if isinstance(x, numpy.ndarray) else ops.swapaxes(x, -1, -2)


def _eigh(x: Any) -> Any:
    """The eigenvalues, and the squares of the eigenvectors, on whose signs nothing depends."""
    w, v = ops.eigh(x)
    return w, v * v


def _svd(x: Any) -> Any:
    u, s, vh = ops.svd(x)
    return u * u, s, vh * vh


def _eigh_reference(x: Any) -> Any:
    w, v = numpy.linalg.eigh(x)
    return w, v * v


def _svd_reference(x: Any) -> Any:
    u, s, vh = numpy.linalg.svd(x, full_matrices=False)
    return u * u, s, vh * vh


ROWS = (
    Row("inv", ops.inv, numpy.linalg.inv, SQUARE, slack=16.0),
    Row(
        "solve",
        ops.solve,
        numpy.linalg.solve,
        (
            S(M(3, 3), R(3, 2)),
            S(M(3, 3), R(3)),
            S(M(2, 3, 3), R(2, 3, 1)),
            S(M(2, 3, 3), R(3, 2)),
            S(M(2, 3, 3), R(3)),
            S(M(3, 3), R(2, 3, 2)),
            S(M(2, 1, 2, 2), R(3, 2, 1)),
            S(R(0, 3, 3), R(3, 2)),
            S(M(3, 3), R(3, 2, layout="T")),
            S(V([[2, 1], [1, 3]]), Z(2, 2)),
            S(V([[2, 1], [1, 3]]), R(2)),
        ),
        slack=16.0,
    ),
    Row("det", ops.det, numpy.linalg.det, SQUARE, slack=16.0),
    Row(
        "slogdet",
        ops.slogdet,
        lambda x: tuple(numpy.linalg.slogdet(x)),
        (*SQUARE, S(V([[0.5, 2.0], [2.0, 1.0]])), S0(V([[1.0, 2.0], [2.0, 4.0]]))),
        slack=16.0,
    ),
    Row("cholesky", _of_symmetric(ops.cholesky), _of_symmetric(numpy.linalg.cholesky), SQUARE, slack=16.0),
    Row("eigh", _of_symmetric(_eigh), _of_symmetric(_eigh_reference), SQUARE, slack=32.0),
    Row("svd", _svd, _svd_reference, (*SQUARE, S(M(4, 2)), S(M(2, 3)), S(M(2, 3, 2)), S(M(2, 2, 3))), slack=32.0),
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
