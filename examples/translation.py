"""An encoder and a decoder with attention learn to write dates as in ISO 8601.

"saturday, august 23, 2031" becomes "2031-08-23", letter by letter. An encoder reads the date in both directions; a
decoder writes the other, and gets what it wrote before as its input. Without attention all that it learns of the date
is one vector, the state in which the encoder ends (Sutskever et al., "Sequence to sequence learning with neural
networks", 2014). With attention it looks at every letter again: the context of each step is the mean of all that the
encoder said, weighted by how well it fits the decoder's state (Bahdanau et al., 2015; here in the form of Luong et al.,
"Effective approaches to attention-based neural machine translation", 2015, a product of the two).

In training the decoder is given the right letters, whatever it would have written itself (teacher forcing). In the test
it only has its own: a date counts if all ten letters are right.

Try: more epochs, and see how far the network without attention comes; `layers.AdditiveAttention`, another attention.
"""

import numpy as np

from tinygrad_edu import layers, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import date_formats

START, WRITTEN = "^", len("2031-08-23")
UNITS, BATCH = 64, 32


def letters(texts):
    """The layer that turns such texts into rows of ids, filled up with 0."""
    layer = layers.TextVectorization(standardize=None, split="character")
    layer.adapt(texts)
    return layer


def build(source_letters, target_letters, attention):
    """The model from a date and the letters written so far to the next letters, and one to its attention weights
    (dates, letters written, letters read), None without attention."""
    source = layers.Input((None,), dtype="int64", name="source")
    written = layers.Input((WRITTEN,), dtype="int64", name="written")

    embedded = layers.Embedding(source_letters.vocabulary_size(), 32, mask_zero=True)(source)
    encoder = layers.Bidirectional(layers.GRU(UNITS // 2, return_sequences=True, return_state=True))
    encoded, forward, backward = encoder(embedded)

    embedded = layers.Embedding(target_letters.vocabulary_size(), 32)(written)
    code = layers.Concatenate()([forward, backward])
    decoded = layers.GRU(UNITS, return_sequences=True)(embedded, initial_state=code)
    weights = None
    if attention:
        context, weights = layers.Attention()([decoded, encoded], return_attention_scores=True)
        decoded = layers.Concatenate()([decoded, context])
    following = layers.Dense(target_letters.vocabulary_size(), activation="softmax")(decoded)
    inputs = [source, written]
    return models.Model(inputs, following), models.Model(inputs, weights) if attention else None


def train(model, source, target, epochs):
    steps = epochs * -(-len(source) // BATCH)
    rate = optimizers.schedules.CosineDecay(0.008, decay_steps=steps)
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit([source, target[:, :-1]], target[:, 1:], batch_size=BATCH, epochs=epochs, verbose=0).history
    for epoch, (loss, accuracy) in enumerate(zip(history["loss"], history["accuracy"], strict=True), 1):
        print(f"  epoch {epoch}: loss {loss:.4f}, right letters {accuracy:.2%}")


def translate(model, source, start):
    """What the model writes for all the dates at once, the likeliest letter at each step: ids (dates, 1 + WRITTEN)."""
    ids = np.zeros((len(source), 1 + WRITTEN), "int64")
    ids[:, 0] = start
    for step in range(WRITTEN):  # what stands after the step is not read yet: the decoder runs from left to right
        following = model.predict([source, ids[:, :-1]], batch_size=500, verbose=0)
        ids[:, step + 1] = following[:, step].argmax(axis=-1)
    return ids


def draw(attention, source, ids, date, iso):
    weights = attention.predict([source[None], ids[None, :-1]])[0, :, : len(date)]
    figure, ax = viz.subplots(figsize=(8, 4))
    viz.plot_attention(weights, queries=iso, keys=date, ax=ax)
    ax.set(title="Where the decoder looks as it writes each letter", xlabel="letter read", ylabel="letter written")
    return figure


def main(quick=False, plot=None):
    (dates, iso), (test_dates, test_iso) = date_formats.load_data(samples=3000 if quick else 10000)
    source_letters, target_letters = letters(dates), letters(np.char.add(START, iso))
    source, test_source = source_letters(dates).numpy(), source_letters(test_dates).numpy()
    target = target_letters(np.char.add(START, iso)).numpy()
    vocabulary = target_letters.get_vocabulary()

    ids, translations = {}, {}
    model, attention = build(source_letters, target_letters, attention=True)
    plain, _ = build(source_letters, target_letters, attention=False)
    for name, network in (("attention", model), ("no attention", plain)):
        print(f"{len(dates)} dates, {name}:")
        train(network, source, target, epochs=3 if quick else 4)
        ids[name] = translate(network, test_source, start=vocabulary.index(START))
        translations[name] = np.array(["".join(vocabulary[i] for i in row[1:]) for row in ids[name]])

    print(f"\n{'held-out date':<30} {'attention':<12} no attention")
    for date, first, second in list(zip(test_dates, *translations.values(), strict=True))[:6]:
        print(f"{date:<30} {first:<12} {second}")
    wrong = np.flatnonzero(translations["attention"] != test_iso)
    print(f"With attention {len(wrong)} of {len(test_dates)} are wrong{', for example:' if len(wrong) else '.'}")
    for row in wrong[:5]:
        print(f"{test_dates[row]:<30} {translations['attention'][row]:<12} is {test_iso[row]}")

    if plot:
        row = max(range(100), key=lambda i: len(test_dates[i]))
        written = translations["attention"][row]
        draw(attention, test_source[row], ids["attention"][row], test_dates[row], written).savefig(plot)
    return {
        "exact translations": (translations["attention"] == test_iso).mean(),
        "without attention": (translations["no attention"] == test_iso).mean(),
    }


if __name__ == "__main__":
    run(main)
