"""One charge of a FOCUS dataset, before it is put into the columns of a version."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["Allocation", "Charge", "Owner", "quantity"]

_DIGITS = 12


class Owner(Struct, frozen=True, kw_only=True):
    """Whose charge it is; what is not known is empty."""

    org: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    service: str = ""
    domain: str = ""


class Allocation(Struct, frozen=True, kw_only=True):
    """How a part of what a resource costs came to be somebody's.

    `resource` is whom it was allocated to; empty says that it is what nobody took. `ratio` is its part of the
    whole, where that is known, and was told by `used` of `unit`.
    """

    method: str
    resource: str = ""
    name: str = ""
    ratio: Fraction | None = None
    unit: str = ""
    used: Decimal | None = None
    tags: Mapping[str, str] = {}


Category: TypeAlias = Literal["AI and Machine Learning", "Compute"]


class Charge(Struct, frozen=True, kw_only=True):
    """What was used from `start` until `end` (microseconds UTC), and what it cost in picodollars.

    `consumed` counts in `consumed_unit`, `priced` in `pricing_unit`. `sku` says what has a price of its own.
    """

    start: int
    end: int
    owner: Owner
    provider: str
    category: Category
    subcategory: str
    service_name: str
    sku: str
    meter: str
    description: str
    billed: int
    listed: int
    consumed: Decimal
    consumed_unit: str
    priced: Decimal
    pricing_unit: str
    resource: str = ""
    resource_name: str = ""
    resource_type: str = ""
    allocation: Allocation | None = None
    model: str = ""
    token_type: str = ""


def quantity(amount: Fraction) -> Decimal:
    """Return an amount as a decimal of twelve digits after the point, rounded half to even."""
    return Decimal(round(amount * 10**_DIGITS)).scaleb(-_DIGITS)
