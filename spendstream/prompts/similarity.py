"""How much of a text is left in a shorter one, by its words: the guard where no embedding is at hand."""

from __future__ import annotations

import re

from spendstream.prompts.passes import FILLER
from spendstream.prompts.protected import pieces

__all__ = ["lexical_similarity"]

_WORDS = re.compile(r"\w+(?:['\u2019]\w+)?")
_EMPTY = {word for phrase in FILLER for word in _WORDS.findall(phrase)}


def lexical_similarity(before: str, after: str) -> float:
    """Return the share of the different words of `before` that `after` has too, from 0 to 1.

    It is 0 if a number, a negation, a quote or code is gone or new. Words of filler do not count. This is a
    proxy: it sees that words were lost, not that their order matters.
    """
    if set(pieces(before)) != set(pieces(after)):
        return 0.0
    words = _words(before)
    return len(words & _words(after)) / len(words) if words else 1.0


def _words(text: str) -> set[str]:
    return set(_WORDS.findall(text.lower())) - _EMPTY
