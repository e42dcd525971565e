"""Attention, transformer blocks and positions: against PyTorch and formulas, masks, dropout, errors, a small GPT."""

import itertools

import numpy as np
import pytest
from op_cases import assert_near

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers.base import mask_of

BATCH, TIME, STEPS, FEATURES, HEADS = 2, 4, 5, 6, 2
PADDED = np.array([[True, True, True, False, False], [True, False, True, True, True]])


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def randoms(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def spread(layer):
    """Makes every weight of a built layer random, biases and norms too."""
    random = np.random.default_rng(7)
    layer.set_weights([random.uniform(-0.7, 0.7, w.shape).astype("float32") for w in layer.get_weights()])
    return layer


def near(found, expected, ulps):
    assert_near(values(found), values(expected), ulps, "values")


def values(x):
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def gradients_of(loss, *tensors):
    loss.backward()
    found = [values(tg.zeros_like(t) if t.grad is None else t.grad) for t in tensors]
    for t in tensors:
        t.grad = None
    return found


def torch_attention(torch, layer):
    """PyTorch's layer with these weights."""
    _features, heads, depth = layer.query_kernel.shape
    inner = heads * depth
    value_features = layer.value_kernel.shape[0]
    other = torch.nn.MultiheadAttention(inner, heads, batch_first=True, kdim=value_features, vdim=value_features)
    copy_attention(torch, layer, other)
    return other


def copy_attention(torch, layer, other):
    def matrix(name):
        kernel = getattr(layer, f"{name}_kernel").detach().numpy()
        inputs = kernel.shape[0] if name != "output" else kernel.shape[0] * kernel.shape[1]
        return torch.tensor(kernel.reshape(inputs, -1).T.copy())

    parts = [matrix(name) for name in ("query", "key", "value")]
    biases = [
        torch.tensor(getattr(layer, f"{name}_bias").detach().numpy().reshape(-1)) for name in ("query", "key", "value")
    ]
    with torch.no_grad():
        if other.in_proj_weight is None:
            for name, part in zip("qkv", parts, strict=True):
                getattr(other, f"{name}_proj_weight").copy_(part)
        else:
            other.in_proj_weight.copy_(torch.cat(parts))
        other.in_proj_bias.copy_(torch.cat(biases))
        other.out_proj.weight.copy_(matrix("output"))
        other.out_proj.bias.copy_(torch.tensor(layer.output_bias.detach().numpy()))


def copy_dense(torch, layer, other):
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.kernel.detach().numpy().T.copy()))
        other.bias.copy_(torch.tensor(layer.bias.detach().numpy()))


def copy_norm(torch, layer, other):
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.gamma.detach().numpy()))
        other.bias.copy_(torch.tensor(layer.beta.detach().numpy()))


