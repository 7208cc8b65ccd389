"""Kills runs at random moments and holds what they finish against an undisturbed one, byte for byte.

    python tests/faults/kill_campaign.py --kills 50 -o reports/measurements/faults/kills.json

Who is killed: the driver alone, a worker, a thread of the encoder inside a worker (SIGKILL to a thread ends its
process), or all at once; with `interrupt` among the kinds also Ctrl-C. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from process_group import await_end

EXPERIMENT = {
    "title": "killed",
    "datasets": [{"name": "synthetic", "sequences": 4, "frames": 13, "size": [64, 96]}],
    "codecs": [{"label": "hevc", "codec": "hevc", "bitrate_kbps": 60, "preset": "slower"}],
    "protocol": {"kind": "stream", "keyframe_interval": 4, "phases": [0, 2]},
    "methods": [
        {"label": "half", "name": "constant", "width": 4, "lr_scale": 0.5},
        {"label": "AR", "name": "ar-seg", "width": 4},
    ],
}
KINDS = ("driver", "worker", "encoder thread", "everything")
MAY_DIFFER = ("log.txt", "checked.txt", ".lock", ".owner")
"""Files that tell of the session, not of the results."""


def contents(run: Path) -> dict[str, str]:
    """Everything a run folder holds, as text or digest, without times and without what tells of the session."""
    found = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = path.relative_to(run).as_posix()
        if name in MAY_DIFFER:
            continue
        if name.startswith("units/"):
            values = json.loads(path.read_text())
            del values["timings"], values["timings_digest"]
            found[name] = json.dumps(values, indent=1)
        else:
            found[name] = path.read_bytes().hex()
    return found


def streams(cache: Path) -> dict[str, str]:
    """Cached bitstreams by key."""
    return {p.parent.name: p.read_bytes().hex() for p in cache.glob("[0-9a-f][0-9a-f]/*/stream")}


@dataclass
class Outcome:
    """What a campaign did."""

    kills: Counter[str] = field(default_factory=Counter)
    units_at_kill: list[int] = field(default_factory=list)
    finished_runs: int = 0
    """Runs that were finished after kills, each equal to the undisturbed one."""
    survived: int = 0
    """Killed workers after which the same session went on to its end."""
    differences: list[str] = field(default_factory=list)


def _command(words: list[str], errors: Path) -> None:
    """The command line, as a terminal would start it."""
    from vssbench.cli import main

    os.setsid()
    for descriptor, target in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["vssbench", *words]
    main()


class Session:
    """A running command with the face of `subprocess.Popen`."""

    def __init__(self, process: Any) -> None:
        self.process, self.pid = process, process.pid

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        code: int | None = self.process.exitcode
        return code

    def wait(self, timeout: float) -> int:
        """Exit code; AssertionError if it takes longer."""
        self.process.join(timeout)
        code = self.poll()
        assert code is not None, f"still running after {timeout} s"
        return code

    def kill(self) -> None:
        """SIGKILL to the driver alone."""
        self.process.kill()


class Campaign:
    """One undisturbed run of one process, and killed ones of two workers held against it."""

    def __init__(self, folder: Path, seed: int) -> None:
        import vssbench

        self.folder, self.random, self.outcome = folder, random.Random(seed), Outcome()
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["vssbench.cli", "vssbench.runner.session"])
        (folder / "killed.yaml").write_text(json.dumps(EXPERIMENT))
        started = time.monotonic()
        vssbench.run(
            folder / "killed.yaml", folder / "undisturbed", workers=1, cache=folder / "undisturbed-cache", device="cpu"
        )  # fmt: skip
        self.seconds = time.monotonic() - started
        self.expected = contents(folder / "undisturbed")
        self.expected_streams = streams(folder / "undisturbed-cache")
        self.units = sum(name.startswith("units/") for name in self.expected)

    def start(self, name: str) -> Session:
        """`vssbench run` in a process group of its own, forked where the imports are done; workers import anew."""
        words = ["run", str(self.folder / "killed.yaml"), "-o", str(self.folder / name), "--no-report"]
        words += ["--workers", "2", "--cache", str(self.folder / f"{name}-cache"), "--device", "cpu"]
        process = self.context.Process(target=_command, args=(words, self.folder / "errors.txt"))
        process.start()
        return Session(process)

    def wait(self, process: Session) -> None:
        """Until the end, which must be a good one."""
        if process.wait(timeout=600) != 0:
            raise AssertionError((self.folder / "errors.txt").read_text())

    def run(
        self,
        kills: int,
        kinds: tuple[str, ...] = KINDS,
        per_run: int | None = None,
        seconds: float = math.inf,
    ) -> Outcome:
        """Kill until `kills` were made, each run finished and compared before the next begins.

        per_run: kills of one run before it may finish; None draws 1 to 3. seconds: after which no new run is begun.
        """
        number = 0
        deadline = time.monotonic() + seconds
        while sum(self.outcome.kills.values()) < kills and time.monotonic() < deadline:
            name = f"killed-{number}"
            number += 1
            finished = False
            for _ in range(per_run or self.random.randint(1, 3)):
                done = sum(self.outcome.kills.values())
                if done < kills and not finished:
                    finished = self._kill_once(name, kinds[done % len(kinds)])
            if not finished:
                self.wait(self.start(name))
            self._compare(name)
            print(f"{sum(self.outcome.kills.values())} of {kills} kills", file=sys.stderr, flush=True)
        return self.outcome

    def _kill_once(self, name: str, kind: str) -> bool:
        """Start or resume a run and kill in it; True if it is finished all the same."""
        process = self.start(name)
        stored = self._moment(process, name, kind)
        if process.poll() is None and self._strike(process, name, kind):
            self.outcome.kills[kind] += 1
            self.outcome.units_at_kill.append(stored)
        if kind in ("worker", "encoder thread"):
            self.wait(process)  # the session must survive the loss of a worker
            self.outcome.survived += 1
            return True
        process.wait(timeout=120)
        await_end(process.pid)  # workers whose driver was killed end by themselves
        return False

    def _moment(self, process: Session, name: str, kind: str) -> int:
        """Sleep until a random moment and return how many units are stored by then."""
        units = self.folder / name / "units"
        if kind in ("driver", "everything") and self.random.random() < 0.2:
            time.sleep(self.random.uniform(0, self.seconds))
        else:
            have = _count(units)
            share = 1 / 3 if kind == "encoder thread" else 2 / 3  # the last jobs find their bitstreams made
            wanted = have + self.random.randint(0, max(0, int((self.units - have) * share)))
            while process.poll() is None and (_count(units) < wanted or not _workers(process.pid)):
                time.sleep(0.005)
            if kind != "encoder thread":  # which waits for an encode as it is
                time.sleep(self.random.uniform(0, 0.3))
        return _count(units)

    def _strike(self, process: Session, name: str, kind: str) -> bool:
        if kind == "everything":
            os.killpg(process.pid, signal.SIGKILL)
        elif kind == "driver":
            process.kill()
        elif kind == "interrupt":
            os.killpg(process.pid, signal.SIGINT)
        elif kind == "worker":
            workers = _workers(process.pid)
            if not workers:
                return False
            os.kill(self.random.choice(workers), signal.SIGKILL)
        else:
            return _kill_encoder_thread(process, self.folder / f"{name}-cache")
        return True

    def _compare(self, name: str) -> None:
        """Note every file that differs from the undisturbed run's."""
        found = contents(self.folder / name)
        differing = [
            f"{name}/{path}"
            for path in sorted(set(found) | set(self.expected))
            if found.get(path) != self.expected.get(path)
        ]
        if streams(self.folder / f"{name}-cache") != self.expected_streams:
            differing.append(f"{name}: other bitstreams")
        self.outcome.differences += differing
        self.outcome.finished_runs += 1
        if not differing:
            shutil.rmtree(self.folder / name)
            shutil.rmtree(self.folder / f"{name}-cache")


