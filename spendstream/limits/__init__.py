"""Limits: what a request may spend and how fast, decided before it is made."""
