"""Benchmark for video semantic segmentation on compressed video."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vssbench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
