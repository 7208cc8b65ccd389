"""How often `vssbench check` calls an unchanged run worse: ten re-runs, with other numbers of workers and paired in time.

    python tests/benchmarks/gate_false_alarms.py -o reports/measurements/benchmarks/gate_false_alarms.json

Each re-run is made twice: with 1, 2 or 3 workers against one baseline, for what must be equal to the last bit, and right
after a run of its own with as many workers, as --paired wants it, for the step times.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

EXPERIMENT = {
    "datasets": [{"name": "synthetic", "sequences": 4, "frames": 25, "size": [96, 160]}],
    "codecs": [{"label": "hevc", "codec": "hevc", "bitrate_kbps": 100, "preset": "ultrafast"}],
    "protocol": {"kind": "stream", "keyframe_interval": 5},
    "methods": [
        {"label": "half", "name": "constant", "width": 16, "lr_scale": 0.5},
        {"label": "AR", "name": "ar-seg", "width": 16},
    ],
    "pictures": {"per_codec": 0, "frames": 0},
}


def measured(reruns: int) -> dict[str, Any]:
    """Verdicts by metric that are no pass, over all re-runs; nothing of the method was changed."""
    import vssbench
    from vssbench.analysis.baseline import make_baseline
    from vssbench.analysis.gate import compare

    found: dict[str, Counter[str]] = {"any workers": Counter(), "paired": Counter()}
    alarms: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(title: str, workers: int) -> Any:
            return vssbench.run(
                EXPERIMENT, folder / title, workers=workers, cache=folder / "cache", device="cpu"
            )

        baseline = make_baseline(run("base", 1))
        for number in range(reruns):
            head = run(f"any-{number}", 1 + number % 3)
            pair = make_baseline(run(f"pair-{number}", 1)), run(f"head-{number}", 1)
            rows = [("any workers", row) for row in compare(head, baseline) if not row.metric.endswith("_ms")]
            rows += [
                ("paired", row)
                for row in compare(pair[1], pair[0], paired=True)
                if row.metric.endswith("_ms")
            ]
            for kind, row in rows:
                found[kind][row.outcome] += 1
                if row.outcome != "pass":
                    alarms.append(
                        f"{kind}, {number}: {row.method}, {row.metric}: {row.outcome}, {row.reason}"
                    )
    return {
        "reruns": reruns,
        "outcomes": {kind: dict(sorted(counts.items())) for kind, counts in found.items()},
        "not passed": alarms,
        "load": [round(value, 1) for value in os.getloadavg()],
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--reruns", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    text = json.dumps(measured(options.reruns), indent=1) + "\n"
    if options.output:
        options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
