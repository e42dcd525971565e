"""jit on CUDA: one graph for each step, what it needs besides, and what it leaves alone."""

import itertools

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.backend import default_generator, to_host
from tinygrad_edu.jit.on_cuda import OnCuda
from tinygrad_edu.optimizers import SGD, Adam

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def on_cuda():
    with tg.use_device("cuda"):
        tg.seed(0)
        yield


def t(values, dtype="float32", **options):
    return tg.tensor(numpy.asarray(values, dtype), **options)


def values_of(x):
    return to_host(x.data if isinstance(x, tg.Tensor) else x).copy()


def counted(function, *args):
    """What it returns, and what the host sent meanwhile."""
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts launches")
    with emugpu.count_launches() as counts:
        result = function(*args)
    return result, counts


def training(optimizer, drop=0.0, seed=None):
    """A network, and a function that makes a step of it."""
    model = models.Sequential(
        [layers.Input((20,)), layers.Dense(32, activation="relu"), layers.Dropout(drop, seed=seed), layers.Dense(4)]
    )
    optimizer.build(model.parameters())

    def step(x, y):
        loss = tg.cross_entropy(model(x), y).mean()
        optimizer.minimize(loss)
        return loss

    return model, step


def batches(count):
    random = numpy.random.default_rng(0)
    for _ in range(count):
        yield random.standard_normal((8, 20)).astype("float32"), random.integers(0, 4, 8)


def losses(make, jit, device="cuda", count=4):
    """The losses of some steps, and the weights after them."""
    with tg.use_device(device):
        tg.seed(0)
        model, step = make()
        step = tg.jit(step) if jit else step
        found = [float(step(tg.tensor(x), tg.tensor(y))) for x, y in batches(count)]
        return found, [values_of(w) for w in model.parameters()], step


def test_a_step_sends_its_batch_and_starts_a_graph():
    _, step = training(Adam(0.01))
    jitted, found = tg.jit(step), []
    for x, y in batches(4):
        found.append(counted(jitted, t(x), t(y, "int64")))
    for _, counts in found[1:]:
        assert not counts.device_to_host
        assert not counts.host_to_device
        assert len(counts.graph_launches) == 1
        # two arguments, the learning rate with the place of random numbers, the graph, the loss
        assert len(counts) == 5
    assert len(found[-1][1].replayed) == 12
    assert [float(loss) for loss, _ in found] == pytest.approx(losses(lambda: training(Adam(0.01)), False, "cpu")[0])


@pytest.mark.parametrize("seed", [None, 7])
def test_draws_are_those_of_eager_mode(seed):
    def make():
        return training(SGD(0.1), drop=0.5, seed=seed)

    (on_cpu, weights, _), (found, others, step) = losses(make, False, "cpu"), losses(make, True)
    assert found == pytest.approx(on_cpu, rel=1e-5)
    for a, b in zip(others, weights, strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert step.plans[0].replay.graph is not None
    states = []
    for jit in (False, True):
        losses(make, jit)
        states.append(default_generator.state)
    assert states[0] == states[1]


def test_a_new_seed_between_two_replays():
    draw = tg.jit(lambda x: x + tg.normal((5,)))
    first = [values_of(draw(t(numpy.zeros(5)))) for _ in range(3)]
    tg.seed(0)
    again = [values_of(draw(t(numpy.zeros(5)))) for _ in range(3)]
    numpy.testing.assert_array_equal(first, again)
    assert len({a.tobytes() for a in first}) == 3
    tg.seed(1)
    assert values_of(draw(t(numpy.zeros(5)))).tobytes() not in {a.tobytes() for a in first}


def test_what_checkpoint_computes_again_draws_the_same():
    x = t(numpy.ones(6))

    def step(x):
        x = tg.Tensor(x.data, requires_grad=True)
        y = tg.checkpoint(lambda x: tg.dropout(x, 0.5), x)
        (y * y).sum().backward()
        return y, x.grad

    jitted = tg.jit(step)
    for _ in range(3):
        y, gradient = map(values_of, jitted(x))
        numpy.testing.assert_array_equal(gradient, 2 * y * y)  # 2 y dy/dx, and y is x times its slope


def test_values_are_checked_in_the_first_call_and_after_recheck():
    _, step = training(SGD(0.1))
    jitted = tg.jit(step)
    x, y = next(batches(1))
    bad = numpy.where(y == y[0], 4, y)
    jitted(t(x), t(y, "int64"))
    for _ in range(2):
        jitted(t(x), t(bad, "int64"))  # a look at the values would wait for the device
    jitted.recheck()
    with pytest.raises(IndexError, match="received 4"):
        jitted(t(x), t(bad, "int64"))
    with pytest.raises(IndexError, match="received 4"):  # as long as none was good
        jitted(t(x), t(bad, "int64"))
    jitted(t(x), t(y, "int64"))
    jitted(t(x), t(bad, "int64"))


def test_a_bad_value_in_the_first_call_changes_nothing():
    model, step = training(Adam(0.1))
    before = [values_of(w) for w in model.parameters()]
    x, y = next(batches(1))
    jitted = tg.jit(step)
    with pytest.raises(IndexError):
        jitted(t(x), t(y + 4, "int64"))
    for w, old in zip(model.parameters(), before, strict=True):
        numpy.testing.assert_array_equal(values_of(w), old)


def test_fit_and_its_like_check_their_first_batch():
    model = models.Sequential(
        [layers.Input((3,), dtype="int64"), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(4)]
    )
    model.compile("adam", "mse", jit=True)
    x, y = numpy.arange(24).reshape(8, 3) % 5, numpy.zeros((8, 4), "float32")
    for _ in range(2):
        model.fit(x, y, epochs=3, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict_on_batch(x)
    before = [values_of(w) for w in model.parameters()]
    for call in (model.fit, model.evaluate, lambda x, y, verbose: model.predict_on_batch(x)):
        with pytest.raises(IndexError, match="received 5"):
            call(x + 1, y, verbose=0)
    for w, old in zip(model.parameters(), before, strict=True):
        numpy.testing.assert_array_equal(values_of(w), old)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::2],
        lambda a: a[:, ::-1],
        lambda a: a[:0],
        lambda a: a[1, 2],
        lambda a: numpy.broadcast_to(a[:1], (3, 6)),
    ],
)
def test_arguments_of_any_layout(change):
    import cupy

    jitted = tg.jit(lambda x: (x * 2.0 + 1.0, x))
    for number in range(4):
        host = numpy.random.default_rng(number).standard_normal((4, 6)).astype("float32")
        device = cupy.asarray(host)
        part = cupy.broadcast_to(device[:1], (3, 6)) if change(host).strides[:1] == (0,) else change(device)
        y, same = jitted(tg.Tensor(part))
        numpy.testing.assert_array_equal(values_of(y), change(host) * numpy.float32(2) + 1)
        numpy.testing.assert_array_equal(values_of(same), change(host))
    assert len(jitted.plans) == 1


