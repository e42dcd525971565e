"""Products of matrices and tensors."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from ..autograd import broadcast_to, primitive, sum_to
from ..backend import Array
from ..errors import ShapeError, check_integer, message
from ..kernels.matmul import einsum_of, matmul_of
from .elementwise import into
from .reductions import sum
from .shape import _reshape, _transpose, check_arrays, diagonal, normalize_axes, rank, ravel, reshape, transpose


def swap_last(a: Any) -> Any:
    """The last two axes interchanged."""
    ndim = a.ndim
    return _transpose(a, axes=(1, 0) if ndim == 2 else (*range(ndim - 2), ndim - 1, ndim - 2))


def product_to(shape: tuple[int, ...], a: Any, b: Any) -> Any:
    """The gradient a @ b of an operand of that shape."""
    return unbroadcast(_matmul(a, b), shape)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """A gradient summed over what broadcasting has added or stretched."""
    return g if g.shape == shape else sum_to(g, shape=shape)


@primitive(
    "gemm", saves=("a", "b"), expects="two stacks of matrices with as many columns in the first as rows in the second"
)
def _matmul(xp: Any, a: Array, b: Array, out: Any = None) -> Array:
    return matmul_of(xp, a, b, out=out)


_matmul.defvjp(
    lambda g, y, a, b: product_to(a.shape, g, swap_last(b)),
    lambda g, y, a, b: product_to(b.shape, swap_last(a), g),
)


def matmul(a: Any, b: Any) -> Any:
    """The matrix product over the last two axes, the others broadcast; a 1-D operand is a row on the left, a column
    on the right.

    Raises ShapeError if the inner lengths differ or an operand is 0-d.

    >>> import tinygrad_edu as tg
    >>> tg.matmul(tg.ones((2, 3)), tg.ones((3,)))
    tensor([3., 3.])
    """
    if not (hasattr(a, "ndim") and hasattr(b, "ndim")):
        return _matmul(a, b)  # which says what is wrong
    if a.ndim == 2 and b.ndim == 2:
        return _matmul(a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ShapeError(
            message("matmul", "as many columns in the first as rows in the second", f"{a.shape} and {b.shape}")
        )
    if b.ndim == 1:
        y = matmul(a, reshape(b, (-1, 1)))
        return _reshape(y, shape=y.shape[:-1])
    if a.ndim == 1:
        y = matmul(reshape(a, (1, -1)), b)
        return _reshape(y, shape=(*y.shape[:-2], y.shape[-1]))
    if b.ndim == 2:  # one product of two matrices is faster than a stack of them
        rows = _reshape(a, shape=(math.prod(a.shape[:-1]), a.shape[-1]))
        return _reshape(_matmul(rows, b), shape=(*a.shape[:-1], b.shape[-1]))
    return _matmul(a, b)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes: the last `axes` of a with the first of b, or two lists of axes.

    Raises ShapeError if paired axes differ in length.
    """
    if isinstance(axes, int):
        if check_integer("tensordot", "axes", axes, 0) > min(rank("tensordot", a), rank("tensordot", b)):
            raise ShapeError(message("tensordot", f"{axes} axes in both operands", f"{a.shape} and {b.shape}"))
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    first, second = (
        normalize_axes("tensordot", list(x) if isinstance(x, Sequence) else x, t.ndim)
        for x, t in zip(axes, (a, b), strict=True)
    )
    if [a.shape[i] for i in first] != [b.shape[i] for i in second]:
        found = f"axes {list(first)} of {a.shape} and {list(second)} of {b.shape}"
        raise ShapeError(message("tensordot", "paired axes of equal lengths", found))
    left = tuple(i for i in range(a.ndim) if i not in first)
    right = tuple(i for i in range(b.ndim) if i not in second)
    inner = math.prod(a.shape[i] for i in first)
    rows, columns = tuple(a.shape[i] for i in left), tuple(b.shape[i] for i in right)
    y = _matmul(
        _reshape(transpose(a, left + first), shape=(math.prod(rows), inner)),
        _reshape(transpose(b, second + right), shape=(inner, math.prod(columns))),
    )
    return _reshape(y, shape=rows + columns)


def dot(a: Any, b: Any) -> Any:
    """As `numpy.dot`: the inner product of vectors, the matrix product, or the last axis of a with the second to last
    of b."""
    if rank("dot", a) == 0 or rank("dot", b) == 0:
        return a * b
    if a.ndim <= 2 and b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([-1], [max(b.ndim - 2, 0)]))


