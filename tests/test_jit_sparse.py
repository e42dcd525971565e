"""Gradients of large tables by the rows that occur: training with them is training with whole ones, bit for bit."""

import importlib.util

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models, optimizers
from tinygrad_edu.jit import passes, sparse
from tinygrad_edu.kernels import native, pool

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed: no machine code"
)

ROWS, WIDTH, BATCH, STEPS = 90, 16, 12, 20
STRAIGHT = (  # what leaves a row without a gradient as it is, and which of its values must be 0 for that
    (lambda: optimizers.SGD(0.5), 0),
    (lambda: optimizers.SGD(0.1, momentum=0.9), 1),
    (lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True), 1),
    (lambda: optimizers.Adam(0.1), 2),
    (lambda: optimizers.Adam(0.1, amsgrad=True), 3),
    (lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 5, 0.7)), 2),
    (lambda: optimizers.Adam(0.1, clipvalue=0.01), 2),
    (lambda: optimizers.Lion(0.01), 1),
    (lambda: optimizers.RMSprop(0.1), 1),
    (lambda: optimizers.RMSprop(0.1, centered=True, momentum=0.5), 3),
    (lambda: optimizers.Adadelta(0.5), 2),
    (lambda: optimizers.Adamax(0.1), 2),
    (lambda: optimizers.SGD(0.1, gradient_accumulation_steps=2), 0),
)
DENSE = (  # all rows change in each step, but for some that are 0 themselves
    lambda: optimizers.SGD(0.5, weight_decay=0.1),
    lambda: optimizers.AdamW(0.1, weight_decay=0.1),
    lambda: optimizers.Adam(0.1, epsilon=0.0),
    lambda: optimizers.Adam(0.1, use_ema=True),
    lambda: optimizers.Adam(0.1, global_clipnorm=0.1),
    lambda: optimizers.Adam(0.1, clipnorm=0.1),
    lambda: optimizers.Adagrad(0.1),
    lambda: optimizers.Nadam(0.1),
    lambda: optimizers.Lamb(0.1),
)


@pytest.fixture(autouse=True)
def small_tables_too(monkeypatch):
    monkeypatch.setattr(sparse, "LEAST", 0)
    monkeypatch.setattr("tinygrad_edu.optimizers.base.LARGE", 0)  # nothing is laid side by side
    monkeypatch.setattr(native, "_WORTH_SHARING", 0)
    monkeypatch.setattr(native, "_WORTH_WAKING", -1)
    yield
    pool.set_threads(None)


def batches(seed=3, rows=ROWS, batch=BATCH):
    """Ids with repetitions, of a third of the table, so that some rows never occur, and weights."""
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        yield rng.integers(0, rows // 3, batch) * 3, rng.normal(size=(batch, WIDTH)).astype("float32")


def table(rows=ROWS):
    values = np.random.default_rng(0).normal(size=(rows, WIDTH)).astype("float32")
    return tg.tensor(values, requires_grad=True)


def once(w, ids, x):
    return tg.square(tg.embedding(w, ids) - x).mean()


def train(make, loss=once, data=batches, start=table):
    """The table and the state of its optimizer after all steps, and the loops that the step runs."""
    w = start()
    optimizer = make().build([w])

    @tg.jit
    def step(ids, x):
        made = loss(w, ids, x)
        optimizer.minimize(made)
        return made

    losses = [step(tg.tensor(ids), tg.tensor(x)).item() for ids, x in data()]
    state = [t.numpy() for t in optimizer.states[0].values()]
    loops = [kernel.loops for plan in step.plans for kernel in plan.replay.kernels.values()]
    names = [call.primitive.name for plan in step.plans for call in plan.replay.program.calls]
    return [np.array(losses), w.detach().numpy(), *state], loops, names


def both(monkeypatch, *arguments, **named):
    """What `train` returns, after a comparison with training by whole gradients."""
    found = train(*arguments, **named)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "by_rows", lambda program: program)
        expected, _, names = train(*arguments, **named)
    assert "_sum_rows" not in names
    assert "_sum_rows" in found[2]
    for a, b in zip(found[0], expected, strict=True):
        np.testing.assert_array_equal(a, b)
    return found


def idle(loops):
    """How many inputs must be 0, for each group that leaves rows as they are."""
    return [len(group.idle[1]) for group in loops if group.idle != ((), ())]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", range(len(STRAIGHT)))
def test_rows_without_a_gradient_are_left_as_they_are(case, threads, monkeypatch):
    pool.set_threads(threads)
    make, zeros = STRAIGHT[case]
    _, loops, _ = both(monkeypatch, make)
    assert idle(loops) == [zeros]


@pytest.mark.parametrize("case", range(len(DENSE)))
def test_rows_that_change_without_a_gradient(case, monkeypatch):
    with np.errstate(all="ignore"):
        (_, *values), loops, _ = both(monkeypatch, DENSE[case])
    assert idle(loops) in ([], [len(values)])


