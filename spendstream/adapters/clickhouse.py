"""ClickHouse, through clickhouse-connect: how to reach it, and what its errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from spendstream.config import Secret
from spendstream.errors import QueryError, RowRejected, SpendstreamError, StoreUnavailable

__all__ = ["DATABASE", "connect", "landing_errors", "query_errors"]

DATABASE = "spendstream"

_DATA_ERRORS = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        376,  # CANNOT_PARSE_UUID
        407,  # DECIMAL_OVERFLOW
        469,  # VIOLATED_CONSTRAINT
    }
)
_NO_DATABASE = 81
_SECONDS_TO_CONNECT = 5
_SECONDS_TO_ANSWER = 60


async def connect(url: Secret, *, database: str = DATABASE) -> AsyncClient:
    """Return a client of the ClickHouse at `url`; raise StoreUnavailable while it does not answer."""
    address = urlsplit(url)
    with landing_errors(_shown(url)), _missing(database, _shown(url)):
        return await clickhouse_connect.get_async_client(
            host=address.hostname or "",
            port=address.port or (8443 if address.scheme == "https" else 8123),
            secure=address.scheme == "https",
            username=unquote(address.username) if address.username else None,
            password=unquote(address.password or ""),
            database=database,
            autogenerate_session_id=False,  # one client serves many calls at once
            connect_timeout=_SECONDS_TO_CONNECT,
            send_receive_timeout=_SECONDS_TO_ANSWER,
            compress=False,  # most ClickHouses are near, and CPU is what there is least of
        )


@contextmanager
def _missing(database: str, where: str) -> Iterator[None]:
    try:
        yield
    except Error as error:
        if error.code != _NO_DATABASE:
            raise
        raise StoreUnavailable(
            f"{where} has no database {database} yet: run `spendstream migrate`, or here `spendstream up`"
        ) from error


@contextmanager
def landing_errors(what: str) -> Iterator[None]:
    """Translate errors of writes: RowRejected for what is wrong with the data, else StoreUnavailable.

    A wrong password or a missing table is no fault of the rows, and an operator can mend it: wait, and tell.
    """
    with _translated(what):
        yield


@contextmanager
def query_errors(what: str) -> Iterator[None]:
    """Translate errors of a person's query: QueryError for what ClickHouse answers, else StoreUnavailable."""
    with _translated(what, refused=QueryError):
        yield


@contextmanager
def _translated(what: str, refused: type[SpendstreamError] | None = None) -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        code = error.code if isinstance(error, Error) else None
        message = f"{what}: {_first_line(error)}"
        if code is not None and refused is not None:
            raise refused(message) from error
        if code in _DATA_ERRORS:
            raise RowRejected(message) from error
        raise StoreUnavailable(message) from error
    except OSError as error:
        raise StoreUnavailable(f"{what}: {error}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


def _shown(url: str) -> str:
    address = urlsplit(url)
    return f"ClickHouse at {address.scheme}://{address.hostname}:{address.port or ''}".rstrip(":")