# Attention


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_multi_head_attention_equals_pytorch(causal, padded):
    torch = pytest.importorskip("torch")
    layer = layers.MultiHeadAttention(HEADS, FEATURES // HEADS)
    x = tg.tensor(randoms(BATCH, STEPS, FEATURES), requires_grad=True)
    layer(x, x)
    spread(layer)
    mask = tg.tensor(PADDED) if padded else None
    y, scores = layer(x, x, value_mask=mask, use_causal_mask=causal, return_attention_scores=True)
    fused = layer(x, x, value_mask=mask, use_causal_mask=causal)
    other = torch_attention(torch, layer)
    tx = torch.tensor(x.detach().numpy(), requires_grad=True)
    ty, tscores = other(
        tx,
        tx,
        tx,
        key_padding_mask=torch.tensor(~PADDED) if padded else None,
        attn_mask=torch.ones(STEPS, STEPS).triu(1).bool() if causal else None,
        average_attn_weights=False,
    )
    for found in (y, fused):
        near(found, ty, 30)
    near(scores, tscores, 30)
    g = randoms(*y.shape, seed=1)
    (ty * torch.tensor(g)).sum().backward()
    for found in (y, fused):
        gx, gk = gradients_of((found * tg.tensor(g)).sum(), x, layer.query_kernel)
        near(gx, tx.grad, 100)
        near(gk.reshape(FEATURES, FEATURES), other.in_proj_weight.grad[:FEATURES].T, 100)


def test_groups_of_heads_are_heads_with_equal_keys_and_values():
    x = tg.tensor(randoms(BATCH, TIME, FEATURES))
    grouped = layers.GroupQueryAttention(head_dim=3, num_query_heads=4, num_key_value_heads=2)
    grouped(x, x)
    spread(grouped)
    full = layers.MultiHeadAttention(num_heads=4, key_dim=3)
    full(x, x)
    names = [name for name, _ in grouped.named_parameters()]
    full.set_weights(
        [
            w.repeat(2, axis=w.ndim - 2) if name.startswith(("key", "value")) else w
            for name, w in zip(names, grouped.get_weights(), strict=True)
        ]
    )
    near(grouped(x, x), full(x, x), 10)


def test_the_scores_of_inputs_with_masks():
    x, y = tg.tensor(randoms(BATCH, TIME, FEATURES)), tg.tensor(randoms(BATCH, STEPS, FEATURES, seed=1))
    layer = layers.MultiHeadAttention(HEADS, 3)
    plain = layer(x, y, return_attention_scores=True)
    assert all(mask_of(t) is None for t in plain)
    x.mask, y.mask = tg.tensor([[True] * 3 + [False]] * BATCH), tg.tensor(PADDED)
    z, scores = layer(x, y, return_attention_scores=True)
    assert mask_of(z) is x.mask
    assert mask_of(scores) is None
    shown = PADDED[:, None, None, :] & x.mask.detach().numpy()[:, None, :, None]
    expected = np.where(shown, np.exp(np.log(plain[1].detach().numpy())), 0.0)
    total = expected.sum(-1, keepdims=True)
    near(scores, expected / np.where(total == 0, 1, total), 10)
    np.testing.assert_array_equal(z.detach().numpy()[:, 3], np.zeros((BATCH, FEATURES)))  # the bias is 0
    near(layer(x, y), z, 10)
    key = tg.tensor(randoms(BATCH, STEPS, FEATURES, seed=2))
    key.mask = tg.tensor(np.roll(PADDED, 1, axis=1))
    _, scores = layer(x, y, key, return_attention_scores=True)
    np.testing.assert_array_equal(scores.detach().numpy()[:, 0, 0] > 0, PADDED & np.roll(PADDED, 1, axis=1))


@pytest.mark.parametrize("scores", [False, True])
def test_a_query_that_sees_no_key_finds_zeros_and_has_no_gradient(scores):
    x = tg.tensor(randoms(1, 2, FEATURES), requires_grad=True)
    v = tg.tensor(randoms(1, 3, FEATURES, seed=1), requires_grad=True)
    mask = tg.tensor([[[False] * 3, [True] * 3]])
    layer = layers.MultiHeadAttention(HEADS, 3)
    y = layer(x, v, attention_mask=mask, return_attention_scores=scores)
    y = y[0] if scores else y
    np.testing.assert_array_equal(y.detach().numpy()[0, 0], np.zeros(FEATURES))
    for gradient in gradients_of(y[:, 0].sum(), x, v):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_dropout_of_scores_in_training_only():
    layer = layers.MultiHeadAttention(1, 4, dropout=0.25)
    x = tg.tensor(randoms(64, 8, 4))
    plain, scores = layer(x, x, return_attention_scores=True)
    y, kept = layer(x, x, return_attention_scores=True, training=True)
    np.testing.assert_array_equal(kept.detach().numpy(), scores.detach().numpy())  # those before dropout
    assert abs(y.detach().numpy() - plain.detach().numpy()).max() > 0.01
    tg.seed(5)
    y = layer(x, x, training=True).detach().numpy()
    tg.seed(5)
    kept = tg.dropout(tg.ones((64, 1, 8, 8)), 0.25).detach().numpy()
    assert abs((kept == 0).mean() - 0.25) < 0.03
    projected = np.einsum("ntf,fhd->nhtd", x.detach().numpy(), layer.value_kernel.detach().numpy())
    heads = np.einsum("nhts,nhsd->nthd", scores.detach().numpy() * kept, projected)
    near(y, np.einsum("nthd,hdf->ntf", heads, values(layer.output_kernel)), 100)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: layers.MultiHeadAttention(1, 4, dropout=0.25, seed=seed, kernel_initializer="ones"),
        lambda seed: layers.Attention(dropout=0.25, seed=seed),
    ],
)
def test_a_seed_of_its_own(make):
    x = tg.tensor(randoms(2, 8, 4))
    found = []
    for outer, seed in ((0, 5), (1, 5), (1, 6)):
        layer = make(seed)
        tg.seed(outer)
        given = ([x, x],) if isinstance(layer, layers.Attention) else (x, x)
        found.append(values(layer(*given, training=True)))
    np.testing.assert_array_equal(found[0], found[1])
    assert abs(found[0] - found[2]).max() > 1e-3


