"""Masks what is found with placeholders, and puts it back into the answer.

    mask = Mask()
    masked = mask.text(prompt)          # "Write to <EMAIL_1>"
    answer = mask.unmasked(reply)       # or, of a stream, mask.unmasker()

One mask serves one request: the same value has the same placeholder throughout, and another request's
placeholders mean nothing here. A placeholder that the caller wrote himself is masked too, so that what was
written comes back as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from spendstream.privacy.detection import KINDS, Kind, find

__all__ = ["Mask", "Unmasker"]

_PLACEHOLDER = re.compile(rf"<(?:{'|'.join((*KINDS, 'WRITTEN'))})_[0-9]{{1,9}}>")
_LONGEST = 24
_EMBEDDED = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64,[A-Za-z0-9+/=_-]*")


class Mask:
    """The placeholders of one request, for some kinds of data."""

    def __init__(self, kinds: Collection[Kind] = KINDS) -> None:
        self._kinds = frozenset(kinds)
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many different values of each kind were masked: for events and audits, without the values."""
        return {kind: count for kind, count in self._counts.items() if kind != "WRITTEN"}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was masked, so that there is nothing to put back."""
        return not self._values

    def text(self, text: str) -> str:
        """Return a text with placeholders. Inside of JSON's strings it stays JSON."""
        text = _PLACEHOLDER.sub(lambda match: self._placeholder("WRITTEN", match[0]), text)
        while found := find(text, self._kinds):  # masking one thing can uncover the next
            parts: list[str] = []
            place = 0
            for kind, start, end in found:
                parts += text[place:start], self._placeholder(kind, text[start:end])
                place = end
            text = "".join((*parts, text[place:]))
        return text

    def document(self, value: Any) -> Any:
        """Return decoded JSON with all its texts masked, but names and embedded files (data: addresses)."""
        if isinstance(value, str):
            return value if _EMBEDDED.fullmatch(value) else self.text(value)
        if isinstance(value, list):
            return [self.document(each) for each in value]
        if isinstance(value, dict):
            return {name: self.document(each) for name, each in value.items()}
        return value

    def again(self, text: str) -> str:
        """Return a text that was unmasked as it was before: only what is known by now is masked in it."""
        known = {value: placeholder for placeholder, value in self._values.items()}
        if not known:
            return text
        longest_first = sorted(known, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda match: known[match[0]], text)

    def unmasked(self, text: str, *, in_json: bool = False) -> str:
        """Return a text with the values in their places; `in_json`: it is JSON, so they are escaped."""
        return _PLACEHOLDER.sub(lambda match: self._value(match[0], in_json=in_json), text)

    def unmasker(self, *, in_json: bool = False) -> Unmasker:
        """Return what unmasks one stream of text."""
        return Unmasker(self, self._values, in_json=in_json)

    def _value(self, placeholder: str, *, in_json: bool) -> str:
        value = self._values.get(placeholder, placeholder)
        return json.dumps(value, ensure_ascii=False)[1:-1] if in_json else value

    def _placeholder(self, kind: str, value: str) -> str:
        placeholder = self._placeholders.get((kind, value))
        if placeholder is None:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            placeholder = self._placeholders[kind, value] = f"<{kind}_{number}>"
            self._values[placeholder] = value
        return placeholder


class Unmasker:
    """Unmasks a text that comes in pieces, cut anywhere; it holds back what may become a placeholder."""

    def __init__(self, mask: Mask, values: Mapping[str, str], *, in_json: bool) -> None:
        self._mask = mask
        self._values = values
        self._in_json = in_json
        self._held = ""

    @property
    def holds_back(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def feed(self, piece: str) -> str:
        """Return what can be said after one more piece; it may be nothing yet."""
        if not self._held and "<" not in piece:
            return piece
        text = self._held + piece
        end = self._settled(text)
        self._held = text[end:]
        return self._mask.unmasked(text[:end], in_json=self._in_json)

    def flush(self) -> str:
        """Return what was held back, at the end of the stream."""
        held, self._held = self._held, ""
        return held

    def _settled(self, text: str) -> int:
        """Return the place from which on the text may be the beginning of a placeholder."""
        place = text.rfind("<", max(len(text) - _LONGEST, 0))
        if place < 0 or not any(each.startswith(text[place:]) for each in self._values):
            return len(text)
        return len(text) if text.endswith(">") else place
