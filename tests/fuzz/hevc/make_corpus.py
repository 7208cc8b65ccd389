"""Cut streams down to seeds for the fuzzer: whole NAL units up to a few kilobytes, plus the option byte.

Usage: python make_corpus.py OUTPUT_FOLDER STREAM...
"""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT_BYTES = 6000


def shortened(data: bytes, limit: int) -> bytes:
    """Leading NAL units of an Annex B stream, as many as fit (at least the parameter sets)."""
    pieces = data.split(b"\0\0\1")
    kept = b""
    for piece in pieces[1:]:
        if len(kept) + len(piece) > limit and (piece[0] >> 1) < 32:
            continue
        kept += b"\0\0\1" + piece
        if len(kept) > limit:
            break
    return kept


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:]:
        data = Path(name).read_bytes()
        for number, option in enumerate((0x04, 0x80, 0x03)):
            limit = LIMIT_BYTES * (number + 1) // 2
            (target / f"{Path(name).stem}_{number}").write_bytes(shortened(data, limit) + bytes([option]))


if __name__ == "__main__":
    main()
