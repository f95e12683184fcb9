"""Importers of public traces: each turns the rows of one format into usage events, exactly."""
