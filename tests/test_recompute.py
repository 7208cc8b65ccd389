"""An independent recomputation from the files of a run agrees with the package."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path

import numpy as np
import pytest

from vssbench import load_run

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("recompute", ROOT / "tests/recompute.py")


@pytest.mark.parametrize("name", ["table2_synthetic/sides", "streets_bise18/oracles", "camvid_alphas/l6"])
def test_numbers_of_committed_records_are_those_of_plain_loops(tmp_path, name) -> None:
    assert SPEC is not None
    assert SPEC.loader is not None
    plain = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(plain)
    with tarfile.open(ROOT / "reports/results" / name / "records.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    folder = next(tmp_path.rglob("roster.json")).parent
    found = plain.recompute(folder)
    rows = load_run(folder).summary.to_dict("records")
    assert len(rows) == len(found) > 4
    for row in rows:
        ours = (row["miou"], row["miou_low"], row["miou_high"])
        np.testing.assert_allclose(ours, found[row["dataset"], row["codec"], row["method"]], rtol=1e-9)
