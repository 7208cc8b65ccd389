"""Damages video files byte by byte and reads each in a process with limits: does FFmpeg, or do we, fall over?

    python tests/fuzz/containers.py --files 2000 [--seed 1] [-o reports/faults/containers.json]

Small mp4, mkv, avi and ts files (HEVC, H.264, MPEG-4) get bytes flipped, cut, doubled or overwritten with extreme
numbers, most of them in their headers; each is decoded with motion in a forked process with two gigabytes of memory
and ten seconds. A crash is a signal; a defect of ours is any exception that is not a VssbenchError. POSIX only.
"""

from __future__ import annotations

import argparse
import json
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

MEMORY = 2 << 30
SECONDS = 10
FINE, REFUSED, DEFECT, MEMORY_OUT = 0, 3, 70, 71
KINDS = (
    ("mp4", "libx264"),
    ("mp4", "libx265"),
    ("mkv", "libx265"),
    ("mkv", "mpeg4"),
    ("avi", "mpeg4"),
    ("ts", "libx264"),
)


def original(container: str, codec: str) -> bytes:
    """Eight small frames of noise over a gradient."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"v.{container}"
        with av.open(str(path), "w") as file:
            options = {"refs": "1", "bf": "0", "x265-params": "log-level=none"} if codec != "mpeg4" else {}
            stream = file.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.thread_count = 1
            for _ in range(8):
                picture = av.VideoFrame.from_ndarray(generator.integers(0, 255, (48, 64, 3), dtype=np.uint8))
                file.mux(stream.encode(picture))
            file.mux(stream.encode(None))
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
    """Decode with motion; the exit code of the process that does it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    outcome = FINE
    for work in (lambda: decode(path), lambda: read_motion(path), lambda: read_video(path)):
        try:
            for _ in work():
                pass
        except VssbenchError:
            outcome = REFUSED
        except MemoryError:
            return MEMORY_OUT
    return outcome


def in_child(path: Path, errors: Path) -> int:
    """Status of `read` in a forked process: its exit code, or minus the signal that ended it."""
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
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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
    originals = {f"{codec}.{container}": original(container, codec) for container, codec in KINDS}
    outcomes: Counter[str] = Counter()
    names = {FINE: "read", REFUSED: "refused with a message", MEMORY_OUT: "refused for lack of memory"}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        path, errors = Path(name) / "v", Path(name) / "errors"
        for number in range(options.files):
            title = sorted(originals)[number % len(originals)]
            path = Path(name) / f"v.{title.rpartition('.')[2]}"
            path.write_bytes(damaged(originals[title], chance))
            status = in_child(path, errors)
            outcome = names.get(status, f"exit {status}" if status >= 0 else f"signal {-status}")
            outcomes[outcome] += 1
            if status not in names:
                options.keep.mkdir(exist_ok=True)
                (options.keep / f"{number:05d}-{title}").write_bytes(path.read_bytes())
                (options.keep / f"{number:05d}.txt").write_text(f"{outcome}\n{errors.read_text()}")
    result = {
        "files": options.files,
        "seed": options.seed,
        "outcomes": dict(outcomes),
        "seconds": round(time.monotonic() - started, 1),
        "libraries": {key: ".".join(map(str, value)) for key, value in av.library_versions.items()},
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    print(text, end="")
    raise SystemExit(any(outcome not in names.values() for outcome in outcomes))


if __name__ == "__main__":
    main()
