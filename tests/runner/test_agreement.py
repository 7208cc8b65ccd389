"""`truth: {method: ...}`: the answers of one method are the truth of the others, and nothing of it is called mIoU."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import vssbench
from vssbench.analysis.baseline import make_baseline
from vssbench.analysis.differences import measured_against, paired_differences
from vssbench.analysis.gate import Limits, compare, exit_code
from vssbench.analysis.run import load_run
from vssbench.engine.streams import open_segmentation
from vssbench.errors import CheckpointError, ConfigError
from vssbench.experiment.schema import load_experiment
from vssbench.rendering.report import write_report
from vssbench.runner.session import prepare

WEIGHTS = "streets-swiftnet18-w13"
SIZE = (64, 96)
NETWORK = {"network": "swiftnet18", "width": 13, "weights": WEIGHTS}
METHODS = [
    {"label": "half", "name": "constant", "lr_scale": 0.5, **NETWORK},
    {"label": "warp", "name": "warp-only", **NETWORK},
    {"label": "full", "name": "constant", **NETWORK},
]


def write_video(path: Path, pictures: int = 11) -> Path:
    """Groups of four pictures, B pictures among them."""
    scene = np.random.default_rng(2).integers(0, 255, (SIZE[0], SIZE[1] + 40, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"x264-params": "keyint=4:min-keyint=4:scenecut=0:bframes=1"}
        for i in range(pictures):
            frame = np.ascontiguousarray(scene[:, 3 * i : 3 * i + SIZE[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A dataset of one video without any label."""
    folder = tmp_path_factory.mktemp("unlabelled")
    video = write_video(folder / "s.mp4")
    names = open_segmentation(video, {"name": "constant", "weights": WEIGHTS}).class_names
    rows = [f"{name},{i},0,0\n" for i, name in enumerate(names)]
    (folder / "classes.csv").write_text("name,red,green,blue\n" + "".join(rows))
    return folder


def experiment(root: Path, **keys) -> dict:
    return {
        "title": "agreement",
        "datasets": [{"label": "d", "name": "folder", "root": str(root), "frames": "s.mp4", "labels": None}],
        "codecs": [{"label": "c", "codec": "source"}],
        "methods": METHODS,
        "truth": {"method": "full"},
        "measure": {"step_time": False, "macs": False},
        **keys,
    }


def execute(root: Path, output: Path, **keys):
    return vssbench.run(experiment(root, **keys), output, workers=1, device="cpu")


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    return execute(root, tmp_path_factory.mktemp("runs") / "run")


def answers(root: Path, method: str, **options) -> list[np.ndarray]:
    entry = {"name": method, "weights": WEIGHTS, **options}
    return [labels for _, labels in vssbench.segment(root / "s.mp4", entry, device="cpu")]


def test_agreement_is_the_mean_iou_with_the_answers_of_the_reference_on_every_frame(root, done):
    truth, other = answers(root, "constant"), answers(root, "warp-only")
    (group,) = [g for g in done.groups if g.method == "warp"]
    assert group.frames.tolist() == [3, 3, 3, 2]
    by_distance = []
    for d in range(4):
        t, o = (np.concatenate([maps[i].ravel() for i in range(d, 11, 4)]) for maps in (truth, other))
        ious = [
            np.sum((t == c) & (o == c)) / np.sum((t == c) | (o == c))
            for c in range(11)
            if ((t == c) | (o == c)).any()
        ]
        by_distance.append(np.mean(ious))
    assert group.miou_d == pytest.approx(by_distance, abs=1e-12)
    assert 0 < np.mean(by_distance) < 1
    row = done.summary.set_index("method").loc["warp"]
    assert row["agreement"] == pytest.approx(np.mean(by_distance), abs=1e-12)


