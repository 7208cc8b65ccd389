"""What a suite of checks says: which check, what was seen, which sentence of the contract, and where in the plug-in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from vssbench.errors import VssbenchError, folder_of, raised_in

S = TypeVar("S")


class ConformanceError(VssbenchError):
    """A plug-in breaks its contract."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """One check of a suite."""

    name: str
    contract: str
    """The sentence of the contract that it holds a plug-in to."""
    examine: Callable[[S], None]
    """Raises ConformanceError with what it saw."""
    entry: str
    """Name of the plug-in's method or attribute that the sentence is about."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check."""

    check: str
    contract: str
    problem: str = ""
    """What was seen; empty if the check passed."""
    where: str = ""
    """`FILE:LINE` of the plug-in: the line that raised, else the beginning of what was checked."""

    @property
    def text(self) -> str:
        """The failure in full; the contract's sentence where the check passed."""
        if not self.problem:
            return self.contract
        return f"{self.problem}\n        contract: {self.contract}\n        at {self.where}"


def require(condition: bool, message: str) -> None:
    """Raise ConformanceError with `message` unless `condition` holds."""
    if not condition:
        raise ConformanceError(message)


def examine(checks: Sequence[Check[S]], subject: S, plug_in: Any) -> list[CheckResult]:
    """Run every check on the class `plug_in`; a failed one does not stop the others."""
    results = []
    for check in checks:
        problem = where = ""
        try:
            check.examine(subject)
        except ConformanceError as error:
            problem, where = str(error), _place(plug_in, check.entry)
        except Exception as error:  # a plug-in may fail in any way; the report says how
            problem = f"{type(error).__name__}: {error}"
            where = raised_in(error, plug_in) or _place(plug_in, check.entry)
        results.append(CheckResult(check.name, check.contract, problem, where))
    return results


def _place(plug_in: Any, entry: str) -> str:
    """Where `entry` of the class stands, if in a file of its own package; else where the class does."""
    held = inspect.getattr_static(plug_in, entry, None)
    wanted = getattr(held, "fget", held)
    folder = folder_of(plug_in)
    if not (inspect.isfunction(wanted) and Path(inspect.getfile(wanted)).is_relative_to(folder)):
        wanted = plug_in
    try:
        line = inspect.getsourcelines(inspect.unwrap(wanted))[1]
        return f"{inspect.getsourcefile(wanted)}:{line} ({plug_in.__name__}.{entry})"
    except (OSError, TypeError):
        return f"{plug_in.__module__}.{plug_in.__qualname__}.{entry}"