@pytest.mark.parametrize("kind", [layers.Attention, layers.AdditiveAttention])
def test_dropout_of_the_scores_of_single_attention(kind):
    layer = kind(dropout=0.5)
    x = tg.tensor(randoms(4, 6, 3))
    plain, scores = layer([x, x], return_attention_scores=True)
    tg.seed(5)
    y = layer([x, x], training=True).detach().numpy()
    tg.seed(5)
    kept = tg.dropout(tg.ones((4, 6, 6)), 0.5).detach().numpy()
    near(y, (scores * kept) @ x, 10)
    near(layer([x, x]), plain, 10)


def test_masks_of_single_attention():
    x, y = tg.tensor(randoms(BATCH, TIME, 3)), tg.tensor(randoms(BATCH, STEPS, 3, seed=1))
    x.mask, y.mask = tg.tensor([[True] * 3 + [False]] * BATCH), tg.tensor(PADDED)
    z = layers.Attention()([x, y])
    assert mask_of(z) is x.mask
    weights = np.exp(x.detach().numpy() @ y.detach().numpy().swapaxes(1, 2)) * PADDED[:, None]
    expected = weights / weights.sum(-1, keepdims=True) @ y.detach().numpy()
    expected[:, 3] = 0
    near(z, expected, 10)


def test_initial_kernels_have_the_variance_for_all_inputs_and_outputs():
    x = tg.zeros((1, 1, 40))
    layer = layers.MultiHeadAttention(num_heads=5, key_dim=20, output_shape=60)
    layer(x, x)
    for kernel, inputs, outputs in ((layer.query_kernel, 40, 100), (layer.output_kernel, 100, 60)):
        limit = np.sqrt(6 / (inputs + outputs))
        assert 0.98 * limit < abs(kernel.detach().numpy()).max() <= limit
    orthogonal = layers.MultiHeadAttention(2, 4, kernel_initializer="ones", kernel_regularizer="l2")
    orthogonal(x, x)
    assert orthogonal.key_kernel.shape == (40, 2, 4)
    assert len(orthogonal.losses) == 4


def test_a_functional_model_of_query_and_value():
    query, value = layers.Input((None, 6)), layers.Input((5, 4))
    attention = layers.MultiHeadAttention(2, 3)
    found = attention(query=query, value=value)
    assert found.shape == (None, None, 6)
    model = models.Model([query, value], found)
    x, v = randoms(3, 2, 6), randoms(3, 5, 4)
    near(model([x, v]), attention(x, v), 1)
    _, scores = layers.MultiHeadAttention(2, 3)(query, value, return_attention_scores=True)
    assert scores.shape == (None, 2, None, 5)


