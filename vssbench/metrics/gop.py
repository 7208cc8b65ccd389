"""Means over a group of pictures."""

from __future__ import annotations


def gop_mean(key: float, non_key: float, keyframe_interval: float) -> float:
    """(key + (L - 1) non_key) / L: what a picture takes on average, in the unit of both."""
    return (key + (keyframe_interval - 1) * non_key) / keyframe_interval
