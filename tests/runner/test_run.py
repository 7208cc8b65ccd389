"""The main path on tiny synthetic streets with untrained networks: plan, execute, record, resume."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import vssbench
import vssbench.networks
from vssbench.analysis.differences import reference_method
from vssbench.errors import CapabilityError, CheckpointError, ConfigError, InputError, StorageError
from vssbench.experiment.schema import load_experiment
from vssbench.networks.weights import WeightsMetadata, save_weights
from vssbench.results.documents import EnvironmentRecord
from vssbench.results.store import RunFolder
from vssbench.results.stored import ENVIRONMENT_FILE
from vssbench.runner.plan import load_dataset
from vssbench.runner.session import Listener

TINY = {
    "title": "tiny",
    "datasets": [{"name": "synthetic", "sequences": 2, "frames": 9, "size": [64, 96]}],
    "codecs": [
        {"label": "h264", "codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1},
        {"label": "hevc", "codec": "hevc", "bitrate_kbps": 60, "preset": "ultrafast"},
    ],
    "protocol": {"kind": "stream", "keyframe_interval": 4, "phases": [0, 2]},
    "methods": [
        {"label": "1.0x", "name": "constant", "network": "bisenet18", "width": 8},
        {"label": "0.5x", "name": "constant", "network": "bisenet18", "width": 8, "lr_scale": 0.5},
        {"label": "warp", "name": "warp-only", "network": "bisenet18", "width": 8},
        {"label": "AR", "name": "ar-seg", "network": "bisenet18", "width": 8, "lr_scale": 0.5},
    ],
}


def records(path) -> dict[str, dict]:
    """All unit records of a run without their timings."""
    found = {}
    for file in sorted((path / "units").rglob("*.json")):
        values = json.loads(file.read_text())
        del values["timings"], values["timings_digest"]
        found[str(file.relative_to(path))] = values
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache):
    return vssbench.run(TINY, tmp_path_factory.mktemp("runs") / "one", workers=1, cache=cache, device="cpu")


def test_every_planned_unit_is_stored_and_scores_the_right_frames(undisturbed):
    # 9 frames, L = 4: phase 0 has GOPs 0-3, 4-7, 8 and phase 2 has 2-5, 6-8; 5 units x 2 sequences x 2 codecs x 4 methods
    assert undisturbed.complete
    assert undisturbed.unit_count == 5 * 2 * 2 * 4
    group = next(g for g in undisturbed.groups if (g.codec, g.method) == ("h264", "AR"))
    assert group.distances == (0, 1, 2, 3)
    assert group.frames.tolist() == [2 * 5, 2 * 4, 2 * 4, 2 * 3]
    assert group.frame_types == {"I": 10, "P": 22}
    labelled = group.total.sum()
    assert labelled <= 32 * 64 * 96
    assert labelled > 0.9 * 32 * 64 * 96


def test_keyframes_of_all_full_resolution_methods_are_the_same_network(tmp_path, cache):
    """At d = 0 AR-Seg and warp-only are 1.0x: with the same weights they must count exactly alike."""
    torch.manual_seed(3)
    network = vssbench.networks.create("bisenet18", 11, width=8).train()
    for _ in range(20):  # statistics of batch normalisation, so that predictions vary over the image
        network(torch.rand(2, 3, 64, 96))
    weights = tmp_path / "network.safetensors"
    save_weights(network, weights, WeightsMetadata.describing(network))
    hr = {"weights": {"network": str(weights)}}
    methods = [{**m, **hr} for m in TINY["methods"][:3]] + [
        {**TINY["methods"][3], "weights": {"hr": str(weights)}}
    ]
    values = {**TINY, "methods": methods, "codecs": TINY["codecs"][:1], "measure": {"macs": False}}
    run = vssbench.run(values, tmp_path / "run", workers=1, cache=cache, device="cpu")
    total = {g.method: g.total for g in run.groups}
    assert (total["1.0x"][0].sum(axis=0) > 0).sum() > 1, (
        "the network must predict more than one class for this test to mean anything"
    )
    np.testing.assert_array_equal(total["1.0x"][0], total["warp"][0])
    np.testing.assert_array_equal(total["1.0x"][0], total["AR"][0])
    assert not np.array_equal(total["1.0x"][0], total["0.5x"][0])
    assert not np.array_equal(total["1.0x"][3], total["warp"][3])


def test_weights_of_other_classes_are_refused_before_work_starts(tmp_path, cache):
    network = vssbench.networks.create("bisenet18", 11, width=8)
    names = tuple(load_dataset(load_experiment(TINY).datasets[0]).classes.names)
    turned = (names[1], names[0], *names[2:])
    path = tmp_path / "network.safetensors"
    save_weights(network, path, WeightsMetadata.describing(network, class_names=turned))
    methods = [{**TINY["methods"][0], "weights": {"network": str(path)}}]
    with pytest.raises(
        CheckpointError, match=rf"method 1\.0x, part network: .* class 0 is '{names[1]}' there"
    ):
        vssbench.run({**TINY, "methods": methods}, tmp_path / "run", workers=1, cache=cache, device="cpu")
    assert not list((tmp_path / "run").glob("units/**/*.json"))


def test_step_times_are_kept_unless_they_are_not_wanted(undisturbed, tmp_path, cache):
    assert all(set(group.step_ms) == {"key", "non_key"} for group in undisturbed.groups)
    values = {**TINY, "codecs": TINY["codecs"][:1], "methods": TINY["methods"][:1]}
    measure = {"macs": False, "step_time": False}
    run = vssbench.run({**values, "measure": measure}, tmp_path / "run", workers=1, cache=cache, device="cpu")
    assert [group.step_ms for group in run.groups] == [{}]


def test_costs_are_measured_for_every_method(undisturbed):
    cost = {row.method: row for row in undisturbed.summary.itertuples() if row.codec == "h264"}
    assert cost["1.0x"].key_gmacs == cost["1.0x"].non_key_gmacs > 0
    assert cost["0.5x"].gop_mean_gmacs < 0.3 * cost["1.0x"].gop_mean_gmacs
    assert cost["AR"].key_gmacs == pytest.approx(cost["1.0x"].key_gmacs)
    mean = (cost["AR"].key_gmacs + 3 * cost["AR"].non_key_gmacs) / 4
    assert cost["AR"].gop_mean_gmacs == pytest.approx(mean)


def test_a_second_run_does_nothing(undisturbed, cache):
    seen = []
    listener = Listener(on_plan=lambda summary, owed: seen.append(owed), on_unit=lambda: seen.append("unit"))
    vssbench.run(TINY, undisturbed.path, workers=1, cache=cache, device="cpu", listener=listener)
    assert seen == [0]


def test_missing_and_damaged_units_are_redone_identically(undisturbed, tmp_path, cache):
    import shutil

    shutil.copytree(undisturbed.path, tmp_path / "copy")
    files = sorted((tmp_path / "copy" / "units").rglob("*.json"))
    files[3].unlink()
    files[11].write_text(files[11].read_text()[:-40])
    again = vssbench.run(TINY, tmp_path / "copy", workers=1, cache=cache, device="cpu")
    assert records(tmp_path / "copy") == records(undisturbed.path)
    assert any("damaged" in warning for warning in again.warnings)


def test_clip_and_stream_protocols_score_the_same_cases(tmp_path, cache, undisturbed):
    values = {
        **TINY,
        "datasets": [{"name": "synthetic", "sequences": 1, "frames": 6, "size": [64, 96]}],
        "codecs": TINY["codecs"][:1],
        "methods": TINY["methods"][:1],
        "protocol": {"kind": "clip", "keyframe_interval": 3},
        "pictures": {"per_codec": 0},
    }
    clip = vssbench.run(values, tmp_path / "clip", workers=1, cache=cache, device="cpu")
    values["protocol"] = {"kind": "stream", "keyframe_interval": 3, "phases": "all"}
    stream = vssbench.run(values, tmp_path / "stream", workers=1, cache=cache, device="cpu")
    assert clip.groups[0].frames.tolist() == stream.groups[0].frames.tolist() == [6, 5, 4]
    assert not (tmp_path / "clip" / "pictures").exists()


def test_a_still_of_each_codec_is_kept_where_the_viewer_has_none(tmp_path, cache):
    values = {**TINY, "pictures": {"per_codec": 1, "frames": 0}, "measure": {"macs": False}}
    run = vssbench.run(values, tmp_path / "run", workers=1, cache=cache, device="cpu")
    kept, told = run.kept_frames
    assert told == []
    assert sorted((case.codec, case.distance) for case in kept) == [("h264", 3), ("hevc", 3)]
    still = kept[0].picture()
    assert list(still.predictions) == ["1.0x", "0.5x", "warp", "AR"]
    assert still.flow is not None
    assert still.decoded.shape == (64, 96, 3)


def test_a_still_that_the_viewer_shows_is_kept_once(undisturbed):
    places = [case.place for case in undisturbed.kept_frames[0]]
    assert len(places) == len(set(places)) > 2


def test_damaged_frames_are_set_aside_and_made_again(undisturbed, tmp_path, cache):
    import shutil

    shutil.copytree(undisturbed.path, tmp_path / "copy")
    archive = min((tmp_path / "copy" / "frames").rglob("*.zip"))
    before = archive.read_bytes()
    archive.write_bytes(before[:-30])
    told = []
    listener = Listener(on_stage=told.append)
    vssbench.run(TINY, tmp_path / "copy", workers=1, cache=cache, device="cpu", listener=listener)
    assert archive.read_bytes() == before
    assert any("these frames are made again" in text for text in told)


def test_another_experiment_in_the_same_folder_is_refused(undisturbed, cache):
    other = {**TINY, "seed": 5}
    with pytest.raises(ConfigError, match=r"another experiment.*seed: 0 -> 5"):
        vssbench.run(other, undisturbed.path, cache=cache)


def test_words_and_reference_of_a_finished_run_follow_the_experiment(undisturbed, tmp_path, cache):
    import shutil

    shutil.copytree(undisturbed.path, tmp_path / "copy")
    changed = {**TINY, "title": "renamed", "reference": "warp"}
    again = vssbench.run(changed, tmp_path / "copy", cache=cache, device="cpu", workers=1)
    assert records(again.path) == records(undisturbed.path)
    assert (again.experiment["title"], reference_method(again, "synthetic", "hevc")) == ("renamed", "warp")
    assert reference_method(undisturbed, "synthetic", "hevc") == "1.0x"
    with pytest.raises(ConfigError, match=r"reference: no method has the title 'wrap'; did you mean warp\?"):
        vssbench.run({**TINY, "reference": "wrap"}, tmp_path / "new", cache=cache)


def test_another_environment_is_refused_unless_forced(undisturbed, tmp_path, cache):
    import shutil

    shutil.copytree(undisturbed.path, tmp_path / "copy")
    folder = RunFolder(tmp_path / "copy")
    environment = folder.read_record(ENVIRONMENT_FILE, EnvironmentRecord)
    environment.bits["packages"]["av"] = "0.0.1"
    folder.write_record(ENVIRONMENT_FILE, environment)
    with pytest.raises(ConfigError, match=r"packages\.av: 0\.0\.1 -> .*--force"):
        vssbench.run(TINY, folder.path, cache=cache)
    forced = vssbench.run(TINY, folder.path, cache=cache, force=True, device="cpu")
    assert any("force" in warning for warning in forced.warnings)


def test_a_folder_in_use_names_its_owner(undisturbed, cache):
    from filelock import FileLock

    with FileLock(undisturbed.path / ".lock"):
        (undisturbed.path / ".owner").write_text("process 1234, started today")
        with pytest.raises(StorageError, match="in use by process 1234"):
            vssbench.run(TINY, undisturbed.path, cache=cache)


def test_motion_that_the_rule_cannot_follow_is_refused_before_work(tmp_path):
    methods = [
        {**method, "flow_rule": "paper"} for method in TINY["methods"] if method["name"] == "warp-only"
    ]
    values = {**TINY, "methods": methods, "codecs": [{"codec": "h264", "bitrate_kbps": 60, "b_frames": 2}]}
    with pytest.raises(
        CapabilityError, match=r"rule 'paper', which is defined for P pictures only.*b_frames=0"
    ):
        vssbench.run(values, tmp_path / "run", workers=1, device="cpu")
    assert not (tmp_path / "run" / "units").exists()


def test_a_sequence_that_cannot_be_scored_is_an_error(tmp_path):
    values = {**TINY, "protocol": {"kind": "clip", "keyframe_interval": 12, "distances": [11]}}
    with pytest.raises(InputError, match="no labelled frame can be scored"):
        vssbench.run(values, tmp_path / "run", workers=1, device="cpu")


@pytest.mark.parametrize(("device", "message"), [("cuda:77", "CUDA"), ("tpu!", "not a torch device")])
def test_an_absent_device_is_refused(tmp_path, device, message):
    import torch

    if torch.cuda.is_available():
        device = "tpu!"
        message = "not a torch device"
    with pytest.raises(CapabilityError, match=message):
        vssbench.run(TINY, tmp_path / "run", device=device)


def test_unreadable_weights_name_method_and_part(tmp_path):
    bad = tmp_path / "weights.safetensors"
    bad.write_bytes(b"not safetensors")
    values = {**TINY, "methods": [{**TINY["methods"][0], "weights": {"network": str(bad)}}]}
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        vssbench.run(values, tmp_path / "run", workers=1, device="cpu")
