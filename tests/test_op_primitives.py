"""Every primitive as the operations of the table call it: `out=`, expressions, whether a wrong rule would be seen."""

import contextlib
import inspect
from collections import defaultdict

import numpy
import pytest
from op_cases import DIFFERENTIABLE, ROWS, assert_near, gradients, numbers, tensors, title
from scipy import special

import tinygrad_edu as tg
from tinygrad_edu.autograd import engine
from tinygrad_edu.autograd import primitives as registry
from tinygrad_edu.autograd.primitive import no_gradient
from tinygrad_edu.ops import attention, linalg
from tinygrad_edu.optable import TABLE

primitives = {name: p for name, p in registry.items() if p.__module__.startswith("tinygrad_edu.")}  # not of other tests
ELSEWHERE = {"_transfer", "new_zeros", "_moments"}
"""What the table cannot reach: test_op_devices.py moves between devices, test_op_values.py leaves parts unused, and
plans on CUDA alone have moments (test_replay_layers.py)."""


@pytest.fixture(scope="module")
def calls():
    """Calls of each primitive's forward, by its name: at most two of each dtype and number of axes."""
    found = defaultdict(dict)
    originals = {name: p.forward for name, p in primitives.items()}

    def recorder(name, forward):
        def record(xp, *arrays, **attributes):
            attributes.pop("out", None)
            key = tuple((a.dtype, a.ndim) if hasattr(a, "dtype") else type(a) for a in arrays)
            copies = [a.copy(order="K") if hasattr(a, "dtype") else a for a in arrays]
            found[name].setdefault((key, attributes.get("approximate")), (copies, dict(attributes)))
            return forward(xp, *arrays, **attributes)

        return record

    try:
        for name, p in primitives.items():
            p.forward = recorder(name, originals[name])
        for row in TABLE.values():
            for number in numbers(row):
                for dtype in ("float32", "float64"):
                    row.call(number, tensors(row.arrays(number, dtype)))
                if row.sample_order(number):
                    for create_graph in (False, True):
                        gradients(row, number, row.arrays(number), create_graph)
    finally:
        for name, p in primitives.items():
            p.forward = originals[name]
    return {name: list(found[name].values()) for name in primitives}


def results(y):
    return y if isinstance(y, tuple) else (y,)


NAMES = sorted(primitives)
WITH_OUT = [name for name in NAMES if "out" in inspect.signature(primitives[name].forward).parameters]
ELEMENTWISE = [name for name in NAMES if primitives[name].kind == "elementwise"]


def test_the_table_reaches_every_primitive(calls):
    assert {name for name in NAMES if not calls[name]} <= ELSEWHERE


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_gives_the_same(calls, name):
    for arrays, attributes in calls[name]:
        y = primitives[name].forward(numpy, *arrays, **attributes)
        y = numpy.asarray(y[0] if primitives[name].has_residuals else y)
        before = [a.copy() if hasattr(a, "dtype") else a for a in arrays]
        out = numpy.full_like(y, 77)
        returned = primitives[name].forward(numpy, *arrays, **attributes, out=out)
        returned = returned[0] if primitives[name].has_residuals else returned
        assert numpy.shares_memory(returned, out) or out.size == 0, (name, attributes)
        assert_near(out, y, 4, f"{name} {attributes}")
        for a, b in zip(arrays, before, strict=True):
            assert not hasattr(a, "dtype") or numpy.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_expression_is_what_forward_computes(calls, name):
    p = primitives[name]
    assert p.expression, f"{name} has no expression"
    names = {**vars(special), **vars(numpy)}
    parameters = [q for q in inspect.signature(p.forward).parameters if q not in ("xp", "out")]
    for arrays, attributes in calls[name]:
        if not all(numpy.all(numpy.isfinite(a)) and numpy.all(numpy.abs(a) < 100) for a in arrays):
            continue
        y = p.forward(numpy, *arrays, **attributes)
        with numpy.errstate(all="ignore"):
            expected = eval(p.expression, names, {**dict(zip(parameters, arrays, strict=False)), **attributes})
        expected = numpy.broadcast_to(expected, numpy.shape(y))
        assert_near(numpy.asarray(y), expected, 64, f"{name}: {p.expression} {attributes}")


# Would a wrong rule be seen?


def not_zero(d):
    return bool(numpy.any(d.data if isinstance(d, tg.Tensor) else d))


def rules_used(monkeypatch, check):
    """Which (primitive, argument) rules a check runs with a nonzero result, and where broadcasting is undone."""
    used, undone = set(), set()

    def note(name, i, d):
        if d is not None and not_zero(d):
            used.add((name, i))
        return d

    def fit(d, shape, node, i):
        fitting = original(d, shape, node, i)
        if node.primitive.kind == "elementwise" and not_zero(fitting):
            undone.add((node.primitive.name, i))
        return fitting

    original = engine._fit
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_fit", fit)
        for name, p in primitives.items():
            spoil(patch, p, lambda i, d, name=name: note(name, i, d))
        with contextlib.suppress(Exception):  # an operation that is wrong fails in tests/test_ops.py
            check()
    return used, undone


