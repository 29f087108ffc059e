"""Numbers written out in several languages: a translation task with real grammar, exact answers and as many pairs as one wants."""
from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from helpers.data.cache import cached
from helpers.errors import CourseError

# The names that the package num2words knows them by.
LANGUAGES = {"Spanish": "es", "English": "en", "Portuguese": "pt", "French": "fr", "German": "de"}
COUNT = 10_000  # the numbers 0 to 9,999
PLACES, BLANK = 4, 10  # symbols of a number: its digits, to the right; symbol 10 fills up on the left
PADDING, START, END = 0, 1, 2  # the first three entries of every vocabulary
SPECIAL = ("<padding>", "<start>", "<end>")


class Language(NamedTuple):
    """name: of the language. vocabulary: the pieces that texts are made of, after the three of `SPECIAL`. targets: (n, length) int64, the
    text of each number as places in the vocabulary, closed by `END` and filled up with `PADDING`. joint: what stands between pieces."""

    name: str
    vocabulary: tuple[str, ...]
    targets: np.ndarray
    joint: str

    def text(self, row: Sequence[int]) -> str:
        """The text of one row of targets or of a translation, up to its end."""
        row = [int(place) for place in row]
        row = row[: row.index(END)] if END in row else row
        return self.joint.join(self.vocabulary[place] for place in row if place != PADDING).replace(" - ", "-")


def symbols(numbers: Sequence[int]) -> np.ndarray:
    """(n, 4) int64: the digits of each number from left to right, filled up on the left with `BLANK`.

    Raises ValueError for what is not a whole number from 0 to 9,999.
    """
    numbers = np.asarray(numbers)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(f"numbers have shape {numbers.shape} and dtype {numbers.dtype}: pass a list of whole numbers")
    if len(numbers) and not (0 <= numbers.min() and numbers.max() < COUNT):
        raise ValueError(f"the numbers lie in {numbers.min()} to {numbers.max()}: there are {PLACES} places, so pass 0 to {COUNT - 1}")
    powers = 10 ** np.arange(PLACES - 1, -1, -1)
    digits = numbers[:, None] // powers % 10
    return np.where((numbers[:, None] >= powers) | (powers == 1), digits, BLANK)


@cached
def _written(code: str, version: str) -> list[str]:
    # `version` is not used: it is there so that another num2words gets a cache entry of its own.
    from num2words import num2words

    return [re.sub(r"\s+", " ", num2words(number, lang=code).replace(",", "")).strip() for number in range(COUNT)]


def texts(language: str) -> list[str]:
    """The numbers 0 to 9,999 in words, lower case, without commas. Raises ValueError for a language that is not in `LANGUAGES`."""
    from importlib.metadata import version

    if language not in LANGUAGES:
        raise ValueError(f"no language called {language!r}: choose one of {', '.join(LANGUAGES)}")
    return _written(LANGUAGES[language], version("num2words"))


def words(text: str) -> list[str]:
    """The words of a text; a hyphen is a word too: "trente-deux" -> ["trente", "-", "deux"]. Raises ValueError when there are none."""
    found = text.replace("-", " - ").split()
    if not found:
        raise ValueError("the text is empty: pass at least one word")
    return found


def make_language(name: str, lines: Sequence[str], split: Callable[[str], list[str]] = words, joint: str = " ") -> Language:
    """The vocabulary and the targets of `lines`, the texts of the numbers 0, 1, 2, …

    split: cuts a text into pieces that give the text again when put together with `joint`: `words`, `list` (characters) or a function
    that `byte_pairs` made. Raises ValueError when there are no lines, or one of them has no pieces.
    """
    if isinstance(lines, str) or not len(lines):
        raise ValueError("pass a list of texts, with at least one")
    pieces = [split(line) for line in lines]
    if not all(pieces):
        raise ValueError(f"text {next(place for place, row in enumerate(pieces) if not row)} has no pieces: drop empty texts")
    vocabulary = (*SPECIAL, *sorted({piece for row in pieces for piece in row}))
    places = {piece: place for place, piece in enumerate(vocabulary)}
    targets = np.full((len(lines), max(map(len, pieces)) + 1), PADDING, np.int64)
    for row, found in zip(targets, pieces, strict=True):
        row[: len(found)] = [places[piece] for piece in found]
        row[len(found)] = END
    return Language(name, vocabulary, targets, joint)


@functools.cache
def load_language(language: str) -> Language:
    """The numbers 0 to 9,999 in words of this language. Raises ValueError for one that is not in `LANGUAGES`."""
    made = make_language(language, texts(language))
    made.targets.setflags(write=False)  # everyone who asks gets the same one
    return made


def reads(merges: Sequence[tuple[str, str]]) -> Callable[[str], list[str]]:
    """The function that cuts a text by these merges: into characters, which are then joined pair by pair, in the order of `merges`."""

    def split(text: str) -> list[str]:
        pieces = list(text)
        for pair in merges:
            if pair[0] + pair[1] in text:  # much faster than looking at every piece
                pieces = merge(pieces, pair)
        return pieces

    return split


def merge(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """The pieces, with `pair` joined wherever its two parts stand side by side, from left to right."""
    done: list[str] = []
    for piece in pieces:
        if done and (done[-1], piece) == pair:
            done[-1] = "".join(pair)
        else:
            done.append(piece)
    return done


def byte_pairs(lines: Sequence[str], count: int) -> list[tuple[str, str]]:
    """The `count` merges of byte-pair encoding: again and again the most frequent pair of neighbours becomes one piece.

    Of equally frequent pairs the first in the alphabet wins. It ends early when no pair occurs twice.
    (Gage 1994; for translation Sennrich, Haddow & Birch 2016, arXiv:1508.07909.) Raises ValueError when count < 0 or there are no lines.
    """
    if count < 0:
        raise ValueError(f"count is {count}: use 0 (characters) or more")
    if isinstance(lines, str) or not len(lines):
        raise ValueError("pass a list of texts, with at least one")
    rows, merges = [list(line) for line in lines], []
    for _ in range(count):
        pairs = Counter(pair for row in rows for pair in zip(row, row[1:], strict=False))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        merges.append(best)
        rows = [merge(row, best) for row in rows]
    return merges


def verify() -> str:
    """One line about the data. Raises CourseError when the package is missing or writes numbers in another way than it should."""
    try:
        found = {language: texts(language)[2321] for language in LANGUAGES}
    except ImportError:
        raise CourseError("the package num2words is not installed: install what requirements.txt pins") from None
    if (found["Spanish"], found["German"]) != ("dos mil trescientos veintiuno", "zweitausenddreihunderteinundzwanzig"):
        raise CourseError(f"num2words writes 2,321 as {found['Spanish']!r}: install the version that requirements.txt pins")
    return f"{COUNT:,} numbers in words of {len(LANGUAGES)} languages (num2words)"
