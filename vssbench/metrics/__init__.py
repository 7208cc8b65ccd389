"""Metrics: integer counts in, numbers with intervals out."""