def test_results_are_copies():
    jitted = tg.jit(lambda x: (x + 1.0, (x + 1.0).T, tg.sort(x, axis=0)))
    made = [[*jitted(t([[i, 2 - i], [5, i]]))] for i in range(4)]
    for i, (y, turned, ordered) in enumerate(made):
        x = numpy.array([[i, 2 - i], [5, i]], "float32")
        numpy.testing.assert_array_equal(values_of(y), x + 1)
        numpy.testing.assert_array_equal(values_of(turned), x.T + 1)
        numpy.testing.assert_array_equal(values_of(ordered), numpy.sort(x, axis=0))


def test_what_cannot_be_recorded_goes_on_step_by_step(capsys):
    jitted = tg.jit(lambda x: tg.exp(tg.sort(x * 2.0)))
    for i in range(3):
        expected = numpy.exp(numpy.sort([6.0, 2.0 * i, 2.0]))
        numpy.testing.assert_allclose(values_of(jitted(t([3, i, 1]))), expected, rtol=1e-6)
    replay = jitted.plans[0].replay
    assert isinstance(replay, OnCuda)
    assert replay.graph is None
    assert "sort" in replay.why_not
    tg.jit.explain(jitted)
    assert f"step by step, for {replay.why_not}" in capsys.readouterr().out


def test_what_is_on_both_devices_is_replayed_operation_by_operation():
    constant = tg.tensor([1.0, 2.0], device="cpu")

    def made(x):
        return x * 2.0, constant, tg.normal((2,), device="cpu")

    jitted = tg.jit(made)
    tg.seed(1)
    expected = [values_of(made(t([i]))[2]) for i in range(3)]
    tg.seed(1)
    for i in range(3):
        doubled, same, drawn = jitted(t([i]))
        assert values_of(doubled) == [2 * i]
        assert str(same.device) == str(drawn.device) == "cpu"
        numpy.testing.assert_array_equal(values_of(drawn), expected[i])
    assert not isinstance(jitted.plans[0].replay, OnCuda)


def test_no_memory_for_a_graph_leaves_the_plan_as_it_is(monkeypatch):
    import cupy

    class Full:
        def malloc(self, size):
            raise cupy.cuda.memory.OutOfMemoryError(size, 0, 0)

    jitted = tg.jit(lambda x: tg.cumsum(x * 2.0, axis=0))  # of which CuPy makes a part
    monkeypatch.setattr(cupy.cuda, "MemoryPool", Full)
    for i in range(3):
        numpy.testing.assert_array_equal(values_of(jitted(t([i, 1]))), [2 * i, 2 * i + 2])
    replay = jitted.plans[0].replay
    assert replay.graph is None
    assert "Out of memory" in replay.why_not


