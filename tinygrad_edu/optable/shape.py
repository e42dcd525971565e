"""Operations that move elements: shapes, joining, splitting, padding."""

from __future__ import annotations

from typing import Any

import numpy

from .. import ops
from .sample import R, Row, S, Z


def _reshape(x: Any, *shape: Any) -> Any:
    return numpy.reshape(x, shape[0] if len(shape) == 1 else shape)


def _split(x: Any, sections: Any, axis: int = 0) -> tuple[Any, ...]:
    return tuple(numpy.split(x, sections, axis))


def _pad(x: Any, widths: Any, value: float = 0.0, mode: Any = "constant") -> Any:
    return numpy.pad(x, widths, constant_values=value) if mode == "constant" else numpy.pad(x, widths, mode)


ROWS = (
    Row(
        "reshape",
        ops.reshape,
        _reshape,
        (
            S(R(2, 3), (3, 2)),
            S(R(2, 3), 3, 2),
            S(R(2, 3), (-1,)),
            S(R(2, 6), (2, -1, 3)),
            S(R(1), ()),
            S(R(), (1, 1)),
            S(R(0, 3), (3, 0)),
            S(R(0, 3), (-1, 3)),
            S(R(4, 3, layout="T"), (2, 6)),
            S(R(2, 4, layout="S"), 8),
            S(Z(2, 3), [6]),
        ),
    ),
    Row("ravel", ops.ravel, numpy.ravel, (S(R(2, 3)), S(R()), S(R(0, 2)), S(R(4, 3, layout="T")), S(Z(2, 2)))),
    Row(
        "transpose",
        ops.transpose,
        numpy.transpose,
        (
            S(R(2, 3)),
            S(R(2, 3, 4), (1, 2, 0)),
            S(R(2, 3, 4), axes=[-1, 0, 1]),
            S(R(3)),
            S(R()),
            S(R(0, 3)),
            S(R(4, 3, layout="T")),
            S(Z(2, 3)),
        ),
    ),
    Row("swapaxes", ops.swapaxes, numpy.swapaxes, (S(R(2, 3, 4), 0, -1), S(R(2, 3), 1, 1), S(R(0, 3), 0, 1))),
    Row(
        "moveaxis",
        ops.moveaxis,
        numpy.moveaxis,
        (S(R(2, 3, 4), 0, -1), S(R(2, 3, 4), (0, 1), (-1, -2)), S(R(2, 3, 2, 1), [3, 0], [0, 2]), S(R(0, 3), 0, 1)),
    ),
    Row(
        "expand_dims",
        ops.expand_dims,
        lambda x, axis: numpy.expand_dims(x, tuple(axis) if isinstance(axis, list) else axis),
        (S(R(2, 3), 0), S(R(2, 3), -1), S(R(2, 3), (0, -1)), S(R(), 0), S(R(0), [1]), S(R(4, 3, layout="T"), 1)),
    ),
    Row(
        "squeeze",
        ops.squeeze,
        numpy.squeeze,
        (S(R(1, 3, 1)), S(R(1, 3, 1), axis=0), S(R(1, 3, 1), axis=(0, -1)), S(R(1, 1)), S(R()), S(R(1, 0))),
    ),
    Row(
        "broadcast_to",
        ops.broadcast_to,
        numpy.broadcast_to,
        (
            S(R(3), (2, 3)),
            S(R(2, 1), (2, 3)),
            S(R(2, 1, 2), (3, 2, 4, 2)),
            S(R(), (2, 2)),
            S(R(1), (0,)),
            S(R(1, 2), [2, 2]),
            S(Z(3), (2, 3)),
        ),
    ),
    Row(
        "concatenate",
        ops.concatenate,
        numpy.concatenate,
        (
            S([R(2, 3), R(1, 3)]),
            S((R(2, 3), R(2, 1), R(2, 0)), axis=-1),
            S([R(2, 2, 2), R(2, 1, 2)], 1),
            S([R(3)]),
            S([R(0, 2), R(0, 2)]),
            S([R(4, 3, layout="T"), R(4, 5, layout="S")], axis=1),
            S([Z(2), Z(3)]),
            S([R(2), Z(3)]),
        ),
    ),
    Row(
        "stack",
        ops.stack,
        numpy.stack,
        (
            S([R(2, 3), R(2, 3)]),
            S((R(2, 3), R(2, 3), R(2, 3)), axis=-1),
            S([R(2, 2), R(2, 2)], 1),
            S([R(), R()]),
            S([R(0, 2)]),
            S([R(3, 3, layout="T"), R(3, 3, layout="S")]),
            S([Z(2), Z(2)]),
        ),
    ),
    Row(
        "split",
        ops.split,
        _split,
        (
            S(R(6), 3),
            S(R(2, 4), 2, axis=1),
            S(R(5, 2), (1, 3)),
            S(R(3, 4), [1, 1, 4], axis=-1),
            S(R(0, 2), 2),
            S(R(4, 3, layout="T"), 2, axis=0),
            S(Z(4), 2),
        ),
    ),
    Row(
        "pad",
        ops.pad,
        _pad,
        (
            S(R(2, 3), 1),
            S(R(2, 3), (1, 0)),
            S(R(2, 3), ((1, 2), (0, 3))),
            S(R(2, 3), [[0, 0], [1, 1]], value=-1.5),
            S(R(1), 0),
            S(R(), 0),
            S(R(0, 2), 1),
            S(R(4, 3, layout="T"), 1),
            S(Z(2), 1, 7),
            S(R(3, 4), ((2, 1), (0, 3)), mode="reflect"),
            S(R(2), 1, mode="reflect"),
            S(R(0, 3), ((0, 0), (1, 2)), mode="reflect"),
            S(R(2, 3), ((2, 1), (0, 4)), mode="edge"),
            S(R(1, 2, 1), 2, mode="edge"),
            S(R(4, 3, layout="T"), 1, mode="edge"),
            S(Z(4), (3, 2), mode="reflect"),
            S(Z(2), 1, mode="edge"),
        ),
    ),
    Row(
        "flip",
        ops.flip,
        numpy.flip,
        (S(R(2, 3)), S(R(2, 3), axis=-1), S(R(2, 3, 2), axis=(0, 2)), S(R()), S(R(0, 2)), S(R(4, 3, layout="T"))),
    ),
    Row(
        "roll",
        ops.roll,
        numpy.roll,
        (
            S(R(2, 3), 1),
            S(R(2, 3), -1, axis=1),
            S(R(2, 3), (1, 5), axis=(0, -1)),
            S(R(2, 3), 1, axis=(0, 1)),
            S(R(3), 7, 0),
            S(R(), 1),
            S(R(0, 2), 1, axis=0),
            S(R(4, 3, layout="T"), 2),
        ),
    ),
    Row(
        "tile",
        ops.tile,
        numpy.tile,
        (
            S(R(2, 3), 2),
            S(R(2, 3), (2, 1, 3)),
            S(R(2, 1, 2), (2, 2)),
            S(R(), 3),
            S(R(2), 0),
            S(R(0, 2), 2),
            S(Z(2), (2, 2)),
        ),
    ),
    Row(
        "repeat",
        ops.repeat,
        numpy.repeat,
        (S(R(2, 3), 2), S(R(2, 3), 3, axis=0), S(R(2, 3), 2, axis=-1), S(R(), 2), S(R(2), 0), S(R(0, 2), 2, axis=1)),
    ),
    *(
        Row(
            name,
            getattr(ops, name),
            getattr(numpy, name),
            (S(R(3, 4)), S(R(4, 3), 1), S(R(2, 3, 3), k=-1), S(R(0, 3)), S(R(4, 3, layout="T")), S(Z(3, 3))),
        )
        for name in ("tril", "triu")
    ),
    Row(
        "diagonal",
        ops.diagonal,
        numpy.diagonal,
        (
            S(R(3, 3)),
            S(R(3, 4), 1),
            S(R(4, 3), -2),
            S(R(2, 3, 4), 0, -1, 1),
            S(R(2, 3, 4), offset=1, axis1=0, axis2=2),
            S(R(3, 3), 3),
            S(R(0, 3)),
            S(R(4, 3, layout="T")),
            S(Z(3, 3)),
        ),
    ),
)
