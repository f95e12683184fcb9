"""Who serves which model: the providers of a gateway, and the candidates for a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.refusal import Refusal
from gateway.upstream.provider import Candidate, Provider

__all__ = ["Serving"]


class Serving:
    """Providers, in the order in which they are asked."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers = tuple(providers)
        self._candidates: dict[str, dict[str, list[Candidate]]] = {}

    @property
    def models(self) -> Mapping[str, str]:
        """The models there are, each with the provider that is asked first."""
        return {model: one.name for one in reversed(self._providers) for model in one.models}

    def candidates(self, path: str, model: str) -> Sequence[Candidate]:
        """Return who can answer in the dialect at `path`. Raises Refusal."""
        by_model = self._candidates.get(path)
        if by_model is None:
            by_model = self._candidates[path] = self._speaking(path)
        found = by_model.get(model)
        if found is None:
            raise Refusal(
                404,
                f"no model {model[:100]!r} here: GET /v1/models lists those there are",
                reason="unknown_model",
                param="model",
                code="model_not_found",
            )
        return found

    async def close(self) -> None:
        """End all connections."""
        for provider in self._providers:
            await provider.close()

    def _speaking(self, path: str) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        for provider in self._providers:
            if provider.speaks(path):
                for model in provider.models:
                    found.setdefault(model, []).append(Candidate(provider, model))
        return found
