"""YAML as it was written: numbers with a point are decimals, and a key that is given twice is a mistake."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

__all__ = ["read_yaml"]


def read_yaml(text: str) -> Any:
    """Return a document, without any binary fraction in it; raise ValueError for what is no YAML."""
    try:
        return yaml.load(text, Loader=_ExactLoader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


class _ExactLoader(yaml.SafeLoader):
    """Reads floats as decimals, and takes a key that is given twice for the mistake that it is."""


def _number(loader: _ExactLoader, node: yaml.ScalarNode) -> Decimal | str:
    value = loader.construct_scalar(node)
    try:
        return Decimal(value.replace("_", ""))
    except InvalidOperation:
        return value  # the field that gets it says what it expected


def _mapping(loader: _ExactLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"{min(twice)} is given twice in line {node.start_mark.line + 1} or below")
    return loader.construct_mapping(node, deep=True)


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _number)
_ExactLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
