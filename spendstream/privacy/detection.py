"""Finds personal data and secrets in text: spans that do not overlap, in their order.

What is written inside of JSON, with its escapes, is found as well as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from spendstream.privacy import patterns
from spendstream.privacy.checks import card_length, iban_length, is_address, is_key, is_ssn

__all__ = ["KINDS", "Finding", "Kind", "find"]

Kind = Literal["PRIVATE_KEY", "JWT", "API_KEY", "EMAIL", "IBAN", "CARD", "SSN", "PHONE", "IP"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Where two overlap, the one named first counts."""

_DASHES = "-----"
_LONGEST_END = 64
_CONTEXT = 40
_OF_DIGITS: tuple[Kind, ...] = ("CARD", "SSN", "PHONE")

_Spans = Iterator[tuple[int, int]]


class Finding(NamedTuple):
    """A span of the text, and what it is."""

    kind: Kind
    start: int
    end: int


def find(text: str, kinds: Collection[Kind] = KINDS) -> list[Finding]:
    """Return what is found of some kinds. The time is linear in the text."""
    plain = patterns.ESCAPE.sub(_blank, text) if "\\" in text else text
    digits = patterns.LONG_NUMBER.search(plain)
    taken = bytearray(len(plain))
    found = []
    for kind in KINDS:
        if kind not in kinds or (kind in _OF_DIGITS and not digits):
            continue
        for start, end in _FINDERS[kind](plain):
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\x01" * (end - start)
                found.append(Finding(kind, start, end))
    return sorted(found, key=lambda finding: finding.start)


def _blank(escape: re.Match[str]) -> str:
    """Return blanks in the place of an escape, so that places stay the same."""
    return " " * len(escape[0])


def _private_keys(text: str) -> _Spans:
    """Yield PEM blocks; of one that is cut off, what there is."""
    place = 0
    while begin := patterns.PEM_BEGIN.search(text, place):
        place = text.find(_DASHES, begin.end())
        if place >= 0 and text.startswith("-----END", place):
            end = text.find(_DASHES, place + len(_DASHES), place + _LONGEST_END)
            place = end + len(_DASHES) if end >= 0 else place + len(_DASHES)
        else:
            rest = patterns.PEM_REST.match(text, begin.end())
            place = begin.end() + len(rest[0] if rest else "")
        yield begin.start(), place


def _jwts(text: str) -> _Spans:
    if "eyJ" in text:
        for match in patterns.JWT.finditer(text):
            yield match.span()


def _keys(text: str) -> _Spans:
    if any(part in text for part in patterns.KEY_PARTS):
        for match in patterns.KEYS.finditer(text):
            if is_key(match[0]):
                yield match.span()
    if "aws" in text.lower():
        for match in patterns.AWS_SECRET.finditer(text):
            yield match.span(1)


def _emails(text: str) -> _Spans:
    if "@" in text:
        for match in patterns.EMAIL.finditer(text):
            if not match[0].startswith("git@"):  # an address of repositories
                yield match.span()


def _ibans(text: str) -> _Spans:
    place = 0
    while match := patterns.IBAN.search(text, place):
        length = iban_length(match[0], text[match.end() : match.end() + 1])
        place = match.start() + (length or 1)
        if length:
            yield match.start(), place


def _cards(text: str) -> _Spans:
    place = 0
    while match := patterns.CARD.search(text, place):
        length = card_length(match[0])
        place = match.start() + (length or 1)
        if length:
            yield match.start(), place


def _ssns(text: str) -> _Spans:
    for match in patterns.SSN.finditer(text):
        if is_ssn(match[0]):
            yield match.span()
    for match in patterns.UNDIVIDED_SSN.finditer(text):
        if is_ssn(match[0]) and patterns.CALLED_SSN.search(_before(text, match.start())):
            yield match.span()


def _phones(text: str) -> _Spans:
    """Yield telephone numbers; one that was called so is one wherever it is written again."""
    for match in patterns.PHONE.finditer(text):
        if not patterns.CALLED_OTHERWISE.search(_before(text, match.start())):
            yield match.span()
    national = list(patterns.NATIONAL_NUMBER.finditer(text))
    called = {match[0] for match in national if patterns.CALLED_PHONE.search(_before(text, match.start()))}
    for match in national:
        if match[0] in called:
            yield match.span()


def _before(text: str, start: int) -> str:
    """Return the words before a place that may say what follows."""
    return text[max(start - _CONTEXT, 0) : start]


def _addresses(text: str) -> _Spans:
    if text.count(":") > 1:  # first, as an address of version 6 may end in one of version 4
        for match in patterns.IPV6.finditer(text):
            if is_address(text, *match.span()):
                yield match.span()
    if "." in text:
        for match in patterns.IPV4.finditer(text):
            if is_address(text, *match.span()):
                yield match.span()


_FINDERS: Mapping[Kind, Callable[[str], _Spans]] = {
    "PRIVATE_KEY": _private_keys,
    "JWT": _jwts,
    "API_KEY": _keys,
    "EMAIL": _emails,
    "IBAN": _ibans,
    "CARD": _cards,
    "SSN": _ssns,
    "PHONE": _phones,
    "IP": _addresses,
}
