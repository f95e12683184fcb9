"""What a statement is: its kind, its output format, and where an INSERT's data begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from infra.local.clickhouse.errors import Code, EngineError
from infra.local.clickhouse.lexer import Kind, Token, tokens

__all__ = ["MAX_SQL_BYTES", "Insert", "Statement", "find_insert", "parse"]

#: The engine's own bound, `max_query_size`, is 256 KiB; a client may raise it up to this.
MAX_SQL_BYTES = 64 << 20

_SELECTS = frozenset({"SELECT", "WITH", "FROM", "("})
_SETTERS = frozenset({"SET", "USE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement without inline data; `sql` has no trailing semicolon.

    `verb` is its first keyword in capitals ("(" for a select in parentheses); `output` is the format that
    its own FORMAT clause names, "" without one; `inner` is `sql` without that clause.
    """

    sql: str
    verb: str
    output: str = ""
    inner: str = ""
    words: frozenset[str] = frozenset()
    tokens: tuple[Token, ...] = field(default=(), repr=False)

    @property
    def selects(self) -> bool:
        """Whether the engine can hand out the result piece by piece."""
        return self.verb in _SELECTS

    @property
    def sets(self) -> bool:
        """Whether it changes the session and nothing else."""
        return self.verb in _SETTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """An INSERT whose rows follow in the body.

    `head` names the table and columns, `settings` is its SETTINGS clause or ""; `input` is the rows' format,
    "" when the client named none; `data_start` is the offset of the first byte of the rows.
    """

    head: str
    input: str
    settings: str
    data_start: int
    tokens: tuple[Token, ...] = field(default=(), repr=False)


_TABLE = 2  # the table's place in INSERT INTO table


def find_insert(body: bytes) -> Insert | None:
    """Return the INSERT with data that `body` begins with, None for any other statement."""
    head: list[Token] = []
    depth = 0
    for token in tokens(body):
        if not head and token.upper != "INSERT":
            return None
        if not depth and _ends_head(head, token):
            return _insert(body, head, token)
        if depth == 1 and head[-1].is_symbol("(") and token.upper in _SELECTS:
            return None
        depth += token.is_symbol("(") - token.is_symbol(")")
        head.append(token)
    return _insert(body, head, None) if head else None


def _ends_head(head: list[Token], token: Token) -> bool:
    """Whether `token` follows the table; a table may itself be called `format` or `values`."""
    named = len(head) > 1 and head[-1].upper not in {"INTO", "TABLE", "FUNCTION"}
    named = named and not head[-1].is_symbol(".")
    return named and (token.upper in {"VALUES", "FORMAT", "SELECT", "WITH", "FROM"} or token.is_symbol(";"))


def _insert(body: bytes, head: list[Token], end: Token | None) -> Insert | None:
    text = body[: end.start if end else len(body)]
    stop = end.upper if end else ""
    if stop in {"SELECT", "WITH", "FROM"}:
        return None
    name, data_start = stop.title(), end.end if end else len(body)
    if stop == "FORMAT" and end:
        word = next(tokens(body, end.end), None)
        if word is None or not word.name:
            raise EngineError.raised(Code.SYNTAX_ERROR, "INSERT ... FORMAT lacks the name of a format.")
        name, data_start = word.name, _after_format(body, word.end)
    cut = _settings_start(head, len(text))
    return Insert(
        head=_text(text[:cut]),
        settings=_text(text[cut:]),
        input=name,
        data_start=data_start,
        tokens=tuple(head),
    )


def _settings_start(head: list[Token], end: int) -> int:
    """Return where the SETTINGS of an INSERT begin, else `end`; a table may itself be called `settings`."""
    depth = 0
    for index, token in enumerate(head):
        if not depth and index > _TABLE and token.upper == "SETTINGS" and not head[index - 1].is_symbol("."):
            return token.start
        depth += token.is_symbol("(") - token.is_symbol(")")
    return end


def _after_format(body: bytes, position: int) -> int:
    """Return where the rows begin: after blanks, then one line break, as in the engine's parser."""
    while body[position : position + 1] in {b" ", b"\t", b"\f"}:
        position += 1
    if body[position : position + 1] == b";":
        position += 1
    if body[position : position + 1] == b"\r":
        position += 1
    return position + (body[position : position + 1] == b"\n")


def _text(sql: bytes) -> str:
    try:
        return sql.decode().strip()
    except UnicodeDecodeError as error:
        message = f"Syntax error: the statement is not UTF-8 at byte {error.start}."
        raise EngineError.raised(Code.SYNTAX_ERROR, message) from error


@lru_cache(maxsize=256)
def parse(sql: bytes) -> Statement:
    """Return the one statement of `sql`.

    Raises EngineError (SYNTAX_ERROR) for no statement, for several, and for text that is not UTF-8.
    """
    found = tuple(tokens(sql))
    last = len(found)
    while last and found[last - 1].is_symbol(";"):
        last -= 1
    body = found[:last]
    if not body:
        raise EngineError.raised(Code.SYNTAX_ERROR, "Empty query.")
    if any(token.is_symbol(";") for token in body):
        raise EngineError.raised(Code.SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed).")
    end = body[-1].end
    cut = _output_clause(body)
    output, inner = "", sql[:end]
    if cut is not None:
        output = body[cut + 1].name
        inner = sql[: body[cut].start] + sql[body[cut + 1].end : end]
    return Statement(
        sql=_text(sql[:end]),
        verb=body[0].upper or body[0].text,
        output=output,
        inner=_text(inner),
        words=frozenset(token.upper for token in body),
        tokens=body,
    )


def _output_clause(body: tuple[Token, ...]) -> int | None:
    """Return the index of the last FORMAT at the outer level that a format's name follows."""
    depth, found = 0, None
    for index, (token, following) in enumerate(pairwise(body)):
        depth += token.is_symbol("(") - token.is_symbol(")")
        after = body[index + 2] if index + 2 < len(body) else None
        closes = after is None or after.upper == "SETTINGS"
        if not depth and index and token.upper == "FORMAT" and following.kind is Kind.WORD and closes:
            found = index
    return found
