"""The script for GPU machines, tried on the CPU at tiny sizes: every check runs and the JSON is written."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import torch


def script():
    spec = importlib.util.spec_from_file_location("gpu_checks", Path(__file__).with_name("run_checks.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    __import__("sys").modules["gpu_checks"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_executes_every_check_and_writes_json(tmp_path, capsys):
    script().main(["--dry-run", "-o", str(tmp_path / "gpu" / "dry.json")])
    report = json.loads((tmp_path / "gpu" / "dry.json").read_text())
    checks = {check["name"]: check for check in report["checks"]}
    assert report["dry_run"]
    assert checks["local attention, times faster than eager"]["value"] > 0
    assert checks["PSPNet18 camvid fp32: AR0.5, times faster than 1.0x"]["value"] > 0
    assert "CUDA devices only" in checks["energy of a matrix product above idle, J"]["note"]
    not_run = [c for c in report["checks"] if c["bound"] == "runs"]
    assert not_run == []
    assert "local attention over reading and writing once" in capsys.readouterr().out


def test_without_a_gpu_the_script_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert script().main(["-o", str(tmp_path / "no.json")]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "no.json").exists()
