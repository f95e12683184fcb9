"""The documents of the admin API as JSON Schemas, for its description in OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spendstream.budgets.definition import DIMENSIONS, ENFORCEMENTS, ON_BREACH
from spendstream.keys import APIS
from spendstream.routing.definition import STRATEGIES
from spendstream.teams import FEATURES

__all__ = [
    "BUDGET",
    "ERROR",
    "KEY",
    "KEY_ID",
    "NEW_KEY",
    "PRICES",
    "PURGE",
    "ROTATION",
    "ROUTE",
    "SHOWN_KEY",
    "SHOWN_SECRET",
    "TEAM",
    "Schema",
    "body",
    "listing",
]

Schema = Mapping[str, Any]


def body(schema: Schema, *, required: bool = True) -> dict[str, Any]:
    """Return the description of a request with such a document."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def listing(plural: str, singular: str, schema: Schema) -> Schema:
    """Return the schema of a list of documents, and of the ids of those in a file."""
    entry = _object({"id": _STRING, "etag": _STRING, singular: schema}, required=("id", "etag", singular))
    fixed = {"type": "array", "items": _STRING}
    return _object(
        {plural: {"type": "array", "items": entry}, "in_file": fixed}, required=(plural, "in_file")
    )


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def _text(least: int = 0, most: int = 200) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most}


def _texts(schema: Schema) -> Schema:
    return {"type": "array", "items": schema, "maxItems": 100}


_STRING = {"type": "string"}
_MONEY = {
    "type": ["string", "number"],
    "pattern": r"^[0-9]{1,9}(\.[0-9]{1,12})?$",
    "minimum": 0,
    "examples": ["2.50"],
    "description": "US dollars, exactly as written",
}
_DATE = {"type": "string", "format": "date"}
_MOMENT = {"type": "string", "format": "date-time"}
_WEIGHT = {"type": "integer", "minimum": 0, "maximum": 1000}
_WHOLE = {"type": "integer", "minimum": 0, "maximum": 1_000_000_000}

_VERSION = {
    "type": "object",
    "required": ["amount", "period"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "description": "as in the path, or left out"},
        "name": {"type": "string"},
        "owner": {"type": "string"},
        "scope": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in DIMENSIONS},
            "additionalProperties": False,
        },
        "amount": {"type": "string", "examples": ["4500.50 EUR"]},
        "period": {"type": "string", "examples": ["day", "week", "month", "quarter", "year", "24h", "30d"]},
        "time_zone": {"type": "string", "default": "UTC"},
        "week_start": {"type": "string", "default": "monday"},
        "roll_over": {"type": ["string", "boolean"], "examples": ["20%", "100 EUR", True], "default": False},
        "thresholds": {"type": "array", "items": {"type": ["number", "string"]}, "default": [50, 80, 100]},
        "burn_rate": {"type": "boolean", "default": True},
        "forecast": {"type": "boolean", "default": True},
        "enforce": {"type": "string", "enum": list(ENFORCEMENTS), "default": "none"},
        "on_breach": {"type": "string", "enum": list(ON_BREACH)},
        "downgrade_to": {"type": "string", "description": "a model, for on_breach: downgrade"},
        "throttle": {"type": "boolean", "default": False},
        "effective_from": _DATE,
        "effective_until": _DATE,
    },
}
BUDGET = _object({"versions": {"type": "array", "minItems": 1, "items": _VERSION}}, required=("versions",))

TEAM = _object(
    {
        "name": _text(),
        "owner": _text(),
        "features": {
            "type": "array",
            "items": {"type": "string", "enum": list(FEATURES)},
            "maxItems": len(FEATURES),
            "description": "what the team has opted in to",
        },
    }
)

