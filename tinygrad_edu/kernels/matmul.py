"""Products of arrays, by the array module's own or by what is better than that."""

from __future__ import annotations

import math
from typing import Any

import numpy


def matmul_of(xp: Any, a: Any, b: Any, out: Any = None) -> Any:
    """`numpy.matmul(a, b, out=out)`, on CUDA by cuBLASLt."""
    if xp is numpy:
        return numpy.matmul(a, b, out=out)
    from .cuda.blas import matmul

    return matmul(a, b, out)


def einsum_of(xp: Any, terms: tuple[str, ...], result: str, *operands: Any) -> Any:
    """`numpy.einsum` of two operands or more, each letter at most once in a term; on CUDA by `matmul_of`."""
    alike = len(set(terms)) == 1  # a loop is faster than matrix products then
    if xp is numpy:
        return numpy.einsum(f"{','.join(terms)}->{result}", *operands, optimize=not alike)
    a, known = operands[0], terms[0]
    for i, (b, term) in enumerate(zip(operands[1:], terms[1:], strict=True), 2):
        if alike:
            a = a * b
        else:
            a, known = _contracted(xp, a, known, b, term, {*result, *"".join(terms[i:])})
    a = a.sum(axis=tuple(i for i, letter in enumerate(known) if letter not in result))
    left = [letter for letter in known if letter in result]
    return a.transpose([left.index(letter) for letter in result])


def _contracted(xp: Any, a: Any, known: str, b: Any, term: str, needed: set[str]) -> tuple[Any, str]:
    """The product of two operands, summed over the letters of both that are not needed any more; and its letters."""
    both = [letter for letter in known if letter in term]
    stack, inner = [x for x in both if x in needed], [x for x in both if x not in needed]
    rows, columns = [x for x in known if x not in term], [x for x in term if x not in known]
    lengths = dict(zip(known + term, (*a.shape, *b.shape), strict=True))

    def matrices(x: Any, letters: str, *parts: list[str]) -> Any:
        order = [letters.index(letter) for part in parts for letter in part]
        return x.transpose(order).reshape([math.prod(lengths[letter] for letter in part) for part in parts])

    y = matmul_of(xp, matrices(a, known, stack, rows, inner), matrices(b, term, stack, inner, columns))
    letters = [*stack, *rows, *columns]
    return y.reshape([lengths[letter] for letter in letters]), "".join(letters)
