"""Encoding, decoding and motion of compressed video."""

from vssbench.codec.media import Video, open_video_frames, read_video

__all__ = ["Video", "open_video_frames", "read_video"]