@pytest.mark.parametrize("make", [STRAIGHT[0][0], STRAIGHT[3][0], DENSE[1]])
def test_like_eager(make):
    (_, found, *_), _, _ = train(make)
    w = table()
    optimizer = make().build([w])
    for ids, x in batches():
        optimizer.minimize(once(w, tg.tensor(ids), tg.tensor(x)))
    np.testing.assert_allclose(found, w.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_like_torch():
    torch = pytest.importorskip("torch")
    (_, found, *_), _, _ = train(lambda: optimizers.SGD(0.5))
    w = torch.tensor(table().detach().numpy(), requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.5)
    for ids, x in batches():
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(torch.nn.functional.embedding(torch.tensor(ids), w), torch.tensor(x)).backward()
        optimizer.step()
    np.testing.assert_allclose(found, w.detach().numpy(), rtol=1e-5, atol=1e-6)


def tied(w, ids, x):
    """The table is also the layer at the end."""
    return tg.cross_entropy((tg.embedding(w, ids) + x) @ w.T, ids)


def in_two_places(w, ids, x):
    return once(w, ids, x) + (tg.embedding(w, ids + 1) * x).sum()


def with_penalty(w, ids, x):
    return once(w, ids, x) + 0.01 * (w * w).sum()


def in_a_square(w, ids, x):
    return once(w, ids.reshape((3, 4)), x.reshape((3, 4, WIDTH)))


def from_the_end(w, ids, x):
    return tg.square(w[ids - ROWS] - x).mean()


def of_32_bits(w, ids, x):
    return once(w, ids.astype("int32"), x)


def of_a_product(w, ids, x):
    """What is taken is no parameter, and its gradient goes on."""
    return once(tg.tanh(w) * 2.0, ids, x)


LOSSES = {
    tied: [0, 0],
    in_two_places: [1, 1],
    with_penalty: [0, 0],
    in_a_square: [1, 1],
    from_the_end: [1, 1],
    of_32_bits: [1, 1],
    of_a_product: [0, 0],
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_a_table_is_used_for(loss, monkeypatch):
    for (make, _), count in zip((STRAIGHT[0], STRAIGHT[3]), LOSSES[loss], strict=True):
        _, loops, _ = both(monkeypatch, make, loss)
        assert len(idle(loops)) == count


def test_long_batches_make_whole_gradients():
    _, loops, names = train(lambda: optimizers.SGD(0.5), data=lambda: batches(batch=ROWS))
    assert "_sum_rows" not in names
    assert idle(loops) == []


def test_a_gradient_that_is_read_is_whole(monkeypatch):
    ids, x = next(batches())
    found = []
    for replaced in (sparse.by_rows, lambda program: program):
        monkeypatch.setattr(passes, "by_rows", replaced)
        w = table()

        @tg.jit
        def step(ids, x, w=w):
            loss = once(w, ids, x)
            loss.backward()
            return loss, w.grad.sum(axis=0), tg.sum(w.grad * w.grad), w.grad.T @ w.grad

        results = [step(tg.tensor(ids), tg.tensor(x)) for _ in range(2)][1]
        assert any(call.primitive is sparse.sum_rows for call in step.plans[0].replay.program.calls) == (not found)
        found.append([w.grad.numpy(), *(r.detach().numpy() for r in results)])
    assert found[0][0].shape == (ROWS, WIDTH)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_nan_and_inf_stay_where_they_are(monkeypatch):
    """In the table, in rows that occur and others, and in gradients."""

    def start():
        w = table()
        values = w.detach().numpy().copy()
        values[0], values[1], values[5, 3] = np.nan, np.inf, -np.inf
        return tg.tensor(values, requires_grad=True)

    def data():
        for i, (ids, x) in enumerate(batches()):
            yield ids, np.where(ids[:, None] == 3 * i, np.float32(np.inf), x)

    with np.errstate(all="ignore"):
        for make in (*(make for make, _ in STRAIGHT), *DENSE):
            both(monkeypatch, make, data=data, start=start)


def test_a_rate_beyond_float32(monkeypatch):
    """0 times infinity is NaN, in all rows."""
    with np.errstate(all="ignore"):
        (_, found, *_), loops, _ = both(monkeypatch, lambda: optimizers.SGD(1e39))
    assert idle(loops) == [0]
    assert np.isnan(found).all()


def test_wrong_ids_change_nothing():
    w = table()
    optimizer = optimizers.SGD(0.5).build([w])

    @tg.jit
    def step(ids, x):
        loss = tg.square(w[ids] - x).mean()
        optimizer.minimize(loss)
        return loss

    ids, x = next(batches())
    step(tg.tensor(ids), tg.tensor(x))
    before = w.detach().numpy().copy()
    for wrong in (ROWS, -ROWS - 1, 2**40):
        ids[3] = wrong
        with pytest.raises(IndexError, match=f"indices from -{ROWS} to {ROWS - 1}"):
            step(tg.tensor(ids), tg.tensor(x))
        np.testing.assert_array_equal(w.detach().numpy(), before)


@pytest.mark.parametrize("shape", [(5,), (5, 2)])
def test_wrong_ids_along_an_axis(shape):
    x, step = tg.ones(shape), tg.jit(lambda x, ids: tg.take_along_axis(x, ids, 0) * 2.0)
    for ids in (np.zeros(shape, int), np.full(shape, 4)):
        np.testing.assert_array_equal(step(x, tg.tensor(ids)).numpy(), np.full(shape, 2.0))
    with pytest.raises(IndexError, match="take_along_axis: expected indices from -5 to 4, received 5"):
        step(x, tg.tensor(ids + 1))


def test_ids_that_are_computed():
    """The check comes after what computes them, and nothing is read from beyond the table in between."""
    w = table()
    step = tg.jit(lambda x: tg.sum(w[(x * 10.0).astype("int64")] * 2.0, axis=-1))
    x = np.array([0.0, 1.0, 8.9], "float32")
    expected = w.detach().numpy()[(x * 10).astype(int)].sum(axis=-1) * 2
    for _ in range(2):
        np.testing.assert_allclose(step(tg.tensor(x)).detach().numpy(), expected, rtol=1e-5)
    with pytest.raises(IndexError):
        step(tg.tensor(x + 100000.0))
    (loops,) = (k.loops for k in step.plans[0].replay.kernels.values() if any(op.name == "take" for op in k.loops.ops))
    index = next(loops.ops[op.args[0]] for op in loops.ops if op.name == "take")
    inside = loops.ops[index.args[1]], loops.ops[loops.ops[index.args[0]].args[1]]
    assert [index.name, *(op.value for op in inside)] == ["minimum", str(ROWS - 1), "0"]


@pytest.mark.parametrize("shape", [(1, 8), (40,), (7, 1, 3), (9, 5)])
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "int16", "uint64"])
def test_rows_of_any_shape(shape, kind):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=shape).astype("float32"), rng.normal(size=shape).astype("float32")
    for ids in (rng.integers(0, shape[0], (4, 3)), rng.integers(0, shape[0], shape[0])[::-1], np.arange(shape[0])):
        ids = ids.astype(kind)

        def taken(a, b, ids):
            rows = a[ids]
            return rows, tg.exp(rows) * 2.0, (rows * b[ids]).sum(axis=-1), tg.softmax(rows, axis=-1), a.T[..., ids]

        step = tg.jit(taken)
        for _ in range(2):
            found, expected = step(a, b, ids), taken(a, b, ids)
            for y, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(y, right, rtol=1e-5, atol=1e-6)


