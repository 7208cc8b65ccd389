"""Experiments, published numbers and templates that ship with vssbench."""
