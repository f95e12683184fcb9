"""What goes over the wire besides rows: statuses, headers, and an error amid a stream of rows."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Final

__all__ = ["Summary", "broken_stream", "content_type", "new_tag", "status_of"]

# By ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; every other code is a 500.
_CODES: Final = {
    400: {6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441}
    | {675, 676},
    401: {194},
    403: {192, 193, 497, 512, 516},
    404: {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511},
    408: {159},
    411: {381},
    413: {229},
    415: {779},
    501: {48},
    503: {76, 209, 439},
}
_STATUS_BY_CODE: Final = {code: status for status, codes in _CODES.items() for code in codes}

_TEXT: Final = "text/plain; charset=UTF-8"
_JSON: Final = "application/json; charset=UTF-8"
_LINES: Final = "application/x-ndjson; charset=UTF-8"
_BYTES: Final = "application/octet-stream"
_CONTENT_TYPES: Final = {
    "Arrow": _BYTES,
    "ArrowStream": _BYTES,
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "Native": _BYTES,
    "Parquet": _BYTES,
    "RowBinary": _BYTES,
    "RowBinaryWithNames": _BYTES,
    "RowBinaryWithNamesAndTypes": _BYTES,
    "XML": "application/xml; charset=UTF-8",
}


def status_of(code: int) -> int:
    """Return the HTTP status that a server answers an error `code` of ClickHouse with."""
    return _STATUS_BY_CODE.get(code, 500)


def content_type(output: str) -> str:
    """Return the Content-Type of rows in the format `output`."""
    if found := _CONTENT_TYPES.get(output):
        return found
    if output.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if output.startswith("JSON"):
        return _LINES if "EachRow" in output else _JSON
    return _TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts of the X-ClickHouse-Summary header; for a result that streams, those of its start."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0

    def header(self, elapsed: float) -> str:
        """Return the header's value; `elapsed` is in seconds."""
        counts = {
            "read_rows": self.read_rows,
            "read_bytes": self.read_bytes,
            "written_rows": self.written_rows,
            "written_bytes": self.written_bytes,
            "total_rows_to_read": self.read_rows,
            "result_rows": self.result_rows,
            "result_bytes": self.result_bytes,
            "elapsed_ns": round(elapsed * 1e9),
        }
        return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


def new_tag() -> str:
    """Return a value for X-ClickHouse-Exception-Tag: 16 characters that no result holds by chance."""
    return secrets.token_hex(8)


def broken_stream(message: str, tag: str) -> bytes:
    """Return the block that tells a client, amid rows already sent, that the rest fails."""
    text = message.encode()
    tagged = tag.encode()
    parts = (b"", b"__exception__", tagged, text + b"\n%d " % (len(text) + 1) + tagged, b"__exception__", b"")
    return b"\r\n".join(parts)
