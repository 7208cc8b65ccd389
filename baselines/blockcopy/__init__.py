"""BlockCopy: blocks chosen by a policy that learns online are executed, all others copied (ICCV 2021)."""

from vssbench.baselines.blockcopy.blocks import BlockExecution, BlockGrid
from vssbench.baselines.blockcopy.learning import PolicyMemory
from vssbench.baselines.blockcopy.method import BlockCopy, BlockCopyOptions, BlockCopyState
from vssbench.baselines.blockcopy.policy import BlockPolicy

__all__ = [
    "BlockCopy",
    "BlockCopyOptions",
    "BlockCopyState",
    "BlockExecution",
    "BlockGrid",
    "BlockPolicy",
    "PolicyMemory",
]
