"""Whose spend a pod is: from its labels and annotations, its namespace's, or a default."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import astuple

__all__ = ["Attribution", "Owned", "Source"]

_LONGEST = 512  # characters in a text of an event


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one attribute is read: the first label or annotation that is there, or else the default."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    default: str = ""

    def find(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
        """Return what an object says, empty if nothing."""
        for names, texts in ((self.labels, labels), (self.annotations, annotations)):
            for name in names:
                if found := texts.get(name):
                    return found[:_LONGEST]  # an annotation can be as long as a book
        return ""


class Owned(Struct, frozen=True, kw_only=True):
    """Whose spend something is; empty where it is not said."""

    org: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    service: str = ""
    domain: str = ""


class Attribution(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For each attribute, where it is read. A pod beats its namespace, which beats the default."""

    org: Source = Source()
    team: Source = Source(labels=("team",))
    project: Source = Source(labels=("project",))
    environment: Source = Source(labels=("environment", "env"))
    service: Source = Source(labels=("app.kubernetes.io/name", "app"))
    domain: Source = Source(labels=("domain",))

    def read(self, labels: Mapping[str, str] | None, annotations: Mapping[str, str] | None) -> Owned:
        """Return what an object itself says."""
        found = [source.find(labels or {}, annotations or {}) for source in astuple(self)]
        return Owned(**dict(zip(self.__struct_fields__, found, strict=True)))

    def settle(self, pod: Owned, namespace: Owned) -> Owned:
        """Return whose spend a pod is, by what it and its namespace say."""
        settled = {
            name: getattr(pod, name) or getattr(namespace, name) or getattr(self, name).default
            for name in self.__struct_fields__
        }
        return Owned(**settled)
