"""Vocabularies: words and whole numbers become ids, and ids words again. On the host, outside of jit."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy

from ...autograd import Tensor, tensor
from ...backend import to_host
from ...errors import ShapeError, check_bool, check_integer, choice, message
from ...state import state
from ..base import Layer, as_texts

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


class Lookup(Layer):
    """What the layers with a vocabulary have in common.

    The vocabulary begins with the special tokens: the mask token, if there is one and the output is of ids, and the
    token for all that are unknown, `num_oov_indices` times. A subclass sets the attributes named here and calls
    `_set_up`; `_documents` cuts its data into rows of tokens.
    """

    kind: ClassVar[type] = str
    num_oov_indices = 1
    mask_token: Any = None
    oov_token: Any = "[UNK]"
    invert = False
    max_tokens: int | None = None
    output_mode = "int"
    pad_to_max_tokens = False
    vocabulary: numpy.ndarray[Any, Any] | None = None  # an array, for layers look for tensors in lists
    idf_weights: numpy.ndarray[Any, Any] | None = None
    _find: Any = None

    def _set_up(
        self, max_tokens: int | None, output_mode: str, pad_to_max_tokens: bool, vocabulary: Any, idf_weights: Any
    ) -> None:
        self.max_tokens = None if max_tokens is None else check_integer(self.where, "max_tokens", max_tokens, 2)
        if output_mode not in MODES:
            raise choice(self.where, "output_mode", output_mode, MODES)
        self.output_mode = output_mode
        self.pad_to_max_tokens = check_bool(self.where, "pad_to_max_tokens", pad_to_max_tokens)
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(message(self.where, "max_tokens, because of pad_to_max_tokens=True", "None"))
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            raise ValueError(message(self.where, "a vocabulary beside idf_weights", "None"))

    # The vocabulary

    @property
    def _masks(self) -> int:
        """How many mask tokens the vocabulary begins with."""
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _special(self) -> list[Any]:
        """The tokens that the vocabulary begins with."""
        return [self.mask_token] * self._masks + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens in the order of their ids."""
        tokens = self._special if self.vocabulary is None else self.vocabulary.tolist()
        return tokens if include_special_tokens else tokens[len(self._special) :]

    def vocabulary_size(self) -> int:
        """How many tokens there are, special ones included."""
        return len(self.get_vocabulary())

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Sets the tokens, from the most frequent on; with or without the special ones at the beginning.

        Args:
            vocabulary: a list or array, or the path of a text file with a token in each line.
            idf_weights: for the output mode "tf_idf", the weight of each token of `vocabulary`. Unknown tokens get the
                mean of the others, unless they are among them.

        Raises ValueError for tokens that are there twice, and for more than `max_tokens`.
        """
        where = f"{self.where} vocabulary"
        if isinstance(vocabulary, str):
            lines = Path(vocabulary).read_text("utf-8").removesuffix("\n").split("\n")
            vocabulary = [self.kind(line) for line in lines]
        given = self._tokens(vocabulary).ravel().tolist()
        complete = given[: len(self._special)] == self._special
        tokens = given[len(self._special) :] if complete else given
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        reserved = {self.mask_token} | ({self.oov_token} if self.invert else set())
        if not given:
            raise ValueError(message(where, "at least one token", "none"))
        if twice:
            raise ValueError(message(where, "each token once", f"{twice[0]!r} again"))
        if reserved.intersection(tokens):
            found = f"{next(token for token in tokens if token in reserved)!r} later"
            raise ValueError(message(where, f"special tokens at its beginning only: {self._special}", found))
        size = len(self._special) + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(message(where, f"at most {self.max_tokens} tokens, special ones included", f"{size}"))
        self._store(tokens, self._checked_weights(idf_weights, len(given), complete))

    def _checked_weights(self, weights: Any, count: int, complete: bool) -> Any:
        """The weights of all tokens, special ones included."""
        if (weights is not None) != (self.output_mode == "tf_idf"):
            hint = "they belong to the output mode 'tf_idf'."
            wanted = "idf_weights" if weights is None else "no idf_weights"
            raise ValueError(message(self.where, wanted, f"output_mode={self.output_mode!r}", hint))
        if weights is None:
            return None
        weights = numpy.asarray(weights, dtype=state.dtype)
        if weights.shape != (count,):
            raise ShapeError(message(self.where, f"an idf_weight for each of {count} tokens", f"{weights.shape}"))
        return weights if complete else self._with_unknown(weights)

    def _with_unknown(self, weights: Any) -> Any:
        return numpy.concatenate([numpy.full(len(self._special), weights.mean(), weights.dtype), weights])

    def _store(self, tokens: Sequence[Any], weights: Any) -> None:
        start = len(self._special)
        self.vocabulary = numpy.empty(start + len(tokens), dtype=object)
        self.vocabulary[:] = [*self._special, *tokens]
        self.idf_weights = weights
        self._find = {token: i for i, token in enumerate(tokens, start)}.get

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learns the vocabulary anew: the most frequent tokens first, those equally frequent from the last in
        alphabetical order to the first, as many as `max_tokens` has room for.

        `data` is an array or list, or something else to iterate over, such as a generator of arrays, of which `steps`
        are read. For "tf_idf" each row is a document, and the weight of a token that is in d of n documents is
        log(1 + n / (1 + d)).
        """
        counts: Counter[Any] = Counter()
        containing: Counter[Any] = Counter()
        documents = 0
        for number, batch in enumerate(batches_of(data)):
            if steps is not None and number >= steps:
                break
            for tokens in self._documents(self._tokens(batch)):
                counts.update(tokens)
                containing.update(set(tokens) if self.output_mode == "tf_idf" else ())
                documents += 1
        for special in (self.mask_token, self.oov_token):
            counts.pop(special, None)
        if not counts:
            raise ValueError(message(f"{self.where} adapt", "data with at least one token", "none"))
        tokens = sorted(counts, key=lambda token: (counts[token], token), reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: self.max_tokens - len(self._special)]
        weights = None
        if self.output_mode == "tf_idf":
            found = numpy.array([containing[token] for token in tokens])
            weights = self._with_unknown(numpy.log(1.0 + documents / (1.0 + found)).astype(state.dtype))
        self._store(tokens, weights)

    # From tokens to ids

    def _tokens(self, data: Any) -> numpy.ndarray[Any, Any]:
        """The data as an array of tokens. Raises TypeError for another kind."""
        if self.kind is str:
            return as_texts(self.where, data)
        array = to_host(data.data) if isinstance(data, Tensor) else numpy.asarray(data)
        if array.dtype.kind not in "iu":
            raise TypeError(message(self.where, "integers", f"dtype {array.dtype}"))
        return array.astype("int64")

    def _documents(self, tokens: numpy.ndarray[Any, Any]) -> Iterable[list[Any]]:
        """Rows of tokens."""
        return tokens.reshape(len(tokens), math.prod(tokens.shape[1:])).tolist() if tokens.ndim else [[tokens.item()]]

    def call(self, x: Any) -> Any:
        self._check_host()
        tokens = self._tokens(x)
        ids = numpy.array(self._ids(tokens.ravel().tolist()), dtype="int64")
        return self._encoded(ids.reshape(tokens.shape))

    def _check_host(self) -> None:
        if state.trace is not None:
            hint = "call the layer before, and pass what it returns."
            state.trace.forbid("no vocabulary in a jitted function", self.where, hint)

    def _ids(self, tokens: Iterable[Any]) -> list[int]:
        """The id of each token; for masked ones 0, or -1 where masks have no id."""
        if self._find is None and not state.made_up:
            raise self._no_vocabulary()
        find = self._find or (lambda token: None)
        ids = [self._masks - 1 if token == self.mask_token else find(token) for token in tokens]
        return [self._unknown(token) if i is None else i for token, i in zip(tokens, ids, strict=True)]

    def _unknown(self, token: Any) -> int:
        if not self.num_oov_indices and not state.made_up:
            hint = "num_oov_indices=1 has a place for unknown ones."
            raise ValueError(message(self.where, "tokens of its vocabulary", repr(token), hint))
        return self._masks

    def _inverted(self, x: Any) -> numpy.ndarray[Any, Any]:
        """The tokens of ids."""
        self._check_host()
        ids = to_host(x.data)
        if self.vocabulary is None and not state.made_up:
            raise self._no_vocabulary()
        if ids.dtype.kind not in "iu":
            raise TypeError(message(self.where, "ids of an integer dtype", str(ids.dtype)))
        tokens = numpy.array([self.oov_token] if self.vocabulary is None else self.vocabulary, dtype=object)
        wrong = ids[(ids < 0) | (ids >= len(tokens))]
        if wrong.size:
            raise IndexError(message(self.where, f"ids from 0 to {len(tokens) - 1}", f"{wrong[0]}"))
        return tokens[ids]

    def _no_vocabulary(self) -> ValueError:
        hint = f"call {type(self).__name__}.adapt(data), or give it a vocabulary."
        return ValueError(message(self.where, "a vocabulary", "none yet", hint))

    def _encoded(self, ids: numpy.ndarray[Any, Any]) -> Tensor:
        """What the output mode makes of ids, of which negative ones do not count."""
        if self.output_mode == "int":
            return tensor(ids, device=self.device)
        depth = (self.pad_to_max_tokens and self.max_tokens) or self.vocabulary_size()
        if self.output_mode == "one_hot":
            ids = ids[..., 0] if ids.ndim > 1 and ids.shape[-1] == 1 else ids
            return tensor((ids[..., None] == numpy.arange(depth)).astype(state.dtype), device=self.device)
        if ids.ndim > 2:
            expected = f"at most two axes for output_mode={self.output_mode!r}"
            raise ShapeError(message(self.where, expected, f"shape {ids.shape}"))
        rows = numpy.atleast_2d(ids)
        counts = numpy.zeros((len(rows), depth), dtype=state.dtype)
        places = numpy.nonzero(rows >= 0)
        numpy.add.at(counts, (places[0], rows[places]), 1)
        if self.output_mode == "multi_hot":
            counts = numpy.minimum(counts, 1)
        elif self.idf_weights is not None:
            counts[:, : len(self.idf_weights)] *= self.idf_weights
        return tensor(counts if ids.ndim == 2 else counts[0], device=self.device)

    # As JSON

    def get_config(self) -> dict[str, Any]:
        """The arguments, with the vocabulary as it is now, in a text of JSON: its tokens may be any text."""
        config = super().get_config()
        return {**config, "vocabulary": None if self.vocabulary is None else json.dumps(self.vocabulary.tolist())}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        vocabulary = config.get("vocabulary")
        return cls(**{**config, "vocabulary": json.loads(vocabulary) if isinstance(vocabulary, str) else vocabulary})


