"""Runs over folders as people have them: every sequence is scored, and how frames were read is said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import vssbench
from vssbench.errors import ConfigError


def experiment(root, **options):
    return {
        "datasets": [{"name": "folder", "root": str(root), "frame_rate_hz": 25, **options}],
        "codecs": [{"label": "c", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
        "protocol": {"kind": "stream", "keyframe_interval": 2, "phases": "all"},
        "methods": [{"label": "m", "name": "constant", "network": "swiftnet18", "width": 4}],
        "measure": {"step_time": False, "macs": False},
        "pictures": {"per_codec": 0, "frames": 0},
    }


def tree(root, *titles, turn=1):
    """Four frames of 96x64 with labels for each title."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[274] = turn
    for title in titles:
        for folder, size, top in (("frames", (64, 96, 3), 255), ("labels", (64, 96), 3)):
            (root / folder / title).mkdir(parents=True)
            for i in range(4):
                picture = Image.fromarray(rng.integers(0, top, size, dtype=np.uint8))
                picture.save(root / folder / title / f"{i}.png", exif=exif)
    (root / "classes.csv").write_text("name,red,green,blue\na,0,0,0\nb,1,1,1\nc,2,2,2\n")
    return root


@pytest.mark.parametrize("titles", [("東京", "大阪"), ("a b", "a-b")])
def test_every_labelled_frame_of_every_sequence_is_scored(tmp_path, titles):
    run = vssbench.run(
        experiment(tree(tmp_path / "data", *titles)),
        tmp_path / "run",
        workers=1,
        cache=tmp_path / "cache",
        device="cpu",
    )
    units = list((tmp_path / "run/units").rglob("*.json"))
    assert len({path.parent for path in units}) == 2
    scored = [case for group in run.groups for case in group.frames]
    assert sum(scored) == 2 * (4 + 3)  # phase 0: frames 0..3, phase 1: frames 1..3
    assert not any("EXIF" in warning for warning in run.warnings)


def test_a_run_says_that_its_frames_were_turned(tmp_path):
    root = tree(tmp_path / "data", "s", turn=3)
    run = vssbench.run(experiment(root), tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")
    assert any(
        "s: 0.png declares EXIF orientation 3; frames are turned" in warning for warning in run.warnings
    )


def test_labels_of_methods_that_would_share_records_are_refused_before_anything_is_stored(tmp_path):
    values = experiment(tree(tmp_path / "data", "s"))
    values["methods"] = [{**values["methods"][0], "label": label} for label in ("m", "M")]
    with pytest.raises(ConfigError, match="'m' and 'M' would share the record files"):
        vssbench.run(values, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")
    assert not (tmp_path / "run/units").exists()