X = np.zeros((2, 3, 4), "float32")
MASK = np.ones((2, 3), "float32")


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: layers.MultiHeadAttention(2, 3)(X), TypeError, "a query and a value, received a query only"),
        (lambda: layers.MultiHeadAttention(0, 3), ValueError, "num_heads to be an integer of at least 1"),
        (lambda: layers.MultiHeadAttention(2, 3, dropout=1.0), ValueError, "dropout to be a number in"),
        (lambda: layers.MultiHeadAttention(2, 3, attention_axes=(2,)), ValueError, "attention_axes to be None or"),
        (lambda: layers.MultiHeadAttention(2, 3, flash_attention=True), ValueError, "flash_attention to be None or"),
        (lambda: layers.MultiHeadAttention(2, 3, sliding_window=0), ValueError, "sliding_window to be an integer"),
        (lambda: layers.MultiHeadAttention(2, 3)(X, X, X[:, :2]), ShapeError, "expected query"),
        (lambda: layers.MultiHeadAttention(2, 3)(X, X, value_mask=MASK), TypeError, "value_mask of booleans"),
        (
            lambda: layers.MultiHeadAttention(2, 3)(X, X, attention_mask=X[0, 0] > 0),
            ShapeError,
            "attention_mask that broadcasts to (2, 2, 3, 3)",
        ),
        (
            lambda: layers.MultiHeadAttention(2, 3)(X, X, attention_mask=X > 0),
            ShapeError,
            "attention_mask that broadcasts to (2, 3, 3)",
        ),
        (lambda: layers.GroupQueryAttention(2, 3, 2), ValueError, "num_key_value_heads to divide 3"),
        (lambda: layers.Attention(score_mode="sum"), ValueError, "score_mode to be one of"),
        (lambda: layers.Attention()([X, X], mask=MASK > 0), TypeError, "mask to be a list"),
        (lambda: layers.TransformerEncoderBlock(8, 3)(X), ShapeError, "features a multiple of 3 heads"),
        (lambda: layers.PositionEmbedding(4)(X, start_index=2), ShapeError, "at most 2 time steps"),
        (lambda: layers.RotaryEmbedding(feature_axis=1)(X), ShapeError, "expected time on axis 1"),
        (lambda: layers.RotaryEmbedding(sequence_axis=3)(X), ShapeError, "expected time on axis 3"),
        (lambda: layers.SinusoidalPositionEncoding()(X, start_index=-1), ValueError, "start_index to be an integer"),
    ],
)
def test_errors(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert ": expected " in str(caught.value)


# Transformer blocks


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_encoder_equals_pytorch(first, activation):
    torch = pytest.importorskip("torch")
    layer = layers.TransformerEncoderBlock(8, HEADS, activation=activation, normalize_first=first)
    x = tg.tensor(randoms(BATCH, STEPS, FEATURES), requires_grad=True)
    layer(x)
    spread(layer)
    other = torch.nn.TransformerEncoderLayer(
        FEATURES, HEADS, 8, dropout=0.0, activation=gelu_of(torch, activation), batch_first=True, norm_first=first
    )
    copy_attention(torch, layer.self_attention, other.self_attn)
    copy_norm(torch, layer.self_attention_norm, other.norm1)
    copy_norm(torch, layer.feedforward_norm, other.norm2)
    copy_dense(torch, layer.feedforward_intermediate, other.linear1)
    copy_dense(torch, layer.feedforward_output, other.linear2)
    tx = torch.tensor(x.detach().numpy(), requires_grad=True)
    ty = other(tx, src_key_padding_mask=torch.tensor(~PADDED))
    compare(torch, layer(x, padding_mask=tg.tensor(PADDED)), ty, (x,), (tx,))
    scored, scores = layer(x, padding_mask=tg.tensor(PADDED), return_attention_scores=True)
    assert scores.shape == (BATCH, HEADS, STEPS, STEPS)
    near(scored, ty, 100)


@pytest.mark.parametrize("first", [False, True])
def test_the_decoder_equals_pytorch(first):
    torch = pytest.importorskip("torch")
    layer = layers.TransformerDecoderBlock(8, HEADS, normalize_first=first)
    x = tg.tensor(randoms(BATCH, TIME, FEATURES), requires_grad=True)
    memory = tg.tensor(randoms(BATCH, STEPS, FEATURES, seed=1), requires_grad=True)
    layer(x, memory)
    spread(layer)
    other = torch.nn.TransformerDecoderLayer(FEATURES, HEADS, 8, dropout=0.0, batch_first=True, norm_first=first)
    copy_attention(torch, layer.self_attention, other.self_attn)
    copy_attention(torch, layer.cross_attention, other.multihead_attn)
    norms = (layer.self_attention_norm, layer.cross_attention_norm, layer.feedforward_norm)
    for norm, theirs in zip(norms, (other.norm1, other.norm2, other.norm3), strict=True):
        copy_norm(torch, norm, theirs)
    copy_dense(torch, layer.feedforward_intermediate, other.linear1)
    copy_dense(torch, layer.feedforward_output, other.linear2)
    tx, tmemory = (torch.tensor(t.detach().numpy(), requires_grad=True) for t in (x, memory))
    ty = other(
        tx,
        tmemory,
        tgt_mask=torch.ones(TIME, TIME).triu(1).bool(),
        memory_key_padding_mask=torch.tensor(~PADDED),
    )
    compare(torch, layer(x, memory, encoder_padding_mask=tg.tensor(PADDED)), ty, (x, memory), (tx, tmemory))


def gelu_of(torch, activation):
    return "relu" if activation == "relu" else lambda x: torch.nn.functional.gelu(x, approximate="none")


def compare(torch, y, ty, inputs, theirs):
    near(y, ty, 100)
    g = randoms(*y.shape, seed=3)
    (ty * torch.tensor(g)).sum().backward()
    for found, t in zip(gradients_of((y * tg.tensor(g)).sum(), *inputs), theirs, strict=True):
        near(found, t.grad, 200)


def test_dropout_of_what_blocks_add_in_training_only():
    layer = layers.TransformerEncoderBlock(8, HEADS, dropout=0.25, normalize_first=True)
    x = tg.zeros((40, 20, FEATURES))
    layer(x)
    attention, dense = layer.self_attention, layer.feedforward_output
    parts = ((attention.output_kernel, 0.0), (attention.output_bias, 1.0), (dense.kernel, 0.0), (dense.bias, 2.0))
    for weight, value in parts:
        weight.assign_(tg.full(weight.shape, value))
    np.testing.assert_array_equal(values(layer(x)), np.full(x.shape, 3.0))
    assert attention.dropout == 0.25
    sums = (values(layer(x, training=True)) * 0.75).round(4)
    assert set(np.unique(sums)) == {0, 1, 2, 3}
    for one in (1, 2):  # what attention adds, and the network
        assert abs(np.isin(sums, (one, 3)).mean() - 0.75) < 0.02


def test_masks_of_the_inputs_of_blocks():
    memory = tg.tensor(randoms(BATCH, STEPS, FEATURES))
    x = tg.tensor(randoms(BATCH, STEPS, FEATURES, seed=1))
    for first in (False, True):
        encoder = layers.TransformerEncoderBlock(8, HEADS, normalize_first=first)
        decoder = layers.TransformerDecoderBlock(8, HEADS, normalize_first=first)
        explicit = decoder(x, encoder(memory, padding_mask=tg.tensor(PADDED)), encoder_padding_mask=tg.tensor(PADDED))
        masked = tg.tensor(memory.detach().numpy())
        masked.mask = tg.tensor(PADDED)
        encoded = encoder(masked)
        assert mask_of(encoded) is masked.mask
        near(decoder(x, encoded), explicit, 10)


def test_masks_of_attention_in_blocks():
    x, memory = tg.tensor(randoms(1, 3, FEATURES)), tg.tensor(randoms(1, 3, FEATURES, seed=1))
    encoder, decoder = layers.TransformerEncoderBlock(8, HEADS), layers.TransformerDecoderBlock(8, HEADS)
    lower = tg.tensor(np.tri(3, dtype=bool)[None])
    near(decoder(x, memory, decoder_attention_mask=lower, use_causal_mask=False), decoder(x, memory), 30)
    first = tg.tensor([[True, False, False]])
    to_first = tg.tensor(np.eye(3, dtype=bool)[[0, 0, 0]][None])
    near(encoder(x, attention_mask=to_first), encoder(x, padding_mask=first), 30)
    for name in ("encoder", "decoder"):
        options = {"use_causal_mask": False}
        by_steps = decoder(x, memory, **{f"{name}_attention_mask": to_first}, **options)
        near(by_steps, decoder(x, memory, **{f"{name}_padding_mask": first}, **options), 30)
        assert abs(values(by_steps) - values(decoder(x, memory, **options))).max() > 1e-3


def test_the_first_call_of_a_decoder_decides_on_the_encoder():
    alone, both = layers.TransformerDecoderBlock(8, HEADS), layers.TransformerDecoderBlock(8, HEADS)
    x = tg.zeros((1, 2, FEATURES))
    alone(x)
    both(x, x)
    assert alone.cross_attention is None
    assert len(both.get_weights()) == len(alone.get_weights()) + 10
    with pytest.raises(TypeError, match="TransformerDecoderBlock: expected none, as at first, received one"):
        alone(x, x)
    with pytest.raises(TypeError, match="TransformerDecoderBlock: expected an encoder_sequence, as at first"):
        both(x)


# Positions


def test_sines_are_those_of_the_paper():
    length, features = 6, 5
    found = layers.SinusoidalPositionEncoding(max_wavelength=1000)(tg.zeros((2, length, features))).detach().numpy()
    for p, i in itertools.product(range(length), range(features)):
        angle = p / 1000 ** (2 * (i // 2) / features)
        near(found[1, p, i], np.float32(np.cos(angle) if i % 2 else np.sin(angle)), 2)


def test_late_positions_are_accurate():
    found = layers.SinusoidalPositionEncoding()(tg.zeros((1, 2, 4)), start_index=1_000_003).detach().numpy()
    angle = 1_000_003.0
    expected = [np.sin(angle), np.cos(angle), np.sin(angle / 100), np.cos(angle / 100)]
    near(found[0, 0], np.float32(expected), 2)


def turned(x, wavelength, scaling=1.0, start=0):
    """The rotation in complex numbers of float64: (..., time, features)."""
    half = x.shape[-1] // 2
    z = x[..., :half] + 1j * x[..., half:].astype("float64")
    positions = np.arange(start, start + x.shape[-2])[:, None] / scaling
    z = z * np.exp(1j * positions * wavelength ** (-np.arange(half) / half))
    return np.concatenate([z.real, z.imag], axis=-1)


def test_rotations_are_those_of_complex_numbers():
    x = randoms(2, 3, 5, 6)
    found = layers.RotaryEmbedding(50, 2.0, sequence_axis=2)(tg.tensor(x), start_index=7).detach().numpy()
    near(found, turned(x, 50, 2.0, 7).astype("float32"), 10)
    other = layers.RotaryEmbedding(50, 2.0, sequence_axis=-1, feature_axis=1)
    found = other(tg.tensor(x.transpose(0, 3, 1, 2)), start_index=7).detach().numpy()
    near(found.transpose(0, 2, 3, 1), turned(x, 50, 2.0, 7).astype("float32"), 10)


def test_products_of_turned_vectors_depend_on_the_distance_only():
    with tg.use_dtype("float64"):
        rotary = layers.RotaryEmbedding()
        q, k = (np.broadcast_to(randoms(8, seed=i), (1, 20, 8)).astype("float64") for i in (0, 1))
        products = (rotary(tg.tensor(q)).detach().numpy() @ rotary(tg.tensor(k)).detach().numpy().swapaxes(1, 2))[0]
    for distance in range(-19, 20):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=1e-12)
    assert np.ptp(products[0]) > 0.1


@pytest.mark.parametrize(
    "layer", [layers.SinusoidalPositionEncoding(), layers.PositionEmbedding(9), layers.RotaryEmbedding()]
)
def test_steps_one_by_one_are_those_of_the_whole(layer):
    x = tg.tensor(randoms(2, 6, 4))
    whole = layer(x).detach().numpy()
    for i in range(6):
        np.testing.assert_array_equal(layer(x[:, i : i + 1], start_index=i).detach().numpy()[:, 0], whole[:, i])


def test_encodings_under_jit_follow_shapes_and_dtypes():
    sines, rotary = layers.SinusoidalPositionEncoding(), layers.RotaryEmbedding()

    @tg.jit
    def both(x):
        return rotary(x + sines(x), start_index=2)

    for shape, dtype in (
        ((2, 3, 4), "float32"),
        ((1, 5, 6), "float32"),
        ((2, 3, 4), "float64"),
        ((2, 3, 4), "float32"),
    ):
        x = tg.tensor(randoms(*shape).astype(dtype))
        expected = rotary(x + sines(x), start_index=2)
        found = both(x)
        assert found.dtype == dtype
        near(found, expected, 10)


# A small GPT


class GPT(layers.Layer):
    """Tokens and positions, two decoder blocks, and a layer that predicts the next token."""

    def __init__(self, vocabulary, length=8, features=8):
        super().__init__()
        self.tokens = layers.Embedding(vocabulary, features, mask_zero=True)
        self.positions = layers.PositionEmbedding(length)
        self.blocks = [layers.TransformerDecoderBlock(16, 2, activation="gelu", normalize_first=True) for _ in range(2)]
        self.norm, self.add = layers.LayerNormalization(), layers.Add()
        self.head = layers.Dense(vocabulary)

    def call(self, ids):
        x = self.tokens(ids)
        x = self.add([x, self.positions(x)])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


IDS = np.array([[1, 2, 3, 4, 5, 1], [5, 4, 3, 2, 1, 5], [1, 3, 5, 2, 4, 1]])


def test_a_later_token_changes_no_earlier_output():
    model = GPT(6)
    before = model(tg.tensor(IDS)).detach().numpy()
    for place in range(6):
        changed = IDS.copy()
        changed[:, place] = 0
        after = model(tg.tensor(changed)).detach().numpy()
        near(after[:, :place], before[:, :place], 10)
        assert (abs(after[:, place:] - before[:, place:]).max(axis=(0, 2)) > 1e-4).all()


def test_padding_changes_nothing_for_what_counts():
    gpt, encoder = GPT(6), layers.TransformerEncoderBlock(16, 2)
    tables = [lambda ids, padding: gpt(tg.tensor(ids))]
    table = tg.tensor(randoms(6, 8))
    tables.append(lambda ids, padding: encoder(tg.embedding(table, tg.tensor(ids)), tg.tensor(padding)))
    for model in tables:
        alone = [
            model(IDS[i : i + 1, : 6 - 2 * i], np.ones((1, 6 - 2 * i), bool)).detach().numpy()[0] for i in range(3)
        ]
        lengths = np.array([6, 4, 2])
        padding = np.arange(6) < lengths[:, None]
        together = model(np.where(padding, IDS, 0), padding).detach().numpy()
        for row, expected, length in zip(together, alone, lengths, strict=True):
            near(row[:length], expected, 30)


def test_a_gpt_learns_under_jit_as_it_does_without():
    ids, following = tg.tensor(IDS[:, :-1]), tg.tensor(IDS[:, 1:])
    losses = {}
    for name in ("eager", "jit"):
        tg.seed(3)
        model = GPT(6)
        model(ids)
        optimizer = tg.optimizers.Adam(0.02).build(model.parameters())

        def step(ids, following, model=model, optimizer=optimizer):
            loss = tg.cross_entropy(model(ids), following)
            optimizer.minimize(loss)
            return loss

        run = tg.jit(step) if name == "jit" else step
        losses[name] = [float(run(ids, following).item()) for _ in range(12)]
    assert losses["eager"][-1] < 0.5 * losses["eager"][0]
    np.testing.assert_allclose(losses["jit"], losses["eager"], rtol=1e-4)


@pytest.mark.parametrize("kind", ["int32", "bool"])
def test_positions_of_integers(kind):
    x = np.ones((1, 3, 4), kind)
    near(layers.SinusoidalPositionEncoding()(x), layers.SinusoidalPositionEncoding()(x.astype("float32")), 0)
    near(layers.RotaryEmbedding()(x), layers.RotaryEmbedding()(x.astype("float32")), 0)
    with tg.use_dtype("float64"):
        assert layers.SinusoidalPositionEncoding()(x).dtype == "float64"


@pytest.mark.parametrize("call", [
    lambda x, empty: layers.MultiHeadAttention(2, 4)(x, empty),
    lambda x, empty: layers.Attention()([x, empty]),
])  # fmt: skip
def test_attention_to_nothing(call):
    with pytest.raises(ShapeError, match=r"expected at least one key, received value \(2, 0, 4\)"):
        call(tg.ones((2, 3, 4)), tg.ones((2, 0, 4)))


@pytest.mark.parametrize("axes", [5, "a", (1, 2)])
def test_other_axes_of_attention(axes):
    with pytest.raises(ValueError, match=r"MultiHeadAttention: expected attention_axes to be None or \(1,\)"):
        layers.MultiHeadAttention(2, 4, attention_axes=axes)


def test_weights_are_arrays_of_their_own():
    """A plan overwrites in place what is no part of another array."""
    layer = layers.MultiHeadAttention(2, 4)
    layer(tg.ones((2, 3, 5)), tg.ones((2, 4, 6)))
    assert all(weight.data.base is None for weight in layer.weights)
