"""Units on a Dask cluster are the units of local processes: same records, workers may die, folders need not be shared."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import vssbench
from vssbench.errors import CapabilityError, ConfigError, VssbenchError
from vssbench.runner import cluster as cluster_module
from vssbench.runner.cluster import open_cluster
from vssbench.runner.session import Listener

distributed = pytest.importorskip("distributed")

VALUES = {
    "title": "cluster",
    "datasets": [{"name": "synthetic", "sequences": 4, "frames": 8, "size": [64, 96]}],
    "codecs": [{"label": "h264", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 4, "phases": [0, 2]},
    "methods": [
        {"label": "m", "name": "constant", "width": 4},
        {"label": "w", "name": "warp-only", "width": 4},
    ],
}


def records(path: Path) -> dict[str, dict]:
    """All unit records of a run without their timings."""
    found = {}
    for file in sorted((path / "units").rglob("*.json")):
        values = json.loads(file.read_text())
        del values["timings"], values["timings_digest"]
        found[str(file.relative_to(path))] = values
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The same experiment in this process."""
    place = tmp_path_factory.mktemp("local")
    vssbench.run(VALUES, place / "run", workers=1, cache=place / "cache", device="cpu")
    return place / "run"


@pytest.fixture(scope="module")
def nodes():
    """A scheduler with two worker processes, as somebody else's cluster would be."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_run_survives_the_loss_of_a_worker_and_stores_the_same_records(nodes, local, tmp_path):
    output = tmp_path / "run"
    stages = []
    with distributed.Client(nodes.scheduler_address, set_as_default=False) as client:
        workers = list(client.run(os.getpid).values())
    killed = threading.Event()

    def kill_one() -> None:
        while not list(output.glob("units/*/*/*/*/[!.]*.json")):
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill_one, daemon=True).start()
    vssbench.run(
        VALUES,
        output,
        cluster=nodes.scheduler_address,
        cache=tmp_path / "cache",
        device="cpu",
        listener=Listener(on_stage=stages.append),
    )
    assert killed.is_set()
    assert records(output) == records(local)
    assert any("2 workers, dashboard http" in stage for stage in stages)
    assert not list(output.glob(".cluster-*"))


@pytest.mark.slow
def test_workers_without_the_run_folder_return_their_records(nodes, local, tmp_path, monkeypatch):
    def unshared(address, listener):
        return open_cluster(address, listener, shared=False)

    monkeypatch.setattr(cluster_module, "open_cluster", unshared)
    count = []
    run = vssbench.run(
        VALUES,
        tmp_path / "run",
        cluster=nodes.scheduler_address,
        cache=tmp_path / "cache",
        device="cpu",
        listener=Listener(on_unit=lambda: count.append(1)),
    )
    assert run.complete
    assert len(count) == run.unit_count
    assert records(run.path) == records(local)
    assert {p.name: p.read_bytes() for p in run.path.glob("frames/*/*/*.zip")} == {
        p.name: p.read_bytes() for p in local.glob("frames/*/*/*.zip")
    }


@pytest.mark.slow
def test_a_gpu_is_asked_for_by_its_resource_tag(nodes, tmp_path):
    with pytest.raises(CapabilityError, match="offers the resource GPU"):
        vssbench.run(VALUES, tmp_path / "run", cluster=nodes.scheduler_address, device="cuda")


@pytest.mark.slow
def test_workers_that_would_give_other_bits_are_refused(nodes, tmp_path, monkeypatch):
    true_describe = cluster_module.DaskNodes.describe

    def describe(self, *arguments, **options):
        found = true_describe(self, *arguments, **options)
        self._bits = {**self._bits, "vssbench": "0.0.1"}
        return found

    monkeypatch.setattr(cluster_module.DaskNodes, "describe", describe)
    with pytest.raises(ConfigError, match=r"would give other bits.*vssbench: 0\.0\.1 -> "):
        vssbench.run(
            VALUES,
            tmp_path / "run",
            cluster=nodes.scheduler_address,
            cache=tmp_path / "cache",
            device="cpu",
        )
    assert not list(tmp_path.glob("run/units/**/*.json"))


def test_an_address_where_nobody_answers_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        vssbench.run(VALUES, tmp_path / "run", cluster="tcp://127.0.0.1:9")


def test_without_the_extra_the_command_to_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CapabilityError, match=r"pip install vssbench\[cluster\]"):
        vssbench.run(VALUES, tmp_path / "run", cluster="local:2")


def test_a_returned_file_outside_the_run_folder_is_refused(tmp_path):
    from vssbench.results.store import RunFolder

    done = cluster_module._Done(None, {"frames/../../escaped": b""})
    with pytest.raises(VssbenchError, match="escaped"):
        cluster_module._write_returned(RunFolder(tmp_path / "run"), done)
    assert not (tmp_path / "escaped").exists()


def test_a_batch_file_asks_the_batch_system_for_single_threaded_workers(tmp_path, monkeypatch):
    """`sbatch` is a stand-in here that keeps the script it was given."""
    pytest.importorskip("dask_jobqueue")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "sbatch": 'cp "$1" "$KEEP/script"; echo 7',
        "scancel": 'echo "$@" > "$KEEP/cancelled"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("KEEP", str(tmp_path))
    file = tmp_path / "slurm.yaml"
    file.write_text(
        "scheduler: slurm\njobs: 1\n"
        "options: {cores: 4, memory: 16GB, queue: gpu, walltime: '08:00:00', interface: lo, "
        "worker_extra_args: ['--resources GPU=1']}\n"
    )
    cluster, _ = cluster_module._started(str(file), distributed)
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "script").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        script = (tmp_path / "script").read_text()
    finally:
        cluster.close()
    assert "#SBATCH -p gpu" in script
    assert "#SBATCH -t 08:00:00" in script
    assert "--nworkers 4 " in script
    assert "--nthreads 1 " in script
    assert "--resources GPU=1" in script
    assert "7" in (tmp_path / "cancelled").read_text()


def test_work_for_a_gpu_goes_only_to_workers_with_the_resource_tag():
    options = {"plain": {}, "gpu": {"resources": {"GPU": 1}}}
    workers = {
        name: {"cls": distributed.Worker, "options": {"nthreads": 1, **more}}
        for name, more in options.items()
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": "127.0.0.1:0"}}
    with (
        distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=50) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        nodes = cluster_module.DaskNodes(client, "test", Listener())
        nodes._device = nodes._choose_device("auto")
        assert nodes._device == "cuda"
        tasks = [
            client.submit(lambda: distributed.get_worker().name, pure=False, **nodes._where())
            for _ in range(8)
        ]
        assert {task.result() for task in tasks} == {"gpu"}
        assert nodes._choose_device("cpu") == "cpu"


def test_the_commands_of_the_kubernetes_file_exist_as_written():
    import yaml
    from click.testing import CliRunner
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    page = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()
    text = next(block for block in page.split("```yaml")[1:] if "DaskCluster" in block).split("```")[0]
    for part, command in (("worker", worker), ("scheduler", scheduler)):
        program, name, *options = yaml.safe_load(text)["spec"][part]["spec"]["containers"][0]["args"]
        assert (program, name) == ("dask", part)  # the old names dask-worker and dask-scheduler are gone
        result = CliRunner().invoke(command, [*options, "--help"])
        assert result.exit_code == 0, result.output


def test_the_local_cluster_listens_on_loopback_only():
    with open_cluster("local:1", Listener()) as nodes:
        client = nodes._client
        workers = client.scheduler_info(n_workers=-1)["workers"]
        addresses = [client.scheduler.address, *workers, *(w["nanny"] for w in workers.values())]
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
