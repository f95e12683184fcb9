"""ClickHouse SQL as tokens: just enough of the engine's lexer to tell code from quoted text.

Works on bytes, because an INSERT's data follows its SQL in the same body and need not be text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Kind", "Token", "tokens"]


class Kind(Enum):
    """What a token is."""

    WORD = "word"  # a keyword or a plain identifier
    QUOTED = "quoted"  # an identifier in backticks or double quotes
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of a statement; `start` and `end` are byte offsets into the statement."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The keyword that this token may be, "" for a token that can be none."""
        return self.text.upper() if self.kind is Kind.WORD else ""

    @property
    def name(self) -> str:
        """The identifier that this token may be, unquoted, "" for a token that can be none."""
        if self.kind is Kind.WORD:
            return self.text
        return self.text[1:-1] if self.kind is Kind.QUOTED else ""

    def is_symbol(self, symbol: str) -> bool:
        """Whether this token is the punctuation `symbol`."""
        return self.kind is Kind.SYMBOL and self.text == symbol


# Where in doubt this sees code, never text: the fence that keeps clients from files reads these tokens.
# So a heredoc must be closed, as in the engine, and words are ASCII only. An unclosed quote or comment
# runs to the end, where the engine refuses the statement.
_TOKEN = re.compile(
    rb"""
    (?P<space>   [\s\0]+ | (?:--|//|\#[\ !])[^\n]* | \xef\xbb\xbf | \xc2\xa0 )
  | (?P<comment> /\* )
  | (?P<string>  '(?:[^'\\]|\\.|'')*(?:'|\Z)
               | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
               | \xe2\x80\x98.*?(?:\xe2\x80\x99|\Z) )
  | (?P<quoted>  `(?:[^`\\]|\\.|``)*(?:`|\Z)
               | "(?:[^"\\]|\\.|"")*(?:"|\Z)
               | \xe2\x80\x9c.*?(?:\xe2\x80\x9d|\Z) )
  | (?P<number>  [0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)? )
  | (?P<word>    [A-Za-z_$][0-9A-Za-z_$]* )
  | (?P<symbol>  . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_KINDS = {kind.value: kind for kind in Kind} | {"tag": Kind.STRING}


def tokens(sql: bytes, start: int = 0) -> Iterator[Token]:
    """Yield the tokens of `sql` from `start` on, without blanks and comments, lazily."""
    position = start
    while match := _TOKEN.match(sql, position):
        group = match.lastgroup or ""
        position = match.end()
        if group == "comment":
            position = _comment_end(sql, position)
        elif group != "space":
            text = match[0].decode(errors="replace")
            yield Token(kind=_KINDS[group], text=text, start=match.start(), end=position)


def _comment_end(sql: bytes, position: int) -> int:
    """Return where the comment that opened before `position` ends; comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, position)):
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
    return len(sql) if depth else position
