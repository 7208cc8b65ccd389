"""The long tables of several runs as one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vssbench.analysis.run import Run
from vssbench.errors import ConfigError

COLUMNS = ("run", "dataset", "codec", "method", "d", "class", "metric", "value", "low", "high")


def long_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per number of every run, columns as `Run.table`; texts are plain strings, `d` int64, the rest float64.

    Every column has one type, so it goes to CSV and Parquet as it is. Raises ConfigError if two runs share a name, for
    their rows could not be told apart.
    """
    names = [run.path.resolve().name for run in runs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(
            f"runs named {', '.join(doubled)} could not be told apart in one table; rename a folder"
        )
    tables = []
    for name, run in zip(names, runs, strict=True):
        table = run.table
        tables.append(table.assign(run=name))
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    joined = pd.concat(tables, ignore_index=True)
    return joined.astype({"d": "int64", "value": "float64", "low": "float64", "high": "float64"})
