"""How long a crash is felt, from looks at what has landed, until all is caught up. Pure; time is given."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from spendstream.adapters.kafka import TopicPartition
from spendstream.topics import DEAD_LETTERS, USAGE_TOKENS

__all__ = ["Kill", "Look", "Recovery"]


class Look(Struct, frozen=True, kw_only=True):
    """What was seen at a moment (seconds of a monotonic clock).

    `landed` is the highest src_off of each partition among ClickHouse's rows, and `committed` the next offset
    that its reader has not done; each is None when nobody answered.
    """

    at: float
    rows: int
    landed: Mapping[TopicPartition, int] | None
    committed: Mapping[TopicPartition, int] | None


class Kill(Struct, frozen=True, kw_only=True):
    """One kill -9 after `rows` rows had landed, and the seconds from the restart until all went on again.

    `resumed`: every partition that had something waiting has landed something new. `caught_up`: all that
    Kafka held at the restart has landed. Both are None when nothing was waiting.
    """

    part: str
    rows: int
    resumed: float | None
    caught_up: float | None


class Recovery:
    """Follows one kill from the restart at `look.at` on; `ends` are the offsets that Kafka had reached."""

    def __init__(self, part: str, look: Look, ends: Mapping[TopicPartition, int]) -> None:
        self._part = part
        self._start = look
        topic = DEAD_LETTERS.name if part == "sink" else USAGE_TOKENS.name
        done = look.committed or {}
        self._waiting = {
            place: end for place, end in ends.items() if place.topic == topic and done.get(place, 0) < end
        }
        self._resumed: float | None = None
        self._caught_up: float | None = None

    @property
    def over(self) -> bool:
        """Whether all that waited has landed."""
        return not self._waiting or self._caught_up is not None

    @property
    def kill(self) -> Kill:
        """What is known by now."""
        return Kill(part=self._part, rows=self._start.rows, resumed=self._resumed, caught_up=self._caught_up)

    def see(self, look: Look) -> None:
        """Take note of how far things are."""
        if self.over or look.landed is None or look.committed is None:
            return
        seconds = round(look.at - self._start.at, 2)
        if self._resumed is None and all(self._moved(place, look) for place in self._waiting):
            self._resumed = seconds
        if all(self._done(place, look) for place in self._waiting):
            self._caught_up = seconds

    def _moved(self, place: TopicPartition, look: Look) -> bool:
        """Tell whether something new of a partition is stored and committed, or nothing is left of it."""
        committed = _offset(look.committed, place) > _offset(self._start.committed, place)
        stored = place.topic != USAGE_TOKENS.name or (
            _offset(look.landed, place) > _offset(self._start.landed, place)
        )
        return (committed and stored) or self._done(place, look)

    def _done(self, place: TopicPartition, look: Look) -> bool:
        return _offset(look.committed, place) >= self._waiting[place]


def _offset(offsets: Mapping[TopicPartition, int] | None, place: TopicPartition) -> int:
    return (offsets or {}).get(place, -1)
