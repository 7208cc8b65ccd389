"""What a run must say about its own data: nothing is averaged silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vssbench.analysis.differences import paired_differences
from vssbench.analysis.remarks import unlike_bits
from vssbench.analysis.run import Run, load_run
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord
from vssbench.results.store import RunFolder

CLASSES = ["road", "tree", "bus"]
GOOD = [[60, 5, 0], [5, 30, 0], [0, 0, 10]]


def make_run(
    path: Path, counts: dict[str, list], digests: dict[str, str], measured: dict | None = None
) -> Run:
    """Six units of one frame each for every method."""
    folder = RunFolder(path)
    methods = [{"name": "constant", "label": title} for title in counts]
    folder.write_json(
        "experiment.json",
        {"datasets": [{"name": "d"}], "codecs": [{"label": "c"}], "protocol": {}, "methods": methods},
    )
    folder.write_json("environment.json", {"bits": {}, "machine": {"processor": "p"}, "forced": []})
    folder.write_json("datasets.json", {"d": {"class_names": CLASSES, "ignore_index": 255}})
    titles = {"datasets": ["d"], "codecs": ["c"], "methods": list(counts)}
    folder.write_json("plan.json", {"units": 6 * len(counts), "titles": titles})
    for title, matrices in counts.items():
        for number, matrix in enumerate(matrices):
            case = CaseRecord(number, 0, "I", number, 1, 100, "key")
            key = UnitKey("d", "c", title, "street", f"phase-00-gop-{number:06d}")
            pixels = np.array([matrix], dtype=np.int64)
            record = UnitRecord(
                key, (case,), pixels, {"key": 1}, 1.0, 1.0, f"{digests.get(title, 'x')}{number}"
            )
            for name, values in (measured or {}).items():
                record.measured[name] = np.array([values], dtype=np.int64)  # type: ignore[index]
            folder.write_unit(record)
    return load_run(path)


def test_a_run_with_every_class_in_every_frame_earns_no_remark(tmp_path):
    run = make_run(tmp_path / "run", {"a": [GOOD] * 6, "b": [GOOD] * 6}, {})
    assert [line for line in run.warnings if "interval" not in line] == []


def test_a_frame_without_a_scored_pixel_is_named_and_counts_nothing(tmp_path):
    empty = [[0] * 3] * 3
    run = make_run(tmp_path / "run", {"a": [GOOD, GOOD, empty, GOOD, GOOD, GOOD]}, {})
    assert any(
        "d: 1 labelled frame(s) have no scored pixel" in w and "frame 2 of street" in w for w in run.warnings
    )
    assert run.groups[0].unscored_frames == [("street", 2)]
    whole = make_run(tmp_path / "whole", {"a": [GOOD] * 6}, {})
    assert run.groups[0].miou == whole.groups[0].miou


def test_a_class_without_truth_is_named_with_the_methods_effect(tmp_path):
    never = [[60, 5, 0], [5, 30, 0], [0, 0, 0]]
    guessed = [[60, 5, 2], [5, 30, 0], [0, 0, 0]]
    run = make_run(tmp_path / "run", {"a": [never] * 6, "b": [guessed] * 6}, {})
    (line,) = (w for w in run.warnings if "no true pixel" in w)
    assert line == (
        "d: no true pixel of bus; such classes are in no mean, but count as 0 for methods that predict them (bus)"
    )


def test_methods_on_different_bits_are_named_and_not_paired(tmp_path):
    run = make_run(tmp_path / "run", {"a": [GOOD] * 6, "b": [GOOD] * 6}, {"b": "y"})
    text = (
        "a and b saw different decoded pixels or motion in 6 unit(s), for example street/phase-00-gop-000000"
    )
    assert text in unlike_bits(run.groups)
    assert any(text in line for line in run.warnings)
    (section,) = paired_differences(run)
    assert section.differences == ()
    assert text in section.note


def test_a_metric_without_a_value_says_why(tmp_path):
    none = np.full((2, 2, 2), -1)
    run = make_run(tmp_path / "run", {"a": [GOOD] * 6}, {}, {"vc": none, "tc:exact": np.zeros((3, 3))})
    lines = [line for line in run.warnings if "has no value" in line]
    assert len(lines) == 5  # VC8 and VC16, released and corrected, and TC
    assert "d, c: VC16 (corrected) has no value: no window of so many neighbouring scored frames" in " ".join(
        lines
    )
