"""Damages video files byte by byte and reads each in a process with limits: does FFmpeg, or do we, fall over?

    python tests/fuzz/containers.py --files 2000 [--seed 1] [-o reports/measurements/faults/containers.json]

Small mp4, mov, mkv, avi, ts and nut files (HEVC, H.264, MPEG-4, some with an edit list and turned) get bytes flipped,
cut, doubled or overwritten with extreme numbers, most of them in their headers; each is read in a forked process by
`decode`, `read_motion` and `read_video`. A finding is a signal, twenty seconds without an end, a gigabyte of memory, or
any exception that is not a VssbenchError; the result lists them and the longest and largest reading. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np

from vssbench.codec import decode, read_motion, read_video
from vssbench.errors import VssbenchError

MEMORY = 1 << 30
"""Resident bytes that one reading may take."""
SECONDS = 20
FINE, REFUSED, DEFECT = 0, 3, 70
SOUND = ("read", "refused with a message")
KINDS = (  # container, encoder, pictures that an edit list hides, degrees
    ("mp4", "libx264", 0, 0),
    ("mp4", "libx265", 3, 90),
    ("mov", "mpeg4", 2, 180),
    ("mkv", "libx265", 0, 0),
    ("mkv", "mpeg4", 0, 0),
    ("avi", "mpeg4", 0, 0),
    ("ts", "libx264", 0, 0),
    ("ts", "libx265", 0, 0),
    ("nut", "libx265", 0, 0),
)


def original(container: str, codec: str, hidden: int, degrees: int) -> bytes:
    """Eight small frames of noise."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"v.{container}"
        with av.open(str(path), "w") as file:
            options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
            stream = file.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.thread_count = 1
            if degrees:
                stream.set_display_rotation(degrees)
            for number in range(9):
                picture = av.VideoFrame.from_ndarray(generator.integers(0, 255, (48, 64, 3), dtype=np.uint8))
                for packet in stream.encode(picture if number < 8 else None):
                    early = round(hidden / 25 / packet.time_base)
                    packet.pts, packet.dts = packet.pts - early, packet.dts - early
                    file.mux(packet)
        return path.read_bytes()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One to six changes, three in four of them among the first and last kilobyte, where headers are."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        size = len(changed)
        near = chance.randrange(min(1024, size))
        place = chance.choice((near, size - 1 - near, near, chance.randrange(size)))
        kind = chance.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place : place + 4] = chance.choice(
                (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0")
            )
        elif kind == 2:
            changed[place : place + 8] = chance.randbytes(8)
        elif kind == 3:
            del changed[place : place + chance.randint(1, 64)]
        else:
            changed[place:place] = changed[place : place + chance.randint(1, 64)]
        if len(changed) < 16:
            break
    return bytes(changed)


def read(path: Path) -> int:
    """Everything that reads videos; the exit code of the process that does it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY, 4 * MEMORY))
    signal.alarm(SECONDS)
    outcome = FINE
    for work in (lambda: decode(path), lambda: read_motion(path), lambda: read_video(path)):
        try:
            for _ in work():
                pass
        except VssbenchError:
            outcome = REFUSED
    return outcome


def in_child(path: Path, errors: Path) -> tuple[int, int]:
    """Status of `read` in a forked process (its exit code, or minus the signal that ended it), and resident bytes."""
    child = os.fork()
    if child == 0:
        code = DEFECT
        try:
            sys.stderr = errors.open("w")
            code = read(path)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def outcome_of(status: int, resident: int) -> str:
    """What is counted."""
    if status in (FINE, REFUSED) and resident > MEMORY:
        return "more than a gigabyte"
    if status == -signal.SIGALRM:
        return f"more than {SECONDS} seconds"
    names = {FINE: "read", REFUSED: "refused with a message", DEFECT: "exception"}
    return names.get(status, f"exit {status}" if status >= 0 else f"signal {-status}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, default=Path("containers-found"), help="where failing files are put"
    )
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    av.logging.set_level(None)
    chance = random.Random(options.seed)
    logging.disable()
    originals = {f"{codec}.{container}": original(container, codec, *how) for container, codec, *how in KINDS}
    outcomes: Counter[str] = Counter()
    longest = largest = 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        errors = Path(name) / "errors"
        for number in range(options.files):
            title = sorted(originals)[number % len(originals)]
            path = Path(name) / f"v.{title.rpartition('.')[2]}"
            path.write_bytes(damaged(originals[title], chance))
            begun = time.monotonic()
            status, resident = in_child(path, errors)
            longest, largest = max(longest, time.monotonic() - begun), max(largest, resident)
            outcome = outcome_of(status, resident)
            outcomes[outcome] += 1
            if outcome not in SOUND:
                options.keep.mkdir(exist_ok=True)
                (options.keep / f"{number:05d}-{title}").write_bytes(path.read_bytes())
                (options.keep / f"{number:05d}.txt").write_text(f"{outcome}\n{errors.read_text()}")
    result = {
        "files": options.files,
        "seed": options.seed,
        "outcomes": dict(outcomes),
        "longest_seconds": round(longest, 1),
        "largest_megabytes": round(largest / 1e6),
        "seconds": round(time.monotonic() - started, 1),
        "libraries": {key: ".".join(map(str, value)) for key, value in av.library_versions.items()},
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    print(text, end="")
    raise SystemExit(any(outcome not in SOUND for outcome in outcomes))


if __name__ == "__main__":
    main()
