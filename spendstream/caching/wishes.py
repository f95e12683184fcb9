"""What a caller asks of the cache with `cache-control`. It can only make the cache stricter, never looser."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["NO_WISHES", "Wishes", "wishes_of"]

_SECOND = 10**6


class Wishes(Struct, frozen=True, kw_only=True):
    """Whether to look up and to keep an answer, and how old it may be (microseconds; None: any age)."""

    look_up: bool = True
    keep: bool = True
    max_age: int | None = None

    def accepts(self, created_at: int, now: int) -> bool:
        """Return whether an answer of that time may be given."""
        return self.look_up and (self.max_age is None or now - created_at <= self.max_age)

    def both(self, other: Wishes) -> Wishes:
        """Return what satisfies both: as strict as the stricter, in everything."""
        ages = [age for age in (self.max_age, other.max_age) if age is not None]
        return Wishes(
            look_up=self.look_up and other.look_up,
            keep=self.keep and other.keep,
            max_age=min(ages, default=None),
        )


NO_WISHES = Wishes()


def wishes_of(cache_control: str) -> Wishes:
    """Read a request's `cache-control` (RFC 9111, section 5.2.1); several headers are joined by commas.

    `no-store` keeps nothing, `no-cache` looks nothing up, `max-age=N` takes nothing older than N seconds. An
    age that cannot be read is 0, the strictest. All other directives are ignored.
    """
    wishes = NO_WISHES
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        match name.strip():
            case "no-store":
                wishes = wishes.both(Wishes(keep=False))
            case "no-cache":
                wishes = wishes.both(Wishes(look_up=False))
            case "max-age":
                wishes = wishes.both(Wishes(max_age=_seconds(value) * _SECOND))
    return wishes


def _seconds(value: str) -> int:
    digits = value.strip().strip('"')
    return int(digits[:12]) if digits.isascii() and digits.isdigit() else 0
