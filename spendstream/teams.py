"""Teams: who answers for one, and what it has opted in to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from spendstream.documents import BadDocument, Document, field_of, read_object

__all__ = ["FEATURES", "Feature", "Team", "TeamDocument", "Teams", "decode"]

Feature = Literal["mask_pii", "optimise_prompts"]
FEATURES: tuple[Feature, ...] = get_args(Feature)

_LONGEST_NAME = 512
_ANY = "*"
_NOBODY: frozenset[str] = frozenset()


class Team(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A team. Its id is what keys and events call it."""

    name: Annotated[str, Meta(max_length=200)] = ""
    owner: Annotated[str, Meta(max_length=200)] = ""
    features: Annotated[tuple[Feature, ...], Meta(max_length=len(FEATURES))] = ()


class TeamDocument(Document, frozen=True, kw_only=True):
    """A team as it was written."""

    team: Team


class Teams:
    """What all teams have opted in to: by the configuration, in which `*` is any team, or by documents."""

    def __init__(self, configured: Mapping[Feature, Collection[str]] = MappingProxyType({})) -> None:
        self._configured = {feature: frozenset(names) for feature, names in configured.items()}
        self._features: dict[str, frozenset[Feature]] = {}

    def use(self, documents: Iterable[TeamDocument]) -> None:
        """Know these from now on, and no others beside those of the configuration."""
        self._features = {it.id: frozenset(it.team.features) for it in documents}

    def have(self, team: str, feature: Feature) -> bool:
        """Tell whether a team has opted in to a feature."""
        named = self._configured.get(feature, _NOBODY)
        return team in named or _ANY in named or feature in self._features.get(team, _NOBODY)


def decode(name: str, value: bytes) -> TeamDocument:
    """Return the document of a team; raise BadDocument."""
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        reason = f"expected 1 to {_LONGEST_NAME} printable characters, found {name!r:.80}"
        raise BadDocument(f"team: id: {reason}", [("id", reason)])
    try:
        written = read_object(value)
    except ValueError as error:
        raise BadDocument(f"team {name}: {error}", [("document", str(error))]) from error
    try:
        return TeamDocument(id=name, written=written, team=msgspec.convert(written, Team))
    except msgspec.ValidationError as error:
        raise BadDocument(f"team {name}: {error}", [field_of(str(error))]) from error
