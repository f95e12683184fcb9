"""Grafana's JSON of our dashboards, and the command that writes it: `python -m dashboards.grafana`."""

from __future__ import annotations

import warnings

# The SDK would rather make dashboards of the second version, which files for provisioning need not be.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge, dashboard  # noqa: F401
