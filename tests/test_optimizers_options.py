"""Options of all optimizers: clipping, accumulation, averages, groups and exclusions, against PyTorch in float64, eagerly,
under jit and in `fit`; against recorded trainings of Keras; state, missing gradients, devices, errors."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy
import json
from pathlib import Path

import numpy as np
import optimizer_options
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models, optimizers
from tinygrad_edu.errors import GradientError
from tinygrad_edu.optimizers import SGD, Adam, AdamW, RMSprop

STEPS, ROWS = 50, 4
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(STEPS * ROWS, 3)), RANDOM.normal(size=(STEPS * ROWS, 1)) * 3.0
START = {
    "hidden.kernel": RANDOM.normal(size=(3, 4)),
    "hidden.bias": RANDOM.normal(size=4),
    "out.kernel": RANDOM.normal(size=(4, 1)),
    "out.bias": RANDOM.normal(size=1),
}

RULES = {
    "sgd": (lambda **o: SGD(0.05, weight_decay=0.1, **o), lambda t, p: t.optim.SGD(p, lr=0.05, weight_decay=0.1)),
    "momentum": (lambda **o: SGD(0.02, 0.9, True, **o), lambda t, p: t.optim.SGD(p, 0.02, 0.9, nesterov=True)),
    "rmsprop": (
        lambda **o: RMSprop(0.01, 0.8, epsilon=1e-20, **o),
        lambda t, p: t.optim.RMSprop(p, lr=0.01, alpha=0.8, eps=0.0),
    ),
    "adam": (lambda **o: Adam(0.05, 0.8, 0.95, 1e-14, **o), lambda t, p: t.optim.Adam(p, 0.05, (0.8, 0.95), eps=1e-14)),
    "adamw": (
        lambda **o: AdamW(0.05, 0.3, epsilon=1e-14, **o),
        lambda t, p: t.optim.AdamW(p, lr=0.05, weight_decay=0.3, eps=1e-14),
    ),
}


def each(torch, parameters):
    for p in parameters:
        torch.nn.utils.clip_grad_norm_([p], 1.5)


def each_exactly(torch, parameters):
    for p in parameters:
        p.grad *= 1.5 / max(p.grad.norm(), torch.tensor(1.5, dtype=torch.float64))


def all_exactly(torch, parameters):
    norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
    for p in parameters:
        p.grad *= torch.clamp(2.0 / norm, max=1.0)


# name: options of ours; what PyTorch needs for it: clip, every, average; tolerance
OPTIONS = {
    "none": ({}, {}, 1e-10),
    "clipnorm": ({"clipnorm": 1.5}, {"clip": each}, 2e-5),
    "clipnorm by its formula": ({"clipnorm": 1.5}, {"clip": each_exactly}, 1e-10),
    "global_clipnorm": (
        {"global_clipnorm": 2.0},
        {"clip": lambda torch, p: torch.nn.utils.clip_grad_norm_(p, 2.0)},
        2e-5,
    ),
    "global_clipnorm by its formula": ({"global_clipnorm": 2.0}, {"clip": all_exactly}, 1e-10),
    "clipvalue": ({"clipvalue": 0.4}, {"clip": lambda torch, p: torch.nn.utils.clip_grad_value_(p, 0.4)}, 1e-10),
    "accumulation": ({"gradient_accumulation_steps": 3}, {"every": 3}, 1e-10),
    "averages": ({"use_ema": True, "ema_momentum": 0.8}, {"average": 0.8}, 1e-10),
    "averages that overwrite": (
        {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4},
        {"average": 0.8, "overwrite": 4},
        1e-10,
    ),
    "accumulation, clipnorm": (
        {"gradient_accumulation_steps": 2, "clipnorm": 1.5},
        {"every": 2, "clip": each_exactly},
        1e-10,
    ),
    "everything": (
        {"gradient_accumulation_steps": 2, "global_clipnorm": 2.0, "use_ema": True, "ema_overwrite_frequency": 3},
        {"every": 2, "clip": all_exactly, "average": 0.99, "overwrite": 3},
        1e-10,
    ),
}


def weights(device="cpu", dtype="float64"):
    return {name: tg.tensor(w, dtype=dtype, device=device, requires_grad=True) for name, w in START.items()}


def loss_of(named, x, y, tanh):
    k, b, v, c = named.values()
    return (((tanh(x @ k + b) @ v + c) - y) ** 2).mean()


def flat(named):
    return np.concatenate([w.detach().to("cpu").numpy().reshape(-1) for w in named.values()])


def batches(device="cpu", dtype="float64", rows=ROWS):
    for i in range(0, len(X), rows):
        yield tuple(tg.tensor(a[i : i + rows], dtype=dtype, device=device) for a in (X, Y))


def train(optimizer, named, jit=False, device="cpu", dtype="float64", steps=STEPS, rows=ROWS):
    """The parameters after each of the steps."""

    def step(x, y):
        optimizer.minimize(loss_of(named, x, y, tg.tanh))

    step, found = tg.jit(step) if jit else step, []
    for _, batch in zip(range(steps), batches(device, dtype, rows), strict=False):
        step(*batch)
        found.append(flat(named))
    return np.array(found)


def train_torch(torch, make, clip=None, every=1, average=None, overwrite=None, groups=None):
    """The same with PyTorch: parameters after each step, and averages in the end."""
    named = {name: torch.tensor(w, requires_grad=True) for name, w in START.items()}
    parameters = list(named.values())
    optimizer, found, updates = make(torch, parameters if groups is None else groups(named)), [], 0
    holder = torch.nn.ParameterList(parameters)
    mean = average and torch.optim.swa_utils.AveragedModel(
        holder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(average)
    )
    for i in range(STEPS):
        x, y = (torch.tensor(a[i * ROWS : (i + 1) * ROWS]) for a in (X, Y))
        (loss_of(named, x, y, torch.tanh) / every).backward()
        if (i + 1) % every == 0:
            if clip:
                clip(torch, parameters)
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
            if average:
                mean.update_parameters(holder)
            if overwrite and updates % overwrite == 0:
                with torch.no_grad():
                    for p, a in zip(parameters, mean.module, strict=True):
                        p.copy_(a)
        found.append(flat(named))
    return np.array(found), np.concatenate([p.detach().numpy().reshape(-1) for p in mean.module]) if average else None


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("option", OPTIONS)
def test_as_torch(option, rule, jit):
    torch = pytest.importorskip("torch")
    ours, theirs, tolerance = OPTIONS[option]
    optimizer, named = RULES[rule][0](**ours), weights()
    found = train(optimizer.build(named), named, jit)
    expected, averages = train_torch(torch, RULES[rule][1], **theirs)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert optimizer.iterations == STEPS // theirs.get("every", 1)
    if averages is not None:
        optimizer.swap_ema()
        np.testing.assert_allclose(flat(named), averages, rtol=tolerance, atol=tolerance)
        optimizer.swap_ema()
        np.testing.assert_array_equal(flat(named), found[-1])


def model_of(named, optimizer, jit="auto"):
    """A Sequential in float64 that computes the same, compiled; it starts with the values of `named`."""
    with tg.use_dtype("float64"):
        hidden = layers.Dense(4, activation="tanh", name="hidden", input_shape=(3,))
        model = models.Sequential([hidden, layers.Dense(1, name="out")])
        model.set_weights([w.detach().numpy() for w in named.values()])
        model.compile(optimizer, "mse", jit=jit)
    return model


def fit(model, rows=ROWS, steps=STEPS, **more):
    count = steps * ROWS
    model.fit(X[:count], Y[:count], batch_size=rows, shuffle=False, verbose=0, **more)
    return np.concatenate([w.reshape(-1) for w in model.get_weights()])


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("option", ["clipnorm by its formula", "clipvalue", "accumulation", "averages", "everything"])
def test_fit_as_torch(option, rule, jit):
    torch = pytest.importorskip("torch")
    ours, theirs, tolerance = OPTIONS[option]
    found = fit(model_of(weights(), RULES[rule][0](**ours), jit))
    expected, averages = train_torch(torch, RULES[rule][1], **theirs)
    expected = expected[-1] if averages is None else averages
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


KERAS = json.loads((Path(__file__).parent / "golden" / "optimizer_options.json").read_text())


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("case", optimizer_options.CASES)
def test_fit_as_keras(case, jit):
    for found, expected in zip(optimizer_options.train(tg, case, jit=jit), KERAS[case], strict=True):
        for w, known in zip(found, expected, strict=True):
            np.testing.assert_allclose(w, known, rtol=2e-5, atol=5e-6)


# Accumulation


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("rule", RULES)
def test_accumulated_steps_are_one_with_all_their_rows(rule, jit):
    steps, many, one = 48, weights(), weights()
    options = {"global_clipnorm": 2.0, "use_ema": True, "ema_overwrite_frequency": 5}
    found = train(RULES[rule][0](gradient_accumulation_steps=4, **options).build(many.values()), many, jit, steps=steps)
    expected = train(RULES[rule][0](**options).build(one.values()), one, jit, steps=steps // 4, rows=4 * ROWS)
    np.testing.assert_allclose(found[3::4], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found[4:7], np.array([found[3]] * 3))
    gathered = fit(model_of(weights(), RULES[rule][0](gradient_accumulation_steps=4), jit), steps=steps)
    at_once = fit(model_of(weights(), RULES[rule][0](), jit), 4 * ROWS, steps)
    np.testing.assert_allclose(gathered, at_once, rtol=1e-10, atol=1e-12)


def test_iterations_count_updates_and_the_sum_starts_anew():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = SGD(0.5, gradient_accumulation_steps=3).build([w])
    seen = []
    for factor in (1.0, 2.0, 6.0, 3.0, 3.0, 3.0, 9.0):
        optimizer.minimize((w * factor).sum())
        sums = optimizer.state_dict()
        seen.append((optimizer.iterations, w.tolist()[0], sums["0.gradient_sum"][0], int(sums["accumulated"])))
    assert seen == [
        (0, 1.0, 1.0, 1), (0, 1.0, 3.0, 2), (1, -0.5, 0.0, 0), (1, -0.5, 3.0, 1), (1, -0.5, 6.0, 2), (2, -2.0, 0.0, 0),
        (2, -2.0, 9.0, 1),
    ]  # fmt: skip


def test_accumulation_makes_two_recordings():
    named = weights()
    optimizer = Adam(0.05, gradient_accumulation_steps=5).build(named)
    step = tg.jit(lambda x, y: optimizer.minimize(loss_of(named, x, y, tg.tanh)))
    for _, batch in zip(range(20), batches(), strict=False):
        step(*batch)
    assert (len(step.plans), optimizer.iterations) == (2, 4)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_two_steps_in_one_recording_go_on_counting(jit):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = SGD(0.5, gradient_accumulation_steps=3).build([w])

    def two(a, b):
        optimizer.minimize((w * a).sum())
        optimizer.minimize((w * b).sum())

    two = tg.jit(two) if jit else two
    for factors in ((1.0, 2.0), (6.0, 3.0), (3.0, 3.0), (0.0, 3.0)):
        two(*map(tg.tensor, factors))
    assert (w.tolist(), optimizer.iterations) == ([-2.0, -1.0], 2)
    assert optimizer.state_dict()["0.gradient_sum"].tolist() == [3.0, 3.0]


# State

ALL = {"gradient_accumulation_steps": 3, "clipnorm": 1.5, "use_ema": True, "ema_overwrite_frequency": 2}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("rule", RULES)
def test_state_goes_on_between_two_updates(rule, jit):
    named, again = weights(), weights()
    optimizer, other = (RULES[rule][0](**ALL).build(p) for p in (named, again))
    train(optimizer, named, jit, steps=8)
    saved = optimizer.state_dict()
    assert {"accumulated", "0.gradient_sum", "3.ema"} <= saved.keys()
    assert (int(saved["accumulated"]), int(saved["iterations"])) == (2, 2)
    for name, w in again.items():
        w.assign_(named[name].detach())
    other.load_state_dict(saved)
    np.testing.assert_array_equal(train(other, again, jit, steps=9), train(optimizer, named, jit, steps=9))


def test_a_copy_goes_its_own_way():
    named = weights()
    optimizer = Adam(0.05, **ALL)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(
        [{"params": {"hidden.kernel": named["hidden.kernel"]}, "rate": 0.1}, {"params": dict([*named.items()][1:])}]
    )
    train(optimizer, named, steps=7)
    other, twins = copy.deepcopy((optimizer, named))
    before = flat(named)
    found = train(other, twins, steps=8)
    np.testing.assert_array_equal(flat(named), before)
    np.testing.assert_array_equal(train(optimizer, named, steps=8), found)


def test_state_moves_with_the_parameters():
    named, still = weights(), weights()
    optimizer, other = (Adam(0.05, **ALL).build(p) for p in (named, still))
    for o, p in ((optimizer, named), (other, still)):
        train(o, p, steps=5)
    optimizer.to("cpu")
    np.testing.assert_array_equal(train(optimizer, named, steps=5), train(other, still, steps=5))


def test_what_was_recorded_is_not_used_after_release():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = SGD(0.1, momentum=0.9).build([w])
    step = tg.jit(lambda: optimizer.minimize((w * w).sum()))
    step()
    optimizer.release()
    optimizer.build([{"params": [w], "rate": 0.0}])
    before = w.tolist()
    step()
    assert (w.tolist(), optimizer.iterations) == (before, 1)


# Missing gradients


def three():
    return [tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(3)]


def test_the_norm_is_that_of_the_gradients_that_are_there():
    a, b, c = three()
    optimizer = SGD(1.0, global_clipnorm=1.0).build([a, b, c])
    optimizer.minimize((a * tg.tensor([3.0, 0.0])).sum() + (c * tg.tensor([0.0, 4.0])).sum())
    np.testing.assert_allclose([w.tolist() for w in (a, b, c)], [[0.4, 2.0], [1.0, 2.0], [1.0, 1.2]], rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_accumulation_loses_no_gradient(jit):
    a, b, c = three()
    optimizer = SGD(1.0, gradient_accumulation_steps=2).build([a, b, c])
    one, other = (lambda: optimizer.minimize(a.sum() * 2.0)), (lambda: optimizer.minimize(b.sum() * 4.0))
    one, other = (tg.jit(one), tg.jit(other)) if jit else (one, other)
    for _ in range(2):
        one()
        other()
    assert [w.tolist() for w in (a, b, c)] == [[-1.0, 0.0], [-3.0, -2.0], [1.0, 2.0]]


def test_averages_follow_parameters_without_a_gradient():
    a, b, _ = three()
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5).build([a, b])
    optimizer.minimize(a.sum() + b.sum())
    optimizer.minimize(a.sum() + b.sum())
    optimizer.minimize(b.sum())
    optimizer.swap_ema()
    assert [w.tolist() for w in (a, b)] == [[-0.75, 0.25], [-1.25, -0.25]]


# Averages


def test_fit_ends_with_the_averages_and_swapping_goes_there_and_back():
    optimizer = SGD(0.05, use_ema=True, ema_momentum=0.8)
    model = model_of(weights(), optimizer)
    seen = []

    class Watch(tg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            before = flat_of(model)
            optimizer.swap_ema()
            seen.append(flat_of(model))
            optimizer.swap_ema()
            np.testing.assert_array_equal(flat_of(model), before)

    found = fit(model, callbacks=[Watch()], epochs=2)
    np.testing.assert_array_equal(found, seen[-1])
    other = model_of(weights(), SGD(0.05, use_ema=True, ema_momentum=0.8))
    np.testing.assert_array_equal(fit(other, epochs=2), found)


def flat_of(model):
    return np.concatenate([w.reshape(-1) for w in model.get_weights()])


def test_finalize_may_be_for_some():
    a, b, _ = three()
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5).build([a, b])
    for _ in range(2):
        optimizer.minimize(a.sum() + b.sum())
    optimizer.finalize_variable_values([a])
    assert [w.tolist() for w in (a, b)] == [[-0.5, 0.5], [-1.0, 0.0]]
    plain = SGD(1.0).build(three())
    plain.finalize_variable_values()
    assert plain.parameters[0].tolist() == [1.0, 2.0]


# Groups and exclusions


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("rule", RULES)
def test_groups_as_torch(rule, jit):
    torch = pytest.importorskip("torch")
    decays = rule in ("sgd", "adamw")

    def theirs(t, groups):
        optimizer = RULES[rule][1](t, groups)
        optimizer.param_groups[0]["lr"] *= 0.1
        if decays:
            optimizer.param_groups[1]["weight_decay"] = 0.7
        return optimizer

    def groups(named):
        _, second, third, fourth = named.values()
        return [{"params": [second, fourth]}, {"params": [third]}, {"params": [named["hidden.kernel"]]}]

    named = weights()
    ours = groups(named)
    ours[0]["rate"] = 0.1
    ours[1] |= {"weight_decay": 0.7} if decays else {}
    found = train(RULES[rule][0]().build(ours), named, jit)
    expected, _ = train_torch(torch, theirs, groups=groups)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("how", ["names", "tensors", "both", "fit"])
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_exclusions_as_torch(rule, how, jit):
    torch = pytest.importorskip("torch")

    def groups(named):
        excluded = [named["hidden.bias"], named["out.bias"]]
        return [{"params": excluded, "weight_decay": 0.0}, {"params": [named["hidden.kernel"], named["out.kernel"]]}]

    named, optimizer = weights(), RULES[rule][0]()
    biases = [named["hidden.bias"], named["out.bias"]]
    excluded = {"names": {"var_names": ["bias"]}, "tensors": {"var_list": biases}, "fit": {"var_names": ["bias"]}}
    excluded["both"] = {"var_list": biases[:1], "var_names": ["out.b", "gamma"]}
    optimizer.exclude_from_weight_decay(var_names=["kernel"])  # which the next call replaces
    optimizer.exclude_from_weight_decay(**excluded[how])
    expected, _ = train_torch(torch, RULES[rule][1], groups=groups)
    if how == "fit":
        found = fit(model_of(named, optimizer, jit))
    else:
        found = train(optimizer.build(named), named, jit)[-1]
    np.testing.assert_allclose(found, expected[-1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_a_model_is_trained_by_the_groups_given_before(jit):
    named, optimizer = weights(), AdamW(0.05, 0.3)
    model = model_of(named, optimizer, jit)
    base, head = model.layers
    optimizer.build([{"params": head.trainable_weights}, {"params": base.trainable_weights, "rate": 0.1}])
    found = fit(model, steps=20)
    by_hand = AdamW(0.05, 0.3).build([
        {"params": [named["hidden.kernel"], named["hidden.bias"]], "rate": 0.1},
        {"params": [named["out.bias"], named["out.kernel"]]},
    ])  # fmt: skip
    expected = train(by_hand, named, jit, steps=20)[-1]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    optimizer.learning_rate = by_hand.learning_rate = 0.01  # the factor is on whatever the rate is
    np.testing.assert_allclose(fit(model, steps=5), train(by_hand, named, jit, steps=5)[-1], rtol=1e-10, atol=1e-12)


def test_building_again_in_another_order_changes_nothing():
    named = weights()
    optimizer = Adam().build(named)
    train(optimizer, named, steps=1)
    assert optimizer.build(list(named.values())[::-1]) is optimizer
    assert (optimizer.iterations, optimizer.parameters) == (1, list(named.values()))


# Functions on gradients


def gradients():
    return [tg.tensor([3.0, -4.0], dtype="float64"), None, tg.tensor([[0.3], [-0.4]], dtype="float64")]


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_clipping_by_hand(jit):
    def clipped(a, b, norm):
        gradients = [a, None, b]
        found, total = optimizers.clip_by_global_norm(gradients, norm)
        parts = optimizers.clip_by_norm(gradients, norm), optimizers.clip_by_value(gradients, norm), found
        assert all(part[1] is None for part in parts)
        return [part[i] for part in parts for i in (0, 2)], total

    a, _, b = gradients()
    run = tg.jit(clipped) if jit else clipped
    for norm in (1.0, 2.0, 100.0):
        found, total = run(a, b, norm)
        x, y = a.numpy(), b.numpy()
        whole = np.sqrt(25.25)
        expected = [x * min(1, norm / 5), y * min(1, norm / 0.5), x.clip(-norm, norm), y.clip(-norm, norm)]
        expected += [x * min(1, norm / whole), y * min(1, norm / whole)]
        for ours, known in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), known, rtol=1e-12)
        np.testing.assert_allclose(total.item(), whole, rtol=1e-12)


def test_clipping_keeps_dtypes_and_zeros():
    given = [tg.tensor([300.0, 400.0], dtype="float16"), tg.zeros((2,)), tg.ones((1,), dtype="float64")]
    (half, zero, double), norm = optimizers.clip_by_global_norm(given, 5.0)
    assert [g.dtype for g in (half, zero, double)] == ["float16", "float32", "float64"]
    np.testing.assert_allclose(half.numpy(), [3.0, 4.0], rtol=1e-3)  # whose squares float16 cannot hold
    np.testing.assert_allclose([norm.item(), double.item()], [np.sqrt(250001.0), 5 / np.sqrt(250001.0)], rtol=1e-6)
    assert zero.tolist() == [0.0, 0.0]
    assert optimizers.clip_by_norm(given, 1.0)[1].tolist() == [0.0, 0.0]


def test_clipping_of_float16_by_a_small_factor():
    gradient = tg.tensor(np.full(1000, 3e4), dtype="float16")
    for clipped in (*optimizers.clip_by_norm([gradient], 0.01), *optimizers.clip_by_global_norm([gradient], 0.01)[0]):
        assert clipped.dtype == "float16"
        np.testing.assert_allclose(clipped.numpy(), 0.01 / 1000**0.5, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_does_not_pass_for_a_small_gradient(wrong):
    found, _ = optimizers.clip_by_global_norm([tg.tensor([wrong, 1.0]), tg.ones((2,))], 1.0)
    assert all(np.isnan(g.numpy()).all() for g in found)


def test_what_is_clipped_has_gradients():
    w = tg.tensor([3.0, 4.0], dtype="float64", requires_grad=True)
    assert tg.gradcheck(lambda w: optimizers.clip_by_global_norm([w], 1.0)[0][0], [w])


# Devices, dtypes


@pytest.mark.parametrize("option", OPTIONS)
def test_float32_stays_and_follows(option):
    named, double = weights(dtype="float32"), weights()
    found = train(Adam(0.01, **OPTIONS[option][0]).build(named), named, jit=True, dtype="float32")
    expected = train(Adam(0.01, **OPTIONS[option][0]).build(double), double)
    assert all(w.dtype == "float32" for w in named.values())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("option", OPTIONS)
def test_the_same_on_cuda(option):
    ours, named, there = OPTIONS[option][0], weights(), weights("cuda")
    expected = train(AdamW(0.05, **ours).build(named), named, steps=7)
    found = train(AdamW(0.05, **ours).build(there), there, steps=7, device="cuda")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.gpu
def test_groups_and_averages_on_cuda():
    named, there = weights(), weights("cuda")
    optimizers = []
    for w in (named, there):
        *rest, last = w.values()
        optimizers.append(SGD(0.05, 0.9, use_ema=True).build([{"params": rest, "rate": 0.5}, {"params": [last]}]))
    train(optimizers[0], named, steps=4)
    train(optimizers[1], there, steps=4, device="cuda")
    for optimizer in optimizers:
        optimizer.swap_ema()
    np.testing.assert_allclose(flat(there), flat(named), rtol=1e-9, atol=1e-12)


# Errors


def weight():
    return tg.tensor([1.0, 2.0], requires_grad=True)


def nameless():
    optimizer = AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([weight()])


def excluded_late():
    SGD().build([weight()]).exclude_from_weight_decay(var_names=["bias"])


def other_groups():
    w = weight()
    SGD().build([{"params": [w], "rate": 0.5}]).build([{"params": [w], "rate": 0.1}])


def loaded(accumulated):
    optimizer = SGD(gradient_accumulation_steps=3).build([weight()])
    optimizer.load_state_dict(optimizer.state_dict() | {"accumulated": np.array(accumulated)})


def loaded_without():
    optimizer = SGD(use_ema=True).build([weight()])
    optimizer.load_state_dict(SGD().build([weight()]).state_dict())


def option_set():
    SGD(clipnorm=1.0).clipnorm = 2.0


NAMES = "clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, gradient_accumulation_steps, name"


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: Adam(clip_norm=1.0), TypeError, f"Adam: expected no options but its own arguments and {NAMES}, received 'clip_norm'."),
    (lambda: AdamW(lr=1, loss_scale_factor=2.0), TypeError, f"AdamW: expected no options but its own arguments and {NAMES}, received 'loss_scale_factor', 'lr'."),
    (lambda: SGD(clipnorm=1.0, clipvalue=1.0), ValueError, "SGD: expected one of clipnorm, clipvalue, global_clipnorm, received clipnorm and clipvalue."),
    (lambda: SGD(clipnorm=0.0), ValueError, "SGD: expected clipnorm to be a number above 0, received 0.0."),
    (lambda: RMSprop(clipvalue=-1), ValueError, "RMSprop: expected clipvalue to be a number above 0, received -1."),
    (lambda: SGD(global_clipnorm="1"), TypeError, "SGD: expected global_clipnorm to be a number above 0, received '1'."),
    (lambda: SGD(clipnorm=float("nan")), ValueError, "SGD: expected clipnorm to be a number above 0, received nan."),
    (lambda: SGD(use_ema=1), TypeError, "SGD: expected use_ema to be True or False, received 1."),
    (lambda: SGD(use_ema=True, ema_momentum=1.5), ValueError, "SGD: expected ema_momentum to be a number in [0, 1], received 1.5."),
    (lambda: SGD(use_ema=True, ema_overwrite_frequency=0), ValueError, "SGD: expected ema_overwrite_frequency to be an integer of at least 1, received 0."),
    (lambda: SGD(ema_overwrite_frequency=2), ValueError, "SGD: expected use_ema=True with ema_overwrite_frequency, received use_ema=False."),
    (lambda: SGD(gradient_accumulation_steps=1), ValueError, "SGD: expected gradient_accumulation_steps to be an integer of at least 2, received 1."),
    (lambda: SGD(gradient_accumulation_steps=2.0), TypeError, "SGD: expected gradient_accumulation_steps to be an integer of at least 2, received 2.0."),
    (lambda: SGD(name="critic").step(), ValueError, "SGD 'critic': expected build(parameters) before step(), received no parameters. Hint: for example optimizer.build(model.trainable_weights)."),
    (option_set, AttributeError, "SGD: expected clipnorm to stay what the optimizer was made with, received 2.0. Hint: make a new optimizer."),
    (lambda: SGD(gradient_accumulation_steps=2).build([weight()]).step(), GradientError, "SGD step: expected gradients, received parameters without any."),
    (lambda: SGD().build([weight()]).swap_ema(), ValueError, "SGD swap_ema: expected averages of parameters: use_ema=True, build, received use_ema=False."),
    (lambda: SGD(use_ema=True).swap_ema(), ValueError, "SGD swap_ema: expected averages of parameters: use_ema=True, build, received no parameters."),
    (lambda: SGD().exclude_from_weight_decay(var_names="bias"), TypeError, "SGD exclude_from_weight_decay: expected var_names to be a list of texts, received 'bias'."),
    (lambda: SGD().exclude_from_weight_decay(["bias"]), TypeError, "SGD exclude_from_weight_decay: expected var_list to be tensors, received ['bias']."),
    (excluded_late, ValueError, "SGD exclude_from_weight_decay: expected a call before build, received one after it."),
    (nameless, ValueError, "AdamW: expected names, to exclude some from weight decay, received tensors alone. Hint: build(dict(model.named_parameters())), or exclude tensors: var_list."),
    (lambda: SGD().build([{"params": [weight()]}, weight()]), TypeError, "SGD: expected groups alone, or no group, received a Tensor among groups."),
    (lambda: SGD().build([{"params": [weight()], "lr": 0.1}]), ValueError, "SGD: expected a group to have params, and maybe rate and weight_decay, received 'params', 'lr'. Hint: rate is a factor on the learning rate."),
    (lambda: SGD().build([{"rate": 0.1}]), ValueError, "SGD: expected a group to have params, and maybe rate and weight_decay, received 'rate'."),
    (lambda: SGD().build([{"params": []}, {"params": [weight()]}]), ValueError, "SGD: expected at least one parameter in each group, received none. Hint: build the model first: call it once, or give it an input_shape."),
    (lambda: SGD().build([{"params": [weight()], "rate": -1}]), ValueError, "SGD group: expected rate to be a number of at least 0, received -1."),
    (lambda: SGD().build([{"params": [weight()], "weight_decay": "0"}]), TypeError, "SGD group: expected weight_decay to be a number of at least 0, received '0'."),
    (lambda: SGD().build({"w": tg.zeros((2,))}), TypeError, "SGD: expected leaf tensors that require grad, received float32[2]."),
    (other_groups, ValueError, "SGD: expected the groups it was built with, received others. Hint: release() it first."),
    (lambda: loaded(3), ValueError, "SGD load_state_dict: expected accumulated below 3, the steps of an update, received 3."),
    (lambda: loaded(-1), ValueError, "SGD load_state_dict: expected accumulated of finite numbers of at least 0, received -1."),
    (loaded_without, ValueError, "missing 0.ema"),
    (lambda: optimizers.clip_by_norm([], 0.0), ValueError, "clip_by_norm: expected norm to be a number above 0, received 0.0."),
    (lambda: optimizers.clip_by_value([], -1.0), ValueError, "clip_by_value: expected value to be a number above 0, received -1.0."),
    (lambda: optimizers.clip_by_global_norm([None], 1.0), ValueError, "global_norm: expected at least one gradient, received none."),
])  # fmt: skip
def test_bad_input(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
