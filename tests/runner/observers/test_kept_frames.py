"""A short run keeps the frames that its report shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vssbench.analysis.run import Run
from vssbench.rendering.page.frames import tracks
from vssbench.runner.session import run

EXPERIMENT = {
    "datasets": [{"name": "synthetic", "split": "val", "sequences": 1, "frames": 8}],
    "codecs": [{"codec": "hevc", "bitrate_kbps": 300}],
    "methods": [
        {"label": "a", "name": "constant", "network": "bisenet18", "width": 4},
        {"label": "b", "name": "warp-only", "network": "bisenet18", "width": 4},
    ],
    "protocol": {"kind": "stream", "keyframe_interval": 4, "labelled_stride": 1},
    "measure": {"macs": False},
    "pictures": {"per_codec": 0, "frames": 4},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("kept")
    return run(EXPERIMENT, folder / "run", workers=1, cache=folder / "cache")


def test_as_many_frames_are_kept_as_the_experiment_says_with_type_bits_and_qp(made: Run) -> None:
    (track,) = tracks(made)
    assert [(case.frame, case.distance, case.frame_type) for case in track.cases] == [
        (0, 0, "I"), (1, 1, "P"), (2, 2, "P"), (3, 3, "P"),
    ]  # fmt: skip
    first = next(unit for unit in made.units() if unit.key.unit.endswith("000000"))
    assert [case.coded_bytes for case in track.cases] == [case.coded_bytes for case in first.cases]
    assert all(case.qp is not None and 0 < case.qp <= 51 for case in track.cases)


def test_kept_answers_are_those_that_were_counted(made: Run) -> None:
    (track,) = tracks(made)
    case = track.cases[2]
    unit = next(u for u in made.units() if u.key.method == "b" and u.key.unit.endswith("000000"))
    truth, answer = case.labels(case.truth_name), case.labels(case.prediction_names["b"])
    right = int(((truth == answer) & (truth != 255)).sum())
    assert right == int(np.trace(unit.counts[2]))


def test_frames_that_were_lost_are_made_again_without_touching_a_unit(made: Run) -> None:
    archive = next((made.path / "frames").glob("*/*/*.zip"))
    before, stamps = (
        archive.read_bytes(),
        {p: p.stat().st_mtime_ns for p in (made.path / "units").rglob("*.json")},
    )
    archive.unlink()
    run(EXPERIMENT, made.path, workers=1, cache=made.path.parent / "cache")
    assert archive.read_bytes() == before
    assert {p: p.stat().st_mtime_ns for p in (made.path / "units").rglob("*.json")} == stamps


def test_a_run_can_be_resumed_with_another_choice_of_frames(made: Run) -> None:
    changed = {**EXPERIMENT, "pictures": {"per_codec": 0, "frames": 8}}
    run(changed, Path(made.path), workers=1, cache=made.path.parent / "cache")
    assert len(list((made.path / "frames").glob("*/*/*.zip"))) == 2
