"""What is in a noisy picture, and in which half: a convolutional network with two outputs."""

import numpy as np
import tensorflow.keras as keras
from tensorflow.keras import layers

keras.utils.set_random_seed(2)
SIZE = 16
SHAPES = [
    [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],  # a box
    [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]],  # a plus
    [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]],  # a cross
]


def pictures(count):
    images = np.random.normal(0.0, 0.2, (count, SIZE, SIZE, 1))
    kinds = np.random.randint(0, len(SHAPES), count)
    corners = np.random.randint(0, SIZE - 4, (count, 2))
    for image, kind, (row, column) in zip(images, kinds, corners):
        image[row : row + 5, column : column + 5, 0] += SHAPES[kind]
    return images.astype("float32"), kinds, (corners[:, 1] > (SIZE - 5) / 2).astype("float32")


x_train, kind_train, side_train = pictures(1000)
x_test, kind_test, side_test = pictures(300)

inputs = keras.Input(shape=(SIZE, SIZE, 1), name="picture")
x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
x = layers.MaxPooling2D()(x)
x = layers.Conv2D(24, (3, 3), activation="relu")(x)
kind = layers.GlobalAveragePooling2D()(x)
kind = layers.Dense(3, activation="softmax", name="kind")(kind)
side = layers.MaxPooling2D(pool_size=(2, 2))(x)
side = layers.Flatten()(side)
side = layers.Dense(1, activation="sigmoid", name="side")(side)
model = keras.Model(inputs=inputs, outputs=[kind, side], name="what_and_where")
model.summary()

model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss={"kind": "sparse_categorical_crossentropy", "side": "binary_crossentropy"},
    loss_weights={"kind": 1.0, "side": 0.5},
    metrics={"kind": ["accuracy"], "side": ["accuracy"]},
)
model.fit(
    x_train,
    {"kind": kind_train, "side": side_train},
    batch_size=50,
    epochs=12,
    validation_data=(x_test, {"kind": kind_test, "side": side_test}),
    verbose=2,
)
results = model.evaluate(x_test, {"kind": kind_test, "side": side_test}, verbose=0, return_dict=True)
print("side accuracy:", results["side_accuracy"])

features = keras.Model(model.input, model.get_layer("kind").input)
print("features:", features.predict(x_test, verbose=0).shape)
print(f"test accuracy: {results['kind_accuracy']:.4f}")
