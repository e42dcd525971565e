"""A small GPT and an LSTM learn English letter by letter, and write some themselves.

Both give the probabilities of the next letter after each letter of a window. A good model of a text is surprised
little: the mean of -log2 p, in bits per character, is the length to which the text could be compressed with it
(Shannon, "Prediction and entropy of printed English", 1951). The honest rivals are n-grams, which count what followed
the last n - 1 letters, smoothed by the rule of Witten and Bell (1991). In a minute the networks pass trigrams by far.
5-grams stay a little ahead: documentation repeats itself, and they know by heart what it repeats; with more steps the
GPT passes them too. A GPT is a stack of transformer blocks that see the past only (Radford et al., 2018); an LSTM reads
from left to right and remembers.

The text is Python's own documentation, its end held out. Then both go on writing where that begins. A temperature
below 1 sharpens the probabilities: fewer errors, more repetition.

Try: other temperatures; more steps.
"""

import collections
import re

import numpy as np

from tinygrad_edu import callbacks, layers, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import pydoc_corpus

CONTEXT, BATCH = 64, 8


def gpt(letters):
    """The model, and one to the attention weights of its last block (batch, heads, letters, letters seen)."""
    ids = layers.Input((CONTEXT,), dtype="int64")
    embedded = layers.Embedding(letters, 64)(ids)
    x = layers.Add()([embedded, layers.PositionEmbedding(CONTEXT, initializer="uniform")(embedded)])
    for _ in range(2):
        block, before = layers.TransformerDecoderBlock(256, num_heads=4, activation="gelu", normalize_first=True), x
        x = block(before)
    following = layers.Dense(letters, activation="softmax")(layers.LayerNormalization()(x))

    seen = block.self_attention_norm(before)
    _, weights = block.self_attention(seen, seen, use_causal_mask=True, return_attention_scores=True)
    return models.Model(ids, following), models.Model(ids, weights)


def lstm(letters):
    return models.Sequential(
        [
            layers.Input((CONTEXT,), dtype="int64"),
            layers.Embedding(letters, 64),
            layers.LSTM(128, return_sequences=True),
            layers.Dense(letters, activation="softmax"),
        ]
    )


def ngram_bits(train, test, longest, letters):
    """Bits per character of 1-grams, 2-grams, and so on. With the number of different letters that followed as `kinds`,
    p(letter | n - 1 before) = (count + kinds * p(letter | n - 2 before)) / (all counts + kinds)."""
    bits, p = [], np.full(len(test), 1.0 / letters)
    for before in range(longest):
        followers = collections.defaultdict(collections.Counter)
        for i in range(before, len(train)):
            followers[train[i - before : i]][train[i]] += 1
        totals = {context: counts.total() for context, counts in followers.items()}
        for i in range(before, len(test)):
            context = test[i - before : i]
            if context in followers:
                counts, kinds = followers[context], len(followers[context])
                p[i] = (counts[test[i]] + kinds * p[i]) / (totals[context] + kinds)
        bits.append(-np.log2(p).mean())
    return bits


def batches(ids):
    """Windows from random places, for ever; the target of a letter is the next one."""
    places = np.random.default_rng(0)
    while True:
        rows = ids[places.integers(len(ids) - CONTEXT, size=(BATCH, 1)) + np.arange(CONTEXT + 1)]
        yield rows[:, :-1], rows[:, 1:]


def train(model, ids, held_out, rate, steps):
    """Trains the model and returns its bits per character on the held-out text, ten times on the way."""
    warmup = steps // 10
    rate = optimizers.schedules.Warmup(optimizers.schedules.CosineDecay(rate, steps - warmup), warmup)
    model.compile(optimizers.AdamW(rate, weight_decay=0.01, beta_2=0.99), "sparse_categorical_crossentropy")
    bits = []

    def report(epoch, logs):
        bits.append(logs["val_loss"] / np.log(2))
        print(f"  step {(epoch + 1) * steps // 10:>5}: {bits[-1]:.3f} bits per character held out", flush=True)

    rows = np.lib.stride_tricks.sliding_window_view(held_out, CONTEXT + 1)[::CONTEXT]
    model.fit(
        batches(ids),
        steps_per_epoch=steps // 10,
        epochs=10,
        validation_data=(rows[:, :-1], rows[:, 1:]),
        validation_batch_size=64,
        verbose=0,
        callbacks=[callbacks.LambdaCallback(on_epoch_end=report)],
    )
    return bits


