"""Data sets, used as in Keras: `(x_train, y_train), (x_test, y_test) = digits.load_data()`."""

from .embedded import breast_cancer, diabetes, digits, iris, wine
from .generated import blobs, circles, housing, moons, ratings, sine_waves, spirals, xor
from .images import cifar10, cifar100, fashion_mnist, mnist
from .reviews import imdb, movielens_100k, tiny_shakespeare
from .texts import arithmetic, date_formats, pydoc_corpus, sentences

__all__ = [
    "arithmetic", "blobs", "breast_cancer", "cifar10", "cifar100", "circles", "date_formats", "diabetes",
    "digits", "fashion_mnist", "housing", "imdb", "iris", "mnist", "moons", "movielens_100k", "pydoc_corpus",
    "ratings", "sentences", "sine_waves", "spirals", "tiny_shakespeare", "wine", "xor",
]
