"""Makes the prompts of teams that have opted in shorter, and keeps answers short."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from gateway.dialects import Ask
from gateway.dialects.base import decode_exactly
from gateway.exchange import Exchange
from gateway.refusal import Refusal
from spendstream.prompts import Optimiser, Passage, Settings
from spendstream.teams import Teams
from spendstream.tokens import count_text

__all__ = ["Shortening"]

_HEADER = b"x-spendstream-optimise"
_IN_A_THREAD = 2 * 1024
"""Bytes of a request from which shortening it (1 ms) would keep others waiting."""

_TEXTS: Mapping[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("messages",),
    "/v1/messages": ("system", "messages"),
    "/v1/responses": ("instructions", "input"),
}
"""Fields that hold the chat, in its order. Of completions and embeddings every blank may matter."""
_LIMITS: Mapping[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/v1/completions": ("max_tokens",),
    "/v1/messages": ("max_tokens",),
    "/v1/responses": ("max_output_tokens",),
}
"""Fields that limit an answer, of which the first is written where a request has none."""
_UNSAID = {"/v1/completions": 16}
"""The limits that a request has which does not name one."""
_PARTS = ("text", "input_text", "output_text")


class _Text(NamedTuple):
    """A text of a chat, which is `holder[name]`, and who said it."""

    role: str
    holder: dict[str, Any]
    name: str


class Shortening:
    """Shortens requests by some settings."""

    def __init__(self, teams: Teams, settings: Settings) -> None:
        self._teams = teams
        self._settings = settings

    def is_for(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a call is to be shortened; a header can only say that it is not."""
        opted_in = self._teams.have(exchange.caller.team, "optimise_prompts")
        return opted_in and headers.get(_HEADER, b"").strip().lower() != b"off"

    async def shorten(self, exchange: Exchange) -> None:
        """Have a shorter request in the exchange, and the number of tokens that it has lost.

        Raises Refusal for a request that is nested too deeply.
        """
        path, ask = exchange.dialect.path, exchange.ask
        optimiser = Optimiser(self._settings, count=partial(count_text, ask.model))
        if len(exchange.request) < _IN_A_THREAD:
            changed, saved = _shortened(path, ask, optimiser)
        else:
            changed, saved = await asyncio.to_thread(_shortened, path, ask, optimiser)
        changed |= _limited(path, ask, optimiser)
        if changed:
            exchange.saved_tokens = saved
            exchange.ask_instead(ask.body(**changed))


def _shortened(path: str, ask: Ask, optimiser: Optimiser) -> tuple[dict[str, Any], int]:
    """Return the fields with the shorter chat, and how many tokens it has lost."""
    try:
        fields = {
            name: decode_exactly(ask.fields[name]) for name in _TEXTS.get(path, ()) if name in ask.fields
        }
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply", reason="invalid", code="invalid_json") from error
    texts = [text for name in fields for text in _in_field(fields, name)]
    chat = optimiser.optimised([Passage(text.role, text.holder[text.name]) for text in texts])
    if chat.after == chat.before:
        return {}, 0
    for text, passage in zip(texts, chat.chat, strict=True):
        text.holder[text.name] = passage.text
    return fields, chat.before - chat.after


def _in_field(fields: dict[str, Any], name: str) -> Iterator[_Text]:
    """Yield the texts of a field: one that is a text itself, or has parts, or is a list of messages."""
    if name in ("system", "instructions"):
        yield from _in_content("system", fields, name)
    elif isinstance(fields[name], str):
        yield _Text("user", fields, name)
    else:
        for message in fields[name]:
            role = message.get("role") or "tool"
            yield from _in_content(role, message, "content" if "content" in message else "output")


def _in_content(role: str, holder: dict[str, Any], name: str) -> Iterator[_Text]:
    content = holder.get(name)
    if isinstance(content, str):
        yield _Text(role, holder, name)
    elif isinstance(content, list):
        for part in content:
            if not isinstance(part, dict):
                continue
            if part.get("type") == "tool_result":  # in a message of the user
                yield from _in_content("tool", part, "content")
            elif part.get("type") in _PARTS and isinstance(part.get("text"), str):
                yield _Text(role, part, "text")


def _limited(path: str, ask: Ask, optimiser: Optimiser) -> dict[str, Any]:
    """Return the fields that limit the answer, where the settings allow less than the request."""
    changed: dict[str, Any] = {}
    thought = _thought(ask)
    for name, limit in _asked(path, ask).items():
        allowed = optimiser.max_tokens(None if limit is None else limit - thought)
        if allowed is not None and allowed + thought != limit:
            changed[name] = allowed + thought
    return changed


def _asked(path: str, ask: Ask) -> Mapping[str, int | None]:
    """Return the limits of a request by field; without any, the field to set, and what holds without it."""
    names = _LIMITS.get(path, ())
    given = {name: decode_exactly(ask.fields[name]) for name in names if name in ask.fields}
    said = {name: limit for name, limit in given.items() if limit is not None}
    return said or dict.fromkeys(names[:1], _UNSAID.get(path))


def _thought(ask: Ask) -> int:
    """Return the tokens that a limit has to leave for thinking, without which Anthropic refuses a request."""
    given = decode_exactly(ask.fields["thinking"]) if "thinking" in ask.fields else None
    budget = given.get("budget_tokens") if isinstance(given, dict) else None
    return budget if isinstance(budget, int) and budget > 0 else 0
