"""Makes a chat shorter, pass by pass, and takes back what would change its meaning or is not worth it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from msgspec import Struct

from spendstream.prompts.passes import PASSES, Pass, Passage, passes
from spendstream.prompts.protected import protected
from spendstream.prompts.similarity import lexical_similarity

__all__ = ["Optimised", "Optimiser", "Settings"]


class Settings(Struct, frozen=True, kw_only=True):
    """What a team has opted in to.

    `least_similarity` from 0 to 1 and `least_saving` as a share of the tokens: with less of either nothing
    changes. `examples` are kept of those that a text heads so. `max_tokens` limits answers, None does not.
    """

    passes: tuple[Pass, ...] = PASSES
    least_similarity: float = 0.97
    least_saving: float = 0.03
    examples: int = 3
    max_tokens: int | None = None


class Optimised(Struct, frozen=True, kw_only=True):
    """A chat as it is to be sent; tokens before and after, and what each pass saved of them.

    `reverted` are passes that would have changed the meaning.
    """

    chat: tuple[Passage, ...]
    before: int
    after: int
    saved: Mapping[Pass, int]
    reverted: tuple[Pass, ...]


class Optimiser:
    """Applies settings with a counter of tokens, and a similarity of two texts from 0 to 1."""

    def __init__(
        self,
        settings: Settings,
        *,
        count: Callable[[str], int],
        similarity: Callable[[str, str], float] = lexical_similarity,
    ) -> None:
        self._settings = settings
        self._count = count
        self._similarity = similarity
        known = passes(settings.examples)
        self._passes = {name: known[name] for name in PASSES if name in settings.passes}

    def max_tokens(self, asked: int | None) -> int | None:
        """Return how long an answer may be, of what was asked for and what the settings allow."""
        allowed = [limit for limit in (asked, self._settings.max_tokens) if limit is not None]
        return min(allowed, default=None)

    def optimised(self, chat: Sequence[Passage]) -> Optimised:
        """Return the shorter chat, or the same one. It has as many texts, in the same order."""
        try:
            return self._optimised(chat)
        finally:
            protected.cache_clear()  # nothing of a prompt is kept after it

    def _optimised(self, chat: Sequence[Passage]) -> Optimised:
        count = cache(self._count)  # most texts come by several times
        before = after = _tokens(chat, count)
        now, saved, reverted = tuple(chat), dict[Pass, int](), dict[Pass, None]()
        changed = True
        while changed:  # one pass can make room for another
            changed = False
            for name, shorten in self._passes.items():
                shorter = tuple(shorten(now))
                gain = after - _tokens(shorter, count) if shorter != now else 0
                if gain <= 0:
                    continue
                if not self._says_the_same(now, shorter):
                    reverted[name] = None
                    continue
                now, after, changed = shorter, after - gain, True
                saved[name] = saved.get(name, 0) + gain
        if before - after < self._settings.least_saving * before:
            return Optimised(
                chat=tuple(chat), before=before, after=before, saved={}, reverted=tuple(reverted)
            )
        return Optimised(chat=now, before=before, after=after, saved=saved, reverted=tuple(reverted))

    def _says_the_same(self, before: Sequence[Passage], after: Sequence[Passage]) -> bool:
        """Compare all that changed at once: what one text loses may stand in another."""
        return self._similarity(_joined(before), _joined(after)) >= self._settings.least_similarity


def _tokens(chat: Sequence[Passage], count: Callable[[str], int]) -> int:
    return sum(count(passage.text) for passage in chat)


def _joined(chat: Sequence[Passage]) -> str:
    return "\n\n".join(passage.text for passage in chat)
