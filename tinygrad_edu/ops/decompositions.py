"""Inverses, determinants and decompositions of matrices, in stacks along the leading axes.

The rules are those of Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008, and Townsend, "Differentiating the singular value decomposition", 2016. Integers become the
default dtype. LAPACK knows no float16: that is computed in float32.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy

from ..autograd import broadcast_to, cast, primitive
from ..backend import Array, failures_raise
from ..errors import ShapeError, message
from ..state import state
from .elementwise import ones_like, zeros_like
from .linalg import swap_last
from .shape import _from_diagonal, _reshape, _several, _triangle, check_arrays, expand_dims


def _lapack(xp: Any, name: str, expects: str, *arrays: Array, **options: Any) -> Any:
    """What `xp.linalg` has under that name. Raises ValueError where it fails, on CUDA too."""
    dtype = arrays[0].dtype
    if name in ("eigh", "svd") and not bool(xp.isfinite(arrays[0]).all()):  # LAPACKs fail, give NaN, or never end
        raise ValueError(message(name, expects, "another one"))
    try:
        with failures_raise(xp):
            y = getattr(xp.linalg, name)(*(a.astype("float32") if dtype == "float16" else a for a in arrays), **options)
    except numpy.linalg.LinAlgError as error:
        raise ValueError(message(name, expects, f"another one ({error})")) from error
    if not isinstance(y, tuple):
        return y.astype(dtype, copy=False)
    return tuple(part.astype(dtype, copy=False) for part in y)


def _floating(where: str, x: Any, square: bool = True) -> Any:
    """Checks that `x` holds (square) matrices of real numbers; integers become the default dtype."""
    check_arrays(where, x)
    if x.dtype.kind not in "fiub":
        raise TypeError(message(where, "real numbers", str(x.dtype)))
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(message(where, f"{'square ' * square}matrices, also in a stack", f"shape {x.shape}"))
    return x if x.dtype.kind == "f" else cast(x, state.dtype)


def _diagonal_matrix(a: Any) -> Any:
    return _from_diagonal(a, offset=0, shape=(*a.shape, a.shape[-1]))


def _inverse_gaps(a: Any) -> Any:
    """1 / (a[j] - a[i]) at [i, j], and 0 on the diagonal."""
    diagonal = _diagonal_matrix(ones_like(a))
    return (1.0 - diagonal) / (a[..., None, :] - a[..., :, None] + diagonal)


def _symmetric(a: Any) -> Any:
    return 0.5 * (a + swap_last(a))


@primitive("opaque", saves=("y",))
def _inv(xp: Any, a: Array) -> Array:
    return _lapack(xp, "inv", "an invertible matrix", a)


_inv.defvjp(lambda g, y, a: -(swap_last(y) @ g @ swap_last(y)))


def inv(x: Any) -> Any:
    """The inverse of each square matrix. Raises ValueError if one has none.

    >>> import tinygrad_edu as tg
    >>> tg.inv(tg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    return _inv(_floating("inv", x))


@primitive("opaque", saves=("a", "y"))
def _solve(xp: Any, a: Array, b: Array) -> Array:
    return _lapack(xp, "solve", "an invertible matrix", a, b)


def _solve_rule(needs: list[bool], residuals: Any, g: Any, y: Any, a: Any, b: Any) -> list[Any]:
    d = _solve(swap_last(a), g)
    return [-(d @ swap_last(y)) if needs[0] else None, d if needs[1] else None]


_solve.defjoint(_solve_rule)


def solve(a: Any, b: Any) -> Any:
    """The x of a @ x = b: `a` square matrices, `b` one vector (n,) or matrices (..., n, k). Leading axes broadcast.

    Raises ValueError if a matrix is singular, ShapeError if the shapes do not fit.

    >>> import tinygrad_edu as tg
    >>> tg.solve(tg.tensor([[2.0, 0.0], [1.0, 1.0]]), tg.tensor([4.0, 3.0]))
    tensor([2., 1.])
    """
    check_arrays("solve", a, b)
    a, b = _several("solve", [a, b])
    vector = b.ndim == 1
    a, b = _floating("solve", a), _floating("solve", expand_dims(b, 1) if vector else b, square=False)
    try:
        if a.shape[-1] != b.shape[-2]:
            raise ValueError
        lead = numpy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        expected = "a of shape (..., n, n) and b of shape (n,) or (..., n, k)"
        raise ShapeError(message("solve", expected, f"{a.shape} and {b.shape}")) from None
    y = _solve(*(x if x.shape[:-2] == lead else broadcast_to(x, shape=lead + x.shape[-2:]) for x in (a, b)))
    return y[..., 0] if vector else y


@primitive("opaque", saves=("a", "y"))
def _det(xp: Any, a: Array) -> Any:
    return _lapack(xp, "det", "square matrices", a)


def _each(g: Any, a: Any) -> Any:
    """A number for each matrix of `a`, with axes to broadcast to it."""
    return _reshape(g, shape=(*a.shape[:-2], 1, 1))


_det.defvjp(lambda g, y, a: _each(g, a) * _each(y, a) * swap_last(_inv(a)))


def det(x: Any) -> Any:
    """The determinant of each square matrix. Its gradient needs the inverse: for a singular matrix it raises
    ValueError."""
    return _det(_floating("det", x))


@primitive("opaque", saves=("a",))
def _slogdet(xp: Any, a: Array) -> tuple[Array, Array]:
    sign, logarithm = _lapack(xp, "slogdet", "square matrices", a)
    return sign, logarithm


_slogdet.defvjp(lambda g, y, a: zeros_like(a) if g[1] is None else _each(g[1], a) * swap_last(_inv(a)))


def slogdet(x: Any) -> tuple[Any, Any]:
    """The sign of the determinant of each square matrix, and the logarithm of its magnitude: (0, -inf) for a singular
    one, for which the gradient raises ValueError."""
    sign, logarithm = _slogdet(_floating("slogdet", x))
    return sign, logarithm


@primitive("opaque", saves=("y",))
def _cholesky(xp: Any, a: Array) -> Array:
    return _lapack(xp, "cholesky", "a positive definite matrix", a)


def _cholesky_vjp(g: Any, y: Any, a: Any) -> Any:
    p, inverse = swap_last(y) @ g, _inv(y)
    p = _triangle(p, k=0, upper=False) + _triangle(p, k=-1, upper=False)  # the diagonal counts half
    return _symmetric(0.5 * (swap_last(inverse) @ p @ inverse))


_cholesky.defvjp(_cholesky_vjp)


def cholesky(x: Any) -> Any:
    """The lower triangular L of x = L @ L.T, for symmetric positive definite matrices, of which the lower triangle is
    read. The gradient is symmetric, as PyTorch's: that of changes that keep x symmetric.

    Raises ValueError if a matrix is not positive definite.

    >>> import tinygrad_edu as tg
    >>> tg.cholesky(tg.tensor([[4.0, 2.0], [2.0, 10.0]]))
    tensor([[2., 0.],
            [1., 3.]])
    """
    return _cholesky(_floating("cholesky", x))


@primitive("opaque", saves=("a",), residuals=True)
def _eigh(xp: Any, a: Array) -> Any:
    found = _lapack(xp, "eigh", "a matrix without NaN or infinities", a)
    return found, found


def _eigh_rule(needs: list[bool], residuals: Any, g: Any, y: Any, a: Any) -> list[Any]:
    w, v = residuals or _eigh(a)
    g_w, g_v = g
    terms = [] if g_w is None else [_diagonal_matrix(g_w)]
    if g_v is not None:
        terms.append(swap_last(v) @ g_v * _inverse_gaps(w))
    return [_symmetric(v @ functools.reduce(operator.add, terms) @ swap_last(v))]


_eigh.defjoint(_eigh_rule)


def eigh(x: Any) -> tuple[Any, Any]:
    """The eigenvalues (..., n) of symmetric matrices, in ascending order, and their eigenvectors as the columns of
    (..., n, n). The lower triangle is read; the gradient is symmetric, as PyTorch's.

    The sign of an eigenvector is arbitrary, so results should not depend on it. Where two eigenvalues are equal the
    gradient of eigenvectors is not defined (infinite or NaN), and so are second derivatives.

    >>> import tinygrad_edu as tg
    >>> tg.eigh(tg.tensor([[2.0, 1.0], [1.0, 2.0]]))[0]
    tensor([1., 3.])
    """
    w, v = _eigh(_floating("eigh", x))
    return w, v


@primitive("opaque", saves=("a",), residuals=True)
def _svd(xp: Any, a: Array) -> Any:
    found = _lapack(xp, "svd", "a matrix without NaN or infinities", a, full_matrices=False)
    return found, found


def _svd_rule(needs: list[bool], residuals: Any, g: Any, y: Any, a: Any) -> list[Any]:
    u, s, vh = residuals or _svd(a)
    g_u, g_s, g_vh = g
    columns, rows = s[..., None, :], s[..., :, None]
    inner = [] if g_s is None else [_diagonal_matrix(g_s)]  # between u and vh
    outer: list[Any] = []  # what u and vh do not span
    if g_u is not None:
        p = swap_last(u) @ g_u
        inner.append((p - swap_last(p)) * _inverse_gaps(s * s) * columns)
        if u.shape[-2] > u.shape[-1]:
            outer.append((g_u - u @ p) / columns @ vh)
    if g_vh is not None:
        p = vh @ swap_last(g_vh)
        inner.append((p - swap_last(p)) * _inverse_gaps(s * s) * rows)
        if vh.shape[-1] > vh.shape[-2]:
            outer.append(u @ ((g_vh - swap_last(p) @ vh) / rows))
    outer.append(u @ functools.reduce(operator.add, inner) @ vh)
    return [functools.reduce(operator.add, outer)]


_svd.defjoint(_svd_rule)


def svd(x: Any) -> tuple[Any, Any, Any]:
    """The singular value decomposition x = u @ diag(s) @ vh of matrices (..., m, n): (..., m, k), (..., k) and
    (..., k, n) with k the smaller of m and n, the singular values in descending order.

    A column of u may change its sign with a row of vh, so results should not depend on that. Where two singular values
    are equal, or one is 0 and m differs from n, the gradients of u and vh are not defined (infinite or NaN), and so are
    second derivatives.

    >>> import tinygrad_edu as tg
    >>> tg.svd(tg.tensor([[0.0, 2.0], [3.0, 0.0]]))[1]
    tensor([3., 2.])
    """
    u, s, vh = _svd(_floating("svd", x, square=False))
    return u, s, vh
