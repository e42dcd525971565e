"""Downloaded data sets of texts and ratings: film reviews, film ratings, Shakespeare."""

from __future__ import annotations

import collections
import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import check_integer, message
from ..files import write_atomically
from .archives import read_tar, read_zip
from .download import File, fetch
from .splits import Split, split

WORDS = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
"""A word: letters and digits of any script, and apostrophes between them."""


class IMDB:
    """50,000 film reviews that like a film (1) or do not (0), as numbers of words: A. Maas et al., "Learning word
    vectors for sentiment analysis" (2011); 84 MB.

    Word number 1 is the most frequent one of the training reviews, and so on; words of one frequency go by the
    alphabet. The numbers and the order differ from those in Keras, which come from a file of pickled objects.
    """

    file = File(
        "imdb/aclImdb_v1.tar.gz",
        ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
        "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
        84_125_825,
    )

    def load_data(
        self,
        num_words: int | None = None,
        skip_top: int = 0,
        maxlen: int | None = None,
        seed: int = 113,
        start_char: int | None = 1,
        oov_char: int | None = 2,
        index_from: int = 3,
    ) -> Split:
        """`(x_train, y_train), (x_test, y_test)`: lists of word numbers in arrays of objects (25000,), and int64
        labels.

        `utils.pad_sequences(x_train, maxlen=...)` makes an array of numbers of them.

        Args:
            num_words: numbers from that one on, and those below `skip_top`, become `oov_char`, or are left out if that
                is None.
            maxlen: reviews of so many numbers or more are left out.
            seed: of the order of the reviews.
            start_char: stands before each review; None for nothing.
            index_from: is added to the number of each word.

        Raises ValueError if no review is left.
        """
        arrays = self._numbers()
        index_from = check_integer("load_data", "index_from", index_from, 0)
        top = check_integer("load_data", "skip_top", skip_top, 0)
        limit = None if num_words is None else check_integer("load_data", "num_words", num_words, 1)
        longest = None if maxlen is None else check_integer("load_data", "maxlen", maxlen, 1)
        random = np.random.default_rng(check_integer("load_data", "seed", seed, 0))
        sides = []
        for side in ("train", "test"):
            ids = arrays[f"{side}_ids"].astype(np.int64) + index_from
            rows = np.split(ids, np.cumsum(arrays[f"{side}_lengths"])[:-1])
            order = random.permutation(len(rows))
            x = [([] if start_char is None else [start_char]) + rows[i].tolist() for i in order]
            y = arrays[f"{side}_labels"].astype(np.int64)[order]
            if longest is not None:
                y = y[[len(row) < longest for row in x]]
                x = [row for row in x if len(row) < longest]
            if not x:
                raise ValueError(message("load_data", "maxlen to leave some reviews", f"{maxlen}"))
            x = [_kept(row, top, limit, oov_char) for row in x]
            lists = np.empty(len(x), dtype=object)
            lists[:] = x
            sides.append((lists, y))
        return sides[0], sides[1]

    def get_word_index(self) -> dict[str, int]:
        """The number of each word, from 1; the reviews have `index_from` more."""
        words = self._numbers()["words"].tobytes().decode().split("\n")
        return {word: i for i, word in enumerate(words, start=1)}

    def _numbers(self) -> dict[str, Any]:
        """All reviews as numbers, from a file beside the archive, or else from that, which takes half a minute."""
        archive = fetch(self.file)
        known = archive.with_name(f"numbers-{self.file.sha256[:16]}.npz")
        try:
            with open(known, "rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except Exception:  # not there, or damaged in one of many ways
            arrays = read_reviews(archive)
            content = io.BytesIO()
            np.savez(content, **arrays)
            with contextlib.suppress(OSError):  # what cannot be kept is computed again
                write_atomically(known, content.getvalue())
            return arrays


def _kept(row: list[int], top: int, limit: int | None, oov: int | None) -> list[int]:
    if limit is None and not top:
        return row
    inside = (number if top <= number and (limit is None or number < limit) else oov for number in row)
    return [number for number in inside if number is not None]


def read_reviews(archive: Path) -> dict[str, Any]:
    """From the archive of texts: "words", the most frequent first, as the bytes of lines; for "train" and "test" the
    numbers of all words in a row ("train_ids"), how many each review has ("train_lengths"), and "train_labels"."""
    form = re.compile(r"aclImdb/(train|test)/(neg|pos)/[0-9_]+\.txt")
    texts: dict[tuple[str, str], list[tuple[str, list[str]]]] = collections.defaultdict(list)
    for name, content in read_tar(archive, lambda name: bool(form.fullmatch(name)), limit=1 << 30):
        side, label, _ = name.split("/")[1:]
        words = WORDS.findall(content.decode("utf-8", "replace").lower().replace("<br />", " "))
        texts[side, label].append((name, words))
    counts = collections.Counter(
        word for label in ("neg", "pos") for _, words in texts["train", label] for word in words
    )
    if not counts or not all(texts[side, label] for side in ("train", "test") for label in ("neg", "pos")):
        raise ValueError(message(str(archive), "texts in aclImdb/train and test, each in neg and pos", "others"))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    number = {word: i for i, word in enumerate(ranked, start=1)}
    arrays: dict[str, Any] = {"words": np.frombuffer("\n".join(ranked).encode(), np.uint8)}
    for side in ("train", "test"):
        rows = [(i, words) for i, label in enumerate(("neg", "pos")) for _, words in sorted(texts[side, label])]
        ids = [[number[word] for word in words if word in number] for _, words in rows]
        arrays[f"{side}_ids"] = np.array([one for row in ids for one in row], dtype=np.int32)
        arrays[f"{side}_lengths"] = np.array([len(row) for row in ids], dtype=np.int32)
        arrays[f"{side}_labels"] = np.array([label for label, _ in rows], dtype=np.int8)
    return arrays


class MovieLens100k:
    """100,000 ratings of 1,682 films by 943 people, from 1 to 5 stars: F. M. Harper and J. A. Konstan, "The MovieLens
    datasets: history and context" (2015); for research; 4.9 MB."""

    file = File(
        "movielens_100k/ml-100k.zip",
        ("https://files.grouplens.org/datasets/movielens/ml-100k.zip",),
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        4_924_029,
    )

    def load_data(self, test_fraction: float = 0.2, seed: int = 0) -> Split:
        """int64 x (n, 2), the numbers of a user and a film, from 0, and float32 y (n,), the stars; as `ratings`."""
        rows = [line.split("\t") for line in self._read("ml-100k/u.data").splitlines()]
        try:
            table = np.array([[int(cell) for cell in row[:3]] for row in rows], dtype=np.int64).reshape(-1, 3)
        except ValueError as error:
            raise ValueError(message("ml-100k/u.data", "lines of whole numbers between tabs", str(error))) from None
        if not len(table) or table.min() < 1 or table[:, 2].max() > 5:
            raise ValueError(message("ml-100k/u.data", "users and films from 1, and 1 to 5 stars", "others"))
        return split(table[:, :2] - 1, table[:, 2].astype(np.float32), test_fraction, seed)

    def titles(self) -> list[str]:
        """The films by their numbers, such as "Toy Story (1995)"."""
        return [line.split("|")[1] for line in self._read("ml-100k/u.item").splitlines()]

    def _read(self, name: str) -> str:
        found = dict(read_zip(fetch(self.file), name.__eq__, limit=64 << 20))
        if name not in found:
            raise ValueError(message(self.file.name, f"a file {name!r}", "none"))
        return found[name].decode("latin-1")


class TinyShakespeare:
    """Parts of Shakespeare's plays, 1,115,394 letters, that A. Karpathy put together for "The unreasonable
    effectiveness of recurrent neural networks" (2015); 1.1 MB."""

    file = File(
        "tiny_shakespeare/input.txt",
        ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        1_115_394,
    )

    def load_data(self) -> str:
        """One text."""
        return fetch(self.file).read_bytes().decode("utf-8")


imdb, movielens_100k, tiny_shakespeare = IMDB(), MovieLens100k(), TinyShakespeare()
