"""The passes: each makes the texts of a chat shorter, says the same, and changes nothing when run again.

They leave alone what `protected` names, and what assistants and tools said. A text never becomes empty, since
providers refuse that; and none depends on a later one, so that a provider's cached prefix still fits.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from msgspec import Struct

from spendstream.prompts.protected import Span, minified, outside, pieces, protected

__all__ = ["FILLER", "PASSES", "Pass", "Passage", "passes"]

Pass = Literal["json", "repeats", "examples", "filler", "whitespace"]
PASSES: tuple[Pass, ...] = get_args(Pass)
"""In the order in which they run."""


class Passage(Struct, frozen=True):
    """A text of a chat, and who said it."""

    role: str
    text: str


_ASKING = ("user", "system", "developer")
_LEAST_WORDS = 8  # a repeated sentence or paragraph with fewer may well be meant

_BLANKS = re.compile(r"(?<=[^\s])[ \t]{2,}(?=[^\s])")
_LINE_ENDS = re.compile(r"(?<=[^\s])[ \t]+(?=\n)")
_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_UNITS = re.compile(r"[^\n]*?(?:[.!?](?=[ \t]|\n|\Z)|\n|\Z)[ \t]*\n*")
_EXAMPLE = re.compile(
    r"^(?:#{1,4} |\*\*)?example(?: \d{1,3}| #\d{1,3})?(?:\*\*)?:", re.IGNORECASE | re.MULTILINE
)
_AFTER_EXAMPLE = re.compile(r"\n[ \t]*\n")

FILLER = (
    *("i would like you to", "i'd like you to", "i want you to", "i need you to"),
    *("i was wondering if you could", "would you be so kind as to", "would you be so kind to"),
    *("could you please", "can you please", "would you please"),
    *("please be sure to", "please make sure to", "please note that", "please", "kindly"),
    *("thank you very much in advance", "thank you in advance", "thanks in advance", "thank you very much"),
    *("it is important to note that", "it should be noted that", "basically,", "as you know,"),
)
"""Phrases whose loss changes nothing that is asked."""
_PHRASES = rf"(?<![\w'-])(?:{'|'.join(map(re.escape, FILLER))})(?![\w'-])"
_FILLER = re.compile(rf",[ \t]*{_PHRASES}(?=[.!?])|{_PHRASES}[,!]?[ \t]*", re.IGNORECASE)


def passes(examples: int) -> Mapping[Pass, Callable[[Sequence[Passage]], Sequence[Passage]]]:
    """Return all passes; in one text at most `examples` headed by "Example:" are kept."""
    return {
        "json": lambda chat: _each(chat, _minified),
        "repeats": _without_repeats,
        "examples": lambda chat: _each(chat, lambda text: _trimmed(text, examples)),
        "filler": lambda chat: _each(chat, lambda text: _kept(text, outside(text, _to_the_point))),
        "whitespace": lambda chat: _each(chat, lambda text: _kept(text, outside(text, _narrow))),
    }


def _each(chat: Sequence[Passage], change: Callable[[str], str]) -> Sequence[Passage]:
    return [
        _replaced(passage, change(passage.text)) if passage.role in _ASKING else passage for passage in chat
    ]


def _replaced(passage: Passage, text: str) -> Passage:
    return Passage(passage.role, text) if text.strip() else passage


def _kept(text: str, shorter: str) -> str:
    """Return the shorter text, unless a quote or the like now begins or ends at another place than before."""
    return text if shorter == text or pieces(shorter) != pieces(text) else shorter


def _minified(text: str) -> str:
    parts: list[str] = []
    place = 0
    for start, end, kind in protected(text):
        block = text[start:end]
        boxes = not any(map(str.isalnum, block))  # [ ] is to be ticked
        parts += text[place:start], minified(block) if kind == "json" and not boxes else block
        place = end
    return _kept(text, "".join((*parts, text[place:])))


def _narrow(text: str) -> str:
    text = _BLANKS.sub(" ", text)
    return _EMPTY_LINES.sub("\n\n", _LINE_ENDS.sub("", text))


def _to_the_point(text: str) -> str:
    """Leave out filler; what follows takes over its capital letter."""
    place, parts = 0, []
    for match in _FILLER.finditer(text):
        if match.start() >= place:
            parts.append(text[place : match.start()])
            place = match.end()
            if match[0][0].isupper() and place < len(text):
                parts.append(text[place].upper() if len(text[place].upper()) == 1 else text[place])
                place += 1
    return "".join((*parts, text[place:]))


def _without_repeats(chat: Sequence[Passage]) -> Sequence[Passage]:
    """Leave out sentences that were said before, word for word, in the same chat."""
    said: set[str] = set()
    return _each(chat, lambda text: _cut(text, _repeated(text, said)))


def _repeated(text: str, said: set[str]) -> list[tuple[int, int]]:
    """Return where sentences stand that were said before; what follows one may have to begin a line."""
    cuts, begins_line = [], True
    for start, end, whole in _units(text):
        if whole and _is_repeated(text[start:end], said):
            cuts.append((start, end if begins_line else start + len(text[start:end].rstrip("\n"))))
        else:
            begins_line = text[end - 1] == "\n"
    return cuts


def _cut(text: str, cuts: Sequence[tuple[int, int]]) -> str:
    """Return a text without some parts; unchanged, if what is left would no longer be read as it was."""
    if not cuts:
        return text
    ends = [0, *(end for _, end in cuts)]
    starts = [*(start for start, _ in cuts), len(text)]
    parts = [text[start:end] for start, end in zip(ends, starts, strict=True)]
    shorter = "".join(parts)
    return shorter if pieces(shorter) == [piece for part in parts for piece in pieces(part)] else text


def _is_repeated(unit: str, said: set[str]) -> bool:
    text = unit.strip()
    if len(text.split()) < _LEAST_WORDS:
        return False
    if text in said:
        return True
    said.add(text)
    return False


def _units(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield where sentences and blocks begin and end, with what follows them, and if one may be left out."""
    spans = protected(text)
    place, whole = 0, True
    for block in (*(span for span in spans if span.kind != "words"), Span(len(text), len(text), "code")):
        while place < block.start:
            match = _UNITS.match(text, place, block.start)
            end = max(match.end() if match else block.start, place + 1)
            begins_whole, whole = whole, not _within(spans, end)
            yield place, end, begins_whole and whole
            place = end
        if block.end > block.start:
            yield block.start, block.end, False
        place, whole = block.end, True


def _within(spans: Sequence[Span], place: int) -> bool:
    """Tell whether a span lies on both sides of a place."""
    number = bisect_left(spans, place, key=lambda span: span.start)
    return number > 0 and place < spans[number - 1].end


def _trimmed(text: str, most: int) -> str:
    """Leave out the examples after the first ones; the last ends at an empty line."""
    blocks = [span for span in protected(text) if span.kind != "words"]
    found = (match.start() for match in _EXAMPLE.finditer(text))
    heads = [head for head in found if not _within(blocks, head)]
    if len(heads) <= most:
        return text
    last = _AFTER_EXAMPLE.search(text, heads[-1])
    end = last.end() if last else len(text)
    return text if _within(blocks, end) else _cut(text, [(heads[most], end)])
