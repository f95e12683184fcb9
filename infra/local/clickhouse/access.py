"""Who may ask: the password, and which web pages."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infra.local.clickhouse.errors import Code, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.local.clickhouse.request import Credentials

__all__ = ["Account", "check_page", "is_loopback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The one account of the endpoint. Without a password any password passes, as on a server."""

    user: str = "default"
    password: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Account:
        """Read SPENDSTREAM_CLICKHOUSE_USER and SPENDSTREAM_CLICKHOUSE_PASSWORD."""
        return cls(
            user=environment.get("SPENDSTREAM_CLICKHOUSE_USER") or "default",
            password=environment.get("SPENDSTREAM_CLICKHOUSE_PASSWORD", ""),
        )

    def admit(self, credentials: Credentials) -> None:
        """Raise EngineError (AUTHENTICATION_FAILED) unless the credentials are this account's."""
        user = hmac.compare_digest(credentials.user.encode(), self.user.encode())
        password = hmac.compare_digest(credentials.password.encode(), self.password.encode())
        if not (user and (password or not self.password)):
            message = (
                f"{credentials.user}: Authentication failed: password is incorrect, "
                "or there is no user with such name."
            )
            raise EngineError.raised(Code.AUTHENTICATION_FAILED, message)


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def check_page(origin: str, host: str, *, loopback_only: bool) -> None:
    """Raise EngineError (ACCESS_DENIED) for a request that a foreign web page makes a browser send.

    Any page may send a form to a port on this machine, and a name that a page controls may resolve to it.
    `origin` and `host` are the headers; `loopback_only` says that only this machine can connect.
    """
    host_name = urlsplit(f"//{host}").hostname or ""
    if loopback_only and host_name and not _is_address(host_name) and not is_loopback(host_name):
        message = f"the Host header names {host_name}: use 127.0.0.1 or localhost."
        raise EngineError.raised(Code.ACCESS_DENIED, message)
    if origin:
        page = urlsplit(origin).hostname or ""
        if not is_loopback(page) and page != host_name:
            message = f"web pages of {origin} may not use this endpoint, only those of this machine."
            raise EngineError.raised(Code.ACCESS_DENIED, message)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
