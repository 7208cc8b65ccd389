"""What a user gets for a mistake: one line on stderr that names it, exit code 2 or 3, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.errors import VssbenchError

EXPERIMENT = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 4, "size": [64, 96]}],
    "codecs": [{"label": "c", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 2},
    "methods": [{"label": "m", "name": "constant", "width": 4}],
}


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(json.dumps(EXPERIMENT))
    return path


def invoke(*words) -> VssbenchError:
    """The error that `vssbench WORDS` ends with."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, VssbenchError), (result.exception, result.output)
    return result.exception


@pytest.mark.parametrize(
    ("overrides", "exit_code", "message"),
    [
        (["protocol.keyframe_interval=0"], 2, "keyframe_interval"),
        (["codec.crf=20"], 2, "exactly one of bitrate_kbps, crf and qp"),
        (["codec.codec=av2"], 2, "av2"),
        (["method.lr_scale=0"], 2, "lr_scale"),
        (["method.lr_scale=-0.5"], 2, "lr_scale"),
        (["method.lr_scale=0.001"], 2, "lr_scale"),
        (["method.networc=bisenet18"], 2, "did you mean network"),
        (["method.network=bisenet"], 2, "did you mean bisenet18"),
        (["method.weights={network: absent.safetensors}"], 3, "absent.safetensors"),
        (["method.weights={hr: absent.safetensors}"], 3, "part hr"),
        (["dataset.frames=0"], 2, "frames"),
        (["dataset.size=[64]"], 2, "size"),
        (["dataset.only=[nowhere]"], 2, "nowhere"),
        (["dataset=camvid", "dataset.root=absent"], 3, "absent"),
        (["dataset=cityscapes", "dataset.root=absent"], 3, "absent"),
        (["dataset=folder", "dataset.root=absent"], 3, "absent"),
        (["method=ar-seg", "method.width=4", "method.window=6"], 2, "window"),
        (
            ["method=warp-only", "method.width=4", "method.flow_rule=paper", "codec.b_frames=2"],
            2,
            "b_frames=0",
        ),
    ],
)
def test_a_mistake_in_an_experiment_is_one_clear_error(experiment, tmp_path, overrides, exit_code, message):
    words = [word for override in overrides for word in ("--set", override)]
    error = invoke("run", experiment, "-o", tmp_path / "run", "--workers", 1, "--device", "cpu", *words)
    assert error.exit_code == exit_code, error
    assert message in str(error)
    assert not (tmp_path / "run" / "units").exists()


def test_unreadable_run_folders_and_baselines_are_broken_input(tmp_path):
    assert invoke("report", tmp_path / "absent").exit_code == 3
    assert invoke("check", tmp_path, "--baseline", tmp_path / "absent.json").exit_code == 3


def test_a_file_as_output_folder_is_named(experiment, tmp_path):
    (tmp_path / "file").write_text("")
    error = invoke("run", experiment, "-o", tmp_path / "file" / "run", "--workers", 1)
    assert error.exit_code == 3
    assert "file" in str(error)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_named(experiment, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    error = invoke("run", experiment, "-o", locked / "run", "--workers", 1)
    assert error.exit_code == 3
    assert "no permission" in str(error)


def vssbench(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "vssbench", *(str(w) for w in words)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_the_command_prints_one_line_and_returns_the_code(tmp_path):
    finished = vssbench("run", "quickstrat", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "vssbench: no experiment file or packaged experiment 'quickstrat'; did you mean quickstart?"
    )
    assert len(finished.stderr.splitlines()) == 1
    assert "Traceback" not in finished.stderr


def test_a_closed_pipe_is_no_error(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    for words in (["schema"], ["list", "methods"], ["--help"]):
        command = [sys.executable, "-P", "-m", "vssbench", *words]
        finished = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
        assert (finished.returncode, finished.stderr) == (0, b"")
    os.close(writer)


SOON = 5.0
"""Seconds that Ctrl-C may take here: about one on an idle machine (tests/faults/interrupts.py measures it), while a busy
one may serve its other processes first. The work that is interrupted would take longer."""


def hear_ctrl_c():
    """A suite that a script started in the background has Ctrl-C ignored, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_soon_and_keeps_what_is_finished(experiment, tmp_path):
    long = {
        **EXPERIMENT,
        "datasets": [{"name": "synthetic", "sequences": 16, "frames": 120, "size": [64, 96]}],
    }
    experiment.write_text(json.dumps(long))
    output = tmp_path / "run"
    command = [sys.executable, "-m", "vssbench", "run", str(experiment), "-o", str(output), "--workers", "2"]
    environment = {**os.environ, "VSSBENCH_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command,
        start_new_session=True,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and not list(output.glob("units/*/*/*/*/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stopped = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - stopped < SOON
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert list(output.glob("units/*/*/*/*/*.json"))


BLOCKED = """
import ctypes, pathlib, sys
import vssbench.runner.pool

def run_job(*_):
    mutex = ctypes.create_string_buffer(64)
    pathlib.Path(sys.argv[4], "blocked").touch()
    while True:  # the second call never returns and runs no Python instruction, like a long forward pass
        ctypes.CDLL(None).pthread_mutex_lock(mutex)

vssbench.runner.pool.run_job = run_job
from vssbench.cli import main
main()
"""


def test_ctrl_c_is_heard_inside_a_long_computation(experiment, tmp_path):
    output = tmp_path / "run"
    words = ["run", experiment, output, "--no-report", "--workers", "1", "--cache", tmp_path / "cache"]
    words.insert(2, "-o")
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED, *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    deadline = time.monotonic() + 300
    while not (output / "blocked").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stopped = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - stopped < SOON
    assert process.returncode == 130
    assert "the same command goes on from there" in errors


def test_listing_names_imports_no_torch():
    code = "import sys, vssbench.cli; assert 'torch' not in sys.modules, 'torch'; assert 'matplotlib' not in sys.modules"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
