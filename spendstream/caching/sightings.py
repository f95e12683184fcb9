"""How often something was seen lately: counts of digests in a fixed room, which fade (a count-min sketch).

Cormode and Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch and its Applications", 2005;
halved after so many sightings, as in Einziger, Friedman and Manes, "TinyLFU", 2017.
"""

from __future__ import annotations

from array import array
from struct import Struct

__all__ = ["Sightings"]

_ROWS = 4
_WORDS = Struct("<4I")
_MOST = 65_535


class Sightings:
    """Counts in 4 rows of `width` cells, a power of two; never too low but by fading, rarely too high.

    After ten times `width` sightings all counts are halved, so that what was asked long ago is forgotten.
    """

    def __init__(self, width: int = 1 << 14) -> None:
        if width < 1 or width & (width - 1):
            raise ValueError(f"expected a power of two, found {width}")
        self._mask = width - 1
        self._rows = [array("H", bytes(2 * width)) for _ in range(_ROWS)]
        self._seen = 0
        self._fade_after = 10 * width

    def see(self, digest: bytes) -> int:
        """Count `digest` (16 bytes or more, as random as a hash), and return how often it was seen before."""
        mask = self._mask
        places = [word & mask for word in _WORDS.unpack_from(digest)]
        counts: list[int] = [row[place] for row, place in zip(self._rows, places, strict=True)]
        least = min(counts)
        if least < _MOST:
            for row, place, count in zip(self._rows, places, counts, strict=True):
                if count == least:  # the others are already too high, by other digests
                    row[place] = least + 1
        self._seen += 1
        if self._seen >= self._fade_after:
            self._fade()
        return least

    def _fade(self) -> None:
        self._seen //= 2
        self._rows = [array("H", (count >> 1 for count in row)) for row in self._rows]