PRICES = _object(
    {
        "prices": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "provider": {"type": "string"},
                    "model": {"type": "string", "minLength": 1},
                    "effective_from": {"anyOf": [_DATE, _MOMENT]},
                    "input_per_million": _MONEY,
                    "output_per_million": _MONEY,
                    "cache_read_per_million": _MONEY,
                    "cache_write_per_million": _MONEY,
                    "cache_write_1h_per_million": _MONEY,
                    "source": {"type": "string"},
                },
                required=("model", "input_per_million", "output_per_million"),
            ),
        }
    },
    required=("prices",),
)

_CONDITION = _object(
    {
        **{
            name: {"oneOf": [_text(1), {**_texts(_text(1)), "minItems": 1}]}
            for name in ("team", "project", "environment", "models")
        },
        "at_least": _WHOLE,
        "at_most": _WHOLE,
        "tools": {"type": "boolean"},
        "vision": {"type": "boolean"},
    }
)
ROUTE = _object(
    {
        "name": {"type": "string", "description": "as in the path, or left out"},
        "models": {**_texts(_text(1)), "minItems": 1},
        "strategy": {"type": "string", "enum": list(STRATEGIES)},
        "candidates": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": _object(
                {
                    "provider": _text(1),
                    "model": _text(1),
                    "share": {"type": "integer", "minimum": 0, "maximum": 10_000},
                    "quality": {"type": "integer", "minimum": 0, "maximum": 100},
                    "up_to": {"type": "number", "minimum": 0, "maximum": 1},
                    "context": _WHOLE,
                    "tools": {"type": "boolean"},
                    "vision": {"type": "boolean"},
                },
                required=("provider", "model"),
            ),
        },
        "rules": _texts(
            _object(
                {
                    "when": _CONDITION,
                    "use": {**_texts(_text(1)), "minItems": 1},
                    "strategy": {"type": "string", "enum": list(STRATEGIES)},
                },
                required=("when",),
            )
        ),
        "weights": _object(dict.fromkeys(("cost", "latency", "quality"), _WEIGHT)),
        "provider_limit": {"type": "string", "examples": ["70%"]},
        "provider_window": {"type": "string", "examples": ["5m"]},
    },
    required=("strategy", "candidates"),
)

_KEY_FIELDS: Schema = {
    "team": _text(1, 512),
    **{name: _text(0, 512) for name in ("org", "project", "environment", "service", "name")},
    "apis": {
        "type": "array",
        "items": {"type": "string", "enum": list(APIS)},
        "maxItems": len(APIS),
        "description": "none are all of them",
    },
    "models": {**_texts(_text(1)), "description": "patterns, in which * stands for anything; none are all"},
    "expires_at": _MOMENT,
}
KEY_ID = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$"
NEW_KEY = _object(
    {
        "id": {"type": "string", "pattern": KEY_ID},
        **_KEY_FIELDS,
    },
    required=("team",),
)
SHOWN_KEY = _object(
    {
        "id": {"type": "string", "pattern": KEY_ID},
        **_KEY_FIELDS,
        **dict.fromkeys(("created_at", "revoked_at", "old_until"), _MOMENT),
    },
    required=("id", "team"),
)
SHOWN_SECRET = _object(
    {"key": {"type": "string", "description": "what its owner sends; shown once"}, "api_key": SHOWN_KEY},
    required=("key", "api_key"),
)
KEY = _object(
    {
        name: (schema if name == "team" else {"anyOf": [schema, {"type": "null"}]})
        for name, schema in _KEY_FIELDS.items()
    }
)
ROTATION = _object(
    {
        "overlap_s": {
            "type": "number",
            "minimum": 0,
            "maximum": 31 * 24 * 3600,
            "default": 24 * 3600,
            "description": "seconds for which the secret before opens, too",
        }
    }
)
PURGE: Schema = {
    "oneOf": [
        _object({"team": _text(0, 512), "org": _text(0, 512)}, required=("team",)),
        _object({"team": {"type": "null"}, "org": {"const": ""}}, required=("team",)),
    ],
    "description": "whose answers are forgotten; null: all of them",
}

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")
            },
        },
        "mistakes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
