from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from vssbench import __version__
from vssbench.cli import app


def output_of(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_version():
    assert output_of("--version") == f"vssbench {__version__}\n"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ["constant", "warp-only", "ar-seg"]),
        ("datasets", ["synthetic", "camvid", "cityscapes", "folder"]),
        ("networks", ["pspnet18-camvid", "pspnet18-cityscapes", "bisenet18"]),
        ("experiments", ["quickstart", "ar-seg/table1", "ar-seg/table5", "ar-seg/figure4", "camvid480"]),
        ("weights", ["quickstart/hr"]),
    ],
)
def test_list_names_everything(kind, names):
    text = output_of("list", kind)
    for name in names:
        assert name in text


def test_doctor_finds_motion_of_both_codecs():
    text = " ".join(output_of("doctor").split())
    assert "FAILED" not in text
    assert text.count("works (4 pictures, types IPPP)") == 2


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "report",
        "compare",
        "check",
        "train",
        "profile",
        "motion",
        "encode",
        "list",
        "doctor",
        "conformance",
        "baseline",
        "data",
        "weights",
    ],
)
def test_every_command_explains_itself(command):
    assert "Usage" in output_of(command, "--help")


@pytest.mark.parametrize("group", [[], ["data"], ["weights"], ["baseline"]])
def test_no_summary_is_cut_on_eighty_columns(group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    commands = output_of(*group, "--help").partition("Commands:")[2]
    assert commands
    assert [line for line in commands.splitlines() if line.rstrip().endswith("...")] == []


def test_conformance_leaves_torch_as_it_was():
    assert "checks passed" in output_of("conformance", "--network", "light-fpn18")
    assert not torch.are_deterministic_algorithms_enabled()


def test_options_are_listed_with_what_they_take():
    text = " ".join(output_of("list", "methods", "--options").split())
    assert "lr_scale" in text
    assert "threshold_scale" in text
    refused = CliRunner().invoke(app, ["list", "weights", "--options"])
    assert refused.exit_code != 0
    assert "no options of their own" in str(refused.exception)
