"""A string that must not be shown."""

from __future__ import annotations

__all__ = ["Secret"]


class Secret(str):
    """A string that must not be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"
