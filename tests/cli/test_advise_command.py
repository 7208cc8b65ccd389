"""`vssbench advise`: candidates on a sample of an own video, and the choice that follows from their numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vssbench.analysis.run import load_run
from vssbench.cli import app
from vssbench.errors import ConfigError
from vssbench.experiment.clips import cut_source
from vssbench.experiment.schema import ProtocolSettings
from vssbench.runner.advice import Candidate, StageTimes, Wish, weigh

SIZE = (64, 96)
WEIGHTS = "streets-swiftnet18-w13"


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Twenty pictures at 25 a second in groups of four; beside it a folder that is a split elsewhere."""
    path = tmp_path_factory.mktemp("films") / "s.mp4"
    (path.parent / "test").mkdir()
    scene = np.random.default_rng(2).integers(0, 255, (SIZE[0], SIZE[1] + 60, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"x264-params": "keyint=4:min-keyint=4:scenecut=0:bframes=1"}
        for i in range(20):
            frame = np.ascontiguousarray(scene[:, 3 * i : 3 * i + SIZE[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def advise(video: Path, *more: str, code: int = 0) -> str:
    words = ["advise", str(video), "--candidates", WEIGHTS, "--device", "cpu", "--threads", "1", *more]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert done.exit_code == code, done.output
    return done.output


def test_from_a_video_to_a_line_to_run(video, tmp_path, monkeypatch):
    out = tmp_path / "advice"
    text = advise(video, "-o", str(out), "--seconds", "0.2", "--min-agreement", "1", "--no-report")
    table = [
        line
        for line in text.splitlines()
        if line.startswith(("What", "method", "1.0x", "warp", "0.5x", "AR"))
    ]
    assert max(map(len, table)) <= 80
    for name in ("agreement", "decode", "motion", "network", "upsample", "GMACs"):
        assert name in table[1]
    run = load_run(out)
    # 0.2 s are five pictures: the second group of four is run whole
    assert {int(group.frames.sum()) for group in run.groups} == {8}
    weighed = weigh(run, run.folder.read_record("advice.json", StageTimes))
    warp = next(one for one in weighed if one.title == "warp-only")
    kinds = run.folder.read_record("advice.json", StageTimes).stages["warp-only"]
    sums = {kind: sum(stages.values()) for kind, stages in kinds.items()}
    assert warp.ms == pytest.approx((2 * sums["key"] + 6 * sums["non_key"]) / 8)
    chosen = Wish(least=0.01).choose(weighed)
    assert f"recommended: {chosen.title} (" in text
    line = next(line for line in text.splitlines() if "run it: " in line).split("run it: ")[1]
    words = [str(tmp_path / "answers") if word == "answers" else word for word in line.split()[1:]]
    done = CliRunner().invoke(app, [*words, "--no-overlay"])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "answers" / "labels").glob("*.png"))) == 20

    before = {path: path.stat().st_mtime_ns for path in (out / "costs").rglob("*.json")}
    again = advise(video, "-o", str(out), "--seconds", "0.2", "--budget-ms", "0.001", "--no-report", code=1)
    assert "recommended: none; no candidate has at most 0.0 ms a frame" in again
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (out / "damaged").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--share", "0.5", "--seconds", "1"), "give one of them"),
        (("--min-miou", "50"), "without --labels there is no mIoU"),
        (("--labels", ".", "--min-agreement", "50"), "give --min-miou"),
        (("--reference", "1.x"), "no method has the title '1.x'"),
    ],
)
def test_contradictions_end_in_one_message(video, tmp_path, words, told):
    command = [
        "advise",
        str(video),
        "--candidates",
        WEIGHTS,
        "-o",
        str(tmp_path / "o"),
        "--device",
        "cpu",
        *words,
    ]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ConfigError)
    assert told in str(done.exception)
    assert not (tmp_path / "o").exists()


def test_the_choice_is_the_best_within_the_budget_or_the_fastest_that_is_good_enough():
    slow = Candidate("slow", 1.0, {"decode": 5.0, "network": 45.0}, math.nan)
    fair = Candidate("fair", 0.9, {"decode": 5.0, "network": 15.0}, math.nan)
    fast = Candidate("fast", 0.8, {"decode": 5.0, "network": 5.0}, math.nan)
    found = [fast, fair, slow]
    assert Wish(budget_ms=20).choose(found) is fair
    assert Wish(budget_ms=19.9).choose(found) is fast
    assert Wish(least=0.85).choose(found) is fair
    assert Wish(budget_ms=15, least=0.85).choose(found) is None


def test_a_sample_is_whole_groups_and_sees_the_keyframe_behind_it():
    ((encode,),) = cut_source(100, [2, 12, 22, 32, 92], range(100), ProtocolSettings(), 11)
    assert [(c.first, c.length, len(c.scored)) for c in encode.clips] == [
        (2, 10, 10),
        (12, 10, 10),
        (22, 10, 0),
        (32, 22, 0),
    ]
    ((whole,),) = cut_source(100, [2, 12, 22, 32, 92], range(100), ProtocolSettings())
    assert sum(len(c.scored) for c in whole.clips) == 98