def test_rows_that_are_written_where_they_are_read():
    """All rows of the table in another order, written over it."""
    w = tg.tensor(np.arange(ROWS * WIDTH, dtype="float32").reshape(ROWS, WIDTH))
    ids = np.random.default_rng(0).permutation(ROWS)

    @tg.jit
    def step(ids):
        w.assign_(w[ids] + w)

    for _ in range(3):
        expected = w.numpy()[ids] + w.numpy()
        step(tg.tensor(ids))
        np.testing.assert_array_equal(w.numpy(), expected)


def test_rows_of_what_is_made_in_between():
    """As many as the table has, so that nothing but the order tells them from it."""
    x, w = np.random.default_rng(0).normal(size=(2, 16, 16)).astype("float32")
    ids = np.random.default_rng(0).permutation(16)
    for made in (lambda x: tg.exp(x), lambda x: tg.matmul(x, w)):
        step = tg.jit(lambda x, ids, made=made: made(x)[ids] * 2.0)
        for _ in range(2):
            np.testing.assert_allclose(step(x, ids), made(x)[ids] * 2, rtol=1e-5)


def test_row_0_of_another_table_is_no_row_of_zeros():
    w, other = tg.zeros((8, WIDTH)), tg.ones((4, WIDTH))

    @tg.jit
    def step(ids):
        w.assign_(w + other[ids])

    for _ in range(2):
        step(tg.tensor([0, 1, 2, 3, 0, 0, 1, 2]))
    np.testing.assert_array_equal(w.numpy(), np.full((8, WIDTH), 2.0))


def test_a_model_with_padding_trains_the_same(monkeypatch):
    found = []
    for replaced in (sparse.by_rows, lambda program: program):
        monkeypatch.setattr(passes, "by_rows", replaced)
        tg.seed(0)
        model = models.Sequential(
            [
                layers.Input((5,), dtype="int64"),
                layers.Embedding(200, 32, mask_zero=True, embeddings_regularizer=None),
                layers.LSTM(8),
                layers.Dense(1),
            ]
        )
        model.compile("adam", "mse", jit=True)
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 200, (64, 5)) * rng.integers(0, 2, (64, 5)), rng.normal(size=(64, 1))
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        found.append([w.detach().numpy() for w in model.weights])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
