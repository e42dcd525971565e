"""jit: what it refuses and how, when it traces anew, and that nothing leaks, is lost or is half applied."""

import dis
import gc
import importlib
import linecache
import random
import signal
import sys
import threading
import weakref
from collections import namedtuple
from pathlib import Path

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.autograd import Number, Primitive, decided
from tinygrad_edu.backend import default_generator
from tinygrad_edu.state import Switch, state

MODE = {"fuse": False}


def jit(function, **keywords):
    return tg.jit(function, **MODE, **keywords)


@pytest.fixture(autouse=True, params=["plain", "fused", "blocks"])
def fused(request, monkeypatch):
    """Everything is tested without fusion, with it, and with it as blocks of NumPy calls; whether it is on."""
    MODE["fuse"] = request.param != "plain"
    if request.param == "blocks":
        monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")
        monkeypatch.setattr(importlib.import_module("tinygrad_edu.jit.planned"), "LARGE", 0)
    yield MODE["fuse"]
    MODE["fuse"] = False


def t(*values, **keywords):
    return tg.tensor([float(v) for v in values], **keywords)


def traces(function):
    return len(function.plans)


def same(a, b):
    """Whether two arrays, or nested lists of them, are equal: bit for bit without fusion, else but for rounding."""
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    a, b = (v.detach().data if isinstance(v, Tensor) else numpy.asarray(v) for v in (a, b))
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    if MODE["fuse"] and a.dtype.kind == "f":
        return numpy.allclose(a, b, rtol=1e-2 if a.dtype == "float16" else 1e-5, atol=1e-6, equal_nan=True)
    return a.tobytes() == b.tobytes()


# Values that are not there while a function is recorded

w = t(1, 2, 3)

READINGS = {
    "if": lambda x, n: x if x.sum() > 0 else -x,
    "while": lambda x, n: [x for _ in iter(lambda: bool(x.any()), False)],
    "and": lambda x, n: x.any() and x.all(),
    "in": lambda x, n: x[0] in [x[1]],
    "max": lambda x, n: max(x[0], x[1]),
    "float": lambda x, n: x * float(x[0]),
    "int": lambda x, n: x * int(x[0]),
    "item": lambda x, n: x * x[0].item(),
    "tolist": lambda x, n: x.tolist(),
    "numpy": lambda x, n: x.numpy(),
    "print": lambda x, n: print(x),
    "repr": lambda x, n: repr(x.data),
    "f-string": lambda x, n: f"{x}",
    "format": lambda x, n: f"{x[0]:.3f}",
    "asarray": lambda x, n: numpy.asarray(x),
    "ufunc": lambda x, n: numpy.exp(x.data),
    "NumPy in Python": lambda x, n: numpy.linalg.norm(x.data),
    "in place": lambda x, n: numpy.add.at(numpy.zeros(3), [0], x.data[0]),
    "list": lambda x, n: tg.tensor([x[0], x[1]]),
    "range": lambda x, n: range(tg.astype(x[0], "int64")),
    "slice": lambda x, n: x[: tg.astype(x[0], "int64")],
    "mask": lambda x, n: x[x > 0],
    "write": lambda x, n: x.data.__setitem__(0, 1.0),
    "captured: if": lambda x, n: x if (w.sum() > 0) else -x,
    "captured: float": lambda x, n: x * float(w[0]),
    "captured: the tensor": lambda x, n: x * w.tolist()[0],
    "captured: numpy": lambda x, n: x * w.numpy(),
    "captured: asarray": lambda x, n: x * numpy.asarray(w),
    "captured: print": lambda x, n: print(w),
    "captured: list": lambda x, n: tg.tensor([w, x]),
    "number: if": lambda x, n: x if n > 1 else -x,
    "number: equal": lambda x, n: x if n == 1 else -x,
    "number: bool": lambda x, n: x if n else -x,
    "number: float": lambda x, n: x * float(n),
    "number: index": lambda x, n: x[n],
    "number: range": lambda x, n: [x for _ in range(n)],
    "number: print": lambda x, n: f"{n}",
    "number: format": lambda x, n: f"{n:.2f}",
    "number: round": lambda x, n: x * round(n),
    "number: min": lambda x, n: x * min(n, 1.0),
    "number: NumPy": lambda x, n: numpy.sin(n),
}


@pytest.mark.parametrize("name", READINGS)
def test_reading_a_value(name):
    function = READINGS[name]
    line = function.__code__.co_firstlineno
    for number in (2.0, 2):
        with pytest.raises(tg.TraceError) as caught:
            jit(function)(t(1, 2, 3), number)
        text = str(caught.value)
        assert text.startswith(
            f"jit, at test_jit.py:{line} {linecache.getline(__file__, line).strip()!r}: expected no "
        )
        assert ", received " in text
        assert ". Hint: " in text
    assert state.trace is None
    (t(1) + 1).item()  # eager mode is as it was


def test_the_line_of_a_folder_named_alike():
    """`tinygrad_edu_mine/train.py` is no part of the package."""
    file = f"{Path(tg.__file__).parent}_mine/train.py"
    function = eval(compile("lambda x: float(x)", file, "eval"))
    with pytest.raises(tg.TraceError, match=r"train\.py:1"):
        jit(function)(t(1))


# Values that get out

OUT = {}
USES = {
    "add": lambda x, array, n: x + 1.0,
    "radd": lambda x, array, n: 1.0 + x,
    "matmul": lambda x, array, n: t(1, 2) @ x,
    "sum": lambda x, array, n: x.sum(),
    "mean": lambda x, array, n: array.mean(),
    "index": lambda x, array, n: x[0],
    "transpose": lambda x, array, n: x.T,
    "exp": lambda x, array, n: tg.exp(array),
    "concatenate": lambda x, array, n: tg.concatenate([x, x]),
    "print": lambda x, array, n: repr(x),
    "item": lambda x, array, n: x[0].item(),
    "numpy": lambda x, array, n: x.numpy(),
    "tensor": lambda x, array, n: tg.tensor(x),
    "assign": lambda x, array, n: t(1, 2).assign_(x),
    "NumPy": lambda x, array, n: numpy.exp(array),
    "NumPy operator": lambda x, array, n: numpy.ones(2) * array,
    "argument of a jitted function": lambda x, array, n: jit(lambda y: y)(x),
    "captured by a jitted function": lambda x, array, n: jit(lambda y: y + x)(t(1, 2)),
    "number": lambda x, array, n: n + 1,
    "number and tensor": lambda x, array, n: t(1, 2) * n,
    "number printed": lambda x, array, n: f"{n}",
    "learning rate": lambda x, array, n: setattr(tg.optimizers.SGD(), "learning_rate", n),
}


def leave(x, n):
    OUT.update(x=x * 1.0, array=(x * 2.0).data, n=n * 2.0)


def leave_and_fail(x, n):
    leave(x, n)
    raise KeyError("on purpose")


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("name", USES)
def test_using_what_leaked(name, failing):
    if failing:
        with pytest.raises(KeyError, match="on purpose"):
            jit(leave_and_fail)(t(1, 2), 3.0)
    else:
        jit(leave)(t(1, 2), 3.0)
    with pytest.raises(tg.TraceError, match=r"test_jit\.py:\d+ .*use of a traced value after its call.*return it from"):
        USES[name](**OUT)
    OUT.clear()


