"""Three interleaved spirals, told apart by a multilayer perceptron."""

import numpy as np
from tensorflow.keras.layers import BatchNormalization, Dense, Dropout, Input
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import Adam
from tensorflow.keras.utils import set_random_seed, to_categorical

set_random_seed(1)


def spirals(points, classes=3):
    labels = np.random.randint(0, classes, points)
    radius = np.random.uniform(0.1, 1.0, points)
    angle = 4.0 * radius + 2.0 * np.pi * labels / classes + np.random.normal(0.0, 0.15, points)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), labels


x_train, y_train = spirals(1200)
x_test, y_test = spirals(400)

model = Sequential()
model.add(Input(shape=(2,)))
model.add(Dense(64, activation="relu"))
model.add(BatchNormalization())
model.add(Dropout(0.1))
model.add(Dense(64, activation="relu"))
model.add(BatchNormalization())
model.add(Dense(3, activation="softmax"))
model.summary()

model.compile(optimizer=Adam(learning_rate=0.01), loss="categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    x_train, to_categorical(y_train, 3), batch_size=32, epochs=20, validation_split=0.1, shuffle=True, verbose=2
)
print("best validation accuracy:", max(history.history["val_accuracy"]))

loss, accuracy = model.evaluate(x_test, to_categorical(y_test, 3), verbose=0)
predicted = model.predict(x_test, verbose=0).argmax(axis=1)
print("errors:", int((predicted != y_test).sum()), "of", len(y_test))
print(f"test accuracy: {accuracy:.4f}")
