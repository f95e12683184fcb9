"""Prompts: made shorter where a team has opted in, without changing what is asked.

optimiser = Optimiser(Settings(), count=partial(count_text, model))
shorter = optimiser.optimised([Passage("user", text)])
"""

from __future__ import annotations

from spendstream.prompts.optimising import Optimised, Optimiser, Settings
from spendstream.prompts.passes import PASSES, Pass, Passage
from spendstream.prompts.reading import BadPrompts, read_settings
from spendstream.prompts.similarity import lexical_similarity

__all__ = [
    "PASSES",
    "BadPrompts",
    "Optimised",
    "Optimiser",
    "Pass",
    "Passage",
    "Settings",
    "lexical_similarity",
    "read_settings",
]