def test_leaks_through_attribute_and_closure():
    class Holder:
        def call(self, x):
            self.loss = x.sum()
            return self.loss

    holder, kept = Holder(), []
    assert jit(lambda x: kept.append(x) or holder.call(x))(t(1, 2)).item() == 3.0
    for leaked in (holder.loss, *kept):
        with pytest.raises(tg.TraceError, match="after its call"):
            leaked * 2.0


def test_a_traced_value_in_another_thread():
    errors = []

    def use(x):
        try:
            x + 1.0
        except tg.TraceError as error:
            errors.append(str(error))

    def step(x):
        thread = threading.Thread(target=use, args=(x,))
        thread.start()
        thread.join()
        return x

    jit(step)(t(1))
    assert "in another thread" in errors[0]


def test_work_of_another_thread_is_not_recorded():
    counter, seen = t(0), []

    def work():
        counter.assign_(counter + 1.0)
        seen.append(counter.item())

    def step(x):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return x * 2.0

    function = jit(step)
    for _ in range(3):
        function(t(1))
    assert (seen, counter.item()) == ([1.0], 1.0)


# Attributes, static values, the form of arguments

scaled = Primitive(lambda xp, a, *, factor: a * factor[0], "opaque")


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: a.data], ids=["tensor", "array"])
@pytest.mark.parametrize("which", ["traced", "captured"])
def test_an_array_in_an_attribute(wrap, which):
    function = jit(lambda x: scaled(x, factor=(wrap(x if which == "traced" else w),)))
    with pytest.raises(tg.TraceError, match=r"test_jit\.py:\d+ .*attributes that are no arrays.*as an argument"):
        function(t(1, 2, 3))


@pytest.mark.parametrize("value", [[1.0], {"a": 1}, numpy.ones(2), t(1), (t(1),), ([],)], ids=str)
def test_static_values_must_be_hashable_and_no_arrays(value):
    with pytest.raises(
        TypeError, match=r"jit scale: expected arrays and numbers by position, and hashable .*received a "
    ):
        jit(scale)(t(1), factor=value)


def scale(x, *, factor):
    return x * factor


@pytest.mark.parametrize("values", [(1, 1.0), (True, 1), (0.0, -0.0), ((1, (2,)), (1.0, (2.0,))), ("a", None)], ids=str)
def test_equal_static_values_of_other_types(values):
    function = jit(
        lambda x, *, value: x * (value[0] if isinstance(value, tuple) else 2 if value == "a" else value or 0.0)
    )
    x = tg.tensor([-1, 2])
    for value in values * 2:
        assert same(function(x, value=value), function.function(x, value=value))
    assert traces(function) == 2


Pair = namedtuple("Pair", "left right")
FORMS = [
    lambda a, b: ((a, b), {}),
    lambda a, b: (((a, b),), {}),
    lambda a, b: (([a, b],), {}),
    lambda a, b: ((Pair(a, b),), {}),
    lambda a, b: (({"a": a, "b": b},), {}),
    lambda a, b: (({"b": a, "a": b},), {}),
    lambda a, b: (([a], b), {}),
    lambda a, b: ((a, [b]), {}),
    lambda a, b: ((a, b, None), {}),
    lambda a, b: ((a, b, "text"), {}),
    lambda a, b: ((a.data, b), {}),
    lambda a, b: ((a, b), {"flag": None}),
]


def weighted(tree):
    """A number that depends on the form of the arguments."""
    if isinstance(tree, dict):
        return sum((i + 3.0) * weighted(tree[key]) for i, key in enumerate(sorted(tree)))
    if isinstance(tree, (list, tuple)):
        kind = {list: 0.5, Pair: 0.75}.get(type(tree), 1.0)
        return sum((i + kind) * weighted(part) for i, part in enumerate(tree))
    return tree.sum() if hasattr(tree, "dtype") else 4.0 if tree else 5.0


def test_the_form_of_arguments():
    function = jit(lambda *args, **static: weighted(args) + len(static))
    for factor in (1.0, 2.0):
        for form in FORMS:
            args, static = form(t(1, 2) * factor, t(10, 20) * factor)
            assert same(function(*args, **static), function.function(*args, **static))
    assert traces(function) == len(FORMS)


NUMBERS = [2, 2.0, numpy.float32(0.1), numpy.float64(0.1), numpy.int32(3), numpy.array(3), numpy.array(0.1)]


@pytest.mark.parametrize("dtype", ["int64", "float16", "float32", "float64"])
def test_numbers_by_position(dtype):
    function = jit(lambda x, n: (x * n, x + n / 3, n))
    x = tg.tensor([1, 2], dtype=dtype)
    for number in NUMBERS * 2:
        plain = number.item() if isinstance(number, numpy.generic) else number  # what it is to an operation
        found, expected = function(x, number), function.function(x, plain)
        assert all(map(same, found[:2], expected[:2]))
        assert found[2] == expected[2]
        assert type(found[2]) in (int, float)
    assert traces(function) == 2


ARITHMETIC = {
    "-n": lambda n: -n,
    "+n": lambda n: +n,
    "abs": lambda n: abs(-n),
    "n - 5": lambda n: n - 5,
    "5 - n": lambda n: 5 - n,
    "n / 4": lambda n: n / 4,
    "4 / n": lambda n: 4 / n,
    "n // 2": lambda n: n // 2,
    "7 // n": lambda n: 7 // n,
    "n % 2": lambda n: n % 2,
    "7 % n": lambda n: 7 % n,
    "n ** 2": lambda n: n**2,
    "n ** -2": lambda n: n**-2,
    "2 ** n": lambda n: 2**n,
    "(-2.0) ** n": lambda n: (-2.0) ** n,
    "nested": lambda n: (1.0 - 0.9**n) ** 0.5 / (-n - (n - 1) * 2),
    "n and n": lambda n: n * n - n / n + n**n,
    "float64": lambda n: n * numpy.float64(2.5),
    "float64 first": lambda n: numpy.float64(2.5) - n,
    "float32": lambda n: numpy.float32(0.1) * n,
    "0-d": lambda n: n + numpy.array(2),
    "inf": lambda n: n * float("inf"),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_on_numbers(name):
    function = jit(lambda x, n: (x + ARITHMETIC[name](n), ARITHMETIC[name](n) * x))
    for n in (3, 4, 5, 3.0, 4.0):
        assert all(map(same, function(t(1, 2), n), function.function(t(1, 2), n)))
    assert traces(function) == 2


# The cache


def test_the_cache_is_bounded_and_churn_warns_once():
    function = jit(lambda x: x * 2.0, cache_size=3)
    for n in range(1, 4):
        function(tg.ones((n,)))
    function(tg.ones((1,)))  # now 2 is the one not used for longest
    oldest = weakref.ref(function.plans[-1])
    with pytest.warns(UserWarning, match="jit <lambda>: traced for more than 3 kinds of arguments") as caught:
        function(tg.ones((4,)))
    assert caught[0].filename == __file__
    gc.collect()
    assert oldest() is None
    for n in (1, 3, 4):
        function(tg.ones((n,)))
    shapes = [next(iter(plan.program.inputs)).shape for plan in function.plans]
    assert shapes == [(4,), (3,), (1,)]
    for n in range(5, 10):
        function(tg.ones((n,)))  # warnings are errors here: there is no second one
    assert traces(function) == 3


def test_the_cache_forgets_what_was_not_used_for_longest_among_equal_kinds():
    p, q, runs = t(1), t(2), []
    function = jit(lambda x: runs.append(1) or x * p * q, cache_size=2)

    def call(first, second):
        p.requires_grad_(first)
        q.requires_grad_(second)
        function(t(1))
        return len(runs)

    assert [call(False, False), call(True, False), call(False, False)] == [1, 2, 2]
    with pytest.warns(UserWarning, match="more than 2 kinds"):
        assert call(False, True) == 3
    assert [call(False, False), call(True, False)] == [3, 4]


def test_churn_of_one_kind():
    """The arrays of a model that is moved again and again are not kept."""
    p = t(1, 2)
    function = jit(lambda x: x * p, cache_size=3)
    references = []
    for _ in range(3):
        p.data = p.data + 1
        references.append(weakref.ref(p.data))
        function(t(1, 2))
    gc.collect()
    assert (traces(function), [r() is None for r in references]) == (1, [True, True, False])


def test_cache_size_and_names():
    for wrong, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="cache_size"):
            jit(scale, cache_size=wrong)
    assert (jit(scale).__name__, jit(scale).__wrapped__) == ("scale", scale)
    assert tg.jit(cache_size=5)(scale).cache_size == 5
    with pytest.raises(TypeError, match="jit Dense"):
        jit(tg.layers.Dense(1))(t(1), training=[])


