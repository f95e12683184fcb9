"""Notifiers: alerts said to people and their tools, each channel by itself."""
