"""Logs of one stage: train.csv (a row a step), validation.csv (a row a validation), optional TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from vssbench.errors import ConfigError
from vssbench.files import storage_error, write_atomically


class Reporter(Protocol):
    """What the trainer tells the outside while it works; the command line draws it, tests ignore it."""

    def message(self, text: str) -> None:
        """One line worth keeping."""

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `task`."""


class Silent:
    """A reporter that says nothing."""

    def message(self, text: str) -> None:
        """Ignore."""

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Ignore."""


class StageLog:
    """Appends to the CSV files of a stage. After a resume, rows at or beyond the resumed step are cut off first."""

    def __init__(self, folder: Path, *, resumed_step: int, tensorboard: bool = False) -> None:
        self.folder = folder
        self._columns: dict[str, list[str]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("train", "validation"):
                self._truncate(name, resumed_step)
        except OSError as error:
            raise storage_error(folder, error) from error
        self._board = _tensorboard(folder, resumed_step) if tensorboard else None

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Record losses and rates of optimiser step `step` (from 0)."""
        self._append("train", step, values)

    def validation(self, step: int, values: Mapping[str, float]) -> None:
        """Record a validation after `step` optimiser steps."""
        self._append("validation", step, values)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _widen(self, name: str, values: Mapping[str, float]) -> list[str]:
        """Columns of the file; those it lacks are added (a first step without labelled pixels has no loss terms)."""
        path = self.folder / f"{name}.csv"
        known = self._columns.get(name, ["step"])
        new = [key for key in values if key not in known]
        self._columns[name] = [*known, *new]
        if new and path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                kept = list(csv.DictReader(stream))
            _rewrite(path, self._columns[name], kept)
        return self._columns[name]

    def _append(self, name: str, step: int, values: Mapping[str, float]) -> None:
        path = self.folder / f"{name}.csv"
        try:
            fresh = not path.exists()
            columns = self._widen(name, values)
            with path.open("a", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns, extrasaction="ignore", restval="")
                if fresh:
                    writer.writeheader()
                writer.writerow({"step": step, **{key: repr(float(value)) for key, value in values.items()}})
        except OSError as error:
            raise storage_error(path, error) from error
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{name}/{key}", value, step)

    def _truncate(self, name: str, resumed_step: int) -> None:
        path = self.folder / f"{name}.csv"
        if not path.exists():
            return
        if resumed_step == 0:
            path.unlink()
            return
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            self._columns[name] = list(reader.fieldnames or [])
            # a killed process may leave half a last row: its step column still decides, later rows are cut
            limit = resumed_step if name == "train" else resumed_step + 1
            rows = [row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) < limit]
        _rewrite(path, self._columns[name], rows)


def _rewrite(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, stream.getvalue().encode())


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of a train.csv or validation.csv as numbers; an absent file has none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(stream)]


def _tensorboard(folder: Path, resumed_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("TensorBoard logs need the extra: pip install 'vssbench[tensorboard]'") from error
    # steps that a killed process logged beyond its last checkpoint come again, so readers must forget them
    return SummaryWriter(str(folder), purge_step=resumed_step or None)  # type: ignore[no-untyped-call]
