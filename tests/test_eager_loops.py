"""Eager mode on large arrays: operations and gradient rules as fused loops, against what they stand for."""

import importlib.util
import sys
import threading

import numpy as np
import pytest
from op_cases import ROWS, assert_near, gradients, numbers, outputs, tensors, title

import tinygrad_edu as tg
from tinygrad_edu.jit import eager, operation
from tinygrad_edu.kernels import memory, native, pool

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed: no machine code"
)


@pytest.fixture
def calls(monkeypatch):
    """Whether each operation, or its rules, that was large enough ran as loops."""
    found, run = [], eager._run

    def noted(*args):
        y = run(*args)
        found.append(y is not None)
        return y

    monkeypatch.setattr(eager, "_run", noted)
    monkeypatch.setattr(eager, "_here", eager._Here())
    return found


@pytest.fixture
def always(monkeypatch, calls):
    """Whatever can be loops is, be it ever so small."""
    for name in ("primitive", "engine"):  # not the function of that name
        monkeypatch.setattr(sys.modules[f"tinygrad_edu.autograd.{name}"], "LARGE", 1)
    monkeypatch.setattr(operation, "WORTH", -(1 << 60))
    monkeypatch.setattr(operation, "WORTH_ANY", -(1 << 60))
    return calls


@pytest.mark.parametrize("row", ROWS)
def test_every_operation_by_loops(row, always, monkeypatch):
    """The value against the reference, the gradients against the rules run by NumPy."""
    for number in numbers(row)[:2]:
        arrays = row.arrays(number)
        with np.errstate(all="ignore"):
            found, expected = outputs(row.call(number, tensors(arrays))), outputs(row.expected(number, arrays))
        for y, e in zip(found, expected, strict=True):
            assert_near(y, e, max(row.slack, 16.0), title(row, number))
    for number in numbers(row, 1)[:1]:
        by_loops, _ = gradients(row, number, row.arrays(number))
        with monkeypatch.context() as patch:
            patch.setenv("TINYGRAD_EDU_FAST", "0")
            by_rules, _ = gradients(row, number, row.arrays(number))
        for g, e in zip(by_loops, by_rules, strict=True):
            assert_near(g, e, max(row.slack, 64.0), f"gradient of {title(row, number)}")


