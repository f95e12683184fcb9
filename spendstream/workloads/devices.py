"""GPUs, whole and in parts, among the resources of a container or a node."""

from __future__ import annotations

import re
from collections.abc import Mapping

from spendstream.workloads.quantities import amount

__all__ = ["devices", "share"]

_WHOLE = re.compile(r"[a-z0-9.-]+/gpu(\.shared)?")  # nvidia.com/gpu, amd.com/gpu, nvidia.com/gpu.shared
_SLICE = re.compile(r"nvidia\.com/mig-(\d+)g\..*")
_SLICES = 7  # of a GPU that NVIDIA's MIG divides


def devices(amounts: Mapping[str, str | int | float] | None) -> int:
    """Return the GPUs among amounts by resource, in sevenths of a device: a MIG slice is one or several."""
    sevenths = 0
    for name, quantity in (amounts or {}).items():
        if _WHOLE.fullmatch(name):
            sevenths += amount(quantity) * _SLICES
        elif found := _SLICE.fullmatch(name):
            sevenths += amount(quantity) * int(found[1])
    return sevenths


def share(sevenths: int, replicas: int) -> int:
    """Return thousandths of a device, of GPUs that are handed out `replicas` times each (time slicing)."""
    return round(sevenths * 1000 / (_SLICES * replicas)) if sevenths else 0
