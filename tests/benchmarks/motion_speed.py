"""Speed of a motion parser against FFmpeg's full decode and its exported vectors, one thread, interleaved in one run.

    python tests/benchmarks/motion_speed.py h264|hevc FILE... [--rounds 7] [-o reports/measurements/benchmarks/h264_motion.json]

CPU time, because it is the better guide on a busy machine; medians and the fastest of the rounds, pictures per second.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import av


def decode(path: Path, options: dict[str, str]) -> int:
    """Full decode; exported vectors are read if asked for."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.options = options
        count = 0
        for frame in container.decode(stream):
            vectors: Any = frame.side_data.get("MOTION_VECTORS") if options else None
            if vectors is not None:
                vectors.to_ndarray()
            count += 1
        return count


def seconds(job: Callable[[], int]) -> tuple[int, float]:
    """Pictures, and CPU seconds."""
    begin = time.process_time()
    return job(), time.process_time() - begin


def measure(codec: str, path: Path, rounds: int) -> dict[str, Any]:
    """Rates of one file."""
    read_motion = import_module(f"vssbench.codec.{codec}").read_motion
    jobs: dict[str, Callable[[], int]] = {
        "parser": lambda: sum(1 for _ in read_motion(path)),
        "decode": lambda: decode(path, {}),
    }
    if codec != "hevc":
        jobs["decode with exported vectors"] = lambda: decode(path, {"flags2": "+export_mvs"})
    taken: dict[str, list[float]] = {label: [] for label in jobs}
    pictures = 0
    for _ in range(rounds):
        for label, job in jobs.items():
            pictures, used = seconds(job)
            taken[label].append(used)
    rates = {
        label: {
            "median": round(pictures / statistics.median(values), 1),
            "fastest": round(pictures / min(values), 1),
        }
        for label, values in taken.items()
    }
    ratio = {kind: round(rates["parser"][kind] / rates["decode"][kind], 2) for kind in ("median", "fastest")}
    return {
        "file": path.name,
        "pictures": pictures,
        "pictures_per_cpu_second": rates,
        "parser_over_decode": ratio,
    }


def main() -> None:
    """Measure and print, or write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("codec", choices=["h264", "hevc"])
    arguments.add_argument("files", nargs="+", type=Path)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("-o", "--output", type=Path)
    given = arguments.parse_args()
    result = {
        "schema": 1,
        "codec": given.codec,
        "rounds": given.rounds,
        "processor": platform.processor() or platform.machine(),
        "packages": {"av": av.__version__, "python": platform.python_version()},
        "files": [measure(given.codec, path, given.rounds) for path in given.files],
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text) if given.output is None else given.output.write_text(text)


if __name__ == "__main__":
    main()
