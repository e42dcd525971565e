"""Texts that need no download: pairs to be translated, computed from a seed, and an English corpus."""

from __future__ import annotations

import datetime
import operator
from typing import Any

import numpy as np

from ..errors import check_integer, choice, message
from .splits import Split, split


class Arithmetic:
    """Sums, differences and products as texts, to be computed letter by letter: "12+345" and "357".

    >>> import tinygrad_edu as tg
    >>> (x_train, y_train), _ = tg.datasets.arithmetic.load_data(samples=1000, digits=2)
    >>> bool(x_train[0].count("+")), int(y_train[0]) == sum(map(int, x_train[0].split("+")))
    (True, True)
    """

    def load_data(
        self,
        samples: int = 10000,
        digits: int = 3,
        operation: str = "+",
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> Split:
        """Questions and answers, arrays of texts (samples,); no question comes twice.

        Args:
            digits: the numbers have at most so many.
            operation: "+", "-" or "*".
        """
        operations = {"+": operator.add, "-": operator.sub, "*": operator.mul}
        if operation not in operations:
            raise choice("load_data", "operation", operation, operations)
        digits = check_integer("load_data", "digits", digits, 1)
        if digits > 9:
            raise ValueError(message("load_data", "digits up to 9", f"{digits}"))
        pairs = [divmod(n, 10**digits) for n in _different(samples, 100**digits, seed).tolist()]
        questions = np.array([f"{a}{operation}{b}" for a, b in pairs])
        answers = np.array([str(operations[operation](a, b)) for a, b in pairs])
        return split(questions, answers, test_fraction, seed)


MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
FIRST, LAST = datetime.date(1950, 1, 1).toordinal(), datetime.date(2049, 12, 31).toordinal()


class DateFormats:
    """Dates from 1950 to 2049 as people write them, to be translated: "4 march 1998" and "1998-03-04".

    >>> import tinygrad_edu as tg
    >>> (x_train, y_train), _ = tg.datasets.date_formats.load_data(samples=100)
    >>> len(x_train), len(y_train[0])
    (80, 10)
    """

    formats = (
        "{day} {month} {year}", "{month} {day}, {year}", "{day} {short} {year}", "{short} {day} {year}",
        "{day}.{number}.{year}", "{number}/{day}/{year}", "{weekday}, {month} {day}, {year}", "{day:02}-{short}-{year}",
    )  # fmt: skip
    """Months by name, or by number after a day with a full stop (European) or before one with a slash (American)."""
    weekdays = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

    def load_data(self, samples: int = 10000, test_fraction: float = 0.2, seed: int = 0) -> Split:
        """Dates and what they are in ISO 8601, arrays of texts (samples,); no date comes twice in one format."""
        chosen = _different(samples, len(self.formats) * (LAST - FIRST + 1), seed)
        places = [divmod(n, len(self.formats)) for n in chosen.tolist()]
        dates = [datetime.date.fromordinal(FIRST + day) for day, _ in places]
        texts = [self._written(date, self.formats[form]) for date, (_, form) in zip(dates, places, strict=True)]
        return split(np.array(texts), np.array([d.isoformat() for d in dates]), test_fraction, seed)

    def _written(self, date: datetime.date, form: str) -> str:
        month = MONTHS[date.month - 1]
        return form.format(
            day=date.day,
            month=month,
            short=month[:3],
            number=date.month,
            year=date.year,
            weekday=self.weekdays[date.weekday()],
        )


class PydocCorpus:
    """The English of Python's own documentation, about 450,000 letters: what `help("assert")` and its like print, in
    the standard library's `pydoc_data`. It is another text in each version of Python."""

    def load_data(self) -> str:
        """One text: the topics in alphabetical order, with an empty line between two."""
        from pydoc_data.topics import topics

        return "\n\n".join(text.strip() for _, text in sorted(topics.items())) + "\n"


def _different(samples: Any, possible: int, seed: Any) -> Any:
    """So many different numbers below `possible`."""
    samples = check_integer("load_data", "samples", samples, 2)
    if samples > possible:
        raise ValueError(message("load_data", f"samples up to {possible:,}, as many as there are", f"{samples:,}"))
    return np.random.default_rng(check_integer("load_data", "seed", seed, 0)).choice(possible, samples, replace=False)


arithmetic, date_formats, pydoc_corpus = Arithmetic(), DateFormats(), PydocCorpus()
