"""A short run of the campaign of damaged pictures (tests/fuzz/pictures.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "fuzz" / "pictures.py"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_damaged_pictures_are_read_or_refused(tmp_path):
    words = [sys.executable, SCRIPT, "--files", "110", "--seed", "7", "--keep", tmp_path / "found"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert sum(result["outcomes"].values()) == 110
    assert result["slowest_cpu_s"] < 20
    assert result["largest_mib"] < 1024
