"""One provider: where it is, what it serves, in which dialects, and how it says that something went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from gateway.upstream.breaker import Breaker
from gateway.upstream.client import Address, Answer, Client
from gateway.upstream.translation import NotTranslatable, TranslatedAnswer, request_to_messages
from spendstream.config import ProviderSettings
from spendstream.errors import ConfigError, SpendstreamError

__all__ = [
    "AccountRefused",
    "AnyAnswer",
    "Candidate",
    "Provider",
    "ProviderError",
    "Untranslatable",
    "provider_error",
]

AnyAnswer: TypeAlias = Answer | TranslatedAnswer

_CHAT, _MESSAGES = "/v1/chat/completions", "/v1/messages"
_VERSION = b"anthropic-version"
_PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "openai": {
        "/v1/chat/completions": "/chat/completions",
        "/v1/completions": "/completions",
        "/v1/embeddings": "/embeddings",
        "/v1/responses": "/responses",
    },
    "anthropic": {"/v1/messages": "/v1/messages"},
}
"""By kind: the path of a dialect, and where the provider has it beneath its base URL."""
_OUR_ACCOUNT = frozenset({401, 402, 403})
"""Statuses that are about our key or our bill, whatever was asked: no caller can do anything about them."""
_MOST_ERROR_TYPE = 100
_FORWARDED = (b"anthropic-version", b"anthropic-beta", b"openai-beta", b"idempotency-key")
"""Headers that change what a provider does with a request, and are the caller's to set."""


class ProviderError(SpendstreamError):
    """A call that the provider refused or broke off: with which HTTP status, and when to try again.

    `body` is the provider's own word, if it had one.
    """

    def __init__(
        self,
        status: int,
        error_type: str,
        message: str,
        *,
        retry_after: float | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.retry_after = retry_after
        self.body = body


class AccountRefused(ProviderError):
    """A call that the provider refused because of our account with it: the key is wrong, the bill not paid.

    What the provider says of that is not told on, as it may quote the key.
    """


class Untranslatable(ProviderError):
    """A request that a provider was not sent, as its API has no words for it."""


class Provider:
    """Sends requests to one provider. Raises ConfigError for settings that cannot be."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.name = settings.name
        self.models: Sequence[str] = settings.models
        self.retries = settings.retries
        self._client = Client(_address(settings), timeout=settings.timeout_s)
        kinds = ("openai", "anthropic") if settings.kind == "simulated" else (settings.kind,)
        self._heads = {
            path: self._client.head(
                beneath if kind == settings.kind else path.removeprefix("/v1"), _headers(settings, kind)
            )
            for kind in kinds
            for path, beneath in _PATHS[kind].items()
        }
        self._breakers = {model: Breaker() for model in settings.models}
        self._translates = _CHAT not in self._heads and _MESSAGES in self._heads

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._client.address

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The breakers of its models."""
        return self._breakers

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections to it have an answer under way, and how many wait for another request."""
        return self._client.connections

    def speaks(self, path: str) -> bool:
        """Tell whether it has the dialect at a path."""
        return path in self._heads or (self._translates and path == _CHAT)

    def breaker(self, model: str) -> Breaker:
        """Return the breaker of one of its models."""
        return self._breakers[model]

    async def send(self, path: str, headers: bytes, body: bytes) -> AnyAnswer:
        """Send a request in the dialect at `path`, with some more lines of headers.

        Returns the answer once it has begun. Raises BrokenOff, and Untranslatable.
        """
        if path in self._heads:
            return await self._client.post(self._heads[path] + headers, body)
        try:
            translated = request_to_messages(body)
        except NotTranslatable as error:
            raise Untranslatable(400, "not_translatable", f"{self.name}: {error}") from error
        if _VERSION not in headers:
            headers += _VERSION + b": 2023-06-01\r\n"
        return TranslatedAnswer(await self._client.post(self._heads[_MESSAGES] + headers, translated))

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()


class Candidate(Struct, frozen=True):
    """A model of a provider that can answer a call."""

    provider: Provider
    model: str


def forwarded(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the lines of the caller's headers that a provider has to see."""
    found = [b"%b: %b\r\n" % (name, headers[name]) for name in _FORWARDED if name in headers]
    return b"".join(found)


class _Told(Struct, frozen=True):
    type: str | None = None
    code: str | int | None = None
    message: str | None = None


class _Error(Struct, frozen=True):
    error: _Told | str | None = None


_errors = msgspec.json.Decoder(_Error)


def provider_error(provider: str, answer: AnyAnswer, body: bytes) -> ProviderError:
    """Return the error that an answer of another status than success tells."""
    try:
        told = _errors.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told, body = None, b""
    if not isinstance(told, _Told):
        told = _Told(message=told)
    error_type = str(told.code or told.type or f"http_{answer.status}")[:_MOST_ERROR_TYPE]
    message = f"{provider}: {told.message or f'status {answer.status}'}"
    after = answer.headers.get(b"retry-after", b"").decode("latin-1")
    if answer.status in _OUR_ACCOUNT:
        return AccountRefused(answer.status, error_type, f"{provider}: it refuses the gateway's account")
    return ProviderError(answer.status, error_type, message, retry_after=_seconds(after), body=body or None)


def _seconds(text: str) -> float | None:
    """Return the seconds in a Retry-After; a date in it is not worth a calendar here."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86_400 else None  # noqa: PLR2004 - a day; and no NaN


def _address(settings: ProviderSettings) -> Address:
    try:
        return Address.of(settings.base_url)
    except ValueError as error:
        raise ConfigError(f"provider {settings.name}: base_url: {error}") from error


def _headers(settings: ProviderSettings, kind: str) -> Mapping[str, str]:
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "spendstream"}
    if kind == "anthropic":
        return {**headers, "x-api-key": settings.api_key}
    return {**headers, "authorization": f"Bearer {settings.api_key}"} if settings.api_key else headers
