"""CTC beside PyTorch at many sizes, far out, at the edges of a row, by both of its gradient rules, under jit; and the
labels that the loss refuses."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import re

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, losses
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.models import Sequential


def rows(seed):
    """Logits, labels, lengths of both, and the blank; some rows have no alignment."""
    random = np.random.default_rng(seed)
    batch, time, classes, length = random.integers((1, 1, 2, 0), (5, 9, 6, 5))
    blank = int(random.integers(0, classes))
    labels = random.integers(0, classes - 1, (batch, length))
    lengths = random.integers(1, time + 1, batch), random.integers(0, length + 1, batch)
    return random.normal(size=(batch, time, classes)) * 3, labels + (labels >= blank), *lengths, blank


def by_torch(logits, labels, logit_lengths, label_lengths, blank=0, zero_infinity=False):
    """The losses of the rows, and the gradients of their sum."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(logits, requires_grad=True)
    given = map(torch.tensor, (labels, logit_lengths, label_lengths))
    log_p = x.log_softmax(2).transpose(0, 1)
    values = torch.nn.functional.ctc_loss(log_p, *given, blank, "none", zero_infinity)
    values.sum().backward()
    return values.detach().numpy(), x.grad.numpy()


def ours(logits, *labels_and_lengths, dtype="float64", **options):
    """As `by_torch`."""
    x = tg.tensor(logits, dtype=dtype, requires_grad=True)
    given = [None if a is None else tg.tensor(a) for a in labels_and_lengths]
    values = tg.ctc_loss(x, *given, **options)
    values.sum().backward()
    return values.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("seed", range(40))
def test_values_and_gradients_of_pytorch(seed):
    *given, blank = rows(seed)
    expected = by_torch(*given, blank=blank, zero_infinity=True)
    found = ours(*given, blank=blank, zero_infinity=True)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ours(*given, blank=blank)[0], by_torch(*given, blank=blank)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_the_rule_of_higher_orders_gives_the_same_gradient(seed):
    logits, *given, blank = rows(seed)
    given = [tg.tensor(a) for a in given]
    x = tg.tensor(logits, requires_grad=True)
    y = tg.ctc_loss(x, *given, blank=blank, zero_infinity=True)
    weights = tg.tensor(np.random.default_rng(0).normal(size=y.shape), requires_grad=True)
    _, pull = tg.vjp(lambda x: tg.ctc_loss(x, *given, blank=blank, zero_infinity=True), x)
    (again,) = pull(weights)
    assert again.requires_grad
    y.backward(weights.detach())
    np.testing.assert_allclose(again.detach().numpy(), x.grad.numpy(), rtol=1e-8, atol=1e-12)
    tg.gradcheck(lambda x: tg.ctc_loss(x, *given, blank=blank, zero_infinity=True), [logits], order=2)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32"])
def test_labels_and_lengths_of_any_integer_dtype(dtype):
    logits, labels = np.random.default_rng(0).normal(size=(2, 150, 4)), np.arange(2 * 70).reshape(2, 70) % 3 + 1
    given = labels, np.array([120, 100]), np.array([70, 0])
    expected, found = ours(logits, *given), ours(logits, *(a.astype(dtype) for a in given))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], by_torch(logits, *given)[0], rtol=1e-9)


def test_long_rows_in_float32():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(2, 1500, 20)), random.integers(1, 20, (2, 400))
    expected = by_torch(logits, labels, [1500, 1400], [400, 350])
    found = ours(logits, labels, [1500, 1400], [400, 350], dtype="float32")
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


@pytest.mark.parametrize("scale", [1e4, 1e6])
def test_large_logits_never_overflow(scale):
    logits = np.rint(scale * np.random.default_rng(0).normal(size=(2, 6, 4)))  # which float32 holds
    expected = by_torch(logits, np.array([[1, 2], [3, 3]]), [6, 6], [2, 2])
    found = ours(logits, np.array([[1, 2], [3, 3]]), dtype="float32")
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_a_class_that_is_impossible():
    logits = np.random.default_rng(0).normal(size=(2, 4, 4))
    logits[..., 3] = -np.inf
    labels = np.array([[1, 2], [1, 3]])
    values, gradients = ours(logits, labels)
    expected = ours(logits[..., :3], labels[:1].repeat(2, axis=0))
    assert values[1] == np.inf
    np.testing.assert_allclose(values[0], expected[0][0], rtol=1e-12)
    np.testing.assert_allclose(gradients[0, :, :3], expected[1][0], rtol=1e-9)
    assert (gradients[0, :, 3] == 0).all()
    assert (gradients[1] == 0).all()