def batches_of(data: Any) -> Iterator[Any]:
    """The arrays that an iterator gives; an array, list, tuple or tensor is one."""
    if isinstance(data, (str, list, tuple, numpy.ndarray, Tensor)) or not hasattr(data, "__iter__"):
        yield data
    else:
        yield from data


class StringLookup(Lookup):
    """Numbers texts, such as categories or words, by a vocabulary that is given or learned by `adapt`.

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included; None is no limit.
        num_oov_indices: 1 gives unknown texts an id of their own, 0 makes them errors.
        mask_token: a text that stands for no token: it has id 0, and is left out unless the output is of ids.
        oov_token: what unknown texts are called in the vocabulary.
        vocabulary, idf_weights: see `set_vocabulary`; without, call `adapt`.
        invert: True turns ids into texts, in an array of Python strings.
        output_mode: "int" for ids (int64); "one_hot" for a new axis with 1 at the id, in place of a last one of length
            1; "multi_hot" for a 1 at each id in a row, "count" for how often it is there, "tf_idf" for that times the
            token's weight.
        pad_to_max_tokens: whether that axis has the length `max_tokens`, however large the vocabulary is.
        options: those of `Layer`.

    Texts stay on the host, so the layer runs outside of jit. Raises TypeError for what is no text, ValueError without a
    vocabulary, IndexError for ids to invert that are not in it.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.StringLookup()
    >>> layer.adapt(["cat", "dog", "cat"])
    >>> layer.get_vocabulary(), layer([["cat", "cow"]])
    (['[UNK]', 'cat', 'dog'], tensor([[1, 0]], dtype=int64))
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        if check_integer(self.where, "num_oov_indices", num_oov_indices, 0) > 1:
            raise ValueError(message(self.where, "num_oov_indices to be 0 or 1", repr(num_oov_indices)))
        self.num_oov_indices, self.mask_token, self.oov_token = num_oov_indices, mask_token, oov_token
        self.invert = check_bool(self.where, "invert", invert)
        self.input_dtype = "int64" if invert else "object"
        if invert and output_mode != "int":
            raise ValueError(message(self.where, "output_mode='int', because of invert=True", repr(output_mode)))
        self._set_up(max_tokens, output_mode, pad_to_max_tokens, vocabulary, idf_weights)

    def call(self, x: Any) -> Any:
        return self._inverted(x) if self.invert else super().call(x)


class IntegerLookup(Lookup):
    """Numbers integers, such as postcodes, by a vocabulary that is given or learned by `adapt`: `StringLookup` for
    integers.

    With several `num_oov_indices` an unknown integer takes the one that is its remainder by their number.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.IntegerLookup(vocabulary=[12, 36])
    >>> layer([[36, 12, 7]])
    tensor([[2, 1, 0]], dtype=int64)
    """

    kind = int
    input_dtype = "int64"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Any = None,
        *,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        self.num_oov_indices = check_integer(self.where, "num_oov_indices", num_oov_indices, 0)
        self.mask_token, self.oov_token, self.invert = mask_token, oov_token, check_bool(self.where, "invert", invert)
        if invert and output_mode != "int":
            raise ValueError(message(self.where, "output_mode='int', because of invert=True", repr(output_mode)))
        self._set_up(max_tokens, output_mode, pad_to_max_tokens, vocabulary, idf_weights)

    def call(self, x: Any) -> Any:
        return tensor(self._inverted(x).astype("int64"), device=self.device) if self.invert else super().call(x)

    def _unknown(self, token: Any) -> int:
        return super()._unknown(token) + (token % self.num_oov_indices if self.num_oov_indices else 0)
