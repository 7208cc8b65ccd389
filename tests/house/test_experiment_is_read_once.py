"""Past the loader nobody reads the experiment as a dictionary: the roster and the typed experiment are what there is."""

from __future__ import annotations

import re

from .conftest import ROOT, sources

READS = re.compile(r"\bexperiment(?:\.get\(|\[[\"'])")
"""A frozen experiment asked by key."""
MAY_READ = ("vssbench/experiment/", "vssbench/rendering/page/provenance.py")


def test_only_provenance_reads_the_experiment_as_a_dictionary() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for path in sources()
        if not (name := str(path.relative_to(ROOT))).startswith(MAY_READ)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if READS.search(line)
    ]
    assert found == []
