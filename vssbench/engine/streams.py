"""A video file as it is: its groups of pictures, and what one method sees in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vssbench.codec import CodecSettings, SourceStream, decode, read_source
from vssbench.codec.settings import Keyframes
from vssbench.codec.source import gop_lengths
from vssbench.dataset import CodedFile, OrientationOption
from vssbench.engine.build import build_method, check_capabilities, check_source_motion, choose_device
from vssbench.engine.evaluate import run_method
from vssbench.engine.feed import ClipFeed, DecodedClip, split_into_clips
from vssbench.errors import CapabilityError, ConfigError
from vssbench.experiment.clips import Encode, cut_source
from vssbench.experiment.schema import MethodSpec, ProtocolSettings, load_experiment
from vssbench.method import BuildContext, Method
from vssbench.networks.weights import read_metadata

MOST_BYTES = 4 * 2**30
"""Largest group of pictures that is held in memory."""
BYTES_PER_PIXEL = 4.2
"""A decoded picture and its motion."""
Labels = NDArray[np.uint8]


def groups_of(source: SourceStream, settings: CodecSettings) -> tuple[int, ...]:
    """Ascending keyframes of a stream. Raises CapabilityError where a group would not fit into memory."""
    keyframes = source.keyframes(settings)
    longest = max(gop_lengths(keyframes, source.frame_count))
    height, width = source.size
    needed = longest * height * width * BYTES_PER_PIXEL
    if needed > MOST_BYTES:
        raise CapabilityError(
            f"{source.file.path}: {longest} pictures of {width}x{height} from keyframe to keyframe would take "
            f"{needed / 2**30:.1f} GiB, more than {MOST_BYTES / 2**30:g}; set keyframe_interval, for example 24, and methods "
            "begin anew that often"
        )
    return keyframes


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One method on one stream, built and checked; nothing has run yet."""

    source: SourceStream
    settings: CodecSettings
    spec: MethodSpec
    method: Method
    class_names: tuple[str, ...]
    encode: Encode

    @property
    def frames(self) -> range:
        """Indices of the pictures that are answered: all from the first keyframe on."""
        return range(self.encode.first, self.encode.first + self.encode.length)

    def labels(self, known: Callable[[int], bool] = lambda index: False) -> Iterator[tuple[int, Labels]]:
        """(index, class indices uint8 [H, W]) of every picture in display order.

        known: whether the answer of a picture is there already; groups of which all are known are passed over where the
        method keeps nothing across groups.
        """
        lasting = self.method.needs.memory == "sequence"
        memory = self.method.create_memory() if lasting else None
        device = self.method.context.device
        for clip in self._clips():
            indices = range(clip.plan.first, clip.plan.first + clip.plan.length)
            if not lasting and all(map(known, indices)):
                continue
            result = run_method(self.method, clip, ClipFeed(clip, device), memory)
            for position, index in enumerate(indices):
                if not known(index):
                    yield index, result.labels(position)

    def _clips(self) -> Iterator[DecodedClip]:
        needs, file = self.method.needs, self.source.file
        frames = decode(file, motion=needs.motion, qp=needs.qp)
        skipped = islice(frames, self.encode.first, None)
        return split_into_clips(skipped, self.encode, None, history=needs.history, lookahead=needs.lookahead)


def open_segmentation(
    video: str | Path,
    method: str | dict[str, Any],
    *,
    class_names: tuple[str, ...] = (),
    device: str = "auto",
    keyframes: Keyframes = "irap",
    keyframe_interval: int | None = None,
    orientation: OrientationOption = "upright",
    stream: int | None = None,
    partial: bool = False,
) -> Segmentation:
    """Look at a video and build a method for it; what cannot work is refused here.

    method: a registered name, or an entry as experiments have it: name, weights and options; network and width are those
    of the weights where it does not say them. class_names: what it tells apart, by default what its weights name. partial: of a damaged file, use the groups of
    pictures that are sound. Raises InputError, ConfigError, CapabilityError, CheckpointError.
    """
    entry = {"name": method} if isinstance(method, str) else dict(method)
    spec = _spec(entry)
    known = [m for m in map(read_metadata, spec.options().weights.values()) if m is not None]
    for key in (
        {"network", "width"} & type(spec.options()).model_fields.keys() - entry.keys() if known else ()
    ):
        entry[key] = getattr(known[0], key)
    spec = _spec(entry)
    names = class_names or (known[0].class_names or tuple(map(str, range(known[0].classes))) if known else ())
    if not names:
        raise ConfigError(
            f"method {spec.title}: nothing tells which classes it knows; give weights (`vssbench list weights` shows those "
            "that ship) or a class table"
        )
    settings = CodecSettings(codec="source", keyframes=keyframes, keyframe_interval=keyframe_interval)
    source = read_source(CodedFile(Path(video), stream, orientation, partial))
    starts = groups_of(source, settings)
    lengths = gop_lengths(starts, source.frame_count)
    context = BuildContext(len(names), source.size, max(lengths), choose_device(device))
    built = build_method(spec, context, class_names)
    check_capabilities(built, spec.title, settings, source.size, "stream")
    check_source_motion(built, spec.title, source)
    count = source.frame_count
    ((encode,),) = cut_source(count, starts, range(starts[0], count), ProtocolSettings())
    return Segmentation(source, settings, spec, built, names, encode)


def _spec(entry: dict[str, Any]) -> MethodSpec:
    document = {"datasets": [{"name": "synthetic"}], "codecs": [{"codec": "source"}], "methods": [entry]}
    return load_experiment(document).methods[0]


def segment(
    video: str | Path, method: str | dict[str, Any] = "constant", weights: Any = None, **how: Any
) -> Iterator[tuple[int, Labels]]:
    """What a method sees in a video: (index in display order, class indices uint8 [H, W]) picture by picture.

    weights: name of packaged weights or part -> file, if `method` does not say it. how: see `open_segmentation`. The file
    is looked at and the method built before this returns. Raises as that.

        for index, labels in vssbench.segment("drive.mp4", "warp-only", "streets-swiftnet18-w13"): ...
    """
    entry = {"name": method} if isinstance(method, str) else dict(method)
    if weights is not None:
        entry["weights"] = weights
    return open_segmentation(video, entry, **how).labels()
