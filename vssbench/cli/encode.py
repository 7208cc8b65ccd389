"""`vssbench encode`: a video file or a folder of pictures into an elementary stream with exact GOPs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vssbench.dataset import OrientationOption
from vssbench.errors import ConfigError, InputError, StorageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vssbench.codec import Bitstream, CodecSettings

_ACCEPTED_SUFFIXES = {
    "hevc": (".hevc", ".265", ".h265"),
    "h264": (".h264", ".264"),
    "mpeg4": (".m4v",),
}


def encode(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Video file, or folder of pictures in name order.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Elementary stream: .hevc, .h264 or .m4v.")],
    codec: Annotated[str, typer.Option(help="hevc, h264 or mpeg4.")] = "hevc",
    bitrate_kbps: Annotated[int | None, typer.Option(help="Average bit rate, 1000 bits per second.")] = None,
    crf: Annotated[float | None, typer.Option(help="Constant rate factor (hevc, h264).")] = None,
    qp: Annotated[int | None, typer.Option(help="Constant quantiser.")] = None,
    preset: Annotated[str, typer.Option(help="Speed preset of x265 and x264.")] = "medium",
    keyframe_interval: Annotated[int, typer.Option(help="Pictures per closed GOP.")] = 12,
    b_frames: Annotated[int, typer.Option(help="Most consecutive B pictures.")] = 0,
    references: Annotated[
        int | None, typer.Option(help="Reference pictures; 3 unless given, 1 for mpeg4.", show_default=False)
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option(help="Further encoder option key=value; may be repeated.")
    ] = None,
    frame_rate: Annotated[
        float | None, typer.Option(help="Frames per second; default: the video's own rate, or 30.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Encode only the first so many frames.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of x265; changes the speed, never the bytes.")] = 1,
    orientation: Annotated[
        OrientationOption,
        typer.Option(help="upright: turned as the file asks; stored: as the samples lie in it."),
    ] = "upright",
    stream: Annotated[
        int | None, typer.Option(help="Index of the video stream in INPUT; default: the main one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output file.")] = False,
) -> None:
    """Encode a video or a folder of pictures as a run does.

    Says what came out: rate, frame types, digest.
    """
    from vssbench.codec import encode as encode_frames
    from vssbench.files import write_atomically

    given = {
        "codec": codec,
        "bitrate_kbps": bitrate_kbps,
        "crf": crf,
        "qp": qp,
        "preset": preset,
        "keyframe_interval": keyframe_interval,
        "b_frames": b_frames,
        "references": references,
        "extra": _pairs(extra or []),
    }
    settings = _settings({key: value for key, value in given.items() if value is not None})
    _check_output(output, source, settings, force)
    if frames is not None and frames < 1:
        raise ConfigError(f"--frames must be at least 1, got {frames}")
    images, own_rate = _open(source, orientation, stream)
    bitstream = encode_frames(
        _first(images, frames), settings, frame_rate or own_rate or 30.0, threads=threads
    )
    write_atomically(output, bitstream.data)
    _tell(output, bitstream)


def _settings(values: dict[str, Any]) -> CodecSettings:
    from vssbench.codec import CodecSettings
    from vssbench.experiment.validation import validate

    return validate(CodecSettings, values, where="vssbench encode")


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"--extra {text!r}: expected key=value, for example --extra rect=1")
        pairs[key] = value
    return pairs


def _check_output(output: Path, source: Path, settings: CodecSettings, force: bool) -> None:
    accepted = _ACCEPTED_SUFFIXES[settings.codec]
    if output.suffix.lower() not in accepted:
        raise ConfigError(
            f"{output}: a {settings.codec} elementary stream is named {' or '.join(accepted)}; change the file name or --codec"
        )
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output}: is the input file; choose another output")
    if output.exists() and not force:
        raise ConfigError(f"{output}: exists already; choose another name or give --force")
    if not output.parent.is_dir():
        raise StorageError(f"{output.parent}: no such folder; make it first")
    if not os.access(output.parent, os.W_OK):
        raise StorageError(f"{output.parent}: no permission to write; choose another folder for --output")


def _open(
    source: Path, orientation: OrientationOption, stream: int | None
) -> tuple[Iterator[NDArray[np.uint8]], float]:
    """Frames and frame rate (0 where unknown) of a video file or a folder of pictures."""
    from vssbench.codec import read_video
    from vssbench.picture_folders import list_pictures
    from vssbench.pictures import PICTURE_SUFFIXES, read_image

    if source.is_dir():
        paths = list_pictures(source).values()
        if not paths:
            raise InputError(f"{source}: holds no picture; expected {', '.join(PICTURE_SUFFIXES)} files")
        return (read_image(path, orientation=orientation) for path in paths), 0.0
    video = read_video(source, orientation=orientation, stream=stream)
    return iter(video), video.frame_rate_hz


def _first(images: Iterator[NDArray[np.uint8]], count: int | None) -> Iterator[NDArray[np.uint8]]:
    for index, image in enumerate(images):
        if count is not None and index >= count:
            return
        yield image


def _tell(output: Path, bitstream: Bitstream) -> None:
    height, width = bitstream.size
    counts = ", ".join(
        f"{bitstream.frame_types.count(letter)} {letter}"
        for letter in "IPB"
        if letter in bitstream.frame_types
    )
    typer.echo(f"{output}: {bitstream.settings.describe()}")
    typer.echo(
        f"  frames    {bitstream.frame_count} of {width}x{height} at {bitstream.frame_rate_hz:g} Hz ({counts})"
    )
    typer.echo(f"  size      {len(bitstream.data)} bytes, {bitstream.achieved_kbps:.1f} kb/s achieved")
    typer.echo(f"  sha256    {bitstream.digest}")
    typer.echo(f"  encoder   {bitstream.encoder_build}")
    if height % 2 or width % 2:
        typer.echo(
            f"  note      coded as {width + width % 2}x{height + height % 2}: odd sides are padded by one"
        )
