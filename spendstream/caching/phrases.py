"""A question taken apart: words, stems, numbers, names, negation, and what each word means in its place.

English: other languages have words and vectors, too, but no stems and no stop words that are known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from msgspec import Struct

from spendstream.caching.embedding import DIMENSIONS, Embedding, Vector

__all__ = ["ANTONYMS", "QUESTION_WORDS", "STOP_WORDS", "Phrase", "phrase", "stem"]

_WORD = re.compile(r"\w+(?:'\w+)?")
_SUFFIXES = (
    ("ingly", 4, ""), ("edly", 4, ""), ("ing", 3, ""), ("ies", 2, "y"), ("ied", 2, "y"), ("ed", 4, ""),
    ("es", 4, ""), ("ly", 4, ""), ("s", 3, ""),
)  # fmt: skip
"""What to cut off, how much must be left, and what takes its place."""
_LONG = 4


def _table(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP_WORDS = _table("""
    a an the is are was were be been being am do does did done has have had having i you he she it we they me
    him her us them my your his its our their this that these those of to in on at for from by with about as
    and or but if then than so such can could will would shall should may might must there here what which
    who whom whose how why when where not no s t re ve ll d m any some
""")
QUESTION_WORDS = (
    "what", "how", "why", "who", "when", "where", "which", "is", "are", "do", "does", "can", "should",
    "will", "if",
)  # fmt: skip
_NEGATIONS = _table("""
    not no never none cannot without nothing nobody neither nor unable isn't aren't wasn't weren't don't
    doesn't didn't won't wouldn't can't couldn't shouldn't hasn't haven't
""")
_NUMERALS = {
    word: str(number)
    for number, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 2)
}
_OPPOSITES = _table("""
    increase/decrease gain/lose good/bad best/worst buy/sell male/female man/woman men/women boy/girl
    girls/boys before/after with/without start/stop open/close love/hate pros/cons advantage/disadvantage
    advantages/disadvantages positive/negative old/new first/last high/low more/less most/least up/down
    left/right hot/cold rich/poor true/false legal/illegal safe/dangerous easy/hard enable/disable
    install/uninstall add/remove import/export win/lose give/take husband/wife girlfriend/boyfriend
    mother/father son/daughter summer/winter day/night black/white north/south east/west inside/outside
    internal/external online/offline free/paid private/public weight/height android/iphone ios/android
""")


def _both_ways() -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for pair in _OPPOSITES:
        one, other = pair.split("/")
        found[one] = found.get(one, frozenset()) | {other}
        found[other] = found.get(other, frozenset()) | {one}
    return found


ANTONYMS = _both_ways()
"""Words and what would turn a question round in their place."""


class Phrase(Struct, frozen=True, kw_only=True, eq=False):
    """A question. `words` and `stems` are in order and in lower case, and `vectors` has a row for each.

    `content` are the places of the words that are no stop words, `question` is the place in QUESTION_WORDS of
    the first such word of the first three, -1 without one.
    """

    vector: Vector
    vectors: Vector
    length: int
    words: tuple[str, ...]
    stems: tuple[str, ...]
    content: tuple[int, ...]
    different: frozenset[str]
    content_stems: frozenset[str]
    trigrams: frozenset[str]
    bigrams: frozenset[tuple[str, str]]
    numbers: frozenset[str]
    names: frozenset[str]
    negations: int
    question: int

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return self.vector.nbytes + self.vectors.nbytes + 60 * self.length + 2_000


def phrase(text: str, embedding: Embedding) -> Phrase:
    """Take a text apart. Words beyond what the model read have a vector of zeros."""
    plain = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    matches = list(_WORD.finditer(plain))
    raw = [match.group() for match in matches]
    words = tuple(word.lower() for word in raw)
    stems = tuple(map(stem, words))
    content = tuple(place for place, word in enumerate(words) if word not in STOP_WORDS)
    letters = f" {' '.join(words)} "
    return Phrase(
        vector=embedding.vector,
        vectors=_by_word([match.span() for match in matches], embedding),
        length=len(text),
        words=words,
        stems=stems,
        content=content,
        different=frozenset(stems),
        content_stems=frozenset(stems[place] for place in content),
        trigrams=frozenset(letters[place : place + 3] for place in range(len(letters) - 2)),
        bigrams=frozenset(pairwise(stems)),
        numbers=frozenset(
            _NUMERALS.get(word, word) for word in words if word in _NUMERALS or any(map(str.isdigit, word))
        ),
        names=frozenset(stems[place] for place in content if place and raw[place][0].isupper()),
        negations=sum(word in _NEGATIONS for word in words),
        question=next((QUESTION_WORDS.index(word) for word in words[:3] if word in QUESTION_WORDS), -1),
    )


def stem(word: str) -> str:
    """Return what a word in lower case has in common with its inflections; crude."""
    word = word.removesuffix("'s")
    for suffix, least, ending in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= least:
            word = word[: -len(suffix)] + ending
            break
    if len(word) > _LONG and word[-1] == "e":
        word = word[:-1]
    if len(word) >= _LONG and word[-1] == word[-2]:
        word = word[:-1]
    return word


def _by_word(places: list[tuple[int, int]], embedding: Embedding) -> Vector:
    """Return the direction of each word: of the sum of its tokens."""
    sums = np.zeros((len(places), DIMENSIONS), dtype=np.float32)
    word = 0
    for (start, end), vector in zip(embedding.spans, embedding.tokens, strict=True):
        while word < len(places) - 1 and start >= places[word][1]:
            word += 1
        if word < len(places) and start < places[word][1] and end > places[word][0]:
            sums[word] += vector
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    sums /= lengths
    return sums
