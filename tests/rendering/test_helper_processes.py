"""Helper processes: the same results as without them, whoever does the work."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from vssbench.analysis.run import Run, load_run
from vssbench.errors import VssbenchError
from vssbench.results import gather
from vssbench.results import helper_processes as module
from vssbench.results.helper_processes import Shared, helper_processes, in_reverse


def test_results_come_in_order_and_this_process_takes_its_part() -> None:
    with ThreadPoolExecutor(1) as one:  # a thread is busy, so that its queue can be taken from
        calls = [Shared(one, time.sleep, 0.2), *(Shared(one, int, str(number)) for number in range(20))]
        assert in_reverse(calls[1:]) == list(range(20))
        assert calls[1]._future is not None
        assert calls[1]._future.cancelled()  # done here: nobody had begun it
    assert in_reverse([Shared(None, int, "3"), Shared(None, int, "4")]) == [3, 4]


@pytest.fixture(scope="module")
def helper() -> Iterator[Executor]:
    with helper_processes() as found:
        if found is None:
            pytest.skip("one core: no helper is started")
        yield found


def test_a_large_run_is_read_the_same_with_a_helper(
    run: Run, helper: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "FEW_UNITS", 0)
    alone, helped = load_run(run.path), load_run(run.path, helper=helper)
    assert helped.summary.equals(alone.summary)
    assert helped.table.equals(alone.table)
    assert [group.unit_names for group in helped.groups] == [group.unit_names for group in alone.groups]


def test_a_damaged_unit_is_named_by_whoever_reads_it(
    run: Run, tmp_path: Path, helper: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "FEW_UNITS", 0)
    shutil.copytree(run.path, tmp_path / "run")
    damaged = min((tmp_path / "run" / "units").rglob("*.json"))
    damaged.write_text(damaged.read_text().replace('"frame": ', '"frame": 1', 1))
    with pytest.raises(VssbenchError, match=damaged.name):
        _ = load_run(tmp_path / "run", helper=helper).groups


def test_a_killed_helper_is_an_error_with_a_remedy(capfd: pytest.CaptureFixture[str]) -> None:
    with helper_processes() as found:
        if found is None:
            pytest.skip("one core: no helper is started")
        pid = found.submit(os.getpid).result()
        call = Shared(found, time.sleep, 60)
        while call._future is not None and not call._future.running():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(VssbenchError, match="run the command again"):
            call.result()


def test_helpers_end_with_a_killed_command(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(
        "import os, time\n"
        "from vssbench.results.helper_processes import helper_processes\n"
        "if __name__ == '__main__':\n"
        "    with helper_processes() as helper:\n"
        "        print(helper.submit(os.getpid).result() if helper else 0, flush=True)\n"
        "        time.sleep(60)\n"
    )
    command = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    pid = int(command.stdout.readline())
    command.kill()
    command.wait()
    if pid == 0:
        pytest.skip("one core: no helper is started")
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z":  # ended, not yet reaped by anyone
            return
        time.sleep(0.05)
    pytest.fail("the helper outlived its command by ten seconds")


def test_helpers_do_not_delay_an_interrupt() -> None:
    started = time.monotonic()

    def interrupted() -> None:
        with helper_processes() as found:
            if found is None:
                pytest.skip("one core: no helper is started")
            found.submit(os.getpid).result()
            found.submit(time.sleep, 60)
            raise KeyboardInterrupt

    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    for process in set(multiprocessing.active_children()) - before:
        process.join(10)
    assert time.monotonic() - started < 30


def test_one_core_gets_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0})
    with helper_processes() as found:
        assert found is None
