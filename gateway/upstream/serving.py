"""Who serves which model: the providers of a gateway, and the candidates for a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.refusal import Refusal
from gateway.upstream.provider import Candidate, Provider
from spendstream.errors import ConfigError

__all__ = ["Serving"]


class Serving:
    """Providers, in the order in which they are asked."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self.providers = tuple(providers)
        self._targets = {
            (one.name, model): Candidate(one, model) for one in self.providers for model in one.models
        }
        self._candidates: dict[str, dict[str, list[Candidate]]] = {}

    @property
    def models(self) -> Mapping[str, str]:
        """The models there are, each with the provider that is asked first."""
        return {model: one.name for one in reversed(self.providers) for model in one.models}

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

    def candidate(self, path: str, provider: str, model: str) -> Candidate | None:
        """Return a provider's model, if it can answer in the dialect at `path`."""
        found = self._targets.get((provider, model))
        return found if found is not None and found.provider.speaks(path) else None

    def is_healthy(self, provider: str, model: str, now: float) -> bool:
        """Tell whether a provider's model may be asked at `now`, in seconds of the monotonic clock."""
        found = self._targets.get((provider, model))
        return found is not None and found.provider.breaker(model).allows(now)

    def check(self, targets: Iterable[tuple[str, str]]) -> None:
        """Raise ConfigError with a line for each (provider, model) that there is not."""
        missing = [
            f"route: no provider {one!r} serves {model!r}"
            for one, model in targets
            if (one, model) not in self._targets
        ]
        if missing:
            raise ConfigError("\n".join(missing))

    async def close(self) -> None:
        """End all connections."""
        for provider in self.providers:
            await provider.close()

    def _speaking(self, path: str) -> dict[str, list[Candidate]]:
        found: dict[str, list[Candidate]] = {}
        for provider in self.providers:
            if provider.speaks(path):
                for model in provider.models:
                    found.setdefault(model, []).append(self._targets[provider.name, model])
        return found
