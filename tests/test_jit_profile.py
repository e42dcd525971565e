"""jit.profile: a line for each unit of a recording, from calls that do all they do."""

import re

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.kernels import pool
from tinygrad_edu.kernels.registry import has_compiler

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="needs llvmlite")


class Trainer:
    def __init__(self):
        tg.seed(0)
        self.model = tg.models.Sequential([tg.layers.Dense(8, activation="tanh"), tg.layers.Dense(1)])
        self.model(tg.zeros((1, 4)))
        self.optimizer = tg.optimizers.Adam(0.1).build(self.model.trainable_weights)

    @tg.jit
    def step(self, x, scale=1.0):
        loss = (self.model(x, training=True) ** 2).mean() * scale
        self.optimizer.minimize(loss)
        return loss


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
def test_each_unit_has_its_line(capsys, threads):
    Trainer.step.plans.clear()
    before = pool.threads()
    tg.set_threads(threads)
    try:
        trainer, plain, x = Trainer(), Trainer(), tg.ones((300, 4))
        trainer.step(x, scale=2.0)
        tg.jit.explain(trainer.step)
        units = [line.strip() for line in capsys.readouterr().out.splitlines() if re.match(r" +\d+  ", line)]
        tg.jit.profile(trainer.step, x, times=3, scale=2.0)
    finally:
        tg.set_threads(before)
    head, _, names, *lines, rest = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"step: \d+\.\d{3} ms \(\d+\.\d{3} with the clocks\)", head)
    assert names.split() == ["ms", "%", "GFLOP/s", "GB/s", "unit"]
    timed = [unit for unit in units if "laid side by side" not in unit]  # which takes no time
    assert sorted(line.split(None, 4)[4] for line in lines) == sorted(timed)
    assert rest.endswith("the rest, and clocks")
    milliseconds = [float(line.split()[0]) for line in lines]
    assert milliseconds == sorted(milliseconds, reverse=True)
    assert sum(float(line.split()[1]) for line in (*lines, rest)) == pytest.approx(100.0, abs=0.1 * len(lines))
    for _ in range(1 + 1 + 2 * (3 + 1)):
        plain.step(x, scale=2.0)
    assert trainer.optimizer.iterations == plain.optimizer.iterations == 10
    for a, b in zip(trainer.model.trainable_weights, plain.model.trainable_weights, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


@needs_compiler
def test_python_calls_have_their_line(capsys):
    step = tg.jit(lambda x: tg.sort(x * 2.0) + 1.0)
    tg.jit.profile(step, tg.ones((300, 4)))
    assert re.search(r" 0\.0 +0\.0  \d+  Python call: argsort\b", capsys.readouterr().out)


def unfused(x):
    return x + 1.0


@pytest.mark.parametrize(
    ("function", "x", "kind", "text"),
    [
        (print, tg.ones(3), TypeError, "profile: expected a jitted function, received builtin"),
        (tg.jit(unfused, fuse=False), tg.ones(3), RuntimeError, "profile: expected a call that is recorded"),
        (tg.jit(unfused), tg.ones(3, requires_grad=True), RuntimeError, "profile: expected a call that is recorded"),
    ],
)
def test_what_has_no_units_is_refused(function, x, kind, text):
    with pytest.raises(kind, match=text):
        tg.jit.profile(function, x)


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")
    with pytest.raises(RuntimeError, match="recorded and compiled"):
        tg.jit.profile(tg.jit(unfused), tg.ones(3))


@needs_compiler
def test_times_is_a_count():
    with pytest.raises(ValueError, match="profile: expected times"):
        tg.jit.profile(tg.jit(unfused), tg.ones(3), times=0)
