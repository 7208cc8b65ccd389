"""A short run of the fuzz target under AddressSanitizer and UndefinedBehaviorSanitizer.

VSSBENCH_FUZZ_SECONDS=600 pytest tests/fuzz    runs longer, and with libFuzzer where clang has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CODEC = ROOT / "vssbench" / "codec"
LONG_SECONDS = int(os.environ.get("VSSBENCH_FUZZ_SECONDS", "0"))
SECONDS, MOST_INPUTS, FEWEST_INPUTS = 5, 4000, 100
FLAGS = ("-std=c++17", "-fno-sanitize-recover=all", "-pthread", f"-I{CODEC}")
COLD = {"nal", "parameter_sets", "slice_header", "picture_buffer", "decoder"}
"""Files whose speed does not count; the optimiser would spend much of the build on them."""
# more than 64 MB at once is beyond anything a picture of the target's size limit justifies
ASAN = "detect_leaks=0:abort_on_error=1:max_allocation_size_mb=64:allocator_may_return_null=0"


def build(
    codec: str, compiler: str, sanitizers: str, driver: list[Path], target: Path
) -> subprocess.CompletedProcess[str]:
    """Compile parser, fuzz target and driver, file by file on all cores, and link them."""
    found = [*CODEC.glob("bits/*.cpp"), *CODEC.glob(f"{codec}/*.cpp")]
    sources = [path for path in sorted(found) if path.stem != "bindings"]
    sources += [HERE / "fuzz_motion.cpp", *driver]
    flags = [*FLAGS, f"-I{CODEC / codec}", f"-DVSSBENCH_CODEC={codec}", f"-fsanitize={sanitizers}"]

    def compiled(source: Path) -> str:
        made = target.parent / f"{target.name}_{source.parent.name}_{source.stem}.o"
        level = "-O0" if source.stem in COLD else "-O1"
        subprocess.run([compiler, *flags, level, "-c", str(source), "-o", str(made)], check=True)
        return str(made)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    return subprocess.run(
        [compiler, *flags, *objects, "-o", str(target)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module", params=["hevc", "h264"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seeds(codec: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    golden = ROOT / "tests" / "codec" / codec / "golden"
    streams = [str(path) for path in sorted(golden.glob(f"*.{codec}"))]
    subprocess.run([sys.executable, str(HERE / "make_corpus.py"), codec, str(folder), *streams], check=True)
    return folder


def run(command: list[str], seconds: int) -> str:
    finished = subprocess.run(
        command,
        env={**os.environ, "ASAN_OPTIONS": ASAN},
        capture_output=True,
        text=True,
        timeout=120 + 10 * seconds,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return finished.stdout + finished.stderr


@pytest.mark.slow
def test_mutated_streams_break_no_rule_of_the_language(tmp_path: Path, codec: str, seeds: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("c++")
    assert compiler, "this test needs a C++ compiler, as building the package does"
    program = tmp_path / "standalone"
    linked = build(codec, compiler, "address,undefined", [HERE / "standalone.cpp"], program)
    assert linked.returncode == 0, linked.stderr
    seconds = LONG_SECONDS or SECONDS
    most = 10**9 if LONG_SECONDS else MOST_INPUTS
    printed = run([str(program), str(seeds), str(seconds), str(most)], seconds)
    assert int(printed.split()[0]) >= FEWEST_INPUTS


@pytest.mark.slow
@pytest.mark.skipif(not LONG_SECONDS, reason="set VSSBENCH_FUZZ_SECONDS for a run with libFuzzer")
def test_libfuzzer_finds_nothing(tmp_path: Path, codec: str, seeds: Path) -> None:
    compiler = shutil.which("clang++")
    if compiler is None:
        pytest.skip("no clang++")
    program = tmp_path / "fuzz_motion"
    linked = build(codec, compiler, "fuzzer,address,undefined", [], program)
    if linked.returncode:
        pytest.skip(f"this clang has no libFuzzer: {linked.stderr[-200:]}")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    printed = run(
        [str(program), str(corpus), str(seeds), "-max_len=4600", f"-max_total_time={LONG_SECONDS}"],
        LONG_SECONDS,
    )
    assert "Done" in printed
