"""Counts tokens exactly as OpenAI's models do, with tiktoken, and never with the network.

tiktoken downloads its vocabularies when it first needs them. Here they come out of an installed package that
ships them, are checked against the digests that tiktoken itself expects, and a missing or damaged one is an
error at once. Only the two encodings of today's models are there: o200k_base and cl100k_base. For a model
with another tokenizer, Claude among them, the count is o200k_base's, an estimate.
"""

from __future__ import annotations

import binascii
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from types import FunctionType

import tiktoken
from msgspec import Struct
from tiktoken.model import encoding_name_for_model
from tiktoken_ext import openai_public

from spendstream.errors import ConfigError

__all__ = ["ChatMessage", "ContentPart", "count_chat", "count_text", "encoding_name", "split_text"]

_VOCABULARIES = "bpe_openai"
"""The package whose `data` directory has the vocabularies. It is located, not imported: it is 74 MB large."""
_SAME_ORDINARY_TOKENS = {
    "o200k_base": "o200k_base",
    "o200k_harmony": "o200k_base",  # differs in special tokens only
    "cl100k_base": "cl100k_base",
}
_ESTIMATE = "o200k_base"

_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_NAME = 1
_TOKENS_PRIMING_THE_REPLY = 3

_CHUNK = 100_000
"""Characters handed to tiktoken at once. Its pattern engine overflows on a million blanks in a row."""
_BREAKS = frozenset(' \t\r\n.,;:!?()[]{}<>"。，、；：！？）」')  # noqa: RUF001 - Chinese text breaks at these
"""After a letter or a digit, each of these begins a new piece in both encodings (an apostrophe may not)."""


class ContentPart(Struct, frozen=True):
    """One part of a message. Only text is counted; a picture's tokens depend on what only the model knows."""

    type: str = "text"
    text: str = ""


class ChatMessage(Struct, frozen=True):
    """What is read of a chat message in order to count it."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None


def count_text(model: str, text: str) -> int:
    """Return the number of tokens in a text; what looks like a special token counts as ordinary text.

    Exact for every text in which a space or punctuation ends a word at least every 100,000 characters. A
    longer unbroken run is cut, and each cut may put the count off by a few tokens.
    """
    encode = _encoding(encoding_name(model)).encode_ordinary
    return sum(len(encode(chunk)) for chunk in split_text(text, _CHUNK))


def count_chat(model: str, messages: Sequence[ChatMessage]) -> int:
    """Return the input tokens of a chat, by the counting rule that OpenAI publishes for its chat models."""
    return _TOKENS_PRIMING_THE_REPLY + sum(_count_message(model, message) for message in messages)


@lru_cache(maxsize=1024)
def encoding_name(model: str) -> str:
    """Return the name of the encoding that counts for a model."""
    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return _ESTIMATE
    return _SAME_ORDINARY_TOKENS.get(name, _ESTIMATE)


def split_text(text: str, limit: int) -> Iterator[str]:
    """Yield a text in chunks of at most `limit` characters, cut where no token crosses, if possible."""
    start = 0
    while len(text) - start > limit:
        end = _break_before(text, start, start + limit)
        yield text[start:end]
        start = end
    yield text[start:]


def _break_before(text: str, start: int, limit: int) -> int:
    """Return the last place after `start`, up to `limit`, at which a word ends; `limit` if there is none."""
    for place in range(limit, start, -1):
        if text[place] in _BREAKS and text[place - 1].isalnum():
            return place
    return limit


def _count_message(model: str, message: ChatMessage) -> int:
    count = _TOKENS_PER_MESSAGE + count_text(model, message.role)
    if isinstance(message.content, str):
        count += count_text(model, message.content)
    elif message.content is not None:
        count += sum(count_text(model, part.text) for part in message.content)
    if message.name is not None:
        count += _TOKENS_PER_NAME + count_text(model, message.name)
    return count


_encodings: dict[str, tiktoken.Encoding] = {}
_loading = Lock()


def _encoding(name: str) -> tiktoken.Encoding:
    """Return an encoding, which the first caller loads (a quarter of a second) while others wait for it."""
    found = _encodings.get(name)
    if found is None:
        with _loading:
            found = _encodings.get(name) or tiktoken.Encoding(**_definition(name))  # type: ignore[arg-type]
            _encodings[name] = found
    return found


def _definition(name: str) -> dict[str, object]:
    """Return tiktoken's own definition of an encoding, with our reader in the place of its downloader."""
    original: FunctionType = openai_public.ENCODING_CONSTRUCTORS[name]
    names = {**original.__globals__, "load_tiktoken_bpe": _read_ranks}
    constructor: Callable[[], dict[str, object]] = FunctionType(original.__code__, names)
    return constructor()


def _read_ranks(url: str, expected_hash: str) -> dict[bytes, int]:
    """Return the vocabulary that tiktoken would download from `url`, read from the installed package."""
    path = _directory() / f"{url.rpartition('/')[2]}.gz"
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: cannot read the tokenizer's vocabulary ({error}): {_REMEDY}") from error
    if sha256(content).hexdigest() != expected_hash:
        raise ConfigError(f"{path}: not the vocabulary that tiktoken expects (SHA-256 differs): {_REMEDY}")
    lines = (line.split() for line in content.splitlines())
    return {binascii.a2b_base64(token): int(rank) for token, rank in lines}


def _directory() -> Path:
    spec = find_spec(_VOCABULARIES)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the tokenizer's vocabularies are not installed: {_REMEDY}")
    return Path(spec.submodule_search_locations[0]) / "data"


_REMEDY = "install the package bpe-openai again"
