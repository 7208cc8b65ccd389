"""Options that the commands for an own video share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vssbench.codec.settings import Keyframes
from vssbench.dataset import OrientationOption
from vssbench.errors import BitstreamError

Video = Annotated[Path, typer.Argument(metavar="VIDEO", help="Video file in HEVC, H.264, MPEG-4 or MPEG-2.")]
Classes = Annotated[
    Path | None,
    typer.Option(help="Class table (.csv, .json) with colours; default: what the weights name."),
]
KeyframeKind = Annotated[Keyframes, typer.Option(help="Which pictures are keyframes.")]
KeyframeInterval = Annotated[
    int | None,
    typer.Option(min=1, help="Most pictures from keyframe to keyframe; default: as the stream is."),
]
Orientation = Annotated[
    OrientationOption,
    typer.Option(help="upright: as a player shows the pictures; stored: as they are coded."),
]
Stream = Annotated[int | None, typer.Option(help="Index of the video stream; default: the main one.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Partial = Annotated[
    bool, typer.Option("--partial", help="Of a damaged video, use the groups of pictures that are sound.")
]


@contextmanager
def naming_partial(partial: bool) -> Iterator[None]:
    """Say of a damaged video that what is sound of it can be used. Raises BitstreamError."""
    try:
        yield
    except BitstreamError as error:
        if partial:
            raise
        raise BitstreamError(f"{error}. --partial uses the groups of pictures that are sound") from error
