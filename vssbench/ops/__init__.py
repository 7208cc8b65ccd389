"""Operators with one definition and several back ends."""
