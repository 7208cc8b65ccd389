"""Benchmark for video semantic segmentation on compressed video.

`vssbench.run(experiment)` runs an experiment and returns a `Run`; `vssbench.load_run(path)` opens a stored one.
`vssbench.segment(video, method)` gives what a method sees in a video.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vssbench.analysis.run import Run, load_run
    from vssbench.engine.streams import segment
    from vssbench.runner.session import run

try:
    __version__ = version("vssbench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["Run", "__version__", "load_run", "run", "segment"]


def __getattr__(name: str) -> Any:
    # imported on first use: `import vssbench` must not import torch
    if name == "run":
        from vssbench.runner.session import run

        return run
    if name == "segment":
        from vssbench.engine.streams import segment

        return segment
    if name in ("Run", "load_run"):
        from vssbench.analysis import run as results

        return getattr(results, name)
    raise AttributeError(f"module 'vssbench' has no attribute {name!r}")
