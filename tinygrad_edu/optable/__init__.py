"""The table of operations that drives their tests and `tinygrad-edu check`: one row an operation."""

from . import convolution, creation, elementwise, indexing, linalg, networks, recurrent, reductions, shape
from .sample import Draw, Row, Sample, draws

TABLE: dict[str, Row] = {
    row.name: row
    for row in (
        *elementwise.ROWS,
        *reductions.ROWS,
        *shape.ROWS,
        *indexing.ROWS,
        *linalg.ROWS,
        *networks.ROWS,
        *convolution.ROWS,
        *recurrent.ROWS,
        *creation.ROWS,
    )
}
"""Every operation by its name."""

__all__ = ["TABLE", "Draw", "Row", "Sample", "draws"]
