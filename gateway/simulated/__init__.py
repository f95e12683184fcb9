"""A provider that runs no model: an HTTP server that speaks the providers' APIs and keeps an invoice."""

from __future__ import annotations

from gateway.simulated.models import PROFILES, Call, Failure, Models, Piece, Profile, SimulatedModels
from gateway.simulated.server import SimulatedProvider, serving

__all__ = [
    "PROFILES",
    "Call",
    "Failure",
    "Models",
    "Piece",
    "Profile",
    "SimulatedModels",
    "SimulatedProvider",
    "serving",
]
