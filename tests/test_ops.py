"""Every operation, from its row in the table: forward, gradient, second gradient, dtypes."""

import numpy
import pytest
from op_cases import DIFFERENTIABLE, ROWS, assert_near, gradients, numbers, outputs, tensors, title

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.optable import TABLE


def test_every_operation_has_a_row():
    missing = set(tg.ops.__all__) - set(TABLE)
    assert not missing, f"no row in tinygrad_edu/optable for {sorted(missing)}"
    assert all(len(row.samples) >= 3 for row in TABLE.values())


def expected_dtype(row, number, arrays, reference):
    """Floats keep their dtype, integers under a floating operation give the default one."""
    wanted = row.samples[number].keywords.get("dtype")
    if wanted is not None:
        return numpy.dtype(wanted)
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    return reference.dtype if reference.dtype.kind != "f" else floats[0] if floats else tg.default_dtype()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", ROWS)
def test_forward_equals_the_reference(row, dtype):
    for number in numbers(row):
        arrays = row.arrays(number, dtype)
        before = [a.copy() for a in arrays]
        found = outputs(row.call(number, tensors(arrays)))
        references = [numpy.asarray(y) for y in outputs(row.expected(number, arrays))]
        assert len(found) == len(references), title(row, number)
        for y, reference in zip(found, references, strict=True):
            assert type(y) is Tensor, title(row, number)
            assert type(y.data) is numpy.ndarray, title(row, number)
            assert y.dtype == expected_dtype(row, number, arrays, reference), f"{title(row, number)}: {y.dtype}"
            assert_near(y, reference, row.slack, title(row, number))
        for a, b in zip(arrays, before, strict=True):
            assert numpy.array_equal(a, b, equal_nan=a.dtype.kind == "f"), f"{title(row, number)}: an input was changed"


@pytest.mark.parametrize("row", ROWS)
def test_plain_arrays_give_plain_arrays(row):
    for number in numbers(row):
        arrays = row.arrays(number, "float32")
        if not arrays or any(a.ndim == 0 for a in arrays):
            continue
        found = outputs(row.call(number, arrays))
        again = outputs(row.call(number, tensors(arrays)))
        for y, z in zip(found, again, strict=True):
            assert type(y) is numpy.ndarray, f"{title(row, number)}: {type(y)}"
            assert_near(y, z.data, 8, title(row, number), eps=numpy.finfo("float32").eps)


@pytest.mark.parametrize("row", DIFFERENTIABLE)
def test_gradients_equal_finite_differences(row):
    for number in numbers(row, order=1):
        try:
            tg.gradcheck(
                lambda *inputs, number=number: row.call(number, inputs),
                tensors(row.arrays(number)),
                order=row.sample_order(number),
                rtol=1e-8,
                atol=1e-9,
            )
        except tg.GradcheckError as error:
            raise AssertionError(f"{title(row, number)}: {error}") from error


@pytest.mark.parametrize("row", DIFFERENTIABLE)
def test_the_rules_agree_on_arrays_and_on_tensors(row):
    for number in numbers(row, order=1):
        arrays = row.arrays(number)
        before = [a.copy() for a in arrays]
        plain, _ = gradients(row, number, arrays)
        differentiable, _ = gradients(row, number, arrays, create_graph=True)
        for g, h in zip(plain, differentiable, strict=True):
            assert_near(g, h.data, 64, title(row, number))
        for a, b in zip(arrays, before, strict=True):
            assert numpy.array_equal(a, b), f"{title(row, number)}: an input was changed"


@pytest.mark.parametrize("row", [p for p in DIFFERENTIABLE if p.values[0].name != "astype"])
def test_float32_stays_float32_in_gradients(row):
    for number in numbers(row, order=1):
        arrays = row.arrays(number, "float32")
        wide = [a.astype("float64") if a.dtype.kind == "f" else a for a in arrays]
        first, second = gradients(row, number, arrays, create_graph=True)
        assert all(g.dtype == "float32" for g in first), title(row, number)
        orders = zip((first, second), gradients(row, number, wide, create_graph=True), strict=True)
        for gs, hs in orders:
            for g, h in zip(gs, hs, strict=True):
                assert_near(g, h.data, 16 * row.slack, title(row, number))


@pytest.mark.parametrize("row", [p for p in ROWS if p.values[0].name != "astype"])
def test_float16_stays_float16(row):
    for number in numbers(row):
        arrays = row.arrays(number, "float16")
        if not any(a.dtype.kind == "f" for a in arrays) or any(numpy.any(a * 1.0 > 100) for a in arrays):
            continue
        expected = outputs(row.expected(number, arrays))
        for y, reference in zip(outputs(row.call(number, tensors(arrays))), expected, strict=True):
            assert y.dtype.kind != "f" or y.dtype == "float16", f"{title(row, number)}: {y.dtype}"
            assert_near(y, reference, 4 * row.slack, title(row, number))
        if row.sample_order(number):
            assert all(g.dtype == "float16" for g in gradients(row, number, arrays)[0]), title(row, number)
