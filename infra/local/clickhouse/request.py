"""What a client asks for, read from an HTTP request line, its headers and its form fields."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.local.clickhouse.columns import split_types
from infra.local.clickhouse.errors import Code, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Credentials", "External", "Request", "read_request"]

DEFAULT_SESSION_TIMEOUT = 60
MAX_SESSION_TIMEOUT = 3600

# Addressed to the HTTP interface; none of these reaches the engine.
_TRANSPORT = frozenset(
    {
        "add_http_cors_header",
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "close_session",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_response_buffer_size",
        "http_wait_end_of_query",
        "http_write_exception_in_output_format",
        "http_zlib_compression_level",
        "password",
        "query",
        "query_id",
        "quota_key",
        "readonly",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
# Rows are visible when the insert is answered, whatever a client asks for.
_IGNORED_PREFIXES = ("async_insert", "wait_for_async_insert", "network_compression", "network_zstd")
_READ_ONLY_METHODS = frozenset({"GET", "HEAD"})
_EXTERNAL_SUFFIXES = ("_format", "_structure", "_types")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who asks; `password` stays out of every repr."""

    user: str = "default"
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A table that comes with the request and lasts as long as it."""

    name: str
    structure: str
    format: str
    rows: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, without its body.

    `query` is the SQL of the URL or form, which the body continues. `readonly` is 0, 1 or 2 as in the
    server's setting. `session_timeout` is in seconds. `protocol_version` is the revision of ClickHouse's
    protocol that the client speaks, 0 for none.
    """

    credentials: Credentials = field(default_factory=Credentials)
    query: str = ""
    query_id: str = ""
    database: str = ""
    default_format: str = ""
    readonly: int = 0
    session_id: str = ""
    session_timeout: int = DEFAULT_SESSION_TIMEOUT
    session_check: bool = False
    wait_end_of_query: bool = False
    compression_allowed: bool = False
    cors: bool = False
    protocol_version: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    external: tuple[External, ...] = ()


def read_request(
    method: str,
    arguments: Mapping[str, str],
    headers: Mapping[str, str],
    files: Iterable[tuple[str, bytes]] = (),
) -> Request:
    """Return the request that the URL and form `arguments`, the headers and the form's files make up.

    Raises EngineError for credentials given twice, a malformed number and the engine's own compressed
    block framing.
    """
    for name in ("compress", "decompress"):
        if _flag(arguments, name):
            message = (
                f"{name}=1 (ClickHouse's own block compression) is not supported here: use Content-Encoding."
            )
            raise EngineError.raised(Code.NOT_IMPLEMENTED, message)
    files = tuple(files)
    external = tuple(_external(name, rows, arguments) for name, rows in files)
    described = {name + suffix for name, _ in files for suffix in _EXTERNAL_SUFFIXES}
    return Request(
        credentials=_credentials(arguments, headers),
        query=arguments.get("query", ""),
        query_id=arguments.get("query_id", ""),
        database=arguments.get("database") or headers.get("X-ClickHouse-Database", ""),
        default_format=headers.get("X-ClickHouse-Format") or arguments.get("default_format", ""),
        readonly=_readonly(method, arguments),
        session_id=arguments.get("session_id", ""),
        session_timeout=_session_timeout(arguments),
        session_check=_flag(arguments, "session_check"),
        wait_end_of_query=_flag(arguments, "wait_end_of_query") or _flag(arguments, "http_wait_end_of_query"),
        compression_allowed=_flag(arguments, "enable_http_compression"),
        cors=_flag(arguments, "add_http_cors_header"),
        protocol_version=_number(arguments, "client_protocol_version"),
        settings={k: v for k, v in arguments.items() if _is_setting(k) and k not in described},
        parameters={k.removeprefix("param_"): v for k, v in arguments.items() if k.startswith("param_")},
        external=external,
    )


def _is_setting(name: str) -> bool:
    return not (name in _TRANSPORT or name.startswith("param_") or name.startswith(_IGNORED_PREFIXES))


def _flag(arguments: Mapping[str, str], name: str) -> bool:
    return arguments.get(name, "0").lower() not in {"", "0", "false"}


def _number(arguments: Mapping[str, str], name: str) -> int:
    value = arguments.get(name) or "0"
    if not (value.isascii() and value.isdigit()):
        raise EngineError.raised(Code.BAD_ARGUMENTS, f"{name} is not a number: '{value[:40]}'.")
    return int(value)


def _readonly(method: str, arguments: Mapping[str, str]) -> int:
    """Return 2 for a GET, which changes nothing but settings on a server; 1 stays the strictest."""
    asked = _number(arguments, "readonly")
    if not asked and method in _READ_ONLY_METHODS:
        return 2
    return asked if asked <= 1 else 2


def _session_timeout(arguments: Mapping[str, str]) -> int:
    value = arguments.get("session_timeout")
    if value is None:
        return DEFAULT_SESSION_TIMEOUT
    if not (value.isascii() and value.isdigit()):
        message = f"Invalid session timeout: '{value[:40]}'."
        raise EngineError.raised(Code.INVALID_SESSION_TIMEOUT, message)
    if int(value) > MAX_SESSION_TIMEOUT:
        message = f"Session timeout '{value}' is larger than max_session_timeout: {MAX_SESSION_TIMEOUT}."
        raise EngineError.raised(Code.INVALID_SESSION_TIMEOUT, message)
    return int(value)


def _credentials(arguments: Mapping[str, str], headers: Mapping[str, str]) -> Credentials:
    """Take the credentials from headers, from basic auth or from the URL: from one of them only."""
    basic = headers.get("Authorization", "")
    own = {k: headers[k] for k in ("X-ClickHouse-User", "X-ClickHouse-Key") if headers.get(k)}
    in_url = {k: arguments[k] for k in ("user", "password") if k in arguments}
    if (own and (basic or in_url)) or (basic and in_url):
        message = "Invalid authentication: it is not allowed to use several authentication methods at once."
        raise EngineError.raised(Code.AUTHENTICATION_FAILED, message)
    if basic:
        return _basic(basic)
    user = own.get("X-ClickHouse-User") or in_url.get("user") or "default"
    return Credentials(user=user, password=own.get("X-ClickHouse-Key") or in_url.get("password", ""))


def _basic(header: str) -> Credentials:
    scheme, _, token = header.partition(" ")
    try:
        user, _, password = b64decode(token, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError):
        scheme, user, password = "", "", ""
    if scheme.lower() != "basic":
        message = "Invalid authentication: only the Basic HTTP scheme is supported."
        raise EngineError.raised(Code.AUTHENTICATION_FAILED, message)
    return Credentials(user=user or "default", password=password)


def _external(name: str, rows: bytes, arguments: Mapping[str, str]) -> External:
    structure = arguments.get(f"{name}_structure", "")
    if not structure and (types := arguments.get(f"{name}_types", "")):
        structure = ", ".join(f"_{i} {kind}" for i, kind in enumerate(split_types(types), start=1))
    if not structure:
        message = f"External table {name} needs {name}_structure or {name}_types."
        raise EngineError.raised(Code.BAD_ARGUMENTS, message)
    wire_format = arguments.get(f"{name}_format") or "TabSeparated"
    return External(name=name, structure=structure, format=wire_format, rows=rows)