def write(model, ids, length, temperature):
    """The ids of so many letters that follow, each drawn by its probability."""
    ids, draws = list(ids), np.random.default_rng(0)
    for _ in range(length):
        p = model.predict_on_batch(np.array([ids[-CONTEXT:]]))[0, -1].astype("float64") ** (1.0 / temperature)
        ids.append(draws.choice(len(p), p=p / p.sum()))
    return ids[-length:]


def draw(curves, ngrams, steps, weights, letters):
    figure, (ax, head) = viz.subplots(1, 2, figsize=(12, 4.8))
    for (name, bits), style in zip(curves.items(), ("o-", "s--"), strict=True):
        ax.plot(np.arange(1, 11) * steps // 10, bits, style, label=name)
    for name, bits in ngrams.items():
        ax.axhline(bits, color="gray", linewidth=0.8, linestyle=":")
        ax.text(1.01, bits, name, color="gray", va="center", transform=ax.get_yaxis_transform())
    ax.set(title="How much the held-out text surprises", xlabel="steps", ylabel="bits per character held out")
    ax.legend(loc=(0.7, 0.7))  # between two of the lines
    viz.plot_attention(weights, queries=letters, keys=letters, ax=head)
    head.set(title="Where one head of the GPT looks", xlabel="letter seen", ylabel="as it predicts what follows")
    return figure


def main(quick=False, plot=None):
    text = re.sub(" +", " ", pydoc_corpus.load_data())  # without the blank columns of its tables
    alphabet = sorted(set(text))
    text = text[: 60_000 if quick else None]
    ids, cut = np.searchsorted(alphabet, list(text)), int(0.9 * len(text))
    steps = 100 if quick else 2500

    print(f"{cut} letters to learn from, {len(text) - cut} held out, {len(alphabet)} different; bits per character:")
    ngrams = ngram_bits(text[:cut], text[cut:], 3 if quick else 6, len(alphabet))
    best = int(np.argmin(ngrams)) + 1
    print("  ".join(f"{n}-grams {bits:.3f}" for n, bits in enumerate(ngrams, 1)))

    (transformer, attention), recurrent = gpt(len(alphabet)), lstm(len(alphabet))
    curves = {}
    for name, model, rate in (("GPT", transformer, 0.006), ("LSTM", recurrent, 0.01)):
        print(f"{name}, {model.count_params()} parameters:")
        curves[name] = train(model, ids[:cut], ids[cut:], rate, steps)

    prompt = ids[cut : cut + CONTEXT]
    print(f"\nThe held-out text begins: {''.join(alphabet[i] for i in prompt)!r}")
    for name, model in (("GPT", transformer), ("LSTM", recurrent)):
        for temperature in (0.6, 1.0):
            written = write(model, prompt, 20 if quick else 300, temperature)
            print(f"\n--- {name} goes on, at temperature {temperature}:\n{''.join(alphabet[i] for i in written)}")

    if plot:
        shown = 24
        heads = attention.predict(prompt[None])[0, :, :shown, :shown]
        back = np.arange(shown)[:, None] - np.arange(shown)
        far = (heads * back).sum(axis=(1, 2)).argmax()  # the head that looks back farthest
        seen = [alphabet[i].replace("\n", "↵") for i in prompt[:shown]]
        rivals = {f"{n}-grams": ngrams[n - 1] for n in (1, 2, 3, best)}
        draw(curves, rivals, steps, heads[far], seen).savefig(plot)
    return {
        "GPT bits per character": curves["GPT"][-1],
        "LSTM bits per character": curves["LSTM"][-1],
        "unigrams": ngrams[0],
        "trigrams": ngrams[2],
        "best n-grams": ngrams[best - 1],
    }


if __name__ == "__main__":
    run(main)