def spoil(patch, p, change):
    """Puts `change(argument number, gradient)` behind the rules of a primitive."""
    if p.vjps is None:
        joint = p.joint
        patch.setattr(p, "joint", lambda *a, **k: [change(i, d) for i, d in enumerate(joint(*a, **k))])
    else:
        patch.setattr(p, "vjps", tuple(_changed(vjp, i, change) for i, vjp in enumerate(p.vjps)))


def _changed(vjp, i, change):
    if vjp is no_gradient:
        return vjp
    return lambda *a, **k: change(i, vjp(*a, **k))


def checker(row, number):
    arrays = row.arrays(number)
    return lambda: tg.gradcheck(lambda *xs: row.call(number, xs), tensors(arrays), order=row.sample_order(number))


def fails(check):
    try:
        check()
    except tg.GradcheckError:
        return True
    return False


@pytest.fixture(scope="module")
def coverage():
    """For each row the samples, cheapest first, with the rules and undoings of broadcasting they run."""
    patch = pytest.MonkeyPatch()
    found = {}
    for row in TABLE.values():
        cheap = sorted(numbers(row, order=1), key=lambda n: row.samples[n].cost)
        found[row.name] = [(number, *rules_used(patch, checker(row, number))) for number in cheap]
    return found


def test_every_rule_is_used_by_some_row(coverage):
    used = set().union(*(rules for samples in coverage.values() for _, rules, _ in samples))
    missing = [
        (name, i)
        for name, p in primitives.items()
        for i, vjp in enumerate(p.vjps or ())
        if vjp is not no_gradient and (name, i) not in used | ALWAYS_ZERO | THIRD_ORDER and name not in ELSEWHERE
    ]
    missing += [
        name for name, p in primitives.items() if p.vjps is None and name not in {used_name for used_name, _ in used}
    ]
    assert missing == []


ALWAYS_ZERO = {("heaviside", 0), ("_max_unpool", 1), ("_max_pick", 1)} | {
    (name, 0) for name in ("sign", "floor", "ceil", "round")
}
THIRD_ORDER = {("_max_pick", 0)}  # tests/test_op_values.py checks it by itself
LEADS_NOWHERE = {("absolute", "multiply", 1)}  # through sign, whose gradient is 0


@pytest.mark.parametrize("row", DIFFERENTIABLE)
def test_a_rule_wrong_by_one_percent_is_found(row, coverage, monkeypatch):
    rules = set().union(*(used for _, used, _ in coverage[row.name]))
    assert rules or (row.name, 0) in ALWAYS_ZERO
    for name, i in sorted(rules):
        if (row.name, name, i) in LEADS_NOWHERE:
            continue
        with monkeypatch.context() as patch:
            spoil(patch, primitives[name], lambda j, d, i=i: 1.01 * d if j == i and d is not None else d)
            assert any(fails(checker(row, number)) for number, used, _ in coverage[row.name] if (name, i) in used), (
                f"{row.name}: nobody sees that the gradient of {name} for argument {i} is wrong by 1 %"
            )


def elementwise_arguments(row):
    """The arguments for which the row's own primitive, an element-wise one of several arguments, has a gradient."""
    p = primitives.get(row.function.__name__)
    if p is None or p is not row.function or p.kind != "elementwise" or p.vjps is None or len(p.vjps) < 2:
        return set()
    return {(p.name, i) for i, vjp in enumerate(p.vjps) if vjp is not no_gradient and (p.name, i) not in ALWAYS_ZERO}


@pytest.mark.parametrize("row", DIFFERENTIABLE)
def test_a_broadcast_that_is_not_undone_is_found(row, coverage, monkeypatch):
    undone = set().union(*(places for _, _, places in coverage[row.name]))
    assert elementwise_arguments(row) <= undone, (
        f"{row.name}: no sample broadcasts {elementwise_arguments(row) - undone}"
    )
    original = engine._fit

    def first_slice(d, shape):
        """Of the right shape, but without the sum."""
        lead = d.ndim - len(shape)
        return d[(0,) * lead + tuple(slice(0, n) for n in shape)]

    for place in sorted(undone):
        with monkeypatch.context() as patch:
            patch.setattr(
                engine,
                "_fit",
                lambda d, shape, node, i, place=place: (
                    first_slice(d, shape) if (node.primitive.name, i) == place else original(d, shape, node, i)
                ),
            )
            assert any(fails(checker(row, number)) for number, _, places in coverage[row.name] if place in places), (
                f"{row.name}: nobody sees that the gradient of {place[0]} for argument {place[1]} is not summed"
            )


@pytest.mark.parametrize("name", ["matmul", "scaled_dot_product_attention"])
def test_a_product_that_does_not_undo_its_broadcast_is_found(name, monkeypatch):
    def first_matrices(g, shape):
        if g.shape == shape:
            return g
        return g[(0,) * (g.ndim - len(shape)) + tuple(slice(0, n) for n in shape)]

    monkeypatch.setattr(linalg, "unbroadcast", first_matrices)
    monkeypatch.setattr(attention, "unbroadcast", first_matrices)
    row = TABLE[name]
    assert sum(fails(checker(row, number)) for number in numbers(row, order=1)) >= 3, title(row, 0)


def test_every_row_is_checked():
    assert len(ROWS) == len(TABLE) >= len(tg.ops.__all__)