def test_an_interrupt_while_a_graph_is_recorded(monkeypatch):
    state = t([1])

    def step(x):
        state.assign_(state + x)
        return tg.cumsum(state * 2.0, axis=0)

    jitted = tg.jit(step)
    jitted(t([1]))
    replay = jitted.plans[0].replay
    work = replay._objects["work"]

    def interrupted():
        work()
        raise KeyboardInterrupt

    monkeypatch.setitem(replay._objects, "work", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jitted(t([1]))
    monkeypatch.undo()
    assert values_of(state) == [2]
    assert [values_of(jitted(t([1]))).item() for _ in range(2)] == [6, 8]
    assert replay.graph is not None


def test_calls_in_several_streams_follow_each_other():
    import cupy

    jitted = tg.jit(lambda x: tg.exp(x) * 2.0)
    for i in range(4):
        with cupy.cuda.Stream(non_blocking=True):
            y = jitted(t([i]))
            numpy.testing.assert_allclose(values_of(y), [2 * numpy.exp(i)], rtol=1e-6)


def test_explain_tells_of_the_graph(capsys):
    jitted = tg.jit(lambda x: tg.exp(x) @ x)
    jitted(t(numpy.eye(3)))
    tg.jit.explain(jitted)
    assert "step by step, until the second call records a CUDA graph" in capsys.readouterr().out
    jitted(t(numpy.eye(3)))
    tg.jit.explain(jitted)
    assert "one CUDA graph" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="on the CPU"):
        tg.jit.profile(jitted, t(numpy.eye(3)))


def test_arguments_and_gradients_are_written():
    w = t([1, 2, 3], requires_grad=True)

    def step(x, total):
        (w * x).sum().backward()
        total.assign_(total + w.grad)
        return x * 1.0

    jitted, sums = tg.jit(step), [t([0, 0, 0]) for _ in range(2)]
    for i in range(4):  # to two arrays in turns; the gradient grows
        jitted(t([i, 1, 1]), sums[i % 2])
    numpy.testing.assert_array_equal(values_of(w.grad), [0 + 1 + 2 + 3, 4, 4])
    numpy.testing.assert_array_equal(values_of(sums[0]), [0 + 3, 4, 4])
    numpy.testing.assert_array_equal(values_of(sums[1]), [1 + 6, 6, 6])


def test_a_state_in_part_of_an_array():
    state = t([[1, 2], [3, 4]])

    def step(x):
        row = state[1]
        state.assign_(state * 2.0)
        return row + x  # which sees the new value, as a part of an array does

    jitted = tg.jit(step)
    assert [values_of(jitted(t([1, 1]))).tolist() for _ in range(4)] == [[7, 9], [13, 17], [25, 33], [49, 65]]


def test_numbers_that_change_from_call_to_call():
    scale = tg.jit(lambda x, a, b: (x * a + b, a * 2))
    for i in range(5):
        y, doubled = scale(t([1, 2]), float(i), i + 1)
        assert values_of(y).tolist() == [i + i + 1, 2 * i + i + 1]
        assert doubled == 2.0 * i
    many = tg.jit(lambda x, *numbers: sum(x * n for n in numbers))
    for i in range(3):
        assert values_of(many(t([1.0]), *(float(i + k) for k in range(20)))).tolist() == [20 * i + 190]


def test_explain_says_of_which_kernels_the_work_is_not_counted(capsys):
    with tg.use_device("cuda"):
        layer = tg.layers.LSTM(4)
        x = tg.ones((2, 3, 5))
        layer(x)
        jitted = tg.jit(lambda x: layer(x))
        jitted(x)
    tg.jit.explain(jitted)
    assert "and 3 kernels that are not counted" in capsys.readouterr().out  # one for each step


@pytest.mark.parametrize("target", ["cuda", "cpu"])
@pytest.mark.parametrize("start", ["cuda", "cpu"])
def test_moves_between_devices(start, target):
    jitted = tg.jit(lambda x: x.to(target) * 2.0)
    for i in range(3):
        y = jitted(tg.tensor([1.0, i], device=start))
        assert y.device.kind == target
        numpy.testing.assert_array_equal(y.numpy(), [2.0, 2.0 * i])


def test_targets_from_the_host():
    """A loss moves NumPy's targets to where the outputs are, also in a recording."""
    loss, x = tg.losses.MeanSquaredError(), t([[1.0], [2.0]])
    jitted = tg.jit(lambda y: loss(y, x))
    for i in range(3):
        y = numpy.array([[1.0], [i]], "float32")
        assert jitted(y).item() == pytest.approx(0.5 * (2.0 - i) ** 2)


def test_all_large_parameters_are_updated_in_one_launch():
    """Two more for each layer, its weight and its bias, would show."""
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts launches")
    launches = []
    for depth in (2, 3, 4):
        with tg.use_device("cuda"):
            model = tg.Sequential([tg.layers.Dense(160, activation="relu") for _ in range(depth)])
            x = t(numpy.ones((8, 160)))
            model(x)
            optimizer = tg.optimizers.Adam().build(model.trainable_weights)

            @tg.jit
            def step(x):
                optimizer.minimize(model(x).sum())  # noqa: B023 -- called in this round only

            for _ in range(3):
                with emugpu.count_launches() as counts:
                    step(x)
        launches.append(len(counts.replayed))
    # product and relu, gradients of both factors, and of relu with the sum for the bias
    assert [b - a for a, b in itertools.pairwise(launches)] == [5, 5]
