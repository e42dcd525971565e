"""Film reviews of a few words, made up, as good or bad: an LSTM in both directions, on sequences of unequal length."""

import random

import numpy as np
from tensorflow.keras import layers, models, optimizers, utils

utils.set_random_seed(3)
GOOD, BAD = ["good", "great", "moving", "funny"], ["bad", "boring", "awful", "flat"]
FILLER = ["the", "film", "plot", "was", "is", "and", "its", "actors", "music", "very", "quite", "long"]
TURNS = ["not", "never"]
WORDS = ["<pad>", *GOOD, *BAD, *FILLER, *TURNS]
IDS = {word: number for number, word in enumerate(WORDS)}


def review():
    """Words with one judgement among them, which a word before it may turn into its opposite."""
    good, turned = random.random() < 0.5, random.random() < 0.5
    before, after = (random.choices(FILLER, k=random.randint(0, 6)) for _ in range(2))
    words = [*before, *([random.choice(TURNS)] if turned else []), random.choice(GOOD if good else BAD), *after]
    return [IDS[word] for word in words], int(good != turned)


reviews, labels = zip(*(review() for _ in range(1400)))
x = utils.pad_sequences(reviews, maxlen=12, padding="post")
y = np.array(labels)
x_train, y_train, x_test, y_test = x[:1000], y[:1000], x[1000:], y[1000:]

model = models.Sequential(
    [
        layers.Embedding(len(WORDS), 8, mask_zero=True),
        layers.Bidirectional(layers.LSTM(12, return_sequences=True)),
        layers.LSTM(12),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=12, batch_size=20, validation_split=0.1, verbose=2)
model.summary()

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy: {accuracy:.4f}")