# What a recording holds for


class Setting:
    """A small world to change things in."""

    def __init__(self):
        self.p, self.q = t(1, 2, requires_grad=True), t(3, 4, requires_grad=True)
        self.buffer = Tensor(numpy.arange(6, dtype="float32").reshape(3, 2))
        self.part = Tensor(self.buffer.data[1])
        self.source, self.copy = t(7, 8), t(0, 0)
        self.optimizer = tg.optimizers.SGD(0.5, momentum=0.5).build([self.p])

    def step(self, x):
        self.copy.assign_(self.source)
        y = (x * self.p * self.q + self.buffer.detach() * tg.tensor(self.part) + self.q.detach()).sum()
        if state.grad_enabled:
            y.backward()
            self.optimizer.step()
        return y * 2.0 if state.training else y


CHANGES = {  # how, and the recordings after it
    "nothing": (lambda s: None, 2),
    "values": (lambda s: (s.p.assign_([5.0, 6.0]), s.buffer.assign_(tg.ones((3, 2)))), 2),
    "loading": (lambda s: s.optimizer.load_state_dict(s.optimizer.state_dict()), 2),
    "learning rate": (lambda s: setattr(s.optimizer, "learning_rate", 0.25), 2),
    "steps": (lambda s: setattr(s.optimizer, "iterations", 7), 2),
    "momentum": (lambda s: setattr(s.optimizer, "momentum", 0.25), 3),
    "weight decay": (lambda s: setattr(s.optimizer, "weight_decay", 0.25), 3),
    "frozen": (lambda s: s.q.requires_grad_(False), 3),
    "gradient gone": (lambda s: setattr(s.p, "grad", None), 3),
    "gradient of another dtype": (lambda s: setattr(s.p, "grad", t(1, 2, dtype="float64")), 3),
    "moved parameter": (lambda s: setattr(s.p, "data", s.p.data + 1), 3),
    "moved, used detached": (lambda s: setattr(s.q, "data", s.q.data + 1), 3),
    "moved buffer": (lambda s: setattr(s.buffer, "data", s.buffer.data + 1), 3),
    "moved value": (lambda s: setattr(s.source, "data", s.source.data + 1), 3),
    "moved part": (lambda s: setattr(s.part, "data", s.part.data + 1), 3),
    "moved optimizer": (lambda s: [setattr(m, "data", m.data + 1) for m in s.optimizer.states[0].values()], 3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_between_calls(name):
    change, expected = CHANGES[name]
    eager, jitted = Setting(), Setting()
    function = jit(jitted.step)
    for call in range(6):
        if call == 3:
            change(eager)
            change(jitted)
        x = t(call, 1)
        assert same(function(x), eager.step(x))
        assert same(jitted.p, eager.p)
        assert same(jitted.p.grad, eager.p.grad)
        assert same(jitted.copy, eager.copy)
    stale = name.startswith("moved")  # then the earlier ones of this kind are dropped
    assert traces(function) == (1 if stale else expected)


SWITCHES = [("training", True), ("grad_enabled", False), ("dtype", numpy.dtype("float64"))]


@pytest.mark.parametrize(("name", "value"), SWITCHES)
def test_switches(name, value):
    eager, jitted = Setting(), Setting()
    function = jit(lambda x: jitted.step(x) + tg.mean(tg.ones((2,))))
    for call in range(8):
        with Switch(name, value if call % 4 > 1 else getattr(state, name)):
            x = t(call, 1, dtype="float32")
            assert same(function(x), eager.step(x) + tg.mean(tg.ones((2,))))
    assert same(jitted.p, eager.p)


@pytest.mark.parametrize("x", [t(1, 2, 3), t(1, 2, dtype="float64"), tg.ones((3, 2)).T[0], t(1, 2, 3, 4)[::2]], ids=str)
def test_new_kinds_of_arrays(x):
    function = jit(lambda x: x * 2.0)
    function(t(1, 2))
    assert same(function(x), x * 2.0)
    assert traces(function) == 2


# Inputs that require grad, results, nesting, methods


def test_inputs_that_require_grad_run_as_they_are():
    function = jit(lambda x, scale: (x * scale).sum())
    x = t(1, 2, requires_grad=True)
    function(x, 3.0).backward()
    assert (x.grad.tolist(), traces(function)) == ([3.0, 3.0], 0)
    assert tg.grad(function)(t(1, 2), 4.0).tolist() == [4.0, 4.0]
    assert tg.hessian(lambda x: function(x * x, 1.0))(t(1)).tolist() == [[2.0]]


def test_results_require_grad_as_without_jit_but_have_no_graph():
    p = t(1, 2, requires_grad=True)
    function = jit(lambda x: (p, x * p, (x * p).detach(), x))
    for _ in range(2):
        results = function(t(1, 2))
        assert [r.requires_grad for r in results] == [True, True, False, False]
        for y in (results[0].sum(), results[1].sum() + p.sum()):
            with pytest.raises(tg.GradientError, match=r"the result of a jitted function.*backward inside of it"):
                y.backward()
    with pytest.raises(tg.GradientError, match="result of a jitted function"):
        tg.grad(lambda x: (function(t(1, 2))[1] * x).sum())(t(1, 2))
    assert p.grad is None


def test_tensors_of_an_outer_graph_are_refused():
    p = t(1, requires_grad=True)
    y = p * 2.0
    for function in (lambda x: x * y, lambda x: y, lambda x: (x + y.detach() * y).sum()):
        with pytest.raises(
            tg.GradientError, match=r"test_jit\.py:\d+ .*no tensor from a graph outside, received .*multiply"
        ):
            jit(function)(t(1))
    with pytest.raises(tg.GradientError, match="a tensor of this jitted call"):
        jit(lambda x: y.backward())(t(1))
    assert jit(lambda x: x * y.detach())(t(3)).item() == 6.0


def test_nested_jit_is_part_of_the_outer_one():
    inner = jit(lambda x, *, power=2: x**power)
    outer = jit(lambda x: inner(x) + inner(x, power=3))
    assert [outer(t(2)).item() for _ in range(2)] == [12.0, 12.0]
    assert (traces(outer), traces(inner)) == (1, 0)


class Trainer:
    def __init__(self, start):
        self.p = t(start, requires_grad=True)
        self.optimizer = tg.optimizers.Adam(0.1).build([self.p])

    @tg.jit
    def step(self, x, scale=1.0):
        """One step."""
        loss = ((self.p - x) ** 2).sum() * scale
        self.optimizer.minimize(loss)
        return {"loss": loss.detach(), "rate": self.optimizer.learning_rate}


def test_methods():
    Trainer.step.plans.clear()
    trainers, plain = [Trainer(1.0), Trainer(2.0)], [Trainer(1.0), Trainer(2.0)]
    for n in range(4):
        for a, b in zip(trainers, plain, strict=True):
            found, expected = a.step(t(n), 2.0), Trainer.step.function(b, t(n), 2.0)
            assert found["rate"] == expected["rate"]
            assert found["loss"].item() == pytest.approx(expected["loss"].item(), rel=1e-5, abs=1e-6)
            assert a.p.item() == pytest.approx(b.p.item(), rel=1e-5)
    assert (Trainer.step.__doc__, traces(Trainer.step)) == ("One step.", 2)


def test_results_in_their_form():
    function = jit(lambda x, n: {"a": (x, [n + 1, "text"], None), "b": Pair(x.data, {"c": x.sum()}), "d": []})
    for n in (1, 2):
        found = function(t(1, 2) * float(n), n)
        assert found["a"][1:] == ([n + 1, "text"], None)
        assert (type(found["a"][0]), type(found["b"]), type(found["b"].left)) == (Tensor, Pair, numpy.ndarray)
        assert (found["b"].right["c"].item(), found["d"]) == (3.0 * n, [])
    assert jit(lambda x: None)(t(1)) is None


def test_results_are_copies():
    p, buffer = t(1, 2, requires_grad=True), t(0, 0)

    def step(x):
        ((p * x) ** 2).sum().backward()
        buffer.assign_(buffer + x)
        return x, p.detach(), buffer, buffer[:1], p.grad, buffer * 1.0

    function, kept = jit(step), []
    for n in range(20):
        x = t(n, n + 1)
        results = (*function(x), p.grad)
        kept.append((results, [r.data.copy() for r in results]))
        p.grad = None if n % 3 else p.grad
    for results, values in kept:
        assert all(map(numpy.array_equal, (r.data for r in results), values))
        arrays = [r.data for r in results]
        assert not any(numpy.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    before = [p.data.copy(), buffer.data.copy()]
    for results, _ in kept[-3:]:
        for r in results[:6]:
            r.data[...] = numpy.nan
    assert numpy.array_equal(p.data, before[0])
    assert numpy.array_equal(buffer.data, before[1])
    assert numpy.isfinite(function(t(1, 1))[5].data).all()


# Effects: in their order, in the right memory


def twin_worlds(make, step, calls=3):
    """What the step returns, and the arrays it was given, after some calls with and without jit."""
    found = []
    for wrap in (lambda function: function, jit):
        tg.seed(0)
        tensors = make()
        function = wrap(lambda x, tensors=tensors: step(x, *tensors))
        results = [[numpy.array(r.detach().data) for r in function(t(n, 1))] for n in range(calls)]
        found.append((results, [x.data.tolist() for x in tensors], default_generator.state))
    return found


def base_and_parts():
    a = numpy.arange(6, dtype="float32").reshape(3, 2)
    return Tensor(a), Tensor(a[1]), Tensor(a[::-1, 0]), Tensor(a.T), Tensor(a[1:1])


def odd_layout():
    """An array that is contiguous in neither order, and a part of it."""
    a = numpy.arange(24, dtype="float32").reshape(2, 3, 4).transpose(0, 2, 1) + 1
    assert a.base is None
    return Tensor(a), Tensor(a[0]), Tensor(a[:, ::2, 1])


def assign_and_read(x, a, row, column, turned, empty):
    first = row * 1.0
    row.assign_(x)
    second = (a * 1.0, turned * 1.0, row + empty.sum())
    a.assign_(a + 1.0)
    column.assign_(row.sum() + column)
    return first, *second, row * 2.0, a, turned


def views_made_inside(x, a, row, column, turned, empty):
    """Views are made before their memory is overwritten: they see the new values, as in NumPy."""
    views = [a[0], a.T, a.reshape(-1), row[::-1], a.detach()[1:], turned[0].detach(), a[0][1:]]
    row.assign_(x * 3.0)
    after_row = [v * 1.0 for v in views]
    a.assign_(a * 2.0)
    return *after_row, *[v * 1.0 for v in views], *views


def argument_overwritten(x, a, row, column, turned, empty):
    y = x * 1.0
    view = y.detach()[:1] + x[:1]
    part = x[1:]
    x.assign_(x * 2.0)
    return x, part, view, x[::-1] * 1.0


def parts_of_odd_layout(x, a, first, spread):
    first.assign_(first * 2.0)
    spread.assign_(a[:, 1:3, 0])
    return a, first, spread, a.sum(axis=0), first.T.reshape(-1)


def draws(x, a, *rest):
    nothing = tg.uniform((0,)).sum()
    y = tg.uniform((2,)) + nothing
    z = tg.checkpoint(
        lambda v: tg.dropout(v, 0.5) + tg.uniform((0,)).sum() + tg.normal((2,)), x.detach().requires_grad_()
    )
    z.sum().backward()
    return y, z, tg.integers((3,), 0, 9), tg.permutation(4)


def swapped(x, a, row, column, turned, empty):
    old = row * 1.0
    row.assign_(a[0])
    a.assign_(tg.index_put(a, 0, old))
    return a, row


STEPS = {
    "assign and read": (base_and_parts, assign_and_read),
    "views made inside": (base_and_parts, views_made_inside),
    "argument": (base_and_parts, argument_overwritten),
    "odd layout": (odd_layout, parts_of_odd_layout),
    "draws": (base_and_parts, draws),
    "swapped": (base_and_parts, swapped),
}


@pytest.mark.parametrize("name", STEPS)
def test_effects(name):
    (results, arrays, generator), (own_results, own_arrays, own_generator) = twin_worlds(*STEPS[name])
    assert same(own_results, results)
    assert same(own_arrays, arrays)
    assert own_generator == generator


def test_two_gradients_with_equal_values_are_two():
    p, q = t(1, requires_grad=True), t(2, requires_grad=True)

    def step(x):
        p.grad = q.grad = x * 2.0

    function = jit(step)
    for n in range(3):
        function(t(n))
        assert p.grad is not q.grad
        assert not numpy.shares_memory(p.grad.data, q.grad.data)
        assert p.grad.item() == q.grad.item() == 2.0 * n


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (2, 0), (0, 2), (3, 0), (1, 2), (2,), (3, 1), (0, 3, 2)], ids=str)
def test_gradients_are_laid_out_as_without_jit(order):
    """Sums over them depend on it in the last bits."""
    scale = tg.tensor(numpy.linspace(0, 1, 12, dtype="float32").reshape(4, 3))
    parts = [
        lambda p, x: (p * p).sum(),
        lambda p, x: (p * scale).sum(),
        lambda p, x: (x @ p.T).sum(),
        lambda p, x: p.reshape(-1)[0],
    ]
    found = []
    for wrap in (lambda function: function, jit):
        p = Tensor(numpy.linspace(-1, 1, 12, dtype="float32").reshape(3, 4).T, True)

        def step(x, p=p):
            p.grad = None
            sum(parts[i](p, x) for i in order).backward()
            return p.grad.data.strides, p.grad.sum()

        function = wrap(step)
        for _ in range(2):
            strides, total = function(tg.ones((5, 3)))
        found.append((strides, p.grad.data.strides, total))
    assert found[0][:2] == found[1][:2]
    assert same(found[0][2], found[1][2])


def test_cotangents_from_outside_are_read_anew():
    p, v, scale = t(1, 2, requires_grad=True), t(1, 1), t(3, 3)

    class Scaled(tg.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return scale

    def step(x):
        p.grad = None
        (p + x).backward(v)
        first = p.grad
        p.grad = None
        Scaled.apply(p).sum().backward()
        return first, p.grad, tg.vjp(lambda y: y, x)[1](v)[0]

    function = jit(step)
    for n in range(4):
        v.assign_([n, 1.0])
        scale.assign_([5.0, n])
        assert [r.tolist() for r in function(t(0, 0))] == [[n, 1.0], [5.0, n], [n, 1.0]]


OVERWRITTEN = {
    "saved": lambda p, b: (p * b, lambda: b.assign_([9.0, 9.0])),
    "saved view": lambda p, b: ((p * b[:1]), lambda: b.assign_([9.0, 9.0])),
    "computed anew": lambda p, b: (p * b, lambda: b.assign_(b * 2.0)),
    "parameter": lambda p, b: (p * p, lambda: p.assign_([9.0, 9.0])),
    "checkpoint": lambda p, b: (tg.checkpoint(lambda x: (p + b) * x, t(1, 1)), lambda: p.assign_([9.0, 9.0])),
}


@pytest.mark.parametrize("name", OVERWRITTEN)
def test_backward_refuses_what_was_overwritten_as_without_jit(name):
    def step(x):
        y, overwrite = OVERWRITTEN[name](p, b)
        overwrite()
        (y.sum() * x).sum().backward()

    texts = []
    for wrap in (lambda function: function, jit):
        p, b = t(1, 2, requires_grad=True), t(3, 4)
        with pytest.raises(tg.GradientError, match="overwritten since") as caught:
            wrap(step)(t(1))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert (p.tolist(), b.tolist(), p.grad) == ([1.0, 2.0], [3.0, 4.0], None)


def test_a_part_beside_the_saved_one_may_be_overwritten():
    array = numpy.arange(4, dtype="float32")
    p, q = Tensor(array[:2], True), Tensor(array[2:], True)

    def step(x):
        y = (p * p * x).sum()
        q.assign_(q + 1.0)
        y.backward()

    function = jit(step)
    for _ in range(2):
        p.grad = None
        function(t(1, 1))
    assert (p.grad.tolist(), array.tolist()) == ([0.0, 2.0], [0.0, 1.0, 4.0, 5.0])


def test_only_the_part_that_is_written_counts_as_overwritten():
    array = numpy.arange(6, dtype="float32")
    p, q, r = Tensor(array[:2], True), Tensor(array[2:4], True), Tensor(array[4:])

    def step(x):
        q.assign_(q + x)
        r.assign_(r * q)

    function = jit(step)
    for _ in range(2):
        beside, over = (p * p).sum(), (q * q).sum()
        function(t(1, 1))
        beside.backward()
        with pytest.raises(tg.GradientError, match="overwritten since"):
            over.backward()
    assert (p.grad.tolist(), array.tolist()) == ([0.0, 4.0], [0.0, 1.0, 4.0, 5.0, 4 * 3 * 4.0, 5 * 4 * 5.0])
    assert "_write_into" not in {call.primitive.name for call in function.plans[0].replay.program.calls}


def test_large_results_are_new_arrays(monkeypatch):
    monkeypatch.setattr(importlib.import_module("tinygrad_edu.jit.planned"), "LASTING", 8)
    p = t(1, 2, requires_grad=True)

    def step(x):
        y = x * p
        (y * y).sum().backward()
        return y.detach(), y.detach()[:1], y.detach() + 1.0, tg.transpose(tg.stack([y.detach(), x]) * 2.0)

    function = jit(step)
    kept = [(function(t(n, n)), p.grad, setattr(p, "grad", None)) for n in (1, 2, 3)]
    for n, (results, gradient, _) in enumerate(kept, 1):
        assert gradient.tolist() == [2.0 * n * n, 4.0 * n * n]
        expected = [[n, 2.0 * n], [n], [n + 1.0, 2.0 * n + 1], [[2.0 * n, 2.0 * n], [4.0 * n, 2.0 * n]]]
        assert [r.tolist() for r in results] == expected


def test_swapped_arrays():
    p, q, scale = t(1, 2), t(3, 4), t(5, 5)

    def step(x):
        old = p * 1.0
        p.assign_(q)
        q.assign_(old)
        scale.assign_(scale * x)
        return scale * 1.0

    function = jit(step)
    for _ in range(3):
        function(t(1, 2))
    assert (p.tolist(), q.tolist(), scale.tolist()) == ([3.0, 4.0], [1.0, 2.0], [5.0, 40.0])


def made_inside(x):
    total = tg.zeros((2,))
    total.detach().assign_(total + x)


def changes_requires_grad(x):
    w.requires_grad_()


REFUSED = {
    "assign_ to a tensor made inside": (made_inside, "assign_ to a tensor from outside, received one made in"),
    "assign_ to a result": (lambda x: (x * 1.0).assign_(x), "assign_ to a tensor from outside, received one made in"),
    "requires_grad_": (changes_requires_grad, "requires_grad as it is"),
    "seed": (lambda x: tg.seed(3), "no new seed"),
    "generator": (lambda x: tg.Generator(3).uniform((2,)), "draws by tg.uniform"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_effects(name):
    function, text = REFUSED[name]
    with pytest.raises(tg.TraceError, match=rf"test_jit\.py:\d+ .*{text}.*Hint"):
        jit(function)(t(1, 2))
    assert not w.requires_grad


def test_leaves_made_inside():
    """Their gradients are their own affair."""

    def step(x):
        delta, other = tg.zeros((2,), requires_grad=True), w.detach()[:2].requires_grad_()
        (((x + delta) ** 2).sum() + (other * other).sum()).backward()
        return delta.grad, other.grad

    function = jit(step)
    for n in range(3):
        assert [g.tolist() for g in function(t(n, 1))] == [[2.0 * n, 2.0], [2.0, 4.0]]
    assert traces(function) == 1


@pytest.mark.parametrize("first", [True, False], ids=["at the first call", "later"])
def test_arguments_that_share_memory_with_what_is_overwritten(first):
    buffer = t(1, 2)
    for step in (lambda x, y: buffer.assign_(buffer + x), lambda x, y: x.assign_(y * 2.0)):
        function = jit(step)
        if not first:
            function(t(1, 1), t(1, 1))
        before = buffer.tolist()
        with pytest.raises(tg.TraceError, match=r"arguments that share no memory with what assign_ overwrites.*a copy"):
            function(buffer, Tensor(buffer.data[::1]))
        assert buffer.tolist() == before


def large():
    """An array that a recording does not compute."""
    return tg.tensor(numpy.random.default_rng(0).uniform(1, 2, (200, 200)).astype("float32"))


def test_a_check_of_what_a_recording_does_not_compute():
    table = tg.tensor(numpy.arange(3.0))
    function = jit(lambda x: tg.take(table, tg.floor(x * 0.5 + 1.0).astype("int64")[0, :2]))
    with pytest.raises(IndexError, match="expected indices from -3 to 2, received 6"):
        function(large() + 10.0)
    assert function(large()).tolist() == [1.0, 1.0]
    assert traces(function) == 1


def test_a_function_that_fails_for_zeros():
    """What a recording does not compute is 0 to it, of which there is no inverse."""
    x, calls = large(), []

    def step(x):
        calls.append(x)
        y = x @ x
        return tg.solve(y[:2, :2] + 0.0, tg.ones((2,)))

    y = x.data @ x.data
    function = jit(step)
    for _ in range(2):
        assert numpy.allclose(function(x).data, numpy.linalg.solve(y[:2, :2], numpy.ones(2)), rtol=1e-2)
    assert len(calls) == 2


# All or nothing


class Net:
    """A step with everything that can be half applied."""

    def __init__(self):
        tg.seed(4)
        self.p, self.q = t(1, 2, requires_grad=True), t(3, 4, requires_grad=True)
        self.buffer = t(0, 0)
        self.optimizers = [
            tg.optimizers.Adam(0.1).build([self.p]),
            tg.optimizers.SGD(0.1, momentum=0.5).build([self.q]),
        ]
        self.places, self.stop = 0, None

    def here(self, x):
        """`x`, and a place where Ctrl-C can come."""

        def forward(xp, a):
            self.places += 1
            if self.places == self.stop:
                raise KeyboardInterrupt
            return a * 1.0

        primitive = Primitive(forward, "opaque")
        primitive.defvjp(lambda g, y, a: primitive(g))
        return primitive(x)

    def step(self, x, ids):
        first, second = self.optimizers
        self.buffer.assign_(self.here(self.buffer.detach()) + 1.0)
        noisy = tg.checkpoint(lambda v: tg.dropout(self.here(v) * self.p, 0.5), x)
        first.minimize((self.here(noisy) ** 2).sum())
        first.learning_rate = first.learning_rate * 0.9
        loss = (self.here(self.q) * tg.embedding(tg.ones((3, 2)) * self.p.detach(), ids).sum()).sum()
        loss.backward()
        second.step()
        return self.here(loss.detach()) + tg.uniform((1,))

    def seen(self):
        tensors = (self.p, self.q, self.buffer)
        arrays = [(x.tolist(), x.grad if x.grad is None else x.grad.tolist()) for x in tensors]
        states = [{name: a.tolist() for name, a in o.state_dict().items()} for o in self.optimizers]
        return arrays, states, default_generator.state


X, IDS, BAD_IDS = t(1, 2), numpy.array([0, 2]), numpy.array([0, 3])


def after_steps(count):
    """What is there after 0, 1, ... steps, and how many places one has."""
    net = Net()
    function = jit(net.step)
    found = [net.seen()]
    for _ in range(count):
        net.places = 0
        function(X, IDS)
        found.append(net.seen())
    return found, net.places


@pytest.mark.parametrize("replays", [0, 1, 2], ids=["first call", "second", "third"])
def test_an_interrupt_at_every_place(replays):
    expected, places = after_steps(4)
    for place in range(1, places + 1):
        net = Net()
        function = jit(net.step)
        for _ in range(replays):
            function(X, IDS)
        net.stop = net.places + place
        with pytest.raises(KeyboardInterrupt):
            function(X, IDS)
        assert net.seen() == expected[replays], f"place {place}"
        for later in expected[replays + 1 :]:
            function(X, IDS)
            assert net.seen() == later


@pytest.mark.parametrize("replays", [0, 1, 2], ids=["first call", "second", "third"])
def test_an_error_late_in_the_step(replays):
    expected, _ = after_steps(4)
    net = Net()
    function = jit(net.step)
    with pytest.raises(IndexError) as caught:
        net.step(X, BAD_IDS)
    text, net = str(caught.value), Net()
    function = jit(net.step)
    for _ in range(replays):
        function(X, IDS)
    with pytest.raises(IndexError) as caught:
        function(X, BAD_IDS)
    assert str(caught.value) == text
    assert net.seen() == expected[replays]
    assert any(entry.frame.code.name == "step" and entry.path == Path(__file__) for entry in caught.traceback)
    function(X, IDS)
    assert net.seen() == expected[replays + 1]


def test_an_error_of_a_number_in_a_replay():
    optimizer = tg.optimizers.SGD(0.1)

    def step(rate):
        optimizer.learning_rate = rate * 2.0
        return tg.uniform((1,))

    function = jit(step)
    function(0.25)
    before = default_generator.state
    with pytest.raises(ValueError, match="SGD: expected learning_rate to be a number of at least 0, received -2"):
        function(-1.0)
    assert (optimizer.learning_rate, default_generator.state) == (0.5, before)


class Interrupt:
    """Ctrl-C at the `count`-th place in the package where Python looks for signals."""

    PLACES = ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME")

    def __init__(self, count):
        self.left, self.codes, self.last = count, {}, {}

    def __enter__(self):
        self.outer = sys.gettrace()
        sys.settrace(self.enter)
        return self

    def __exit__(self, *error):
        sys.settrace(self.outer)

    def enter(self, frame, event, argument):
        name = frame.f_code.co_filename
        if not name.startswith(("<jit", str(Path(tg.__file__).parent))):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.look

    def look(self, frame, event, argument):
        if event == "opcode":
            code = self.codes.setdefault(frame.f_code, frame.f_code.co_code)
            was, self.last[frame] = self.last.get(frame), dis.opname[code[frame.f_lasti]]
            if was in self.PLACES:
                self.left -= 1
                if self.left == 0:
                    signal.raise_signal(signal.SIGINT)
        elif event == "return":
            self.last.pop(frame, None)
        return self.look


@pytest.mark.parametrize("replays", [0, 2], ids=["first call", "replay"])
def test_an_interrupt_anywhere(replays, fused):
    """Either nothing has happened, or the step is done."""
    if fused and not replays:
        pytest.skip("the compiler of loops has too many places")
    expected, _ = after_steps(4)
    net = Net()
    function = jit(net.step)
    for _ in range(replays):
        function(X, IDS)
    with Interrupt(0) as counter:
        function(X, IDS)
    assert net.seen() == expected[replays + 1]
    total = -counter.left  # a sample of all places, and the last ones: there it commits
    for place in sorted({*range(1, total, 1 + total // 40), *range(max(1, total - 40), total)}):
        net = Net()
        function = jit(net.step)
        for _ in range(replays):
            function(X, IDS)
        try:
            with Interrupt(place):
                function(X, IDS)
        except KeyboardInterrupt:
            assert net.seen() in expected[replays : replays + 2], f"place {place} of {total}"
        assert state.trace is None
        done = expected.index(net.seen())
        function(X, IDS)
        assert net.seen() == expected[done + 1]


def test_a_real_signal_during_a_replay():
    armed = []

    def forward(xp, a):
        if armed:
            signal.raise_signal(signal.SIGINT)
        return a * 1.0

    primitive, buffer = Primitive(forward, "opaque"), t(0)

    def step(x):
        buffer.assign_(buffer + primitive(x) + tg.uniform((1,)))
        return buffer * 2.0

    function = jit(step)
    function(t(1))
    seen = buffer.tolist(), default_generator.state
    armed.append(True)
    with pytest.raises(KeyboardInterrupt):
        function(t(1))
    assert (buffer.tolist(), default_generator.state) == seen
    armed.clear()
    function(t(1))
    assert buffer.tolist() != seen[0]


# What Python does beside


class Scaled(tg.layers.Layer):
    factor = 1.0

    def __init__(self, change=None):
        super().__init__()
        self.scale, self.note, self.change = t(2), float("nan"), change

    def call(self, x):
        if self.change is not None:
            self.change(self)
        return x * self.scale * self.factor


def test_an_attribute_that_is_given_another_tensor():
    layer = Scaled()
    function = jit(lambda x: layer(x))
    for value in (2, 3, 4):
        layer.scale = t(value)
        assert function(t(1)).tolist() == function(t(1)).tolist() == [value]
    del layer.note
    assert function(t(1)).tolist() == [4.0]
    assert traces(function) == 4


class Stubborn(Scaled):
    """Sets its attributes in its own way."""

    def __setattr__(self, name, value):
        self.__dict__[name] = value


@pytest.mark.parametrize("kind", [Scaled, Stubborn])
def test_settings_are_looked_at_whenever_one_may_have_changed(kind):
    layer = kind()
    layer.factor, layer.sizes, layer.names = 1.0, [2.0], ({"a": 3.0}, 1)

    class Reading(tg.layers.Layer):
        def call(self, x):
            return layer(x) * layer.sizes[0] * layer.names[0]["a"]

    reading = Reading()
    function, found = jit(lambda x: reading(x)), []
    expected = [12.0, 10.0, 15.0, 45.0]
    changes = [
        lambda: None,
        lambda: setattr(layer, "factor", layer.factor * 5.0 / 6.0),
        lambda: layer.sizes.__setitem__(0, 3.0),
        lambda: layer.names[0].update(a=9.0),
    ]
    for change, y in zip(changes, expected, strict=True):
        change()
        found += [function(t(1)).tolist() == pytest.approx([y]) for _ in range(3)]
    assert all(found)
    assert traces(function) == 4
    layer._trainable = False
    function(t(1))
    assert traces(function) == 5


def test_a_number_of_the_class_that_an_object_is_given_as_its_own():
    layer = Scaled()
    function = jit(lambda x: layer(x))
    assert [function(t(1)).tolist() for _ in range(2)] == [[2.0], [2.0]]
    layer.factor = 3.0
    assert function(t(1)).tolist() == [6.0]
    del layer.factor
    assert function(t(1)).tolist() == [2.0]
    assert traces(function) == 2


def test_another_class_is_a_change_of_settings():
    class Doubled(Scaled):
        def call(self, x):
            return 2.0 * super().call(x)

    layer = Scaled()
    function = jit(lambda x: layer(x))
    found = [function(t(1)).tolist() for _ in range(2)]
    layer.__class__ = Doubled
    assert function(t(1)).tolist() == [2.0 * y for y in found[-1]]


def test_settings_are_not_looked_at_while_none_is_set():
    class Watchful:
        looked = 0

        def __call__(self, x):
            return x

        def __eq__(self, other):
            Watchful.looked += 1
            return type(other) is Watchful

        __hash__ = None

    layer, other = Scaled(), Scaled()
    layer.rule = Watchful()
    function = jit(lambda x: layer(x))
    function(t(1))
    layer.rule = Watchful()  # an equal one
    for times in range(1, 5):
        other.note = times
        for _ in range(3):
            function(t(1))
            other._note = times  # no setting
            assert Watchful.looked == times
    assert traces(function) == 1


ALTERED = {
    "number": lambda layer: setattr(layer, "note", 1.0),
    "list": lambda layer: setattr(layer, "note", [1.0]),
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_attribute_that_the_function_changes(name):
    layer = Scaled(ALTERED[name])
    with pytest.raises(tg.TraceError, match=r"attributes that the function leaves as they are, received 'note' of Sca"):
        jit(lambda x: layer(x))(t(1))


def test_a_tensor_kept_by_a_layer_is_traced_once():
    layer = Scaled(lambda layer: setattr(layer, "last", t(1)))
    function = jit(lambda x: layer(x))
    for _ in range(3):
        function(t(1))
    assert traces(function) == 1


class Around(tg.layers.Layer):
    """A layer around another, which after the call only its settings hold."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


PASSING = {
    "layer": lambda x: tg.layers.LeakyReLU(0.5)(x),
    "layer in a layer": lambda x: Around(Around(tg.layers.LeakyReLU(0.5)))(x),
    "tensor in a layer": lambda x: Scaled()(x),
    "loss": lambda x: tg.losses.mean_squared_error(x, 2.0 * x),
    "loss of probabilities": lambda x: tg.losses.binary_crossentropy(0.0 * x, tg.sigmoid(x)),
    "gradient": lambda x: tg.grad(lambda v: tg.losses.mean_squared_error(x, tg.layers.ELU()(v)).sum())(x),
}


@pytest.mark.parametrize("name", PASSING)
def test_an_object_made_inside_is_recorded_once(name):
    function = jit(PASSING[name])
    gc.disable()  # it must not depend on the collector
    try:
        for n in range(12):
            x = tg.full((2, 3, 4), n - 5.5)
            assert same(function(x), PASSING[name](x))
    finally:
        gc.enable()
    assert traces(function) == function._traced == 1


def test_an_object_made_inside_that_lives_on_is_looked_at():
    kept = []

    def step(x):
        if not kept:
            kept.append(tg.layers.LeakyReLU(0.5))
        return kept[0](x) + tg.layers.LeakyReLU(0.25)(x)

    function = jit(step)
    for slope in (0.5, 1.0, 2.0):
        if kept:
            kept[0].negative_slope = slope
        assert function(t(-1)).tolist() == function(t(-1)).tolist() == [-slope - 0.25]
    assert traces(function) == 3


def test_an_object_that_is_replaced_is_recorded_anew():
    class Holder:
        layer = tg.layers.LeakyReLU(0.5)

    function = jit(lambda x: Holder.layer(x))
    for slope in (0.5, 1.0, 2.0):
        Holder.layer = tg.layers.LeakyReLU(slope)
        assert function(t(-1)).tolist() == function(t(-1)).tolist() == [-slope]


factor = 1.0


def test_python_variables_are_looked_at():
    global factor
    offset, unset = 10.0, 0

    def step(x):
        nonlocal unset
        unset += 1
        return x * sum(factor for _ in range(1)) + offset

    function = jit(step)
    found = []
    for number in (1.0, 2.0, 1.0):
        factor = number
        found += [function(t(1)).item() for _ in range(2)]
    offset = 20.0
    found.append(function(t(1)).item())
    assert found == [11.0, 11.0, 12.0, 12.0, 11.0, 11.0, 21.0]
    assert (traces(function), unset) == (3, 3)


DRAWS = {
    "NumPy": lambda x: x * numpy.random.rand(),  # noqa: NPY002
    "Python": lambda x: x * random.random(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_of_others_are_refused(name):
    with pytest.raises(tg.TraceError, match="random numbers of this package, received some of NumPy's or Python's"):
        jit(DRAWS[name])(t(1))


def test_a_refusal_cannot_be_hidden():
    def step(x):
        try:
            return x * 1.0 if x.sum() > 0 else x
        except tg.TraceError:
            return -x

    with pytest.raises(tg.TraceError, match="no control flow"):
        jit(step)(t(1))
    assert step(t(1)).tolist() == [1.0]


def test_layers_are_no_arrays():
    layer = Scaled()
    assert jit(lambda layer, x: layer(x))(layer, t(1)).tolist() == [2.0]


def test_explain_wants_a_jitted_function(capsys):
    with pytest.raises(TypeError, match="explain: expected a jitted function, received builtin"):
        tg.jit.explain(print)
    tg.jit.explain(Trainer(1.0).step)
    assert "step" in capsys.readouterr().out


READ_ONLY = {
    "captured": (lambda x, a: a.assign_(a + x), False),
    "argument": (lambda x, a: x.assign_(x * 2.0), True),
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_memory_is_not_written(name):
    step, argument = READ_ONLY[name]
    array = numpy.array([1.0, 2.0], dtype="float32")
    p, frozen = t(1, 2), Tensor(array)

    def function(x):
        p.assign_(p + 1.0)
        step(x, frozen)

    jitted = jit(function)
    if argument:
        jitted(t(1, 2))
    before = p.tolist()
    array.flags.writeable = False
    with pytest.raises(ValueError, match="memory that can be written, received an array that is read-only"):
        jitted(frozen if argument else t(1, 2))
    assert (p.tolist(), array.tolist()) == (before, [1.0, 2.0])


def test_a_gradient_that_is_a_parameters_memory():
    p, q = t(1, 2, requires_grad=True), t(3, 4)
    p.grad = t(0, 0)

    def step(x):
        q.assign_(q * 3.0 + x)
        return p.grad + q

    function = jit(step)
    function(t(0, 0))
    p.grad = Tensor(q.data)
    with pytest.raises(tg.TraceError, match="share no memory with what assign_ overwrites"):
        function(t(0, 0))
    assert q.tolist() == [9.0, 12.0]


def test_keys_of_dicts_and_unusual_numbers():
    function = jit(lambda x, d: "".join(map(str, d)))
    assert [function(t(1), d) for d in ({1: 2}, {True: 2}, {1.0: 2}, {1: 3})] == ["1", "True", "1.0", "1"]
    assert jit(lambda x, n: x)(t(1), numpy.longdouble(1)).tolist() == [1.0]


# Memory


def test_a_recording_keeps_no_values():
    kept, p = [], t(1, 2, requires_grad=True)

    def step(x):
        y = x * p
        kept.extend(weakref.ref(a.data.stands_for) for a in (y, x + 1.0))
        (y * y).sum().backward()
        p.grad, g = None, p.grad
        return g

    function = jit(step)
    gc.disable()
    try:
        first = function(t(1, 2))
        assert [r() for r in kept] == [None, None]
    finally:
        gc.enable()
    assert function(t(1, 2)).tolist() == first.tolist()


def test_what_is_forgotten_is_freed():
    def make():
        p = t(1, 2)
        function = jit(lambda x: x * p)
        function(t(1, 2))
        return weakref.ref(p.data), weakref.ref(function.plans[0])

    memory, plan = make()
    gc.collect()
    assert (memory(), plan()) == (None, None)


# Gradients of all kinds inside of a step


class Twice(tg.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x * 2.0


TRANSFORMS = {
    "grad": lambda x: tg.grad(lambda v: (v**3 * w).sum())(x),
    "grad of grad": lambda x: tg.grad(lambda u: (tg.grad(lambda v: (v**3 * w).sum())(u) ** 2).sum())(x),
    "value_and_grad": lambda x: tg.value_and_grad(lambda v: (v * w).sum())(x)[0],
    "jvp": lambda x: tg.jvp(tg.tanh, [x], [w])[1],
    "vjp": lambda x: tg.vjp(tg.tanh, x)[1](w)[0],
    "hvp": lambda x: tg.hvp(lambda v: (v**3).sum(), [x], [w])[0],
    "jacobian": lambda x: tg.jacobian(lambda v: v * v[0])(x),
    "hessian": lambda x: tg.hessian(lambda v: (v**3 * w).sum())(x),
    "unused": lambda x: tg.grad(lambda v: (w * w).sum() + 0.0 * v[0].detach())(x),
    "function": lambda x: tg.grad(lambda v: Twice.apply(v).sum())(x),
    "function twice": lambda x: tg.hessian(lambda v: Twice.apply(v).sum())(x),
    "checkpoint": lambda x: tg.grad(lambda v: tg.checkpoint(lambda u: (u * w * u).sum(), v))(x),
    "checkpoint twice": lambda x: tg.hessian(lambda v: tg.checkpoint(lambda u: (u**3).sum(), v))(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    function = jit(TRANSFORMS[name])
    for n in (1, 2, 3):
        x = t(n, 0.5, -1)
        assert same(function(x), TRANSFORMS[name](x))
    assert traces(function) == 1


def test_settings_of_layers_between_calls():
    layer = tg.layers.Dropout(0.5)
    function, x = jit(lambda x: layer(x)), tg.ones((1000,))
    shares = []
    for change in (lambda: None, layer.train, lambda: setattr(layer, "rate", 0.1), layer.eval, layer.train):
        change()
        shares.append(float((function(x).numpy() == 0).mean()))
    assert shares == pytest.approx([0.0, 0.5, 0.1, 0.0, 0.1], abs=0.06)


def test_a_layer_is_built_before():
    with pytest.raises(tg.TraceError, match="expected a layer that is built"):
        jit(tg.layers.Dense(3))(tg.ones((2, 2)))


@pytest.mark.parametrize("inside", [False, True], ids=["argument", "made inside"])
def test_loops_read_the_parts_of_a_split(inside):
    """Each is a view of the same memory, at its own place."""

    def f(x):
        a, b, c = tg.split(2.0 * x if inside else x, 3, axis=1)
        return a * b - c

    x = tg.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]])
    step = tg.jit(f)
    for factor in (1.0, 2.0):
        assert step(factor * x).tolist() == f(factor * x).tolist()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))]
)
def test_joined_arrays_of_every_dtype(dtype):
    """Of kinds that loops do not know as well."""
    a, b = numpy.array([1, 0, 2]).astype(dtype), numpy.array([3]).astype(dtype)
    step = jit(lambda a, b: tg.concatenate([a + a, b, b]))
    for _ in range(2):
        y = step(tg.tensor(a), tg.tensor(b)).numpy()
        assert y.dtype == dtype
        assert y.tolist() == [*(a + a), *b, *b]


class Counter:
    count = Number()

    def __init__(self):
        self.count = 0


def test_decisions_by_numbers_choose_the_recording():
    counter, total = Counter(), t(0.0)

    @jit
    def step(x):
        for factor in (1.0, 10.0):
            if decided(lambda count: count % 3 == 0, counter.count * 2):
                total.assign_(total + x * factor)
            counter.count = counter.count + 1

    seen = []
    for _ in range(6):
        step(t(1.0))
        seen.append((total.item(), counter.count))
    assert seen == [(1.0, 2), (11.0, 4), (11.0, 6), (12.0, 8), (22.0, 10), (22.0, 12)]
    assert traces(step) == 3
    counter.count = 6
    step(t(2.0))
    assert (total.item(), counter.count, traces(step)) == (24.0, 8, 3)


def test_decisions_by_arguments_are_refused():
    with pytest.raises(tg.TraceError) as caught:
        jit(lambda x, n: x if decided(lambda n: n > 1, n) else -x)(t(1.0), 2)
    text = "expected decisions by numbers that attributes hold, received an argument. Hint: pass it by keyword"
    assert text in str(caught.value)
    assert decided(lambda n: n > 1, 2)
