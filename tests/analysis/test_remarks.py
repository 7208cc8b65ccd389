"""What a run must say about its own data: nothing is averaged silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vssbench.analysis.differences import paired_differences
from vssbench.analysis.remarks import unlike_bits
from vssbench.analysis.run import Run
from vssbench.records import ClassTable
from vssbench.rendering.tables.summary import summary_of, summary_table
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord

CLASSES = ClassTable(("road", "tree", "bus"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
GOOD = [[60, 5, 0], [5, 30, 0], [0, 0, 10]]


@pytest.fixture(scope="session")
def make_run(fabricated):
    """Callable: six units of one frame each for every method."""

    def make(
        path: Path, counts: dict[str, list], digests: dict[str, str], measured: dict | None = None
    ) -> Run:
        experiment = {
            "datasets": [{"name": "synthetic", "label": "d"}],
            "codecs": [{"label": "c", "qp": 30}],
            "protocol": {"keyframe_interval": 1},
            "methods": [{"name": "constant", "label": title} for title in counts],
        }
        further = {name: np.array([values], dtype=np.int64) for name, values in (measured or {}).items()}
        units = [
            UnitRecord(
                UnitKey("d", "c", title, "street", f"phase-00-gop-{number:06d}"),
                (CaseRecord(number, 0, "I", number, 1, 100, "key"),),
                np.array([matrix], dtype=np.int64),
                {"key": 1},
                1.0,
                1.0,
                f"{digests.get(title, 'x')}{number}",
                measured=further,
            )
            for title, matrices in counts.items()
            for number, matrix in enumerate(matrices)
        ]
        return fabricated(path, experiment, units, classes=CLASSES)

    return make


def test_a_run_with_every_class_in_every_frame_earns_no_remark(make_run, tmp_path):
    run = make_run(tmp_path / "run", {"a": [GOOD] * 6, "b": [GOOD] * 6}, {})
    assert [line for line in run.warnings if "interval" not in line] == []


def test_a_frame_without_a_scored_pixel_is_named_and_counts_nothing(make_run, tmp_path):
    empty = [[0] * 3] * 3
    run = make_run(tmp_path / "run", {"a": [GOOD, GOOD, empty, GOOD, GOOD, GOOD]}, {})
    assert any(
        "d: 1 labelled frame(s) have no scored pixel" in w and "frame 2 of street" in w for w in run.warnings
    )
    assert run.groups[0].unscored_frames == [("street", 2)]
    whole = make_run(tmp_path / "whole", {"a": [GOOD] * 6}, {})
    assert run.groups[0].miou == whole.groups[0].miou


def test_a_class_without_truth_is_named_with_the_methods_effect(make_run, tmp_path):
    never = [[60, 5, 0], [5, 30, 0], [0, 0, 0]]
    guessed = [[60, 5, 2], [5, 30, 0], [0, 0, 0]]
    run = make_run(tmp_path / "run", {"a": [never] * 6, "b": [guessed] * 6}, {})
    (line,) = (w for w in run.warnings if "no true pixel" in w)
    assert line == (
        "d: no true pixel of bus; such classes are in no mean, but count as 0 for methods that predict them (bus)"
    )


def test_methods_on_different_bits_are_named_and_not_paired(make_run, tmp_path):
    run = make_run(tmp_path / "run", {"a": [GOOD] * 6, "b": [GOOD] * 6}, {"b": "y"})
    text = (
        "a and b saw different decoded pixels or motion in 6 unit(s), for example street/phase-00-gop-000000"
    )
    assert text in unlike_bits(run.groups)
    assert any(text in line for line in run.warnings)
    (section,) = paired_differences(run)
    assert section.differences == ()
    assert text in section.note


def test_equal_work_in_unequal_time_is_told_and_not_ranked(fabricated, tmp_path):
    codecs = [{"label": name, "codec": "hevc", "bitrate_kbps": k} for name, k in (("c1", 100), ("c2", 200))]
    experiment = {
        "datasets": [{"name": "synthetic", "label": "d"}],
        "codecs": codecs,
        "methods": [{"name": "constant", "label": "a"}, {"name": "constant", "label": "b", "lr_scale": 0.5}],
        "protocol": {"keyframe_interval": 1},
    }
    times = {("a", "c1"): 0.8, ("a", "c2"): 0.4, ("b", "c1"): 0.2, ("b", "c2"): 0.2}
    units = [
        UnitRecord(
            UnitKey("d", codec, method, "street", f"phase-00-gop-{frame:06d}"),
            (CaseRecord(frame, 0, "I", frame, 1, 100, "key"),),
            np.array([GOOD], dtype=np.int64),
            {"key": 1},
            1.0,
            100.0,
            "x",
            {"step_key": seconds, "steps_key": 1},
        )
        for (method, codec), seconds in times.items()
        for frame in range(4)
    ]
    run = fabricated(tmp_path / "run", experiment, units, gmacs={"a": 8.0, "b": 2.0}, classes=CLASSES)
    told = [line for line in run.warnings if "unequal time" in line]
    assert told == [
        "d: a did equal work in unequal time, 800 ms on c1 and 400 ms on c2; step times are not ranked"
    ]
    table = summary_table(summary_of(run))
    place = [column.key for column in table.columns].index("key_ms")
    assert {row.cells[place].mark for row in table.rows} == {""}


def test_a_metric_without_a_value_says_why(make_run, tmp_path):
    none = np.full((2, 2, 2), -1)
    run = make_run(tmp_path / "run", {"a": [GOOD] * 6}, {}, {"vc": none, "tc:exact": np.zeros((3, 3))})
    lines = [line for line in run.warnings if "has no value" in line]
    assert len(lines) == 5  # VC8 and VC16, released and corrected, and TC
    assert "d, c: VC16 (corrected) has no value: no window of so many neighbouring scored frames" in " ".join(
        lines
    )
