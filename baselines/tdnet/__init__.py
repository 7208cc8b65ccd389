"""TDNet: shallow sub-networks in rotation, their parts gathered by attention (CVPR 2020)."""

from vssbench.baselines.tdnet.exchange import Exchange
from vssbench.baselines.tdnet.method import TDNet, TDNetState
from vssbench.baselines.tdnet.options import TDNetOptions
from vssbench.baselines.tdnet.paths import PathShape, decode_path, encode_path, path_shape

__all__ = [
    "Exchange",
    "PathShape",
    "TDNet",
    "TDNetOptions",
    "TDNetState",
    "decode_path",
    "encode_path",
    "path_shape",
]
