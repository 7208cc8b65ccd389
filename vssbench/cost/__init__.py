"""What a frame costs: MACs, latency, energy."""

from vssbench.cost.counter import MacsCounter
from vssbench.cost.energy import EnergyResult, measure_energy
from vssbench.cost.gpu_conditions import GpuConditions, read_conditions
from vssbench.cost.latency import (
    LatencyComparison,
    LatencyResult,
    as_cuda_graph,
    compare_latency,
    measure_latency,
)
from vssbench.cost.ledger import LedgerEntry, MacsLedger, UncountedOperator, combine
from vssbench.cost.macs import count_macs, meta_copy
from vssbench.cost.steps import MethodCost, StepCost, count_method_macs, step_under_ledger

__all__ = [
    "EnergyResult",
    "GpuConditions",
    "LatencyComparison",
    "LatencyResult",
    "LedgerEntry",
    "MacsCounter",
    "MacsLedger",
    "MethodCost",
    "StepCost",
    "UncountedOperator",
    "as_cuda_graph",
    "combine",
    "compare_latency",
    "count_macs",
    "count_method_macs",
    "measure_energy",
    "measure_latency",
    "meta_copy",
    "read_conditions",
    "step_under_ledger",
]
