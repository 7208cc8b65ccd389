"""`vssbench motion`: what the block motion of a coded video looks like, picture by picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from vssbench.dataset import OrientationOption
from vssbench.errors import ConfigError, InputError, StorageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vssbench.records import MotionField

_HEADER = (
    f"{'#':>5} {'type':>4} {'POC':>6} {'intra':>6} {'skip':>6} {'median px':>10} {'p95 px':>8} {'kbit':>9}"
)


class HowShown(TypedDict):
    """How a video file is read: keywords of `read_video`, `decode` and `read_motion`."""

    orientation: OrientationOption
    stream: int | None


def motion(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Coded video: .hevc, .265, .h264, .mp4, .mkv ...")
    ],
    npz: Annotated[Path | None, typer.Option(help="Write the arrays of all pictures here (.npz).")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the motion of one picture over it, here (.png).")
    ] = None,
    frame: Annotated[int, typer.Option(help="Which picture --picture draws, in display order from 0.")] = 1,
    partial: Annotated[
        bool, typer.Option("--partial", help="HEVC, H.264: go on after defects and mark what is lost.")
    ] = False,
    threads: Annotated[int, typer.Option(help="HEVC, H.264: pictures parsed at the same time.")] = 1,
    orientation: Annotated[
        OrientationOption,
        typer.Option(help="upright: as a player shows the pictures; stored: as they are coded."),
    ] = "upright",
    stream: Annotated[
        int | None, typer.Option(help="Index of the video stream in FILE; default: the main one.")
    ] = None,
) -> None:
    """Print what the bits of FILE say of each picture's motion.

    Type, POC, share of intra and skip blocks, vector lengths and bits of every picture. With --partial a line ends in "damaged" where blocks of the picture are lost, and in "unreliable" where its vectors
    may differ from those of the undamaged stream; every coded picture is listed then, as it is coded, whether FILE
    shows it or not.
    """
    _check_request(file, npz, picture, frame, threads)
    how: HowShown = {"orientation": orientation, "stream": stream}
    fields = []
    marks: Counter[str] = Counter()
    count = 0
    typer.echo(_HEADER)
    for index, field in enumerate(_with_progress(file, _read(file, partial, threads, how))):
        typer.echo(_line(index, field))
        count += 1
        marks.update(_marks(field))
        if npz is not None:
            fields.append(field)
    typer.echo(", ".join([f"{count} pictures", *(f"{number} {mark}" for mark, number in marks.items())]))
    if npz is not None:
        _write_arrays(npz, fields)
        typer.echo(f"arrays: {npz}")
    if picture is not None:
        _write_picture(picture, file, frame, how)
        typer.echo(f"picture {frame}: {picture}")


def _check_request(file: Path, npz: Path | None, picture: Path | None, frame: int, threads: int) -> None:
    if not file.is_file():
        found = "is a folder; expected" if file.is_dir() else "no such file; give the path of"
        raise InputError(f"{file}: {found} a video file")
    if frame < 0:
        raise ConfigError(f"--frame must be at least 0, got {frame}")
    if threads < 1:
        raise ConfigError(f"--threads must be at least 1, got {threads}")
    for path, option, suffix in ((npz, "--npz", ".npz"), (picture, "--picture", ".png")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise ConfigError(f"{option} {path}: expected a name that ends in {suffix}")
        if not path.parent.is_dir():
            raise StorageError(f"{path.parent}: no such folder; make it first")


def _read(file: Path, partial: bool, threads: int, how: HowShown) -> Iterator[MotionField]:
    from vssbench.codec import h264, hevc, read_motion
    from vssbench.codec.decode import PARSED_CODECS
    from vssbench.codec.media import BYTE_STREAMS, Media

    if partial:
        codec = BYTE_STREAMS.get(file.suffix.lower())
        if codec not in PARSED_CODECS:
            codec = Media.of(file).codec
        if codec not in PARSED_CODECS:
            raise ConfigError(
                f"{file}: --partial goes on after defects of hevc and h264 only, this is {codec}; leave it out"
            )
        read_coded = h264.read_motion if codec == "h264" else hevc.read_motion
        return read_coded(file, strict=False, threads=threads)
    return read_motion(file, threads=threads, **how)


def _with_progress(file: Path, fields: Iterator[MotionField]) -> Iterator[MotionField]:
    """Show on a terminal's stderr how much of the file has been read."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    total = file.stat().st_size
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("parsing", total=total)
        for field in fields:
            progress.advance(task, (field.coded_bits or 0) / 8)
            yield field


