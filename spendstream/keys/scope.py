"""What a key's calls may ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from spendstream.keys.definition import ApiKey

__all__ = ["EVERYTHING", "Scope"]


class Scope:
    """The APIs and models that calls may ask for. A pattern's * stands for anything."""

    __slots__ = ("_apis", "_models")

    def __init__(self, apis: Iterable[str] = (), models: Iterable[str] = ()) -> None:
        self._apis = frozenset(apis)
        patterns = "|".join(map(translate, models))
        self._models = re.compile(patterns) if patterns else None

    @classmethod
    def of(cls, key: ApiKey) -> Scope:
        """Return the scope of a key."""
        return cls(key.apis, key.models) if key.apis or key.models else EVERYTHING

    def has_api(self, api: str) -> bool:
        """Tell whether calls of an API are in it."""
        return not self._apis or api in self._apis

    def has_model(self, model: str) -> bool:
        """Tell whether calls of a model, by the name that the caller gives it, are in it."""
        return self._models is None or self._models.match(model) is not None


EVERYTHING = Scope()
