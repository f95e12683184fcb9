"""How many tokens models take at most, out of the data that has the published prices."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["context_window"]


@lru_cache(maxsize=4096)
def context_window(model: str) -> int | None:
    """Return the largest context window that anybody who sells a model publishes; None if nobody does."""
    from genai_prices.data import providers  # noqa: PLC0415 - half a second, unless prices were asked for

    offers = (one.find_model(model, all_providers=providers) for one in providers)
    return max((found.context_window for found in offers if found and found.context_window), default=None)
