"""The engine itself: ClickHouse in this process, and handles on it.

A handle is one session of the engine. It takes a third of a millisecond to open, so a request without a
session has one for itself and nothing to tidy up.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import chdb

from infra.local.clickhouse.errors import EngineError
from infra.local.clickhouse.wire import Summary

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import TracebackType

__all__ = ["Engine", "Handle", "Inserter", "Result", "quote", "quote_name"]

# What an embedded engine has on and a server has not: `1 + 1` as a statement, and a look into memory.
_OPTIONS = "implicit_select=0&allow_introspection_functions=0"

# Rows on their way to the engine stay in memory up to this size, where the system has a place for that.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # files get names of their own
_MEMORY_BYTES = 64 << 20


def quote(text: str) -> str:
    """Return `text` as a string literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_name(name: str) -> str:
    """Return `name` as an identifier of SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Result:
    """A whole result, in the engine's own memory, which lives as long as this."""

    def __init__(self, result: Any) -> None:
        self._result = result
        self.size: int = result.size()
        self.summary = Summary(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            result_bytes=self.size,
        )

    def rows(self) -> bytes:
        """Return a copy of the result."""
        return bytes(self._result.bytes())

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield copies of the result's parts of `size` bytes.

        A view of it would outlast the engine's memory: chdb's does not keep the result alive.
        """
        if self.size:
            view = self._result.get_memview().view()
            for start in range(0, self.size, size):
                yield bytes(view[start : start + size])


class Inserter:
    """An INSERT under way: bytes in, rows counted at the end.

    The rows go to the engine as a file. Its way to take them piece by piece, chdb's `send_insert`, answers
    that all were written when storing them failed, by a constraint, say, or a full disk.
    """

    def __init__(self, handle: Handle, head: str, settings: str, rows: str) -> None:
        self._handle = handle
        self._head = head
        self._settings = settings
        self._rows = rows
        self._file = tempfile.NamedTemporaryFile(prefix="insert-", dir=_MEMORY, buffering=0)  # noqa: SIM115
        self._size = 0

    def append(self, rows: bytes) -> None:
        """Keep more bytes of the insert's format."""
        self._size += len(rows)
        if self._size > _MEMORY_BYTES >= self._size - len(rows):
            self._to_disk()
        self._file.write(rows)

    def finish(self) -> Summary:
        """Commit; rows are on disk and visible when this returns."""
        if not self._size:
            return Summary(written_rows=0, written_bytes=0)
        sql = (
            # each on a line of its own, since a comment may end the client's
            f"{self._head}\nFROM INFILE {quote(self._file.name)} COMPRESSION 'none'\n"
            f"{self._settings}\nFORMAT {self._rows}"
        )
        return self._handle.query(sql, "Null").summary

    def cancel(self) -> None:
        """Let go of the rows; call it at the end, whether they were inserted or not."""
        self._file.close()

    def _to_disk(self) -> None:
        """Go on in a file on disk: rows of any size must not fill the memory."""
        with self._file as in_memory:
            self._file = tempfile.NamedTemporaryFile(prefix="insert-", buffering=0)  # noqa: SIM115
            with Path(in_memory.name).open("rb") as rows:
                shutil.copyfileobj(rows, self._file)


class Handle:
    """One session of the engine: its settings, its current database, its temporary tables.

    One thread at a time. Every method raises EngineError when the engine refuses.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, sql: str) -> None:
        """Run a statement that has no result."""
        self.query(sql, "Null")

    def query(self, sql: str, output: str, parameters: Mapping[str, str] | None = None) -> Result:
        """Run a statement and return its whole result in the format `output`."""
        try:
            return Result(self._connection.query(sql, output, params=dict(parameters or {})))
        except (chdb.ChdbError, RuntimeError) as error:
            self._drain()
            raise EngineError.from_engine(str(error)) from error

    def _drain(self) -> None:
        """Take what a failed query had already written: chdb puts it before the next query's result."""
        with suppress(chdb.ChdbError, RuntimeError):
            self._connection.query("SELECT 1", "TabSeparated")

    def stream(self, sql: str, output: str, parameters: Mapping[str, str]) -> Generator[bytes]:
        """Yield the result of a SELECT block by block, each as a whole text of the format `output`."""
        stream = None
        try:
            stream = self._connection.send_query(sql, output, params=dict(parameters))
            while (block := stream.fetch()) is not None:
                yield block.bytes()
        except (chdb.ChdbError, RuntimeError) as error:
            raise EngineError.from_engine(str(error)) from error
        finally:
            if stream is not None:
                stream.cancel()

    def insert(self, head: str, rows: str, settings: str = "") -> Inserter:
        """Begin `head`, an INSERT up to its data, which follows in the format `rows`."""
        return Inserter(self, head, settings, rows)

    def reads_only(self, sql: str) -> bool:
        """Whether the engine's parser says that the statement changes nothing."""
        return bool(self._connection._conn.classify_query(sql)["query_class"].name == "READ_ONLY")  # noqa: SLF001

    def text(self, sql: str) -> str:
        """Return the result of a query as tab-separated text without its last line break."""
        return self.query(sql, "TabSeparatedRaw").rows().decode().removesuffix("\n")

    def close(self) -> None:
        """End the session of the engine."""
        self._connection.close()


class Engine:
    """ClickHouse on one data directory, whose owner this process must be."""

    def __init__(self, directory: Path) -> None:
        self._address = f"{directory}?{_OPTIONS}"
        known = _settle_metadata(directory)
        self._root = self.open()
        _own_default_database(self._root, known=known)
        self.version = self._root.text("SELECT version()")
        self.timezone = self._root.text("SELECT timezone()")
        self.table_functions = frozenset(
            self._root.text("SELECT name FROM system.table_functions").splitlines()
        )
        self.table_engines = frozenset(
            self._root.text(
                "SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines"
            ).splitlines()
        )

    def open(self) -> Handle:
        """Return a new handle."""
        connect: Any = chdb.connect  # typed or not, depending on what else is installed
        return Handle(connect(self._address))

    def kill(self, marker: str) -> None:
        """Stop the query whose text holds `marker`; return when it has stopped."""
        with self.open() as handle:
            handle.run(f"KILL QUERY WHERE query LIKE {quote(f'%/*{marker}*/')} SYNC")

    def close(self) -> None:
        """Close the engine; every handle must be closed before."""
        self._root.close()


def _own_default_database(root: Handle, *, known: bool) -> None:
    """Take away the embedded engine's overlay on `default`, in which any path is a table.

    Below the overlay is an ordinary Atomic database. Attached by itself it keeps its tables, and can hold
    refreshable views, as on a server.
    """
    root.run("USE system")
    root.run("DETACH DATABASE default")
    root.run("ATTACH DATABASE default" if known else "CREATE DATABASE default ENGINE = Atomic")
    root.run("USE default")


def _settle_metadata(directory: Path) -> bool:
    """Make the description of `default` agree with its tables; return whether there are any.

    The embedded engine finds the tables by a link, which it makes with the first table, and ignores the
    description that the database can be attached by. So an empty database gets another identity at each
    start, and its description must go.
    """
    link = directory / "metadata" / "default"
    description = link.with_suffix(".sql")
    if not link.is_symlink():
        description.unlink(missing_ok=True)
        return False
    description.write_text(f"ATTACH DATABASE _ UUID '{link.readlink().name}'\nENGINE = Atomic\n")
    return True
