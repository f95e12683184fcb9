"""Shared costs: what belongs to nobody alone, split over those who use it, to the last picodollar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar, get_args

from spendstream.money import split

__all__ = ["POLICIES", "Policy", "shared_out"]

Policy: TypeAlias = Literal["proportional", "even", "fixed"]
POLICIES: Sequence[Policy] = get_args(Policy)
"""By what each spends itself, the same for each, or by weights that were agreed upon."""

Key = TypeVar("Key", str, int)


def shared_out(
    amount: int, direct: Mapping[Key, int], policy: Policy, weights: Mapping[Key, int] | None = None
) -> Mapping[Key, int]:
    """Return each one's part of `amount` picodollars; the parts add up to it exactly (largest remainder).

    `direct` is what each spends itself; who has credit (less than nothing) takes no part by proportion. With
    `fixed`, who has no weight pays nothing, and who has one pays even without spend of his own. Raises
    ValueError if there is nobody to pay.
    """
    if policy == "fixed":
        parts = {key: weight for key, weight in (weights or {}).items() if weight > 0}
    elif policy == "even":
        parts = dict.fromkeys(direct, 1)
    else:
        parts = {key: max(cost, 0) for key, cost in direct.items()}
    if not parts:
        raise ValueError("there is nobody to share the shared costs: name fewer shared, or give weights")
    keys = sorted(parts)  # ties of a picodollar must not depend on the order of an answer
    return dict(zip(keys, split(amount, [parts[key] for key in keys]), strict=True))
