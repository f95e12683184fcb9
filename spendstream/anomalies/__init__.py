"""Anomalies in spend and usage: detectors, rules, episodes and their causes. Pure: values in, values out."""