def _count(units: Path) -> int:
    return sum(1 for _ in units.glob("*/*/*/*/[!.]*.json"))


def _workers(driver: int) -> list[int]:
    """Children of the driver that are worker processes (its resource tracker is none)."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{driver}/task/{driver}/children").read_text().split():
            with contextlib.suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


def _threads(process: int) -> list[int]:
    try:
        return sorted(int(thread) for thread in os.listdir(f"/proc/{process}/task"))
    except OSError:
        return []


def _kill_encoder_thread(process: Session, cache: Path) -> bool:
    """SIGKILL to a thread that a worker has while it encodes and had not before."""
    before: dict[int, set[int]] = {}
    while process.poll() is None:
        encoding = _encoding(cache)
        for worker in _workers(process.pid):
            threads = _threads(worker)
            if not encoding:
                before[worker] = set(threads)
            elif worker in before and set(threads) - before[worker]:
                return _thread_kill(worker, threads[-1])
        time.sleep(0.002)
    return False


def _encoding(cache: Path) -> bool:
    """Whether some bitstream is locked and not yet there."""
    return any(not lock.with_suffix("").exists() for lock in cache.glob("[0-9a-f][0-9a-f]/*.lock"))


def _thread_kill(process: int, thread: int) -> bool:
    import ctypes

    tgkill = 234 if platform.machine() == "x86_64" else 131
    return ctypes.CDLL(None).syscall(tgkill, process, thread, int(signal.SIGKILL)) == 0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after that time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        started = time.monotonic()
        outcome = Campaign(Path(name), options.seed).run(options.kills, seconds=60 * options.minutes)
    result = {
        "kills_wanted": options.kills,
        "kills_made": sum(outcome.kills.values()),
        "kills": dict(outcome.kills),
        "finished_runs_compared": outcome.finished_runs,
        "sessions_that_survived_a_killed_worker": outcome.survived,
        "units_stored_at_each_kill": outcome.units_at_kill,
        "files_that_differ_from_the_undisturbed_run": outcome.differences,
        "seed": options.seed,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    print(text, end="")
    raise SystemExit(bool(outcome.differences))


if __name__ == "__main__":
    main()
