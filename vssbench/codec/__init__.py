"""Encoding, decoding and motion of compressed video."""
