"""What a count of multiply-accumulates returns: every entry by module and operator, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Rule = Literal["exact", "thop-0.0.31"]

Category = Literal[
    "resize",
    "warp",
    "search",
    "pooling",
    "normalisation",
    "activation",
    "elementwise",
    "reduction",
    "unknown",
]
"""Why an operator is not in the total. 'unknown' may hide products and should be looked at."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """All executions of one operator directly inside one module (not inside its children)."""

    module: str
    """Path of the module that ran the operator, '' for code outside any module call."""
    operator: str
    calls: int
    macs: int


@dataclass(frozen=True, slots=True)
class UncountedOperator:
    """An operator that ran and is not part of the total."""

    name: str
    category: Category
    calls: int
    elements: int
    """Elements of the (first) result over all calls."""
    macs: int | None = None
    """Multiply-accumulates by our formula (resizes and warps: 4 per output element); None where there is none."""


@dataclass(frozen=True, slots=True)
class MacsLedger:
    """Multiply-accumulates of one or more executions of something. 1 MAC = 1, so FLOPs = 2 x MACs."""

    rule: Rule
    entries: tuple[LedgerEntry, ...]
    """In module-path order (order of registration), then in order of first execution."""
    uncounted: tuple[UncountedOperator, ...]
    """Operators that ran and were not counted, 'unknown' first, then by elements."""
    measured_on: str
    """Device of the counted operators (of the others where nothing was counted); 'meta' computed nothing."""

    @property
    def total(self) -> int:
        """Sum of all entries."""
        return sum(entry.macs for entry in self.entries)

    @property
    def gmacs(self) -> float:
        """Total in units of 1e9."""
        return self.total / 1e9

    @property
    def per_module(self) -> dict[str, int]:
        """MACs done directly by each module, in module-path order; they add up to `total`."""
        return _sums((entry.module, entry.macs) for entry in self.entries)

    @property
    def per_operator(self) -> dict[str, int]:
        """MACs of each operator; they add up to `total`."""
        return _sums((entry.operator, entry.macs) for entry in self.entries)

    @property
    def calls(self) -> dict[str, int]:
        """Executions of each counted operator."""
        return _sums((entry.operator, entry.calls) for entry in self.entries)

    @property
    def unknown(self) -> tuple[UncountedOperator, ...]:
        """Uncounted operators that no rule classifies: the total is a lower bound while there are any."""
        return tuple(operator for operator in self.uncounted if operator.category == "unknown")

    def per_part(self, depth: int = 1) -> dict[str, int]:
        """MACs by the first `depth` names of the module path, children included; they add up to `total`.

        depth = 1:  features.layer1.0.conv1, features.layer2.0.conv1, head.conv  ->  features, head
        """
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        return _sums((".".join(entry.module.split(".")[:depth]), entry.macs) for entry in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "rule": self.rule,
            "total": self.total,
            "measured_on": self.measured_on,
            "per_module": self.per_module,
            "per_operator": self.per_operator,
            "calls": self.calls,
            "uncounted": [
                {
                    "name": operator.name,
                    "category": operator.category,
                    "calls": operator.calls,
                    "elements": operator.elements,
                    "macs": operator.macs,
                }
                for operator in self.uncounted
            ],
        }

    def __repr__(self) -> str:
        return (
            f"MacsLedger({self.gmacs:.4f} GMACs, rule={self.rule!r}, {len(self.entries)} entries, "
            f"{len(self.unknown)} unknown operators)"
        )


def combine(ledgers: Iterable[MacsLedger]) -> MacsLedger:
    """Add up ledgers of one rule, entry by entry. Raises ValueError if there are none or the rules differ."""
    parts = list(ledgers)
    rules = {part.rule for part in parts}
    if len(rules) != 1:
        raise ValueError(f"cannot combine ledgers of {len(rules)} rules: {sorted(rules)}")
    counted: dict[tuple[str, str], list[int]] = {}
    left_out: dict[tuple[str, Category], list[int]] = {}
    for part in parts:
        for entry in part.entries:
            cell = counted.setdefault((entry.module, entry.operator), [0, 0])
            cell[0] += entry.calls
            cell[1] += entry.macs
        for operator in part.uncounted:
            slot = left_out.setdefault((operator.name, operator.category), [0, 0, -1])
            slot[0] += operator.calls
            slot[1] += operator.elements
            if operator.macs is not None:
                slot[2] = max(slot[2], 0) + operator.macs
    return MacsLedger(
        parts[0].rule,
        tuple(LedgerEntry(*key, *cell) for key, cell in counted.items()),
        order_uncounted(
            UncountedOperator(*key, slot[0], slot[1], slot[2] if slot[2] >= 0 else None)
            for key, slot in left_out.items()
        ),
        ", ".join(sorted({part.measured_on for part in parts})),
    )


def order_uncounted(operators: Iterable[UncountedOperator]) -> tuple[UncountedOperator, ...]:
    """Unknown operators first, then the largest."""
    return tuple(sorted(operators, key=lambda one: (one.category != "unknown", -one.elements, one.name)))


def order_entries(entries: Iterable[LedgerEntry], order: Mapping[str, int]) -> tuple[LedgerEntry, ...]:
    """Sort entries by the rank of their module path; paths without a rank come last, in the given order."""
    return tuple(sorted(entries, key=lambda entry: order.get(entry.module, len(order))))


def _sums(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, value in pairs:
        totals[name] = totals.get(name, 0) + value
    return totals
