"""Kubernetes' quantities as whole numbers: "250m", "1Gi", "1e3" or 2.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/. A fraction of the unit that
is asked for is rounded up, as Kubernetes itself does.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["NANO", "amount", "counted"]

NANO = 10**9
"""Nanocores in a core: the unit of CPU."""

_MOST = 2**53  # the highest count in an event

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d{1,3}|[EPTGMK]i|[EPTGMkmun]?)")
_BINARY = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_SMALL = {letter: Fraction(1, 1000**power) for power, letter in enumerate("mun", 1)}
_LARGE = {letter: 1000**power for power, letter in enumerate("kMGTPE", 1)}
_FACTORS: dict[str, Fraction | int] = {"": 1, **_SMALL, **_LARGE, **_BINARY}
_REMEMBERED = 4096  # of a cluster's manifests, few have amounts of their own


@lru_cache(_REMEMBERED)
def amount(quantity: str | float, per_unit: int = 1) -> int:
    """Return a quantity in `1 / per_unit` of its base unit: bytes, or nanocores with `NANO`.

    Raises ValueError for what is no quantity, or negative.
    """
    found = _FORM.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{quantity!r} is no Kubernetes quantity: expected one such as 250m, 1.5 or 2Gi")
    number, suffix = found.groups()
    value = Fraction(number) * _factor(suffix) * per_unit
    if value < 0:
        raise ValueError(f"{quantity!r} is negative: expected an amount of zero or more")
    return math.ceil(value)


def counted(quantity: str | float, per_unit: int = 1) -> int:
    """Return `amount`, or the most that an event can say: a limit of "1E" CPUs is one that people set."""
    return min(amount(quantity, per_unit), _MOST)


def _factor(suffix: str) -> Fraction | int:
    return _FACTORS[suffix] if suffix in _FACTORS else Fraction(10) ** int(suffix[1:])