def test_a_step_at_which_all_is_impossible():
    logits = np.zeros((1, 3, 3))
    logits[0, 1, :2] = -np.inf
    values, gradients = ours(logits, [[1]])
    assert values[0] == np.inf
    assert (gradients == 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_what_follows_the_ends_may_be_anything(order):
    logits, labels = np.random.default_rng(0).normal(size=(2, 5, 4)), np.array([[1, 2, 99], [3, -7, 0]])

    def gradient(value):
        logits[0, 3:], logits[1, 4:] = value, value
        f = lambda x: tg.ctc_loss(x, tg.tensor(labels), tg.tensor([3, 4]), tg.tensor([2, 1])).sum()  # noqa: E731
        x = tg.tensor(logits, requires_grad=True)
        if order == 1:
            f(x).backward()
            return x.grad.numpy()
        return tg.vjp(f, x)[1](tg.tensor(1.0, dtype="float64", requires_grad=True))[0].detach().numpy()

    found = gradient(np.nan)
    assert (found[0, 3:] == 0).all()
    np.testing.assert_array_equal(found, gradient(0.0))


@pytest.mark.parametrize("zero_infinity", [True, False])
def test_a_row_without_an_alignment_pulls_nowhere(zero_infinity):
    logits, labels = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([[1, 1], [2, 3]])
    values, gradients = ours(logits, labels, [2, 2], zero_infinity=zero_infinity)
    assert values[0] == (0.0 if zero_infinity else np.inf)
    assert (gradients[0] == 0).all()
    assert (gradients[1, :2] != 0).all()


def test_under_jit_with_other_labels_and_lengths():
    def step(x, *given):
        return tg.value_and_grad(lambda x: tg.ctc_loss(x, *given).sum())(x)

    random, jitted = np.random.default_rng(0), tg.jit(step)
    for labels, lengths, counts in (([[1, 2], [2, 2]], [5, 3], [2, 1]), ([[3, 3], [1, 0]], [4, 5], [2, 1])):
        args = tg.tensor(random.normal(size=(2, 5, 4))), tg.tensor(labels), tg.tensor(lengths), tg.tensor(counts)
        for expected, found in zip(step(*args), jitted(*args), strict=True):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match="logit_lengths from 1 to 5, received 6"):
        jitted(args[0], args[1], tg.tensor([5, 6]), args[3])
    with pytest.raises(ValueError, match="labels other than the blank 0"):
        jitted(args[0], tg.tensor([[3, 0], [1, 2]]), args[2], args[3])


# The loss


def test_a_model_learns_to_read():
    """Each row shows its labels, each for some steps, with gaps; it is read off the best class of each step."""
    random, x, y = np.random.default_rng(0), np.zeros((24, 12, 4)), np.zeros((24, 3), dtype=int)
    for n in range(24):
        y[n, : 1 + n % 3] = random.integers(1, 4, 1 + n % 3)
        for i, label in enumerate(y[n]):
            x[n, 4 * i : 4 * i + random.integers(1, 4), label] = 1.0 if label else 0.0
    tg.seed(0)
    model = Sequential([layers.Dense(8, "tanh"), layers.Dense(4)])
    model.compile(tg.optimizers.Adam(0.05), "ctc")
    history = model.fit(x, y, epochs=60, batch_size=10, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
    for labels, best in zip(y, model.predict(x, verbose=0).argmax(-1), strict=True):
        merged = [k for k, before in zip(best, [0, *best[:-1]], strict=True) if k not in (0, before)]
        assert merged == [k for k in labels if k]


def shaped(*shape):
    return tg.zeros(shape)


@pytest.mark.parametrize(("y", "p", "kind", "text"), [
    ([[1]], shaped(1, 3), ShapeError, "CTC: expected predictions of shape (batch, time, classes), received shape (1, 3)."),
    ([1], shaped(1, 3, 4), ShapeError, "CTC: expected labels of shape (1, length), received shape (1,)."),
    ([[1]], shaped(2, 3, 4), ShapeError, "CTC: expected labels of shape (2, length), received shape (1, 1)."),
    ([[1.5]], shaped(1, 3, 4), ValueError, "CTC: expected whole labels, received 1.5."),
    ([[4]], shaped(1, 3, 4), ValueError, "CTC: expected labels from 1 to 3, padded with 0, received 4."),
    ([[-1]], shaped(1, 3, 4), ValueError, "CTC: expected labels from 1 to 3, padded with 0, received -1."),
    ([[1, 0, 2]], shaped(1, 3, 4), ValueError, "CTC: expected labels that are padded with 0 at the end only, received the label 2 after a 0."),
    ([[1, 1, 1]], shaped(1, 4, 4), ValueError, "CTC: expected labels that fit into 4 time steps, received a row that needs 5. Hint: a label needs a step, and one more after an equal label."),
])  # fmt: skip
def test_labels_that_are_refused(y, p, kind, text):
    with pytest.raises(kind) as caught:
        losses.CTC()(y, p)
    assert str(caught.value) == text


def test_a_model_that_ends_in_a_softmax_is_refused():
    model = Sequential([layers.Dense(4, "softmax")])
    model.compile("sgd", "ctc")
    text = "CTC: expected logits, because of from_logits=True, received the probabilities of a last softmax."
    with pytest.raises(ValueError, match=re.escape(text)):
        model.fit(np.ones((1, 3, 2)), [[1]], verbose=0)


def test_labels_that_just_fit():
    assert np.isfinite(losses.CTC()([[1, 1, 2]], shaped(1, 4, 4)).item())
    assert losses.CTC()([[0] * 6], shaped(1, 4, 4)).item() == pytest.approx(4 * np.log(4))
