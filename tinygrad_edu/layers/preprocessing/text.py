"""Texts become ids: TextVectorization."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from typing import Any

import numpy

from ...errors import ShapeError, check_integer, choice, message
from .lookup import Lookup

STANDARDIZE = ("lower", "lower_and_strip_punctuation", "strip_punctuation")
SPLIT = ("character", "whitespace")
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
STRIP = str.maketrans("", "", string.punctuation)
WORDS = re.compile(r"[^ \t\n\v\f\r]+")


class TextVectorization(Lookup):
    """Cuts texts into tokens and numbers these by a vocabulary that is given or learned by `adapt`.

    Texts (n,) or (n, 1) become ids (n, length), filled up with 0 to the longest row or to `output_sequence_length`.
    Id 0 stands for no token and 1 for an unknown one.

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included; None is no limit.
        standardize: what is done to each text first: "lower_and_strip_punctuation", "lower", "strip_punctuation" (of
            ASCII letters and signs), None, or a function from a text to a text.
        split: how it is cut: "whitespace" (of ASCII), "character", a function from a text to a list of texts, or None
            for rows (n, length) of tokens.
        ngrams: n also makes tokens of up to n tokens in a row, joined by spaces; a tuple says of how many.
        output_mode: "int" for ids, or as for `StringLookup`, without the mask token.
        output_sequence_length: the length to which rows of ids are cut or filled up.
        pad_to_max_tokens, vocabulary, idf_weights: as for `StringLookup`.
        options: those of `Layer`.

    Texts stay on the host, so the layer runs outside of jit. Raises TypeError for what is no text, ValueError without a
    vocabulary.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["The cat sat.", "The dog!"])
    >>> layer.get_vocabulary()
    ['', '[UNK]', 'the', 'sat', 'dog', 'cat']
    >>> layer(["The cow sat"])
    tensor([[2, 1, 3, 0]], dtype=int64)
    """

    input_dtype = "object"
    mask_token = ""

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[str], str] | None = "lower_and_strip_punctuation",
        split: str | Callable[[str], Iterable[str]] | None = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        **options: Any,
    ):
        super().__init__(**options)
        for name, value, known in (("standardize", standardize, STANDARDIZE), ("split", split, SPLIT)):
            if value is not None and not callable(value) and value not in known:
                raise choice(self.where, name, value, known)
        self.standardize, self.split = standardize, split
        if output_sequence_length is not None:
            check_integer(self.where, "output_sequence_length", output_sequence_length, 1)
            if output_mode != "int":
                expected = "no output_sequence_length for rows of another kind than ids"
                raise ValueError(message(self.where, expected, f"output_mode={output_mode!r}"))
        self.output_sequence_length = output_sequence_length
        self.ngrams = tuple(ngrams) if isinstance(ngrams, (list, tuple)) else ngrams
        widths = self.ngrams if isinstance(self.ngrams, tuple) else () if ngrams is None else (self.ngrams,)
        self._widths = [check_integer(self.where, "ngrams", width, 1) for width in widths]
        if not isinstance(self.ngrams, tuple):
            self._widths = list(range(1, max(self._widths, default=0) + 1))
        self._set_up(max_tokens, output_mode, pad_to_max_tokens, vocabulary, idf_weights)

    def call(self, x: Any) -> Any:
        self._check_host()
        x = self._tokens(x)
        rows = [self._ids(tokens) for tokens in self._documents(x)]
        length = self.output_sequence_length or max(map(len, rows), default=0)
        ids = numpy.full((len(rows), length), 0 if self.output_mode == "int" else -1, dtype="int64")
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row[:length]
        return self._encoded(ids if x.ndim else ids[0])

    def _documents(self, tokens: numpy.ndarray[Any, Any]) -> list[list[Any]]:
        """The tokens of each text."""
        if self.split is not None and tokens.ndim > 1 and tokens.shape[1:] != (1,):
            hint = "split=None is for rows of tokens."
            raise ShapeError(message(self.where, "texts of shape (n,) or (n, 1)", f"shape {tokens.shape}", hint))
        rows = [[self._standardized(text) for text in row] for row in super()._documents(tokens)]
        if self.split is not None:
            rows = [self._split(row[0]) for row in rows]
        if self.ngrams is None:
            return rows
        return [[" ".join(row[i : i + n]) for n in self._widths for i in range(len(row) - n + 1)] for row in rows]

    def _standardized(self, text: str) -> str:
        if callable(self.standardize):
            return self._checked("standardize", self.standardize(text))
        if self.standardize in ("lower", "lower_and_strip_punctuation"):
            text = text.translate(LOWER)
        if self.standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
            text = text.translate(STRIP)
        return text

    def _split(self, text: str) -> list[str]:
        if callable(self.split):
            found = self.split(text)
            if isinstance(found, str) or not hasattr(found, "__iter__"):
                raise TypeError(message(self.where, "split to return a list of texts", type(found).__name__))
            return [self._checked("split", token) for token in found]
        return list(text) if self.split == "character" else WORDS.findall(text)

    def _checked(self, name: str, text: Any) -> str:
        if not isinstance(text, str):
            raise TypeError(message(self.where, f"{name} to return texts", type(text).__name__))
        return text
