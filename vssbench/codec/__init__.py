"""Encoding, decoding and motion of compressed video."""

from vssbench.codec.decode import decode, digest_decoded, read_motion
from vssbench.codec.encode import Bitstream, encode, encoder_build
from vssbench.codec.media import Video, open_video_frames, read_video
from vssbench.codec.settings import CodecSettings

__all__ = [
    "Bitstream",
    "CodecSettings",
    "Video",
    "decode",
    "digest_decoded",
    "encode",
    "encoder_build",
    "open_video_frames",
    "read_motion",
    "read_video",
]
