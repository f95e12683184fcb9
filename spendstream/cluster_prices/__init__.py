"""What nodes, GPUs, volumes, load balancers, control planes and traffic cost, where and since when.

What no file covers has no price: an error, or None, and never a zero or a default.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from spendstream.cluster_prices.book import ClusterPrice, ClusterPrices, PriceKind
from spendstream.cluster_prices.files import prices_in
from spendstream.errors import ConfigError

__all__ = ["ClusterPrice", "ClusterPrices", "PriceKind", "cluster_prices", "prices_in", "shipped_prices"]


def shipped_prices() -> ClusterPrices:
    """Return the prices that are shipped with this release."""
    file = resources.files("infra").joinpath("prices", "kubernetes.yaml")
    return prices_in(file.read_text(encoding="utf-8"), file.name)


def cluster_prices(path: Path | None = None) -> ClusterPrices:
    """Return the prices in force: those of the user's file at `path` beat the shipped ones.

    Raises ConfigError for a file that cannot be read, and for every mistake in it.
    """
    if path is None:
        return shipped_prices()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the cluster prices: {error}") from error
    return prices_in(text, str(path)).over(shipped_prices())
