"""What a prompt looks like, in a few numbers that say how hard it may be. No model, no network, no state.

Counts are taken as log(1 + n): the tenth comma says less than the first. A prompt of more than 8,000
characters is judged by its first and last 4,000, which is where instructions stand; its length is its own.
"""

from __future__ import annotations

import math
import re

__all__ = ["NAMES", "features"]

_PART = 4_000
_WORDS = re.compile(r"[^\W\d_]+")
_NUMBERS = re.compile(r"[0-9]{1,15}(?:[.,][0-9]{1,15})*")
_SENTENCE_ENDS = re.compile(r"[.!?](?=\s|$)")
_NAMED = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_FRACTIONS = re.compile(r"[0-9]/[0-9]")
_ITEMS = re.compile(r"\n[ \t]{0,8}(?:[0-9]{1,2}[.)]|[-*])[ \t]")
_CODE = re.compile(r"```|[;{]\n|\n[ \t]{0,40}(?:def|class|import|function|SELECT|#include|public|fn)[ \t]")

_KINDS = {
    "comparisons": "more less fewer than older younger taller longer shorter faster slower as",
    "multiples": (
        "times twice double doubles doubled triple thrice half quarter third thirds fourth fifth percent"
    ),
    "conditions": "if then when while until after before but except instead unless however only",
    "number_words": "one two three four five six seven eight nine ten eleven twelve dozen hundred thousand",
    "totals": "total altogether combined together sum all both",
    "reasoning": (
        "prove derive explain why analyse analyze design architect optimise optimize refactor debug "
        "compare evaluate justify implement step steps plan theorem proof algorithm trade"
    ),
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_COUNTED = (*_KINDS, "commas", "sentences", "names", "numbers", "fractions", "items", "code")

NAMES = ("length", "magnitude", *_COUNTED)
"""The features, in their order."""


def features(prompt: str) -> tuple[float, ...]:
    """Return the features of a prompt, in the order of NAMES; all are 0 or more."""
    text = prompt if len(prompt) <= 2 * _PART else f"{prompt[:_PART]}\n{prompt[-_PART:]}"
    numbers = _NUMBERS.findall(text)
    counts = _kinds(text)
    counts["commas"] = text.count(",") + text.count(";")
    counts["sentences"] = len(_SENTENCE_ENDS.findall(text))
    counts["names"] = len(set(_NAMED.findall(text)))
    counts["numbers"] = len(numbers)
    counts["fractions"] = len(_FRACTIONS.findall(text)) if "/" in text else 0
    counts["items"] = len(_ITEMS.findall(text)) if "\n" in text else 0
    counts["code"] = len(_CODE.findall(text))
    rest = (math.log1p(counts[name]) for name in _COUNTED)
    return math.log1p(len(prompt)), _magnitude(numbers), *rest


def _kinds(text: str) -> dict[str, int]:
    counts = dict.fromkeys(_COUNTED, 0)
    for word in _WORDS.findall(text.lower()):
        kind = _KIND_OF.get(word)
        if kind is not None:
            counts[kind] += 1
    return counts


def _magnitude(numbers: list[str]) -> float:
    """Return how many digits the longest number has before its point, thousands separated or not."""
    return float(max((_digits(number) for number in numbers), default=0))


def _digits(number: str) -> int:
    return len(number.partition(".")[0].replace(",", ""))
