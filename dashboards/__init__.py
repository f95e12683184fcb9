"""Panels, defined once."""
