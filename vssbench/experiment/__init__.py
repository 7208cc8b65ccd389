"""Experiments: YAML read, overridden, expanded and validated once, for runs and for training."""
