"""Operators with one definition and several back ends."""

from vssbench.ops.labels import predict_labels
from vssbench.ops.local_attention import local_attention
from vssbench.ops.resize import normalise_image, resize, resize_input, resize_nearest, scaled_size
from vssbench.ops.warp import scale_flow, warp

__all__ = [
    "local_attention",
    "normalise_image",
    "predict_labels",
    "resize",
    "resize_input",
    "resize_nearest",
    "scale_flow",
    "scaled_size",
    "warp",
]
