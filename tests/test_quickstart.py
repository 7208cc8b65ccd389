"""The quickstart as shipped, typed as the README says: it must show what AR-Seg promises, with the packaged weights."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files

import pytest

import vssbench


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    environment = {**os.environ, "VSSBENCH_CACHE": str(folder / "cache"), "PYTHONSAFEPATH": "1"}
    finished = subprocess.run(
        [sys.executable, "-m", "vssbench", "run", "quickstart"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return vssbench.load_run(folder / "runs" / "quickstart")


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["hevc", "h264"])
def test_the_quickstart_shows_the_phenomenon(quickstart, codec):
    group = {g.method: g for g in quickstart.groups if g.codec == codec}
    cost = {row.method: row.gop_mean_gmacs for row in quickstart.summary.itertuples() if row.codec == codec}
    assert group["AR 0.5"].miou > group["0.5x"].miou + 0.02
    assert group["AR 0.5"].miou_d[-1] > group["warp-only"].miou_d[-1] + 0.02
    assert cost["AR 0.5"] < 0.37 * cost["1.0x"]  # the sides that its networks need are counted
    assert group["warp-only"].miou_d[-1] < group["warp-only"].miou_d[0]


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["hevc", "h264"])
def test_ar_seg_is_near_full_resolution(quickstart, codec):
    group = {g.method: g for g in quickstart.groups if g.codec == codec}
    assert group["AR 0.5"].miou > group["1.0x"].miou - 0.03


@pytest.mark.slow
def test_the_quickstart_is_complete(quickstart):
    assert quickstart.complete
    # how steady a machine's times are is not the quickstart's matter
    assert [warning for warning in quickstart.warnings if "step times are not ranked" not in warning] == []
    assert all(set(g.frame_types) == {"I", "P"} for g in quickstart.groups)
    assert (quickstart.path / "report" / "index.html").exists()


def test_the_packaged_quickstart_weights_stay_small():
    folder = files("vssbench.baselines") / "weights"
    sizes = [
        len(f.read_bytes())
        for d in folder.iterdir()
        if d.name == "quickstart"
        for f in d.iterdir()
        if f.name.endswith(".safetensors")
    ]
    assert len(sizes) == 3
    assert sum(sizes) <= 4_000_000
