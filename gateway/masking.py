"""Masks requests, so that providers, caches and events do not see what is personal or secret in their texts.

All that a request says is a text, but for the fields that are known to be none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.dialects import Ask
from gateway.dialects.base import decode_exactly
from gateway.exchange import Exchange
from gateway.metrics import GatewayMetrics
from gateway.refusal import Refusal
from gateway.security import Security
from spendstream.privacy import Mask
from spendstream.teams import Teams

__all__ = ["Masking"]

_IN_A_THREAD = 8 * 1024
"""Bytes of a request from which masking it (1 ms; full of finds, 3) would keep others waiting."""

_FIRST = ("system", "instructions")
"""Fields that are masked first, wherever they stand: so a chat that goes on keeps its placeholders, and what
the provider has cached of it stays good."""
_NO_TEXT = frozenset(
    {
        *("model", "tools", "tool_choice", "functions", "function_call", "mcp_servers"),
        *("response_format", "text", "output_format", "output_config"),
    }
)
"""Fields of a request that name, or define, and say nothing: of `text` the provider reads the format."""
_OPAQUE = frozenset(
    {
        *("type", "role", "id", "call_id", "file_id", "item_id", "tool_call_id", "tool_use_id"),
        *("previous_response_id", "media_type", "signature", "encrypted_content", "encrypted_index"),
        *("url", "image_url", "file_url", "file_data"),
    }
)
"""Fields anywhere in a request whose texts mean something else once they are changed."""


class Masking:
    """Masks the requests of the teams that have opted in."""

    def __init__(self, teams: Teams, metrics: GatewayMetrics, security: Security) -> None:
        self._teams = teams
        self._metrics = metrics
        self._security = security

    def is_for(self, exchange: Exchange) -> bool:
        """Tell whether a call is to be masked."""
        return self._teams.have(exchange.caller.team, "mask_pii")

    async def mask(self, exchange: Exchange) -> None:
        """Have placeholders in the request, and in the exchange the mask that has what they stand for.

        Raises Refusal for a request that is nested too deeply.
        """
        mask = Mask()
        if len(exchange.request) < _IN_A_THREAD:
            changed = _masked(exchange.ask, mask)
        else:
            changed = await asyncio.to_thread(_masked, exchange.ask, mask)
        if mask.is_empty:
            return
        exchange.mask = mask
        exchange.ask_instead(exchange.ask.body(**changed))
        if counts := mask.counts:  # none, where the caller wrote placeholders himself
            self._metrics.masked(counts)
            caller = exchange.caller
            self._security.masked(exchange.request_id, caller.key_id, caller.team, counts)


def _masked(ask: Ask, mask: Mask) -> Mapping[str, Any]:
    """Return the fields of a request that may have changed."""
    try:
        return {
            name: _without_values(decode_exactly(ask.fields[name]), name, mask)
            for name in sorted(ask.fields, key=lambda name: name not in _FIRST)
            if name not in _NO_TEXT and b'"' in bytes(ask.fields[name])
        }
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply", reason="invalid", code="invalid_json") from error


def _without_values(node: Any, name: str, mask: Mask) -> Any:
    """Return what a field of this name holds with its texts masked."""
    if isinstance(node, str):
        return node if name in _OPAQUE else mask.text(node)
    if isinstance(node, list):
        return [_without_values(each, name, mask) for each in node]
    if isinstance(node, dict):
        return {field: _field(node, field, mask) for field in node}
    return node


def _field(node: Mapping[str, Any], name: str, mask: Mask) -> Any:
    """Return one field of an object with its texts masked."""
    value, kind = node[name], node.get("type")
    if name == "input" and isinstance(value, dict):  # of a tool, whose fields can have any name
        return mask.document(value)
    if name == "data" and isinstance(value, str) and kind != "text":  # a file
        return value
    if name == "thinking" and isinstance(value, str) and node.get("signature"):  # it has to be as it was
        return mask.again(value)
    return _without_values(value, name, mask)
