"""Settings from what TOML was decoded to, with all mistakes told at once; see docs/prompts.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from spendstream.budgets.fields import Mistake, Mistakes, read_fields, unknown
from spendstream.errors import ConfigError
from spendstream.prompts.optimising import Settings
from spendstream.prompts.passes import PASSES, Pass

__all__ = ["BadPrompts", "read_settings"]

_MOST_EXAMPLES = 1_000
_MOST_TOKENS = 10**9


class BadPrompts(ConfigError):
    """A table that makes no settings; `mistakes` has each field at fault, where it is, and why."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)


def read_settings(raw: Mapping[str, Any], place: str = "prompts") -> Settings:
    """Return the settings that a table holds; raise BadPrompts with everything that is wrong."""
    mistakes = Mistakes(place)
    values = read_fields(raw, _FIELDS, mistakes)
    if mistakes.found:
        raise BadPrompts(mistakes.found)
    return Settings(**values)


def _passes(raw: Any) -> tuple[Pass, ...]:
    if not isinstance(raw, list):
        raise ValueError(f"expected a list of {', '.join(PASSES)}, found {raw!r:.80}")  # noqa: TRY004 - of a file
    for name in raw:
        if name not in PASSES:
            raise ValueError(f"{name!r:.80}: {unknown('pass', name, PASSES)}")
    return tuple(name for name in PASSES if name in raw)


def _share(raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= 1:
        raise ValueError(f"expected a number from 0 to 1, found {raw!r:.80}")
    return float(raw)


def _whole(least: int, most: int, raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not least <= raw <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, found {raw!r:.80}")
    return raw


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "passes": _passes,
    "least_similarity": _share,
    "least_saving": _share,
    "examples": partial(_whole, 0, _MOST_EXAMPLES),
    "max_tokens": partial(_whole, 1, _MOST_TOKENS),
}
