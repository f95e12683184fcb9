"""The APIs that clients and providers speak: what the gateway reads of them, and what it writes itself.

A request and its answer go through as the bytes that they are. A dialect knows where in them the few things
stand that the gateway needs: model, limits and texts of a request; usage, end and text of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.dialects.anthropic_messages import AnthropicMessages
from gateway.dialects.base import Ask, Dialect, Outcome, StreamReader
from gateway.dialects.openai_chat import OpenAIChat
from gateway.dialects.openai_responses import OpenAIResponses
from gateway.dialects.openai_texts import OpenAICompletions, OpenAIEmbeddings

__all__ = ["DIALECTS", "Ask", "Dialect", "Outcome", "StreamReader"]

_ALL: Sequence[Dialect] = (
    OpenAIChat(),
    OpenAICompletions(),
    OpenAIEmbeddings(),
    OpenAIResponses(),
    AnthropicMessages(),
)
DIALECTS: Mapping[str, Dialect] = {dialect.path: dialect for dialect in _ALL}
"""By path."""
