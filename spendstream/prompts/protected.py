"""The parts of a prompt that no pass may touch: code, JSON, quotes, addresses, numbers and negations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

__all__ = ["Span", "minified", "outside", "pieces", "protected"]

_MOST_JSON_TRIES = 64  # each may read all of the text
_BEGINS = re.compile(
    r'(?=[\[{`~"“«$€£\d\t]|  |[hH][tT])(?:'  # no other character begins one of these: a few times as fast
    r'(?P<json>[\[{](?=\s*["\[\]{}0-9tTfFnN-]))'
    r"|(?P<code>```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|(?:(?<=\n)|\A)(?: {4}|\t)[^\n]*|`[^`\n]{1,500}`)"
    r'|"[^"\n]{1,500}"|“[^”\n]{1,500}”|«[^»\n]{1,500}»'
    r"|[hH][tT]{2}[pP][sS]?://[^\s<>]+"
    r"|[$€£]?\d[\d.,:/]*%?"
    r")|\b(?:"
    r"(?=[nwceuoNWCEUO])"
    r"(?i:no|not|never|none|nothing|nobody|neither|nor|without|cannot|except|unless|only)"
    r"|(?=\w{3,9}['\u2019])\w{2,8}[nN]['\u2019][tT]"
    r")\b",
    re.DOTALL,
)
_STRING_OR_BLANKS = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')
_decoder = json.JSONDecoder()


class Span(NamedTuple):
    """A part of a text; code and JSON stand for themselves, the rest is part of a sentence."""

    start: int
    end: int
    kind: Literal["json", "code", "words"]


@lru_cache(maxsize=64)
def protected(text: str) -> tuple[Span, ...]:
    """Return the spans that stay as they are, in order; of two that overlap the one that begins first.

    They are remembered until `protected.cache_clear()`, since every pass asks for them.
    """
    spans: list[Span] = []
    place = tries = 0
    while match := _BEGINS.search(text, place):
        place = match.end()
        if match["json"] is None:
            spans.append(Span(*match.span(), "code" if match["code"] else "words"))
        elif tries < _MOST_JSON_TRIES:
            tries += 1
            end = _json_end(text, match.start())
            if end:
                spans.append(Span(match.start(), end, "json"))
                place = end
    return tuple(spans)


def _json_end(text: str, start: int) -> int:
    """Return where the JSON that begins here ends; 0 if it is none."""
    try:
        return _decoder.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return 0


def minified(written: str) -> str:
    """Return JSON without the blanks outside of its strings."""
    return _STRING_OR_BLANKS.sub(lambda match: match[1] or "", written)


def pieces(text: str) -> list[str]:
    """Return what the spans hold, JSON without its blanks: no pass may change this."""
    held = ((text[span.start : span.end], span.kind) for span in protected(text))
    return [minified(piece) if kind == "json" else piece for piece, kind in held]


def outside(text: str, change: Callable[[str], str]) -> str:
    """Return a text in which each piece between protected spans is changed."""
    return "".join(piece if kept else change(piece) for piece, kept in _pieces(text))


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    place = 0
    for span in protected(text):
        yield text[place : span.start], False
        yield text[span.start : span.end], True
        place = span.end
    yield text[place:], False
