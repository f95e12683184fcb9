"""How many tokens of input a picture is at most, whatever its size: as providers publish it.

OpenAI covers a picture with tiles (512 pixels; a base, and so much for each of at most 8) or with patches (32
pixels; so many at most, times a factor), Anthropic with patches of 28 pixels, so many at most.
https://developers.openai.com/api/docs/guides/images-vision
https://platform.claude.com/docs/en/build-with-claude/vision
"""

from __future__ import annotations

import math
from functools import lru_cache

__all__ = ["most_picture_tokens"]

_TILES = 8
"""Of the longest picture, whose short side is scaled to 768 pixels and whose long one to 2048."""
_UNKNOWN = 12_000
"""The newest models of OpenAI: 10,000 patches, times 1.2; nobody else publishes more."""


def _tiled(base: int, tile: int) -> tuple[int, int]:
    return base, base + _TILES * tile


def _patched(most: float) -> tuple[int, int]:
    tokens = math.ceil(most)
    return tokens, tokens  # detail does not matter, or it does not bound what a small picture is scaled to


_MOST = {
    "gpt-4-turbo": _tiled(85, 170),
    "gpt-4-vision": _tiled(85, 170),
    "gpt-4o": _tiled(85, 170),
    "chatgpt-4o": _tiled(85, 170),
    "gpt-4o-mini": _tiled(2833, 5667),
    "gpt-4.5": _tiled(85, 170),
    "gpt-4.1": _tiled(85, 170),
    "gpt-4.1-mini": _patched(1536 * 1.62),
    "gpt-4.1-nano": _patched(1536 * 2.46),
    "o1": _tiled(75, 150),
    "o3": _tiled(75, 150),
    "o4-mini": _patched(1536 * 1.72),
    "computer-use": _tiled(65, 129),
    "gpt-5-": _tiled(70, 140),
    "gpt-5-mini": _patched(1536 * 1.62),
    "gpt-5-nano": _patched(1536 * 2.46),
    "claude-": _patched(4784),
}
"""In low detail, and in any other; by how a model's name begins, of which the longest counts."""


@lru_cache(maxsize=1024)
def most_picture_tokens(model: str, detail: str = "auto") -> int:
    """Return the most tokens of one picture; of a model that is not known, the most of those that are."""
    name = f"{model.rpartition('/')[2].lower()}-"
    known = max((begin for begin in _MOST if name.startswith(begin)), key=len, default="")
    low, high = _MOST.get(known, (_UNKNOWN, _UNKNOWN))
    return low if detail == "low" else high
