"""Speed of a motion parser against FFmpeg's full decode and its exported vectors, one thread, interleaved in one run.

    python tests/benchmarks/motion_speed.py h264|hevc FILE... [--rounds 7] [-o reports/measurements/benchmarks/h264_motion.json]

CPU time, because it is the better guide on a busy machine; medians and the fastest of the rounds, pictures per second.
Where the package motion-vector-extractor is installed it is timed as well (it decodes, exports, converts to BGR, with FFmpeg's
own number of threads). Of H.264 files the shares follow that an exported list gets wrong, see `missing`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np

from vssbench.codec.exported import EXPORT, paint_vectors
from vssbench.records import MODE_INTER, NO_REFERENCE


def decode(path: Path, options: Mapping[str, str]) -> int:
    """Full decode; exported vectors are read if asked for."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.options = dict(options)
        count = 0
        for frame in container.decode(stream):
            vectors: Any = frame.side_data.get("MOTION_VECTORS") if options else None
            if vectors is not None:
                vectors.to_ndarray()
            count += 1
        return count


def extract(path: Path) -> int:
    """Pictures that motion-vector-extractor gives."""
    capture = import_module("mvextractor.videocap").VideoCap()
    assert capture.open(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def missing(path: Path) -> dict[str, float]:
    """What FFmpeg's export of an H.264 file lacks or has wrong, in shares of the 4x4 block entries that a list uses.

    other_reference: refers to another picture than the nearest that its picture uses in that list; the export does not
    tell. other_vector: carries another vector than the exported one. not_exported: no exported block covers it.
    invented: exported, but the list is unused (in shares of the used ones too).
    """
    counts = dict.fromkeys(("used", "other_reference", "other_vector", "not_exported", "invented"), 0)
    fields = import_module("vssbench.codec.h264").read_motion(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = dict(EXPORT)
        for field, picture in zip(fields, container.decode(stream), strict=True):
            side: Any = picture.side_data.get("MOTION_VECTORS")
            rows = None if side is None else side.to_ndarray()
            for at in range(2):
                of_list = None if rows is None else rows[(rows["source"] > 0) == bool(at)]
                vectors, mode = paint_vectors(of_list, (4 * field.mode.shape[0], 4 * field.mode.shape[1]))
                references = field.reference_poc[:, :, at]
                used, exported = references != NO_REFERENCE, mode == MODE_INTER
                distances = abs(references.astype(np.int64) - field.poc)
                differs = (vectors != field.vectors_qpel[:, :, at]).any(axis=2)
                counts["used"] += int(used.sum())
                counts["other_reference"] += int(
                    (used & (distances > distances[used].min(initial=2**40))).sum()
                )
                counts["other_vector"] += int((used & exported & differs).sum())
                counts["not_exported"] += int((used & ~exported).sum())
                counts["invented"] += int((exported & ~used).sum())
    used_entries = counts.pop("used")
    return {name: round(count / used_entries, 4) for name, count in counts.items()}


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
        jobs["decode with exported vectors"] = lambda: decode(path, EXPORT)
        if find_spec("mvextractor"):
            jobs["motion-vector-extractor"] = lambda: extract(path)
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
        "kbps_at_30_hz": round(8 * path.stat().st_size * 30 / pictures / 1000),
        "parser_over_decode": ratio,
        **({"export_against_the_stream": missing(path)} if codec == "h264" else {}),
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
        "conditions": "CPU time; the sides took turns in one process on a machine that others used at the same time",
        "processor": platform.processor() or platform.machine(),
        "packages": {"av": av.__version__, "python": platform.python_version()},
        "files": [measure(given.codec, path, given.rounds) for path in given.files],
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text) if given.output is None else given.output.write_text(text)


if __name__ == "__main__":
    main()
