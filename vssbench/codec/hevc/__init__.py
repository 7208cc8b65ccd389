"""HEVC motion parser: Python face of the C++ extension `_motion`."""
