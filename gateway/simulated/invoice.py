"""What a provider charges for: its own count of the tokens of every call that it has answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from gateway.usage import Usage

__all__ = ["Invoice"]


class Invoice:
    """Calls and tokens by model and kind."""

    def __init__(self) -> None:
        self._lines: dict[str, Counter[str]] = {}

    @property
    def lines(self) -> Mapping[str, Mapping[str, int]]:
        """Sums by model: `calls`, and each kind of token."""
        return {model: dict(line) for model, line in self._lines.items()}

    def charge(self, model: str, usage: Usage) -> None:
        """Put a call on the invoice."""
        self._lines.setdefault(model, Counter()).update({"calls": 1, **msgspec.structs.asdict(usage)})
