"""Encoding, decoding and motion of compressed video."""

from vssbench.codec.cache import BitstreamCache
from vssbench.codec.decode import decode, digest_decoded, read_motion
from vssbench.codec.encode import Bitstream, encode, encoder_build
from vssbench.codec.motion import (
    KeyframeFlow,
    flow_field_to_keyframe,
    flow_field_to_previous,
    flow_to_keyframe,
    flow_to_previous,
    flows_to_keyframe,
    flows_to_picture,
    prediction_residual,
)
from vssbench.codec.settings import CodecSettings
from vssbench.codec.source import SourceStream, read_source
from vssbench.codec.video import Video, open_video_frames, read_video

__all__ = [
    "Bitstream",
    "BitstreamCache",
    "CodecSettings",
    "KeyframeFlow",
    "SourceStream",
    "Video",
    "decode",
    "digest_decoded",
    "encode",
    "encoder_build",
    "flow_field_to_keyframe",
    "flow_field_to_previous",
    "flow_to_keyframe",
    "flow_to_previous",
    "flows_to_keyframe",
    "flows_to_picture",
    "open_video_frames",
    "prediction_residual",
    "read_motion",
    "read_source",
    "read_video",
]
