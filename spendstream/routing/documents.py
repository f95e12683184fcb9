"""One route as a JSON document, as the admin API takes it: the fields of a route, its name left out."""

from __future__ import annotations

from spendstream.budgets.fields import identifier
from spendstream.documents import BadDocument, Document, read_object
from spendstream.routing.definition import Route
from spendstream.routing.reading import BadRoutes, read_routes

__all__ = ["RouteDocument", "decode"]

_NESTS = ": "


class RouteDocument(Document, frozen=True, kw_only=True):
    """A route as it was written, and what it defines."""

    route: Route


def decode(name: str, value: bytes) -> RouteDocument:
    """Return the document of a route; raise BadDocument with everything that is wrong with it."""
    try:
        identifier(name)
    except ValueError as error:
        raise BadDocument(f"route: id: {error}", [("id", str(error))]) from error
    try:
        written = read_object(value)
    except ValueError as error:
        raise BadDocument(f"route {name}: {error}", [("document", str(error))]) from error
    if written.get("name", name) != name:
        raise BadDocument(f"route {name}: its name is another", [("name", f"expected {name} or none")])
    try:
        (route,) = read_routes([{**written, "name": name}], "admin API")
    except BadRoutes as error:
        raise BadDocument(
            str(error),
            [
                (".".join([*mistake.place.split(_NESTS)[2:], mistake.field]), mistake.reason)
                for mistake in error.mistakes
            ],
        ) from error
    return RouteDocument(id=name, written=written, route=route)
