"""Texts that need no download: pairs to be translated and judgements, computed from a seed, and an English corpus."""

from __future__ import annotations

import datetime
import operator
import random
from typing import Any, ClassVar

import numpy as np

from ..errors import check_integer, choice, message
from .splits import Split, split, stratified_split


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


class Sentences:
    """Sentences about films that praise (1) or blame (0), in which the order of the words decides.

    A sentence makes one or two claims, each worth -3 to 3 by its words: "rather good" 1, "good" 2, "very good" 3, "not
    very good" -1, "not good" -2, "not at all good" -3, with "dull" the opposite; "a little too long" -1, "too long" -2,
    "much too long" -3, "not too long" 1. In "A and B" the sum decides, which is never 0. In "A but B" and "although A,
    B" it is B, in "A, although B" it is A; there one claim praises and the other blames, and the same claims in the
    other order have the other label.

    >>> import tinygrad_edu as tg
    >>> (x_train, y_train), _ = tg.datasets.sentences.load_data(samples=1000)
    >>> print(x_train[0], y_train[0])
    although the plot is not weak, the opening was much too slow 0
    """

    subjects = ("film", "story", "plot", "music", "acting", "ending", "dialogue", "opening")
    good = ("good", "great", "funny", "clever", "moving", "lovely", "original", "charming")
    bad = ("bad", "awful", "dull", "silly", "weak", "boring", "clumsy", "ugly")
    neutral = ("long", "short", "slow", "loud", "dark", "quiet")
    """Blame after "too"."""
    degrees: ClassVar = {1: "rather {}", 2: "{}", 3: "very {}", -1: "not very {}", -2: "not {}", -3: "not at all {}"}
    too: ClassVar = {1: "not too {}", -1: "a little too {}", -2: "too {}", -3: "much too {}"}
    forms = ("{}", "{} and {}", "{} but {}", "although {}, {}", "{}, although {}")

    def load_data(self, samples: int = 10000, test_fraction: float = 0.2, seed: int = 0) -> Split:
        """Texts (samples,) and int64 labels, as many of one as of the other on each side; no sentence comes twice."""
        samples = check_integer("load_data", "samples", samples, 4)
        if samples > 1_000_000:
            raise ValueError(message("load_data", "samples up to 1,000,000", f"{samples:,}"))
        draws = random.Random(check_integer("load_data", "seed", seed, 0))
        found: dict[str, int] = {}
        missing = [samples // 2, samples - samples // 2]
        while any(missing):
            text, value = self._sentence(draws)
            label = int(value > 0)
            if value and missing[label] and text not in found:
                found[text] = label
                missing[label] -= 1
        return stratified_split(np.array(list(found)), np.array(list(found.values())), test_fraction, seed)

    def _sentence(self, draws: random.Random) -> tuple[str, int]:
        """A sentence with its value, 0 if it is none."""
        form = draws.choice(self.forms)
        (first, a), (second, b) = self._claim(draws), self._claim(draws)
        value = {"{}": a, "{} and {}": a + b, "{}, although {}": a}.get(form, b)
        contrast = form in self.forms[2:]
        return form.format(first, second), 0 if contrast and a * b > 0 else value

    def _claim(self, draws: random.Random) -> tuple[str, int]:
        value, sign = draws.choice(list(self.degrees)), draws.choice([-1, 1])
        if value in self.too and draws.random() < 0.2:
            judged = self.too[value].format(draws.choice(self.neutral))
        else:
            judged = self.degrees[sign * value].format(draws.choice(self.good if sign > 0 else self.bad))
        return f"the {draws.choice(self.subjects)} {draws.choice(['is', 'was'])} {judged}", value


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


arithmetic, date_formats, sentences, pydoc_corpus = Arithmetic(), DateFormats(), Sentences(), PydocCorpus()
