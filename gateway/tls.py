"""The gateway's side of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from spendstream.errors import ConfigError

__all__ = ["server_context"]


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and newer. Raises ConfigError for files that are wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"{name}: cannot read {path}: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=_none)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"tls_certificate: {certificate} and {key} are no certificate and its key in PEM: {reason}"
        ) from error
    return context


def _none() -> bytes:
    """Return no password, so that nobody is asked for one."""
    return b""
