"""The factors of dropout on CUDA, which one kernel makes, against those of the CPU, bit for bit."""

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.backend import to_host
from tinygrad_edu.ops.creation import keep_mask

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("seed", [None, 2**64 - 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7,), (3, 3), (64,), (5, 410)], ids=str)
def test_factors(shape, dtype, seed):
    for rate in (0.0, 0.3, 0.999):
        made = []
        for device in ("cpu", "cuda"):
            tg.seed(5)
            tg.uniform((3,))  # so that they begin further on
            given = {"shape": shape, "rate": rate, "dtype": dtype, "seed": seed}
            made += [to_host(keep_mask.forward(None, device=tg.Device(device), **given)) for _ in range(2)]
        np.testing.assert_array_equal(made[:2], made[2:], strict=True)


def test_recorded_factors():
    """The second call records a graph; all go on where the last one ended."""
    x, factors = np.ones((6, 50), "float32"), []
    for device in ("cpu", "cuda"):
        tg.seed(1)
        step = tg.jit(lambda x: tg.dropout(x, 0.4) * tg.dropout(x, 0.1, seed=3))
        factors.append([step(tg.tensor(x, device=device)).to("cpu").numpy() for _ in range(4)])
    np.testing.assert_array_equal(*factors)
    assert step.plans[0].replay.graph is not None
