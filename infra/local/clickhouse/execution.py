"""One request on the engine: its statement, its rows in, its rows out. Runs in a worker thread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from infra.local.clickhouse import native
from infra.local.clickhouse.compression import decoder
from infra.local.clickhouse.engine import quote, quote_name
from infra.local.clickhouse.errors import Code, EngineError
from infra.local.clickhouse.lexer import Kind, tokens
from infra.local.clickhouse.preparation import load, own_handle, set_parameters, settle, unsettle
from infra.local.clickhouse.statements import MAX_SQL_BYTES, find_insert, parse
from infra.local.clickhouse.wire import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.local.clickhouse.compression import Readable
    from infra.local.clickhouse.engine import Engine, Handle
    from infra.local.clickhouse.fence import Fence
    from infra.local.clickhouse.request import Request
    from infra.local.clickhouse.sessions import Session
    from infra.local.clickhouse.statements import Insert, Statement

__all__ = ["PIECE_BYTES", "Answer", "Execution"]

#: Large results go to a client in pieces of about this size.
PIECE_BYTES: Final = 1 << 20

# The SQL of an INSERT ends within the first piece of the body; the engine's own bound for it is the same.
_HEAD_BYTES: Final = 256 << 10
# Rows go to the engine in pieces up to this size: few, for each costs a copy, and of bounded memory.
_ROWS_BYTES: Final = 8 << 20

# Formats whose blocks, one after the other, are one text of the format: no header, no footer, no brackets.
_STREAMED: Final = frozenset(
    {
        "CSV",
        "JSONCompactEachRow",
        "JSONCompactStringsEachRow",
        "JSONEachRow",
        "JSONLines",
        "JSONStringsEachRow",
        "LineAsString",
        "NDJSON",
        "Native",
        "Raw",
        "RawBLOB",
        "RowBinary",
        "TSKV",
        "TSV",
        "TSVRaw",
        "TabSeparated",
        "TabSeparatedRaw",
    }
)
# With these, blocks do depend on each other: totals come last, rows stand in one array.
_NOT_STREAMED: Final = frozenset({"TOTALS", "EXTREMES", "OUTPUT_FORMAT_JSON_ARRAY_OF_ROWS"})
_KILL_BY_ID: Final = ("KILL", "QUERY", "WHERE", "QUERY_ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A result: `rows` yields the pieces of its body in the format `output`.

    `whole` says that these are few and at hand, so that the body's length can be told before it is sent.
    """

    output: str
    summary: Summary
    rows: Iterator[bytes]
    whole: bool = True


