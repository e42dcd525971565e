"""Every recipe on CUDA against the definition that it stands for, on the CPU: random shapes, edges, both dtypes."""

import inspect
import math

import numpy as np
import pytest
from test_cuda_copies import moved
from test_kernels_registry import FAMILIES, RECIPES, TOLERANCE, cast, primitives

from tinygrad_edu.kernels.cuda import recipes
from tinygrad_edu.tree import leaves

pytestmark = pytest.mark.gpu

ON_CUDA = sorted(name for name, path in RECIPES.items() if recipes.rule_of(path))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ON_CUDA)
def test_the_kernels_do_what_the_definition_does(name, dtype):
    rng, recipes_found = np.random.default_rng(sum(map(ord, name))), 0
    for _ in range(12):
        arrays, attributes = FAMILIES[name](rng)[name]
        arrays = tuple(cast(a, dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays)
        made = recipes.run(RECIPES[name], [None if a is None else moved(a) for a in arrays], attributes)
        if made is None:
            continue
        recipes_found += 1
        for found, defined in zip(
            made, leaves(inspect.unwrap(primitives[name].forward)(np, *arrays, **attributes)), strict=True
        ):
            if found is None:  # not needed
                continue
            assert (found.shape, found.dtype) == (defined.shape, defined.dtype)
            scale = np.nanmax(np.abs(np.where(np.isfinite(defined), defined, 0)), initial=1.0)
            tolerance = TOLERANCE[dtype] * scale
            np.testing.assert_allclose(found.get(), defined, TOLERANCE[dtype], tolerance, err_msg=str(attributes))
    assert recipes_found > 5


@pytest.mark.parametrize("last", [math.inf, -math.inf, math.nan])
def test_the_mean_of_a_column_with_an_infinity_is_one(last):
    x = np.random.default_rng(0).standard_normal((300, 3)).astype("float32")
    x[17, 1] = last
    one = np.ones(3, "float32")
    y, mean, *_ = recipes.run("normalization.of_batch", [moved(a) for a in (x, one, one)], {"axis": 1, "epsilon": 1e-3})
    np.testing.assert_allclose(mean.get(), x.mean(axis=0), 1e-4, 1e-6)
    assert np.isnan(y.get()[:, 1]).all()