LARGE = {
    "gelu": lambda x: tg.gelu(x),
    "softmax": lambda x: tg.softmax(x),
    "log_softmax": lambda x: tg.log_softmax(x),
    "silu": tg.silu,
    "layer_norm": lambda x: tg.layer_norm(x, tg.ones((96,), requires_grad=True), tg.zeros((96,), requires_grad=True)),
    "bias and relu": lambda x: tg.relu(x + tg.tensor(np.linspace(-1, 1, 96, dtype="float32"), requires_grad=True)),
    "cross_entropy": lambda x: tg.cross_entropy(x, tg.tensor(np.arange(2048) % 96), reduction="none"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", LARGE)
def test_what_is_worth_it_runs_as_loops(name, threads, calls, monkeypatch):
    monkeypatch.setattr(operation, "WORTH", 1 << 16)
    monkeypatch.setattr(operation, "WORTH_ANY", 1 << 16)
    data = np.random.default_rng(0).normal(size=(2048, 96)).astype("float32")

    def both():
        x = tg.tensor(data, requires_grad=True)
        y = LARGE[name](x)
        y.backward(tg.tensor(np.cos(np.arange(y.size, dtype="float32")).reshape(y.shape)))
        return y.detach().numpy().copy(), x.grad.numpy().copy()

    pool.set_threads(threads)
    try:
        first, again = both(), both()
    finally:
        pool.set_threads(None)
    assert any(calls)
    monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")
    for made, same, defined in zip(first, again, both(), strict=True):
        np.testing.assert_array_equal(made, same)  # from the first call on
        np.testing.assert_allclose(made, defined, rtol=2e-5, atol=2e-6)


def test_small_work_is_left_to_numpy(calls):
    x = tg.ones((100, 20), requires_grad=True)
    tg.gelu(x).sum().backward()
    assert calls == []
    x = tg.ones((256, 256), requires_grad=True)
    (x * x).sum().backward()
    assert not any(calls)


def test_shapes_alone_decide(always, monkeypatch):
    """A shape compiles at its first call or never: the bits of a call do not depend on those before it."""
    x = tg.tensor(np.linspace(-3, 3, 1000, dtype="float32"))
    made = [tg.gelu(x).numpy().tobytes() for _ in range(4)]
    assert len(set(made)) == 1
    assert all(always)


def test_numbers_that_change_are_not_compiled(always):
    x = tg.ones((4, 4))
    for factor in (0.5, 1.5, 2.5):
        assert (x * factor).numpy()[0, 0] == factor
    assert not any(always)


def test_another_rule_is_seen(always, monkeypatch):
    x = tg.tensor([0.5], requires_grad=True)
    cube = tg.autograd.Primitive(lambda xp, a: a * a * a, "elementwise", ("a",), "a * a * a")
    for factor in (3.0, 6.0):
        cube.defvjp(lambda g, y, a, factor=factor: g * factor * a * a)
        x.grad = None
        cube(x).backward(tg.ones((1,)))
        assert x.grad.item() == factor * 0.25


def test_a_rule_that_looks_at_values_is_left_alone(always):
    x = tg.tensor([0.5], requires_grad=True)
    odd = tg.autograd.Primitive(lambda xp, a: a * a, "elementwise", ("a",), "a * a")
    odd.defvjp(lambda g, y, a: g * 2.0 * a if bool((a > 0).all()) else -g)
    odd(x).backward(tg.ones((1,)))
    assert x.grad.item() == 1.0


def test_higher_orders_go_by_the_rules(always):
    x = tg.tensor([0.3, -0.7], dtype="float64")
    second = tg.grad(lambda a: tg.grad(lambda b: tg.gelu(b).sum())(a).sum())(x).numpy()
    density = np.exp(-(x.numpy() ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(second, density * (2 - x.numpy() ** 2), rtol=1e-12)


def test_gradients_have_memory_of_their_own(always):
    x = tg.tensor(np.ones((64, 96), "float32"), requires_grad=True)
    w, b = (tg.tensor(np.full(96, n, "float32"), requires_grad=True) for n in (1.0, 0.0))
    tg.layer_norm(x, w, b).sum().backward()
    kept = [(t.grad, t.grad.numpy().copy()) for t in (x, w, b)]
    (tg.layer_norm(x * 3.0, w, b) * 7.0).sum().backward()
    for gradient, values in kept:
        np.testing.assert_array_equal(gradient.numpy(), values)


def test_each_thread_has_its_own(always):
    """They share no memory while they run, which they do at the same time: the pool, which one at a time may use, is
    not asked."""
    pool.set_threads(1)
    data = np.random.default_rng(0).normal(size=(4000, 40)).astype("float32")

    def gradient(seed, found):
        for _ in range(40):
            inputs = [tg.tensor(a, requires_grad=True) for a in (np.roll(data, seed), data[0], data[1])]
            tg.layer_norm(*inputs).backward(tg.tensor(np.roll(data, 3 * seed)))
            found.append([t.grad for t in inputs])

    alone, together = [[], []], [[], []]
    for seed in (0, 1):
        gradient(seed, alone[seed])
    workers = [threading.Thread(target=gradient, args=(seed, together[seed])) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pool.set_threads(None)
    for seed in (0, 1):
        assert len(together[seed]) == 40
        for found in together[seed]:
            for g, e in zip(found, alone[seed][0], strict=True):
                np.testing.assert_array_equal(g.numpy(), e.numpy())


def test_a_frozen_argument_gets_no_gradient(always):
    x, w = tg.ones((3, 4), requires_grad=True), tg.ones((4,))
    (x * w + w).sum().backward()
    assert w.grad is None
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((3, 4)))


def test_operations_used_last_are_kept(always, monkeypatch):
    monkeypatch.setattr(eager, "OPERATIONS", 2)
    for n in (3, 4, 5, 3):
        np.testing.assert_allclose(tg.softmax(tg.zeros((n,))).numpy(), np.full(n, 1 / n), rtol=1e-6)
    assert len(eager._here.operations) == 2


def test_programs_share_the_memory_they_work_in(monkeypatch):
    monkeypatch.setattr(memory, "_here", memory._Here())
    used, work_in = [], native.Program.work_in
    monkeypatch.setattr(native.Program, "work_in", lambda program, where: (used.append(where), work_in(program, where)))
    for size in (64, 48, 64, 32):  # with one channel rows are copied with zeros beside them
        tg.conv2d(tg.ones((64, size, size, 1)), tg.ones((3, 3, 1, 32)), padding="same")
    starts = {memory.address(a) for a in used}
    assert len(used) == 4
    assert len(starts) <= 2  # those that grew
    assert all(start % memory.ALIGNMENT == 0 for start in starts)


def test_the_gradient_of_layer_norm_keeps_no_product(calls, monkeypatch):
    sizes, scratch = [], operation.scratch
    monkeypatch.setattr(operation, "scratch", lambda size: sizes.append(size) or scratch(size))
    x, weight, bias = (tg.normal(shape).requires_grad_() for shape in ((64, 96, 128), (128,), (128,)))
    tg.layer_norm(x, weight, bias).backward(tg.normal(x.shape))
    assert calls == [True]
    assert sizes[0] < x.data.nbytes / 100


@pytest.mark.parametrize("threads", [1, 2])
def test_one_loop_for_all_lengths(threads, calls, monkeypatch):
    made, program = [], native.program
    monkeypatch.setattr(native, "program", lambda *args, **options: made.append(args) or program(*args, **options))
    pool.set_threads(threads)
    try:
        for shape in [(1 << 16,), (70_001,), (3, 30_011), (130, 3, 401)]:
            a = np.random.default_rng(0).normal(size=shape).astype("float32")
            a.flat[[5, 6, -1]] = np.nan, -np.inf, np.inf
            x = tg.tensor(a, requires_grad=True)
            tg.gelu(x).backward(tg.ones(shape))
            with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
                patch.setenv("TINYGRAD_EDU_FAST", "0")
                y = tg.tensor(a, requires_grad=True)
                expected = tg.gelu(y)
                expected.backward(tg.ones(shape))
            np.testing.assert_allclose(tg.gelu(x).detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5, atol=1e-6)
    finally:
        pool.set_threads(None)
    assert all(calls)
    assert len(made) == 2  # one for the values, one for the gradients


BY_ROWS = {
    "softmax": lambda x: tg.softmax(x),
    "log_softmax": lambda x: tg.log_softmax(x),
    "bias": lambda x: x + tg.tensor(np.linspace(-1, 1, x.shape[-1], dtype="float32")),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", BY_ROWS)
def test_one_loop_for_any_number_of_rows(name, threads, always, monkeypatch):
    """Also where there are as many rows as columns, which is made apart, for then a bias looks like a column."""
    made, program = [], native.program
    monkeypatch.setattr(native, "program", lambda *args, **options: made.append(args) or program(*args, **options))
    pool.set_threads(threads)
    try:
        for rows, columns in [(1500, 240), (1001, 240), (2222, 240), (240, 240)]:
            a = np.random.default_rng(rows).normal(size=(rows, columns)).astype("float32")
            found = []
            for fast in ("1", "0"):
                x = tg.tensor(a, requires_grad=True)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("TINYGRAD_EDU_FAST", fast)
                    y = BY_ROWS[name](x)
                    y.backward(tg.tensor(np.cos(np.arange(y.size, dtype="float32")).reshape(y.shape)))
                found.append((y.detach().numpy(), x.grad.numpy()))
            for mine, defined in zip(*found, strict=True):
                np.testing.assert_allclose(mine, defined, rtol=2e-5, atol=2e-6)
            if rows == 1500:
                first = len(made)
            elif rows != columns:
                assert len(made) == first
    finally:
        pool.set_threads(None)
    assert any(always)
    assert first > 0


RULES = {
    "a number": lambda g, y, a: g * a / a.shape[0],
    "a number beside": lambda g, y, a: g * a + 1.0 / len(a),
    "over the rows": lambda g, y, a: g * tg.ops.max(a, axis=0, keepdims=True),
    "over all": lambda g, y, a: g * a / tg.ops.sum(a),
    "in pairs": lambda g, y, a: (g * a).reshape(-1, 2, 6)[:, ::-1].reshape(a.shape),
}


@pytest.mark.parametrize("name", RULES)
def test_what_depends_on_the_number_of_rows_is_not_made_for_any(name, always):
    own = tg.autograd.Primitive(lambda xp, a: a * a, "composite", ("a",))
    own.defvjp(RULES[name])
    for rows in (4, 6, 12):
        a, g = np.random.default_rng(rows).normal(size=(2, rows, 6)).astype("float32")
        x = tg.tensor(a, requires_grad=True)
        own(x).backward(tg.tensor(g))
        expected = RULES[name](*map(tg.tensor, (g, a * a, a))).numpy()
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_numbers_that_may_change_are_not_compiled(calls):
    """A slope that is annealed would take a compilation at each call."""
    x = tg.zeros((1 << 20,), requires_grad=True)
    for slope in (0.1, 0.2):
        tg.leaky_relu(x, negative_slope=slope).sum().backward()
    assert not any(calls)
    tg.gelu(x).sum().backward()
    assert any(calls)