@dataclass(slots=True, kw_only=True)
class Execution:
    """One request under way; `marker` is how the engine's list of queries knows it.

    `session` is None for a request without one, which then has a handle of its own. `markers` has those of
    all running requests by the clients' query ids. Call `run` once, read the answer's rows, then `close`,
    in whichever threads, but in one at a time.
    """

    engine: Engine
    fence: Fence
    request: Request
    marker: str
    session: Session | None = None
    markers: Mapping[str, str] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack)

    def run(self, body: Readable, encoding: str) -> Answer:
        """Execute the statement that the request's query and `body` make up; raises EngineError."""
        reader = decoder(body, encoding)
        query = self.request.query.encode()
        first = query + b"\n" * bool(query) + reader.read(_HEAD_BYTES)
        if (insert := find_insert(first)) is not None:
            return self._insert(insert, first[insert.data_start :], reader)
        return self._statement(parse(_rest(first, reader)))

    def close(self) -> None:
        """Let go of the result and of the handle."""
        self._open.close()

    def _insert(self, insert: Insert, rows: bytes, reader: Readable) -> Answer:
        chosen = insert.input or self.request.default_format or "Values"
        self.fence.check(insert.tokens)
        if chosen.lower() == "values":
            rows = _rest(rows, reader)
            self._check_expressions(rows)
        handle = self._handle(reads=False, sets=False)
        set_parameters(handle, self.request.parameters)
        inserter = handle.insert(insert.head, chosen, insert.settings)
        try:
            while rows:
                inserter.append(rows)
                rows = reader.read(_ROWS_BYTES)
            return Answer(output=chosen, summary=inserter.finish(), rows=iter(()))
        finally:
            inserter.cancel()

    def _check_expressions(self, rows: bytes) -> None:
        """Check the rows of VALUES: they are expressions, and may call functions and hold subqueries."""
        lowered = rows.lower()
        if b"\\" in lowered or any(name.encode() in lowered for name in self.fence.functions):
            self.fence.check(tuple(tokens(rows)))

    def _statement(self, statement: Statement) -> Answer:
        self.fence.check(statement.tokens)
        self.fence.check_settings(self.request.settings)
        handle = self._handle(reads=self._reads_only(statement), sets=statement.verb == "SET")
        output = statement.output or self.request.default_format or "TabSeparated"
        if statement.selects and self._streams(statement, output):
            return self._streamed(handle, statement, output)
        return self._collected(handle, statement, output)

    def _reads_only(self, statement: Statement) -> bool:
        """Whether a session's handle may run it for a request that is read-only."""
        changes_settings = self.request.readonly == 1 and "SETTINGS" in statement.words
        return (
            self.session is not None
            and not changes_settings
            and self.session.handle.reads_only(statement.sql)
        )

    def _streams(self, statement: Statement, output: str) -> bool:
        names = {name.upper() for name in self.request.settings}
        return output in _STREAMED and _NOT_STREAMED.isdisjoint(statement.words | names)

    def _streamed(self, handle: Handle, statement: Statement, output: str) -> Answer:
        blocks = handle.stream(self._marked(statement), output, self.request.parameters)
        self._open.callback(blocks.close)
        # A block more tells whether the first is all there is, which then goes out with its length.
        head = list(islice(blocks, 2))
        summary = Summary(result_bytes=sum(map(len, head)))
        rows: Iterator[bytes] = chain(head, blocks)
        if output == "Native" and self.request.protocol_version and head:
            types = self._column_types(statement, head[0])
            rows = (native.reframe_block(block, self.request.protocol_version, types) for block in rows)
        return Answer(output=output, summary=summary, rows=rows, whole=len(head) <= 1)

    def _collected(self, handle: Handle, statement: Statement, output: str) -> Answer:
        sql = self._marked(statement) if statement.selects else self._killing(statement)
        result = handle.query(sql, output, self.request.parameters)
        if self.session and statement.verb == "USE":
            self.session.database = self.session.used = handle.text("SELECT currentDatabase()")
        whole, pieces = result.size <= PIECE_BYTES, result.pieces(PIECE_BYTES)
        if output == "Native" and self.request.protocol_version:
            pieces = iter([native.reframe(result.rows(), self.request.protocol_version)])
        return Answer(output=output, summary=result.summary, rows=pieces, whole=whole)

    def _marked(self, statement: Statement) -> str:
        """Sign a query, so that it can be found and stopped; at its end, where no error counts columns."""
        return f"{statement.sql}\n/*{self.marker}*/"

    def _killing(self, statement: Statement) -> str:
        """Let KILL QUERY WHERE query_id = '...' find a query by the id that its client gave it."""
        if tuple(token.upper for token in statement.tokens[:4]) != _KILL_BY_ID:
            return statement.sql
        literal = next((token for token in statement.tokens[4:] if token.kind is Kind.STRING), None)
        marker = self.markers.get(literal.text[1:-1]) if literal else None
        if marker is None:
            return statement.sql
        return f"KILL QUERY WHERE query LIKE {quote(f'%/*{marker}*/')} SYNC"

    def _column_types(self, statement: Statement, block: bytes) -> tuple[str, ...]:
        """Return the types of the result's columns when the block does not say them in full, else ()."""
        if not native.lacks_time_zone(block, self.request.protocol_version):
            return ()
        described = f"DESCRIBE TABLE ({statement.inner}) SETTINGS print_pretty_type_names = 0"
        request = replace(self.request, readonly=0)  # which would allow no SETTINGS
        # Tables of the session are not there for another handle: then the client assumes our time zone.
        with suppress(EngineError), own_handle(self.engine, self.fence, request) as handle:
            found = handle.query(described, "JSONCompactEachRow", self.request.parameters)
            return tuple(json.loads(line)[1] for line in found.rows().splitlines())
        return ()

    def _handle(self, *, reads: bool, sets: bool) -> Handle:
        """Return the handle to use: the session's, or one of the request's own.

        `readonly` cannot be taken back from a handle. So in a session a read-only request uses the
        session's handle for statements that read; any other has a handle where the engine refuses it.
        """
        session, request = self.session, self.request
        if session is None or (request.readonly and not reads):
            return self._open.enter_context(own_handle(self.engine, self.fence, request))
        if sets:
            unsettle(session)
            return session.handle
        settle(session, request)
        for table in request.external:
            self._open.callback(
                session.handle.run, f"DROP TEMPORARY TABLE IF EXISTS {quote_name(table.name)}"
            )
        load(session.handle, self.fence, request.external)
        return session.handle


def _rest(first: bytes, reader: Readable) -> bytes:
    """Return `first` and all that follows; raises EngineError (QUERY_IS_TOO_LARGE) past the bound."""
    pieces, size = [first], len(first)
    while piece := reader.read(_ROWS_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_SQL_BYTES:
            message = f"The statement is longer than {MAX_SQL_BYTES} bytes; send rows in another format."
            raise EngineError.raised(Code.QUERY_IS_TOO_LARGE, message)
    return b"".join(pieces)
