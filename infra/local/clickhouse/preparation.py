"""A handle in the state that a request wants: database, settings, external tables, read-only or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.clickhouse.engine import quote, quote_name
from infra.local.clickhouse.lexer import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.local.clickhouse.engine import Engine, Handle
    from infra.local.clickhouse.fence import Fence
    from infra.local.clickhouse.request import External, Request
    from infra.local.clickhouse.sessions import Session

__all__ = ["load", "own_handle", "set_parameters", "settle", "unsettle"]


def own_handle(engine: Engine, fence: Fence, request: Request) -> Handle:
    """Return a new handle for `request`, read-only when it asks for that; the engine then sees to it."""
    handle = engine.open()
    try:
        if request.database:
            handle.run(f"USE {quote_name(request.database)}")
        if request.settings:
            handle.run(_set({name: quote(value) for name, value in request.settings.items()}))
        load(handle, fence, request.external)
        if request.readonly:
            set_parameters(handle, request.parameters)
            handle.run(f"SET readonly = {request.readonly}")
    except BaseException:
        handle.close()
        raise
    return handle


def load(handle: Handle, fence: Fence, external: tuple[External, ...]) -> None:
    """Make the tables that come with the request."""
    for table in external:
        sql = f"CREATE TEMPORARY TABLE {quote_name(table.name)} ({table.structure}) ENGINE = Memory"
        fence.check(tuple(tokens(sql.encode())))
        handle.run(sql)
        inserter = handle.insert(f"INSERT INTO {quote_name(table.name)}", table.format)
        try:
            inserter.append(table.rows)
            inserter.finish()
        finally:
            inserter.cancel()


def set_parameters(handle: Handle, parameters: Mapping[str, str]) -> None:
    """Define query parameters for an INSERT, which takes none by its call."""
    for name, value in parameters.items():
        handle.run(f"SET {quote_name(f'param_{name}')} = {quote(value)}")


def settle(session: Session, request: Request) -> None:
    """Bring the session's handle from the last request's database and settings to this one's.

    Both last for one request only, as on a server; most clients send the same ones each time, and then
    there is nothing to do.
    """
    database = request.database or session.database
    if database != session.used:
        session.handle.run(f"USE {quote_name(database)}")
        session.used = database
    if request.settings == session.overrides:
        return
    _restore(session, [name for name in session.overrides if name not in request.settings])
    changed = {k: v for k, v in request.settings.items() if session.overrides.get(k) != v}
    if changed:
        _remember(session, [name for name in changed if name not in session.baseline])
        session.handle.run(_set({name: quote(value) for name, value in changed.items()}))
        session.overrides.update(changed)


def unsettle(session: Session) -> None:
    """Put the session's own settings back, for a SET that is to change them."""
    _restore(session, list(session.overrides))


def _restore(session: Session, names: list[str]) -> None:
    if names:
        session.handle.run(_set({name: session.baseline[name] for name in names}))
    for name in names:
        del session.overrides[name], session.baseline[name]


def _remember(session: Session, names: list[str]) -> None:
    """Note what the session has for these settings; an unknown one fails when it is set."""
    if not names:
        return
    wanted = ", ".join(map(quote, names))
    sql = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({wanted})"
    own = dict(line.split("\t", 1) for line in session.handle.text(sql).splitlines())
    session.baseline |= {name: quote(own[name]) if name in own else "DEFAULT" for name in names}


def _set(values: Mapping[str, str]) -> str:
    """Return one SET for all of `values`, which are SQL; names are quoted, so that none can be more."""
    return "SET " + ", ".join(f"{quote_name(name)} = {value}" for name, value in values.items())
