"""Where text comes in pieces in the events of a streamed answer, and how an event adds one more piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ["DELTAS", "Delta", "Deltas"]

Key = tuple[Any, ...]
Event = dict[str, Any]


class Delta(NamedTuple):
    """A piece, which is `holder[name]`. Pieces with the same key make one text; `in_json` that is JSON."""

    key: Key
    holder: dict[str, Any]
    name: str
    in_json: bool = False


class Deltas(Protocol):
    """What has to be known of a dialect."""

    def of(self, event: Event) -> Iterator[Delta]:
        """Yield the pieces in an event."""

    def ends(self, event: Event, key: Key) -> bool:
        """Tell whether no piece of this key can come after an event."""

    def more(self, event: Event, key: Key, text: str) -> Event:
        """Return an event that adds to a text, like one that has done so before."""


class _Choices:
    """Chat and completions: keys begin with the number of the choice; what follows is the piece's path."""

    def of(self, event: Event) -> Iterator[Delta]:
        for choice in _objects(event.get("choices")):
            index = choice.get("index", 0)
            if not isinstance(index, int):
                continue
            if isinstance(choice.get("text"), str):
                yield Delta((index, "text"), choice, "text")
            delta = choice.get("delta")
            if isinstance(delta, dict):
                yield from _in_message(delta, (index, "delta"))

    def ends(self, event: Event, key: Key) -> bool:
        choices = _objects(event.get("choices"))
        over = any(one.get("index", 0) == key[0] and one.get("finish_reason") for one in choices)
        return over or "error" in event

    def more(self, event: Event, key: Key, text: str) -> Event:
        index, *path = key
        added: Any = text
        for step in reversed(path):
            added = {step: added} if isinstance(step, str) else [{"index": step, **added}]
        return {**event, "choices": [{"index": index, **added, "finish_reason": None}]}


class _Blocks:
    """Anthropic's messages: keys are the number of the block and the name of the field that grows."""

    def of(self, event: Event) -> Iterator[Delta]:
        delta = event.get("delta")
        index = event.get("index")
        if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return
        for name in ("text", "thinking", "partial_json"):
            if isinstance(delta.get(name), str) and isinstance(index, int):
                yield Delta((index, name), delta, name, in_json=name == "partial_json")

    def ends(self, event: Event, key: Key) -> bool:
        kind = event.get("type")
        if kind == "content_block_stop":
            return bool(event.get("index") == key[0])
        return kind in ("message_delta", "message_stop", "error")

    def more(self, event: Event, key: Key, text: str) -> Event:
        return {**event, "delta": {**event["delta"], key[1]: text}}


class _Items:
    """OpenAI's responses: keys are the kind of text, the item, and the part of it."""

    def of(self, event: Event) -> Iterator[Delta]:
        kind = str(event.get("type"))
        if kind.endswith(".delta") and isinstance(event.get("delta"), str):
            key = _place(event, kind.removesuffix(".delta"))
            yield Delta(key, event, "delta", in_json="arguments" in kind)

    def ends(self, event: Event, key: Key) -> bool:
        kind = str(event.get("type"))
        if kind.endswith(".done"):
            return _place(event, kind.removesuffix(".done")) == key
        return kind in ("response.completed", "response.incomplete", "response.failed", "error")

    def more(self, event: Event, key: Key, text: str) -> Event:
        del key  # an event has one piece
        return {**event, "delta": text}


def _in_message(delta: dict[str, Any], place: Key) -> Iterator[Delta]:
    """Yield the pieces of a message: all of its texts, whatever a provider calls them, and its calls."""
    for name, value in delta.items():
        if isinstance(value, str) and name != "role":
            yield Delta((*place, name), delta, name)
    function = delta.get("function_call")
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        yield Delta((*place, "function_call", "arguments"), function, "arguments", in_json=True)
    for number, call in enumerate(_objects(delta.get("tool_calls"))):
        index = call.get("index", number)
        here = (*place, "tool_calls", index if isinstance(index, int) else number)
        for kind, name in (("function", "arguments"), ("custom", "input")):
            given = call.get(kind)
            if isinstance(given, dict) and isinstance(given.get(name), str):
                yield Delta((*here, kind, name), given, name, in_json=name == "arguments")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def _place(event: Event, kind: str) -> Key:
    parts = (event.get(name) for name in ("output_index", "item_id", "content_index", "summary_index"))
    return (kind, *(part for part in parts if isinstance(part, int | str)))


DELTAS: Mapping[str, Deltas] = {
    "/v1/chat/completions": _Choices(),
    "/v1/completions": _Choices(),
    "/v1/messages": _Blocks(),
    "/v1/responses": _Items(),
}
"""By the path of the dialect; embeddings are not streamed."""
