"""Segmentation methods: one module or folder each, reached by registered name."""
