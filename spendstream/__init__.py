"""Spendstream: what AI and Kubernetes cost, while the money is being spent. This package is the pure core."""

from importlib.metadata import version

__version__ = version("spendstream")
