"""Every kernel of the package compiles for the cards that it is meant for, whichever is here."""

from pathlib import Path

import numpy as np
import pytest
from test_kernels_loops import adam, cross_entropy, gelu, layer_norm, many_sums, relu_gradient, softmax, sums

from tinygrad_edu.backend import random
from tinygrad_edu.kernels.cuda import attention, reductions, rounding, written
from tinygrad_edu.kernels.cuda.compiled import OPTIONS
from tinygrad_edu.kernels.cuda.launches import Numbers, _set_text
from tinygrad_edu.kernels.cuda.text import source_of, source_of_several, width_of
from tinygrad_edu.kernels.loops import (
    ARGUMENTS,
    COMPARISONS,
    DTYPES,
    HALVES,
    LOGIC,
    ROW_REDUCTIONS,
    Builder,
    Operand,
    Unsupported,
)

pytestmark = pytest.mark.gpu
CARDS = ["80", "90"]  # A100, H100


def compiles(text, card):
    """Raises CompileException if it does not."""
    from cupy.cuda import compiler

    options = (*OPTIONS, "-ftz=true", f"-arch=sm_{card}")
    binary, _ = compiler._NVRTCProgram(text, "kernel.cu", method="cubin").compile(options)
    assert binary


def every_step(dtype):
    """Loops with every step that there is for numbers of that dtype."""
    builder = Builder((8, 12))
    a, b = (builder.load(Operand(dtype, (12, 1))) for _ in range(2))
    for name, count in ARGUMENTS.items():
        try:
            value = builder.apply(name, *((a, a, b) if name == "where" else (a, b, a)[:count]))
        except Unsupported:
            continue
        if name in COMPARISONS or name in LOGIC:
            value = builder.apply("where", value, a, b)
        builder.store(value, Operand(value.dtype, (12, 1)))
    for other in (*DTYPES, *HALVES):
        builder.store(builder.cast(a, other), Operand(other, (12, 1)))
    return builder.finish()


GROUPS = {
    "softmax": softmax((7, 100)),
    "a long softmax": softmax((3, 5000)),
    "cross-entropy": cross_entropy((7, 100)),
    "layer norm": layer_norm((7, 64)),
    "gelu": gelu((1024,)),
    "adam": adam((1024,)),
    "relu's gradient": relu_gradient((700, 64)),
    "many sums": many_sums(),
    "extremes of rows": sums((7, 3000), "row_max", "row_min", dtype="float64"),
    **{f"steps of {dtype}": every_step(dtype) for dtype in DTYPES},
}


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("name", GROUPS)
def test_loops(name, wide, card):
    compiles(source_of(GROUPS[name], "loops", width_of(GROUPS[name]) if wide else 1).text, card)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("width", [4, 1])
def test_loops_over_several_arrays(width, card):
    compiles(source_of_several(GROUPS["adam"], [1024, 8, 256], "loops", width).text, card)


REALS = [(("REAL", "float"),), (("REAL", "double"),)]
TILES = [(dtype, depth) for dtype, tiles in attention.TILES.items() for depth in tiles]
ATTENTION = [attention.defines_of(dtype, "bool", depth) for dtype, depth in TILES]
ATTENTION += [attention.defines_of(dtype, dtype, 64) for dtype in attention.TILES]
ROWS = [(*real, ("ID", kind)) for real in REALS for kind in ("long long", "int", "unsigned char")]
ROUNDING = [(*REALS[0], ("FACTOR", "unsigned short"), ("TO_FACTOR", f"to_{dtype}")) for dtype in HALVES]
INDICES = [(*real, ("INDEX", index)) for real in REALS for index in ("unsigned", "unsigned long long")]
REDUCTIONS = [reductions.defines_of(name, dtype) for name in ROW_REDUCTIONS for dtype in DTYPES if dtype != "bool"]
REDUCTIONS += [reductions.defines_of(name, "bool") for name in ("any", "all")]
WRITTEN = {
    "attention": [tuple(defines.items()) for defines in ATTENTION],
    "normalization": REALS,
    "recurrent": REALS + ROUNDING,
    "reductions": REDUCTIONS,
    "rows": ROWS,
    **dict.fromkeys(("pooling", "resize"), INDICES),
    "convolution": INDICES + [(*defines, ("INDEX", "unsigned")) for defines in ROUNDING],
}
"""The files written by hand, and with what they are compiled."""


def test_every_file_is_compiled():
    assert set(WRITTEN) == {path.stem for path in Path(written.__file__).parent.glob("*.cu")}


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("module", "defines"), [(name, defines) for name in WRITTEN for defines in WRITTEN[name]])
def test_files(module, defines, card):
    compiles(written.source_of(module, defines), card)


@pytest.mark.parametrize("card", CARDS)
def test_random_numbers_and_numbers(card):
    compiles(random._KERNEL, card)
    compiles(_set_text(Numbers.AT_ONCE), card)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("dtype", HALVES)
def test_rounding(dtype, width, card):
    compiles(rounding.text(dtype, width), card)


def test_a_wrong_kernel_does_not_compile():
    from cupy.cuda.compiler import CompileException

    with pytest.raises(CompileException):
        compiles('extern "C" __global__ void k(float* x) { x[0] = y; }', "90")


def test_every_step_is_tried():
    found = {op.name for dtype in DTYPES for op in every_step(dtype).ops}
    found |= {op.name for loops in GROUPS.values() for op in loops.ops}
    assert set(ARGUMENTS) - found == {"take"}  # which test_kernels_loops.py compiles
    assert np.prod(GROUPS["gelu"].shape) % 4 == 0  # so that both widths are tried
