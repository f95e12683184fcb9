"""Charts as SVG to put into a page: bars by name, and columns over time, drawn by the page's colours.

They say nothing that the table below them does not: a reader who cannot see them has lost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

__all__ = ["bars", "columns"]

_WIDTH = 760
_BAR, _GAP = 22, 8
_NAMES, _VALUES = 190, 110
_LONGEST = 26  # characters of a name
_HEIGHT, _TOP, _AXIS = 200, 12, 28
_LABELS, _LABEL = 8, 76
_WIDEST = 48  # of a column: one day alone is no wall


def bars(title: str, items: Sequence[tuple[str, int]], shown: Callable[[int], str]) -> str:
    """Return one bar for each (name, value), in order; negative values have none."""
    most = max((value for _, value in items), default=0)
    room = _WIDTH - _NAMES - _VALUES
    parts = []
    for number, (name, value) in enumerate(items):
        top = number * (_BAR + _GAP)
        length = _scaled(value, most, room)
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
        parts += [
            f'<text x="{_NAMES - 8}" y="{top + 16}" text-anchor="end">{escape(short)}</text>',
            f'<rect class="bar" x="{_NAMES}" y="{top}" width="{length}" height="{_BAR}" rx="2">',
            f"<title>{escape(name)}: {escape(shown(value))}</title></rect>",
            f'<text x="{_NAMES + length + 6}" y="{top + 16}">{escape(shown(value))}</text>',
        ]
    return _svg(title, max(len(items) * (_BAR + _GAP), 1), parts)


def columns(title: str, items: Sequence[tuple[str, int]], shown: Callable[[int], str]) -> str:
    """Return one column for each (time, value), in order; some of the times stand below."""
    most = max((value for _, value in items), default=0)
    wide = min((_WIDTH - 2) / max(len(items), 1), _WIDEST)
    every = -(-len(items) // _LABELS) or 1
    bottom = _TOP + _HEIGHT
    parts = [
        f'<line class="axis" x1="0" y1="{bottom}" x2="{_WIDTH}" y2="{bottom}"/>',
        f'<text x="0" y="{_TOP - 2}" class="faint">{escape(shown(most))}</text>',
    ]
    for number, (name, value) in enumerate(items):
        tall = _scaled(value, most, _HEIGHT - 6)
        left = number * wide
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{bottom - tall}" width="{max(wide - 2, 1):.1f}" '
            f'height="{tall}"><title>{escape(name)}: {escape(shown(value))}</title></rect>'
        )
        if number % every == 0 and left + _LABEL <= _WIDTH:
            parts.append(f'<text x="{left:.1f}" y="{bottom + 18}" class="faint">{escape(name)}</text>')
    return _svg(title, bottom + _AXIS, parts)


def _scaled(value: int, most: int, room: int) -> int:
    """Return the pixels of a value; something that is more than nothing has one."""
    if value <= 0 or most <= 0:
        return 0
    return max(value * room // most, 1)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
