"""Privacy: personal data and secrets are masked before a provider sees them, and put back into the answer."""

from __future__ import annotations

from spendstream.privacy.detection import KINDS, Finding, Kind, find
from spendstream.privacy.masking import Mask, Unmasker

__all__ = ["KINDS", "Finding", "Kind", "Mask", "Unmasker", "find"]
