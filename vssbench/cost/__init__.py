"""What a frame costs: MACs, latency, energy."""

from vssbench.cost.counter import MacsCounter
from vssbench.cost.ledger import LedgerEntry, MacsLedger, UncountedOperator, combine
from vssbench.cost.macs import count_macs, meta_copy

__all__ = [
    "LedgerEntry",
    "MacsCounter",
    "MacsLedger",
    "UncountedOperator",
    "combine",
    "count_macs",
    "meta_copy",
]
