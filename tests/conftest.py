"""Tests marked `gpu` run where CuPy does, on a real or an emulated device; elsewhere they skip and say why."""

import functools
import warnings

import pytest


@functools.cache
def why_no_gpu():
    """Return why CuPy cannot be used here, or None. An import proves nothing, so a product has to run."""
    try:
        with warnings.catch_warnings(action="ignore"):
            import cupy

            product = cupy.ones((2, 2)) @ cupy.ones((2, 2))
            return None if float(product.sum()) == 8 else f"CuPy computes ones(2, 2) @ ones(2, 2) = {product}"
    except Exception as error:  # CuPy, its libraries and the driver fail in many ways; each means: no GPU
        return f"no usable CuPy: {type(error).__name__}: {error}".splitlines()[0]


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and (reason := why_no_gpu()):
        pytest.skip(reason)
