"""Damages pictures byte by byte and reads each in a process with limits: does Pillow, or do we, fall over?

    python tests/fuzz/pictures.py --files 14000 [--seed 1] [-o reports/measurements/faults/pictures.json]

Small PNG, JPEG and WebP files of every mode, and some TIFF, BMP and PPM files, get bytes flipped, cut, doubled or
overwritten with extreme numbers; half of the damaged PNGs get right checksums again, so that the damage is decoded.
Each is read as frame and as label, upright and stored, in a forked process with one gigabyte of memory and twenty
seconds of CPU a read; a process reads fifty files, or as many as it survives. A crash is a signal; a defect of ours is any
exception that is not a VssbenchError. POSIX only.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

from vssbench.errors import VssbenchError
from vssbench.pictures import declared_turn, picture_size, read_image, read_label_values

MEMORY = 1 << 30
SECONDS = 20
BATCH = 50
RECORD = struct.Struct("<Bd")
READ, REFUSED, DEFECT = 0, 3, 70
OUTCOMES = {READ: "read", REFUSED: "refused with a message"}


def originals() -> dict[str, bytes]:
    """Small pictures by name: formats, modes, compressions, metadata."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    rgb, rgba, grey = Image.fromarray(noise[..., :3]), Image.fromarray(noise), Image.fromarray(noise[..., 0])
    deep = Image.fromarray(noise[..., :2].copy().view(np.uint16)[..., 0])
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a description"
    palette = rgb.quantize(16)
    made = {
        "rgb.png": (rgb, {"exif": exif}),
        "rgba.png": (rgba, {}),
        "grey.png": (grey, {}),
        "bits.png": (grey.convert("1"), {}),
        "deep.png": (deep, {}),
        "palette.png": (palette, {"transparency": 3}),
        "nibbles.png": (palette, {"bits": 4}),
        "animated.png": (rgb, {"save_all": True, "append_images": [grey.convert("RGB")]}),
        "rgb.jpg": (rgb, {"exif": exif}),
        "progressive.jpg": (rgb, {"progressive": True, "optimize": True}),
        "grey.jpg": (grey, {"quality": 100}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "lossy.webp": (rgb, {"exif": exif}),
        "lossless.webp": (rgb, {"lossless": True}),
        "alpha.webp": (rgba, {}),
        "animated.webp": (rgb, {"save_all": True, "append_images": [grey.convert("RGB")]}),
        "rgb.tif": (rgb, {"exif": exif}),
        "lzw.tif": (deep, {"compression": "tiff_lzw"}),
        "deflate.tif": (grey, {"compression": "tiff_adobe_deflate"}),
        "rgb.bmp": (rgb, {}),
        "palette.bmp": (palette, {}),
        "rgb.ppm": (rgb, {}),
    }
    return {name: _saved(picture, name, options) for name, (picture, options) in made.items()}


def _saved(picture: Image.Image, name: str, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    formats = {"jpg": "JPEG", "tif": "TIFF"}
    suffix = name.rpartition(".")[2]
    picture.save(file, formats.get(suffix, suffix.upper()), **options)
    return file.getvalue()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One to six changes, half of them among the first 256 bytes, where headers are."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.choice((chance.randrange(min(256, len(changed))), chance.randrange(len(changed))))
        kind = chance.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            extreme = (
                b"\xff" * 4,
                b"\0" * 4,
                b"\x7f\xff\xff\xff",
                b"\xff\xff\xff\x7f",
                b"\0\0\x20\0",
                b"\0\x20\0\0",
            )
            changed[place : place + 4] = chance.choice(extreme)
        elif kind == 2:
            changed[place : place + 8] = chance.randbytes(8)
        elif kind == 3:
            del changed[place : place + chance.randint(1, 64)]
        else:
            changed[place:place] = changed[place : place + chance.randint(1, 64)]
        if len(changed) < 16:
            break
    return bytes(changed)


def with_right_checksums(data: bytes) -> bytes:
    """A PNG whose chunks pass their check, as far as its lengths can be followed."""
    changed, place = bytearray(data), 8
    while place + 12 <= len(changed):
        end = place + 8 + int.from_bytes(changed[place : place + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(changed)


def read(path: Path) -> int:
    """Read in every way: READ if one works, REFUSED if each is refused."""
    works: tuple[Callable[[], object], ...] = (
        lambda: read_image(path),
        lambda: read_image(path, orientation="stored"),
        lambda: read_label_values(path),
        lambda: read_label_values(path, colours=True, orientation="stored"),
        lambda: picture_size(path),
        lambda: declared_turn(path),
    )
    outcome = REFUSED
    for work in works:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(6 * SECONDS)
        try:
            work()
            outcome = READ
        except VssbenchError:
            pass
    return outcome


def read_all(paths: Sequence[Path], report: int, errors: Path) -> None:
    """In the child: outcome and CPU seconds of each file as soon as it is read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    with errors.open("w") as told:
        os.dup2(told.fileno(), 2)  # what libtiff says
        for path in paths:
            began = time.process_time()
            try:
                outcome = read(path)
            except BaseException:
                traceback.print_exc(file=told)
                told.flush()
                outcome = DEFECT
            os.write(report, RECORD.pack(outcome, time.process_time() - began))


def in_child(paths: Sequence[Path], errors: Path) -> tuple[list[int], list[float]]:
    """Outcome and CPU seconds of each file up to the one, if any, that ended the process (minus the signal)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            read_all(paths, writing, errors)
        finally:
            os._exit(0)
    os.close(writing)
    found: list[tuple[int, float]] = []
    with open(reading, "rb", buffering=0) as pipe:
        while record := pipe.read(RECORD.size):
            found.append(RECORD.unpack(record))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if len(found) < len(paths):
        found.append((status, float(SECONDS)))
    return [outcome for outcome, _ in found], [seconds for _, seconds in found]


def campaign(files: int, seed: int, keep: Path) -> dict[str, object]:
    """Damage and read; what came of it, with the files that failed put into `keep`."""
    chance = random.Random(seed)
    whole = originals()
    titles = sorted(whole)
    outcomes: Counter[str] = Counter()
    slowest, started = 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        waiting: list[Path] = []
        for number in range(files):
            title = titles[number % len(titles)]
            path = Path(name) / f"{number:05d}-{title}"
            data = damaged(whole[title], chance)
            path.write_bytes(
                with_right_checksums(data) if path.suffix == ".png" and chance.random() < 0.5 else data
            )
            waiting.append(path)
            while len(waiting) >= BATCH or (waiting and number == files - 1):
                found, seconds = in_child(waiting, Path(name) / "errors")
                slowest = max(slowest, *seconds)
                for path, outcome in zip(waiting, found, strict=False):
                    outcomes[f"{path.suffix[1:]}: {named(outcome)}"] += 1
                    if outcome not in OUTCOMES:
                        keep.mkdir(exist_ok=True)
                        shutil.copy(path, keep)
                        shutil.copy(Path(name) / "errors", keep / f"{path.name}.txt")
                    path.unlink()
                del waiting[: len(found)]
    return {
        "files": files,
        "seed": seed,
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_cpu_s": round(slowest, 2),
        "largest_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "seconds": round(time.monotonic() - started, 1),
        "libraries": {
            "pillow": PIL.__version__,
            **{name: str(features.version(name)) for name in ("jpg", "zlib", "webp", "libtiff")},
        },
    }


def named(outcome: int) -> str:
    """An outcome in words."""
    return OUTCOMES.get(outcome, f"exit {outcome}" if outcome >= 0 else f"signal {-outcome}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=14000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, default=Path("pictures-found"), help="where failing files are put"
    )
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    result = campaign(options.files, options.seed, options.keep)
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    print(text, end="")
    found = {outcome.partition(": ")[2] for outcome in result["outcomes"]}
    raise SystemExit(not found <= set(OUTCOMES.values()))


if __name__ == "__main__":
    main()
