"""Praise or blame: LSTM and attention read the order of words, a bag of words cannot.

"The story was good but the ending is dull" and "the ending is dull but the story was good" have the same words; the
first blames, the second praises. A bag of words, here the mean of the words' embeddings, sees no difference. An LSTM
reads word by word. Self-attention looks at all words at once and knows the order by an embedding of the position
(Vaswani et al., "Attention is all you need", 2017). A second attention then sums up the sentence, and its weights tell
where it looked (Bahdanau et al., "Neural machine translation by jointly learning to align and translate", 2015); a
place holds by then what self-attention has gathered there, so it need not be that of the word that decides.

The sentences are made by a small grammar, `datasets.sentences`. `--data imdb` takes film reviews, the first 200 words
of each; 84 MB are downloaded once. There single words tell most, and the bag is harder to beat.

Try: take the PositionEmbedding out, and attention is a bag of words too.
"""

from typing import Literal

import numpy as np

from tinygrad_edu import callbacks, layers, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import imdb, sentences
from tinygrad_edu.utils import pad_sequences

EXAMPLES = (
    "the story was good but the ending is dull",
    "the ending is dull but the story was good",
    "although the ending is dull, the story was good",
    "the plot is not very clever",
    "the music is not at all bad",
    "the film was much too long and the acting is rather good",
)


def generated(samples):
    """Word numbers of the training and test part with labels, the numbers of EXAMPLES, and the words by number."""
    (x_train, y_train), (x_test, y_test) = sentences.load_data(samples=samples)
    to_ids = layers.TextVectorization(output_sequence_length=16)
    to_ids.adapt(x_train)
    ids = [to_ids(texts).numpy() for texts in (x_train, x_test, EXAMPLES)]
    return (ids[0], y_train), (ids[1], y_test), ids[2], to_ids.get_vocabulary()


def reviews(train, test):
    """The same of a part of the reviews, with reviews of the test part as examples."""
    (x_train, y_train), (x_test, y_test) = imdb.load_data(num_words=10000)
    words = ["", "[START]", "[UNK]", "", *imdb.get_word_index()][:10000]  # the first word has number 4
    x_train, x_test = (
        pad_sequences(x, maxlen=200, padding="post", truncating="post") for x in (x_train[:train], x_test[:test])
    )
    return (x_train, y_train[:train]), (x_test, y_test[:test]), x_test[:6], words


def bag_of_words(length, words):
    ids = layers.Input((length,), dtype="int64")
    x = layers.Embedding(words, 32, mask_zero=True)(ids)  # 0 is padding, which all that follows leaves out
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(32, activation="relu")(x)
    return models.Model(ids, layers.Dense(1, activation="sigmoid")(x))


def lstm(length, words):
    ids = layers.Input((length,), dtype="int64")
    x = layers.Embedding(words, 32, mask_zero=True)(ids)
    x = layers.LSTM(32)(x)
    return models.Model(ids, layers.Dense(1, activation="sigmoid")(x))


def attention(length, words):
    """The model, and one of the same layers that gives the weights of the words."""
    ids = layers.Input((length,), dtype="int64")
    x = layers.Embedding(words, 32, mask_zero=True)(ids)
    x = layers.Add()([x, layers.PositionEmbedding(length)(x)])
    x = layers.TransformerEncoderBlock(intermediate_dim=64, num_heads=4)(x)
    mean = layers.GlobalAveragePooling1D(keepdims=True)(x)  # asks each word how much it matters
    x, weights = layers.AdditiveAttention()([mean, x], return_attention_scores=True)
    x = layers.Flatten()(x)
    return models.Model(ids, layers.Dense(1, activation="sigmoid")(x)), models.Model(ids, weights)


def draw(histories, examples, weights, likely, words):
    """Accuracies over the epochs, and up to 12 words of each example, where the attention's weights are largest."""
    figure, (left, right) = viz.subplots(2, 1, (11, 8))
    for (name, history), style in zip(histories.items(), ("o-", "s--", "^:"), strict=True):
        accuracy = history.history["val_accuracy"]
        left.plot(np.arange(1, len(accuracy) + 1), accuracy, style, label=name)
    left.set(title="Accuracy on validation data", xlabel="epoch", ylabel="accuracy")
    left.legend(loc="center right")
    shown = np.zeros((len(examples), 12))
    for row, ids in enumerate(examples):
        start = np.clip(weights[row].argmax() - 6, 0, max(np.count_nonzero(ids) - 12, 0))
        for column, i in enumerate(ids[start : start + 12]):
            shown[row, column] = weight = weights[row, start + column]
            right.text(column, row, words[i], ha="center", va="center", color="white" if weight > 0.5 else "black")
    right.imshow(shown, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    right.set(title="Where the attention looks (the darker, the more weight), and what it says", xticks=[])
    right.set_yticks(range(len(examples)), [f"{'praise' if p > 0.5 else 'blame'} ({p:.2f})" for p in likely])
    return figure


def main(quick=False, plot=None, data: Literal["generated", "imdb"] = "generated"):
    if data == "imdb":
        train, test, examples, words = reviews(*((200, 100) if quick else (5000, 2500)))
    else:
        train, test, examples, words = generated(3000 if quick else 10000)
    (x_train, y_train), (x_test, y_test) = train, test
    length = x_train.shape[1]
    print(f"{len(x_train)} texts to train on, {len(x_test)} to test, {len(words)} words")

    attending, weights = attention(length, len(words))
    networks = {
        "LSTM": lstm(length, len(words)),
        "attention": attending,
        "bag of words": bag_of_words(length, len(words)),
    }
    histories, figures = {}, {}
    for name, model in networks.items():
        model.compile(optimizers.Adam(0.005, clipnorm=1.0), loss="binary_crossentropy", metrics=["accuracy"])
        best = callbacks.EarlyStopping(patience=2, restore_best_weights=True)  # by the loss on validation data
        histories[name] = model.fit(
            x_train, y_train, epochs=8, batch_size=64, validation_split=0.1, callbacks=[best], verbose=0
        )
        figures[f"{name}: test accuracy"] = model.evaluate(x_test, y_test, verbose=0)[1]
        print(f"  {name:<14} {figures[f'{name}: test accuracy']:.1%} of the test part")
    figures["the more frequent label"] = np.mean(y_test == np.bincount(y_train).argmax())

    print("how likely it is praise, says each:")
    likely = {name: model.predict(examples)[:, 0] for name, model in networks.items()}
    for row, ids in enumerate(examples):
        text = " ".join(words[i] for i in ids[ids > 0][:12])
        print(f"  {text:<58}", "  ".join(f"{name} {p[row]:.2f}" for name, p in likely.items()))
    if plot:
        draw(histories, examples, weights.predict(examples)[:, 0], likely["attention"], words).savefig(plot)
    return figures


if __name__ == "__main__":
    run(main)
