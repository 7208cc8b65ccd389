"""Figures of a run for the page and for files."""
