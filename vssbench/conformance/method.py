"""The suite every method must pass (`vssbench conformance METHOD`)."""

from __future__ import annotations

from vssbench.conformance import building, costs, streaming
from vssbench.conformance.clips import Subject
from vssbench.conformance.outcome import Check, CheckResult, examine
from vssbench.registry import methods

CHECKS: dict[str, Check[Subject]] = {
    check.name: check for check in (*streaming.CHECKS, *building.CHECKS, *costs.CHECKS)
}
"""Name -> check. Each builds the method afresh with random weights and pushes random clips through it."""


def run_checks(subject: Subject) -> list[CheckResult]:
    """Run every check on `subject`; a failed check does not stop the others. Raises ConfigError if it cannot be built."""
    subject.build()
    return examine(list(CHECKS.values()), subject, methods.load(subject.name))
