"""An exception of a plug-in is one message, and finished units stay."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

import pytest
from torch import nn

import vssbench
from vssbench.baselines.constant import ConstantResolution
from vssbench.cli import main
from vssbench.errors import ConfigError, PluginError, in_plugin
from vssbench.registry import Entry, methods

VALUES = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 8, "size": [32, 64]}],
    "codecs": [{"codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 4},
    "methods": [{"name": "fragile", "label": "mine", "network": "bisenet18", "width": 4}],
    "measure": {"macs": False},
    "pictures": {"per_codec": 0, "frames": 0},
}


class Brittle(nn.Module):
    """A network of a plug-in."""

    def forward(self, frame):
        if frame.time is not None and frame.time >= 6:
            raise KeyError("no such\nkey")
        return frame


class Fragile(ConstantResolution):
    """Its own network fails from frame 6 on."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.brittle = Brittle()

    def parts(self):
        return {**super().parts(), "brittle": self.brittle}

    def step(self, state, frame):
        return super().step(state, self.brittle(frame))


class Late(ConstantResolution):
    def step(self, state, frame):
        return super().step(state, frame) if frame.index < 2 else self.missing


class Unbuildable(ConstantResolution):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.missing.append(1)


class Silent(ConstantResolution):
    def step(self, state, frame):
        super().step(state, frame)


@pytest.fixture
def register(monkeypatch):
    def put(kind):
        monkeypatch.setitem(methods.entries, "fragile", Entry("fragile", "fragile_plugin:Kind", "test"))
        monkeypatch.setitem(sys.modules, "fragile_plugin", SimpleNamespace(Kind=kind))

    return put


def run(path, **changes):
    return vssbench.run({**VALUES, **changes}, path / "run", workers=1, cache=path / "cache", device="cpu")


def test_a_network_that_raises_is_named_with_sequence_frame_clip_and_line(register, tmp_path):
    register(Fragile)
    with pytest.raises(
        PluginError,
        match=r"^sequence \S+, method mine, frame 6 \(position 2, clip at frame 4\): "
        r"\S+test_plugin_errors\.py:\d+ \(forward: raise KeyError\(.*\)\): KeyError: .no such.nkey.$",
    ) as caught:
        run(tmp_path)
    assert caught.value.exit_code == 4
    (unit,) = (tmp_path / "run" / "units").rglob("*.json")
    assert unit.name == "phase-00-gop-000000.json"
    assert "stopped: PluginError" in (tmp_path / "run" / "log.txt").read_text()


def test_a_step_that_returns_nothing_is_named(register, tmp_path):
    register(Silent)
    with pytest.raises(PluginError, match=r"method mine, frame 0 .*Silent: TypeError: 'NoneType'"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("image", r"dataset streets, sequence val-0000, frame 0: .*KeyError: 'image'"),
        ("label", r"dataset streets, sequence val-0000, frame 0: .*KeyError: 'label'"),
        ("label_files", r"sequence val-0000: .*KeyError: 'label_files'"),
    ],
)
def test_a_dataset_that_raises_is_named_with_sequence_and_frame(monkeypatch, tmp_path, broken, words):
    from vssbench.datasets.synthetic.sequence import StreetSequence

    def fails(self, *arguments):
        raise KeyError(broken)

    monkeypatch.setattr(StreetSequence, broken, fails)
    honest = {"name": "constant", "network": "bisenet18", "width": 4}
    datasets = [{**VALUES["datasets"][0], "label": "streets"}]
    with pytest.raises(PluginError, match=words):
        run(tmp_path, datasets=datasets, methods=[honest])


@pytest.mark.parametrize(
    "asked",
    [{"metrics": ["consistency"]}, {"oracles": True}],
)
def test_exact_motion_that_fails_behind_the_first_frames_is_named(monkeypatch, tmp_path, asked):
    from vssbench.datasets.synthetic.sequence import StreetSequence

    right = StreetSequence.flow_to_previous
    monkeypatch.setattr(
        StreetSequence, "flow_to_previous", lambda self, index: right(self, index) if index < 3 else 1 // 0
    )
    honest = {"name": "constant", "network": "bisenet18", "width": 4}
    with pytest.raises(PluginError, match=r"sequence val-0000, frame 3: .*ZeroDivisionError"):
        run(tmp_path, methods=[honest, {**honest, "name": "warp-only", "label": "warped"}], **asked)


def test_a_dataset_that_cannot_be_opened_is_named(monkeypatch, tmp_path):
    from vssbench.datasets.synthetic import SyntheticStreets

    monkeypatch.setattr(SyntheticStreets, "sequences", lambda self, split: 1 // 0)
    with pytest.raises(PluginError, match=r"dataset synthetic, split val: .*ZeroDivisionError"):
        run(tmp_path, methods=[{"name": "constant", "network": "bisenet18", "width": 4}])


def test_clips_in_lockstep_name_the_frames_of_all(register, tmp_path):
    register(Late)
    batched = [{**VALUES["methods"][0], "inference": {"batch": 2}}]
    with pytest.raises(PluginError, match=r"mine, frame 2, 6 \(position 2, clip at frame 0, 4\): "):
        run(tmp_path, methods=batched)


def test_a_method_that_cannot_be_built_is_named(register, tmp_path):
    register(Unbuildable)
    with pytest.raises(
        PluginError, match=r"method mine, while it was built: .*missing.append.*AttributeError"
    ):
        run(tmp_path)


def test_counting_macs_names_the_method(register):
    import torch

    from vssbench.cost import count_method_macs
    from vssbench.engine.build import untrained_method
    from vssbench.method import BuildContext

    register(Silent)
    context = BuildContext(3, (32, 64), 4, torch.device("meta"))
    method = untrained_method("fragile", {"width": 4}, context, where="method mine")
    with pytest.raises(
        PluginError, match=r"method mine, counting MACs on blank frames of 32x64: .*TypeError"
    ):
        count_method_macs(method)


def test_the_command_ends_with_4_and_the_whole_trace_is_there_on_demand(
    register, tmp_path, monkeypatch, capsys
):
    register(Unbuildable)
    for given, wanted in (([], False), (["--traceback"], True)):
        monkeypatch.setattr(sys, "argv", ["vssbench", *given, "profile", "fragile", "--set", "width=4"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 4
        said = capsys.readouterr().err
        assert ("Traceback (most recent call last)" in said) is wanted
        assert "vssbench: method fragile, while it was built: " in said


def test_findings_pass_through_and_messages_survive_processes():
    with pytest.raises(ConfigError, match=r"^a setting$"), in_plugin(Fragile, "somewhere"):
        raise ConfigError("a setting")
    with pytest.raises(PluginError) as caught, in_plugin(Fragile, "somewhere"):
        {}["x"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
