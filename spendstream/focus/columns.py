"""The columns of a FOCUS dataset, by version, as Arrow columns; sorted by name, and our own at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec
import pyarrow as pa

from spendstream.clock import from_micros
from spendstream.focus.charge import Charge
from spendstream.money import dollars

__all__ = ["VERSIONS", "Version", "batch", "schema"]

Version: TypeAlias = Literal["1.4", "1.2"]
VERSIONS: Sequence[Version] = get_args(Version)

_NO_ORG = "default"  # a billing account has an id, whatever the organisation is called
_TEXT, _MONEY, _TIME = pa.string(), pa.decimal128(38, 12), pa.timestamp("us", tz="UTC")


class _Column(NamedTuple):
    kind: pa.DataType
    value: Callable[[Charge], Any]


def _month(charge: Charge) -> datetime:
    return from_micros(charge.start).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(charge: Charge) -> datetime:
    return (_month(charge) + timedelta(days=32)).replace(day=1, tzinfo=UTC)


def _tags(charge: Charge) -> str | None:
    owner = msgspec.structs.asdict(charge.owner)
    return _json({name: value for name, value in owner.items() if value and name != "org"})


def _details(charge: Charge) -> str | None:
    found = charge.allocation
    if found is None or found.ratio is None:
        return None
    element: dict[str, object] = {"AllocatedRatio": round(float(found.ratio), 12)}
    if found.unit:
        element["UsageUnit"] = found.unit
        if found.used is not None:
            element["UsageQuantity"] = float(found.used)
    return msgspec.json.encode({"Elements": [element]}).decode()


def _json(values: Mapping[str, str]) -> str | None:
    return msgspec.json.encode(values).decode() if values else None


def _allocated(name: str) -> Callable[[Charge], str | None]:
    return lambda charge: (getattr(charge.allocation, name) or None) if charge.allocation else None


def _account(charge: Charge) -> str:
    return charge.owner.org or _NO_ORG


def _billed(charge: Charge) -> Any:
    return dollars(charge.billed)


def _provider(charge: Charge) -> str:
    return charge.provider


_COMMON: Mapping[str, _Column] = {
    "BilledCost": _Column(_MONEY, _billed),
    "BillingAccountId": _Column(_TEXT, _account),
    "BillingAccountName": _Column(_TEXT, _account),
    "BillingCurrency": _Column(_TEXT, lambda _: "USD"),
    "BillingPeriodEnd": _Column(_TIME, _next_month),
    "BillingPeriodStart": _Column(_TIME, _month),
    "ChargeCategory": _Column(_TEXT, lambda _: "Usage"),
    "ChargeClass": _Column(_TEXT, lambda _: None),
    "ChargeDescription": _Column(_TEXT, lambda charge: charge.description),
    "ChargeFrequency": _Column(_TEXT, lambda _: "Usage-Based"),
    "ChargePeriodEnd": _Column(_TIME, lambda charge: from_micros(charge.end)),
    "ChargePeriodStart": _Column(_TIME, lambda charge: from_micros(charge.start)),
    # No charge has one, but what is consumed is defined by it: readers ask for both together.
    "CommitmentDiscountStatus": _Column(_TEXT, lambda _: None),
    "ConsumedQuantity": _Column(_MONEY, lambda charge: charge.consumed),
    "ConsumedUnit": _Column(_TEXT, lambda charge: charge.consumed_unit),
    "ContractedCost": _Column(_MONEY, _billed),
    "EffectiveCost": _Column(_MONEY, _billed),
    "InvoiceId": _Column(_TEXT, lambda _: None),
    "InvoiceIssuerName": _Column(_TEXT, _provider),
    "ListCost": _Column(_MONEY, lambda charge: dollars(charge.listed)),
    "PricingCategory": _Column(_TEXT, lambda _: "Standard"),
    "PricingQuantity": _Column(_MONEY, lambda charge: charge.priced),
    "PricingUnit": _Column(_TEXT, lambda charge: charge.pricing_unit),
    "ResourceId": _Column(_TEXT, lambda charge: charge.resource or None),
    "ResourceName": _Column(_TEXT, lambda charge: charge.resource_name or None),
    "ResourceType": _Column(_TEXT, lambda charge: charge.resource_type or None),
    "ServiceCategory": _Column(_TEXT, lambda charge: charge.category),
    "ServiceName": _Column(_TEXT, lambda charge: charge.service_name),
    "ServiceSubcategory": _Column(_TEXT, lambda charge: charge.subcategory),
    "SkuId": _Column(_TEXT, lambda charge: charge.sku),
    "SkuMeter": _Column(_TEXT, lambda charge: charge.meter),
    "SkuPriceDetails": _Column(_TEXT, lambda _: None),
    "SkuPriceId": _Column(_TEXT, lambda charge: charge.sku),
    "SubAccountId": _Column(_TEXT, lambda charge: charge.owner.team or None),
    "SubAccountName": _Column(_TEXT, lambda charge: charge.owner.team or None),
    "Tags": _Column(_TEXT, _tags),
}
_OF_VERSION: Mapping[Version, Mapping[str, _Column]] = {
    "1.2": {
        "ProviderName": _Column(_TEXT, _provider),
        "PublisherName": _Column(_TEXT, _provider),
    },
    "1.4": {
        "AllocatedMethodDetails": _Column(_TEXT, _details),
        "AllocatedMethodId": _Column(_TEXT, _allocated("method")),
        "AllocatedResourceId": _Column(_TEXT, _allocated("resource")),
        "AllocatedResourceName": _Column(_TEXT, _allocated("name")),
        "AllocatedTags": _Column(
            _TEXT, lambda charge: _json(charge.allocation.tags) if charge.allocation else None
        ),
        "HostProviderName": _Column(_TEXT, _provider),
        "ServiceProviderName": _Column(_TEXT, _provider),
    },
}
_OURS: Mapping[str, _Column] = {
    "x_Model": _Column(_TEXT, lambda charge: charge.model or None),
    "x_TokenType": _Column(_TEXT, lambda charge: charge.token_type or None),
}
_COLUMNS: Mapping[Version, Mapping[str, _Column]] = {
    version: {**dict(sorted({**_COMMON, **_OF_VERSION[version]}.items())), **_OURS} for version in VERSIONS
}


def schema(version: Version) -> pa.Schema:
    """Return the columns of a version; its metadata names the version."""
    fields = [pa.field(name, column.kind) for name, column in _COLUMNS[version].items()]
    return pa.schema(fields, metadata={b"focus.version": version.encode()})


def batch(version: Version, charges: Sequence[Charge]) -> pa.RecordBatch:
    """Return charges as columns."""
    arrays = [
        pa.array([column.value(charge) for charge in charges], column.kind)
        for column in _COLUMNS[version].values()
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema(version))