def _line(index: int, field: MotionField) -> str:
    import numpy as np

    from vssbench.records import MODE_INTRA, MODE_SKIP, NO_REFERENCE

    vectors = field.vectors_qpel[field.reference_poc != NO_REFERENCE].astype(np.float32) / 4
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])
    median, high = np.percentile(lengths, [50, 95]) if lengths.size else (np.nan, np.nan)
    moved = "".join(
        f" {value:>{width}.2f}" if lengths.size else f" {'-':>{width}}"
        for value, width in ((median, 10), (high, 8))
    )
    bits = "-" if field.coded_bits is None else f"{field.coded_bits / 1000:.1f}"
    marks = _marks(field)
    return (
        f"{index:>5} {field.frame_type:>4} {field.poc:>6} {np.mean(field.mode == MODE_INTRA):>6.1%}"
        f" {np.mean(field.mode == MODE_SKIP):>6.1%}{moved} {bits:>9}{'  ' if marks else ''}{', '.join(marks)}"
    )


def _marks(field: MotionField) -> list[str]:
    """What the user must know before trusting the picture's numbers."""
    return ["damaged"] * (field.lost is not None) + ["unreliable"] * field.unreliable


def _write_arrays(path: Path, fields: list[MotionField]) -> None:
    """Stack the fields as in the golden files; keys end in __s0, __s1 ... where the coded size changes."""
    import numpy as np

    arrays: dict[str, NDArray[np.generic]] = {
        "poc": np.array([field.poc for field in fields], np.int32),
        "cvs": np.array([field.coded_sequence for field in fields], np.int32),
        "decode_order": np.array([field.decode_order for field in fields], np.int32),
        "slice_type": np.array(["BPI".index(field.frame_type) for field in fields], np.uint8),
        "unreliable": np.array([field.unreliable for field in fields], np.bool_),
    }
    begins = [
        index
        for index in range(len(fields))
        if index == 0 or fields[index].mode.shape != fields[index - 1].mode.shape
    ]
    for number, (begin, end) in enumerate(zip(begins, [*begins[1:], len(fields)], strict=True)):
        suffix = f"__s{number}" if len(begins) > 1 else ""
        part = fields[begin:end]
        arrays["mv" + suffix] = np.stack([field.vectors_qpel for field in part])
        arrays["ref_poc" + suffix] = np.stack([field.reference_poc for field in part])
        arrays["pred_mode" + suffix] = np.stack([field.mode for field in part])
        arrays["lost" + suffix] = np.stack(
            [np.zeros(field.mode.shape, np.bool_) if field.lost is None else field.lost for field in part]
        )
    try:
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error}") from error


def _write_picture(path: Path, file: Path, frame: int, how: HowShown) -> None:
    from PIL import Image

    from vssbench.codec import decode
    from vssbench.rendering.images.motion import draw_motion

    for decoded in decode(file, motion=True, **how):
        if decoded.index == frame and decoded.motion is not None:
            try:
                Image.fromarray(draw_motion(decoded.image, decoded.motion)).save(path)
            except OSError as error:
                raise StorageError(f"{path}: cannot be written: {error}") from error
            return
    raise ConfigError(f"{file} has no picture {frame}; --frame counts from 0 in display order")
