"""Data sets, used as in Keras: `(x_train, y_train), (x_test, y_test) = digits.load_data()`."""

from .embedded import DATA_FILES, breast_cancer, diabetes, digits, iris, wine
from .generated import blobs, circles, moons, ratings, sine_waves, spirals, xor
from .texts import arithmetic, date_formats, pydoc_corpus

__all__ = [
    "DATA_FILES", "arithmetic", "blobs", "breast_cancer", "circles", "date_formats", "diabetes", "digits", "iris",
    "moons", "pydoc_corpus", "ratings", "sine_waves", "spirals", "wine", "xor",
]