def test_a_report_lists_the_reference_as_such_and_calls_nothing_miou(done, tmp_path):
    frame = done.summary.set_index("method")
    assert frame["reference"].to_dict() == {"half": False, "warp": False, "full": True}
    assert frame.loc["full", "agreement"] == 1
    report = write_report(done, tmp_path / "report", figure_files=False)
    text = (report.folder / "report.md").read_text()
    assert "full \\(reference\\)" in text
    assert "by agreement with the answers of full" in text
    assert "Highest agreement: full" not in text
    for name in ("index.html", "report.md", "summary.csv", "table.csv", "table.tex"):
        text = (report.folder / name).read_text()
        assert "greement" in text, name
        assert "mIoU" not in text, name
    assert "miou" not in (report.folder / "summary.csv").read_text()
    assert paired_differences(done) == []
    named = measured_against(done, "half")
    assert [found.test for found in paired_differences(named)[0].differences] == ["warp"]
    metrics = set(done.table["metric"])
    assert {"agreement", "class_agreement", "pixel_agreement"} <= metrics
    assert not [name for name in (*metrics, *done.summary.columns) if "iou" in name]


def test_the_gate_speaks_of_agreement_and_refuses_labels_beside_it(done, root, tmp_path):
    limits = Limits(metrics={"agreement.road": 0.0})
    rows = compare(done, make_baseline(done), limits)
    assert {"agreement", "agreement_0", "agreement.road"} <= {row.metric for row in rows}
    assert not [row for row in rows if "iou" in row.metric]
    other = execute(root, tmp_path / "other", truth={"method": "half"})
    rows = compare(other, make_baseline(done))
    assert exit_code(rows) == 2
    assert "answers of full" in " ".join(row.reason for row in rows)


def test_other_weights_of_the_reference_are_other_truth(root, tmp_path):
    from vssbench.networks.weights import locate_weights

    copy = tmp_path / "w.safetensors"
    shutil.copy(locate_weights("quickstart/hr"), copy)
    methods = [*METHODS[:2], {**METHODS[2], "weights": {"network": str(copy)}}]
    execute(root, tmp_path / "run", methods=methods)
    shutil.copy(locate_weights("quickstart/constant-0.5"), copy)
    with pytest.raises(ConfigError, match=r"answers of full of s\b.*would stand in one table"):
        vssbench.run(experiment(root, methods=methods), tmp_path / "run", workers=1, device="cpu", force=True)


def test_a_stopped_run_ends_with_the_same_records(root, done, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(done.path, copy)
    lost = [
        p
        for p in sorted((copy / "units").rglob("*.json"))
        if json.loads(p.read_text())["key"]["method"] == "warp"
    ]
    before = {p: p.read_bytes() for p in lost}
    lost[1].unlink()
    execute(root, copy)
    assert {p: p.read_bytes() for p in lost} == before
    assert load_run(copy).complete


def test_a_truth_that_cannot_be_is_refused_by_name(root, tmp_path):
    seeds = {"label": "m", "name": "constant", "network": "swiftnet18", "seeds": [1, 2]}
    for keys, told in (
        ({"truth": {"method": "ful"}}, r"truth.method.*no method has the title 'ful'.*full"),
        ({"truth": {"method": "m"}, "methods": [seeds]}, r"'m' has 2 training seeds"),
        ({"protocol": {"kind": "clip"}}, r"protocol.kind.*must be stream, not clip"),
        ({"protocol": {"labelled_stride": 2}}, r"labelled_stride.*must be 1, not 2"),
        ({"metrics": ["boundary"]}, r"metrics.*without labels"),
        ({"oracles": True}, r"oracles.*without labels"),
        (
            {"codecs": [{"label": "c", "codec": "source"}, {"label": "e", "codec": "hevc", "qp": 30}],
             "methods": [*METHODS[:2], {**METHODS[2], "codecs": ["c"]}]},
            r"'full' does not run on d, e, where half does",
        ),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            load_experiment(experiment(root, **keys))


def test_weights_of_another_class_table_and_chance_are_refused_before_work(root, tmp_path):
    (tmp_path / "s.mp4").write_bytes((root / "s.mp4").read_bytes())
    (tmp_path / "classes.csv").write_text("name,red,green,blue\na,0,0,0\nb,1,1,1\n")
    with pytest.raises(CheckpointError, match=r"method half, part network: .*classes"):
        prepare(load_experiment(experiment(tmp_path)), None, "cpu")
    chance = [METHODS[0], {"label": "full", "name": "constant", "network": "swiftnet18", "width": 13}]
    with pytest.raises(ConfigError, match=r"full has no weights for network"):
        prepare(load_experiment(experiment(root, methods=chance)), None, "cpu")
