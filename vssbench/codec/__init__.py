"""Encoding, decoding and motion of compressed video."""

from vssbench.codec.encode import Bitstream, encode, encoder_build
from vssbench.codec.media import Video, open_video_frames, read_video
from vssbench.codec.settings import CodecSettings

__all__ = [
    "Bitstream",
    "CodecSettings",
    "Video",
    "encode",
    "encoder_build",
    "open_video_frames",
    "read_video",
]