def outer(a: Any, b: Any) -> Any:
    """Each element of a times each of b, both flattened: shape (a.size, b.size)."""
    return _reshape(ravel(a), shape=(a.size, 1)) * _reshape(ravel(b), shape=(1, b.size))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal over two axes, which go."""
    return sum(diagonal(x, offset, axis1, axis2), axis=-1)


# einsum. The primitive sees letters only, each at most once in a term, and no broadcasting.


@primitive("gemm", saves=("operands",), expects="operands that fit the subscripts")
def _einsum(xp: Any, *operands: Array, terms: tuple[str, ...], result: str, out: Any = None) -> Array:
    if len(operands) == 1:  # may be a view: copied
        return into(out, xp.array(xp.einsum(f"{terms[0]}->{result}", *operands)))
    return into(out, einsum_of(xp, terms, result, *operands))


def _einsum_rule(
    needs: list[bool], residuals: Any, g: Any, y: Any, *operands: Any, terms: tuple[str, ...], result: str
) -> list[Any]:
    """The gradient of an operand is the einsum of the cotangent and the other operands."""
    found: list[Any] = []
    for i, need in enumerate(needs):
        others = [j for j in range(len(operands)) if j != i]
        known = result + "".join(terms[j] for j in others)
        kept = "".join(letter for letter in terms[i] if letter in known)
        if not need:
            found.append(None)
            continue
        d = _einsum(g, *(operands[j] for j in others), terms=(result, *(terms[j] for j in others)), result=kept)
        # letters that only this operand has were summed: their gradient is constant along them
        lengths = dict(zip(terms[i], operands[i].shape, strict=True))
        shape = tuple(lengths[letter] if letter in known else 1 for letter in terms[i])
        found.append(broadcast_to(_reshape(d, shape=shape), shape=operands[i].shape))
    return found


_einsum.defjoint(_einsum_rule)


def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products that Einstein's notation describes, as `numpy.einsum`: `...`, repeated letters, implicit
    results.

    Raises ValueError for subscripts that are malformed, ShapeError for operands that do not fit them.

    >>> import tinygrad_edu as tg
    >>> tg.einsum("ij,ij->i", tg.ones((2, 3)), tg.ones((2, 3)))
    tensor([3., 3.])
    """
    check_arrays("einsum", *operands)
    terms, result = _parse(subscripts, operands)
    prepared = [_distinct(term, x) for term, x in zip(terms, operands, strict=True)]
    lengths: dict[str, int] = {}
    for term, x in prepared:
        for letter, n in zip(term, x.shape, strict=True):
            if n != 1 and lengths.setdefault(letter, n) != n:
                raise ShapeError(
                    message("einsum", f"one length for each letter of {subscripts!r}", f"{[y.shape for y in operands]}")
                )
    # an axis of length 1 that another operand stretches takes no part in the product
    final = []
    for term, x in prepared:
        kept = [i for i, (letter, n) in enumerate(zip(term, x.shape, strict=True)) if n == lengths.get(letter, 1)]
        final.append(("".join(term[i] for i in kept), _reshape(x, shape=tuple(x.shape[i] for i in kept))))
    return _einsum(*(x for _, x in final), terms=tuple(term for term, _ in final), result=result)


def _parse(subscripts: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """The term of each operand and the result, with `...` written out in capital letters that are not in use."""
    text = subscripts.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    letters = left.replace("...", "").replace(",", "")
    if len(terms) != len(operands) or not all(c in string.ascii_letters for c in letters + result.replace("...", "")):
        raise ValueError(message("einsum", f"subscripts of letters for {len(operands)} operands", repr(subscripts)))
    free = [c for c in string.ascii_uppercase + string.ascii_lowercase if c not in text]
    widest = 0
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        named = len(term.replace("...", ""))
        if named > x.ndim or ("..." not in term and named != x.ndim):
            raise ShapeError(message("einsum", f"an operand with {named} axes for {term!r}", f"shape {x.shape}"))
        extra = x.ndim - named if "..." in term else 0
        widest = max(widest, extra)
        terms[i] = term.replace("...", "".join(free[:extra][::-1]))
    dots = "".join(free[:widest][::-1])
    if not arrow:
        result = dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    result = result.replace("...", dots)
    if len(set(result)) != len(result) or not set(result) <= set("".join(terms)):
        raise ValueError(message("einsum", "a result with letters of the operands, each once", repr(subscripts)))
    return terms, result


def _distinct(term: str, x: Any) -> tuple[str, Any]:
    """An operand with the diagonal taken over each letter that is repeated."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ShapeError(message("einsum", f"equal lengths along {letter!r}", f"shape {x.shape}"))
            x = diagonal(x, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return term, x
