"""What is asked of a router, and what it answers."""

from __future__ import annotations

from msgspec import Struct

from spendstream.errors import TransientError
from spendstream.routing.definition import Strategy
from spendstream.routing.statistics import Target

__all__ = ["LONGEST_REASON", "Call", "Decision", "NoCandidate"]

LONGEST_REASON = 512
"""Characters that an event has room for."""


class Call(Struct, frozen=True, kw_only=True):
    """What is known of a call before it is made.

    `prompt` is the text that its complexity is judged by, such as the last message of the user;
    `prompt_tokens` are those of the whole request. `tools` and `vision`: it brings tools, or pictures.
    """

    model: str
    prompt: str = ""
    prompt_tokens: int = 0
    max_tokens: int | None = None
    stream: bool = False
    tools: bool = False
    vision: bool = False
    team: str = ""
    project: str = ""
    environment: str = ""


class Decision(Struct, frozen=True, kw_only=True):
    """Where a call goes: first to `chosen`, then to each of `fallbacks`, as long as they fail.

    `reason` is one line of at most 512 characters. `complexity` is None where nobody asked for it.
    """

    route: str
    strategy: Strategy
    chosen: Target
    fallbacks: tuple[Target, ...]
    reason: str
    complexity: float | None = None


class NoCandidate(TransientError):
    """A route has candidates, but none that can take this call now; the message says why of each."""
