"""`vssbench doctor`: what this machine can do."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Show what this machine can do.

    Packages, encoders, motion parsers, devices, cache and free disk.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "finding", box=None, pad_edge=False)
    failed = False
    for name, check in (
        ("packages", _packages),
        ("encoders", _encoders),
        ("hevc motion", lambda: _sample_motion("hevc")),
        ("h264 motion", lambda: _sample_motion("h264")),
        ("devices", _devices),
        ("cache", _cache),
    ):
        try:
            finding = check()
        except Exception as error:  # a diagnosis must report every failure, whatever it is
            finding, failed = f"FAILED: {type(error).__name__}: {error}", True
        table.add_row(name, finding)
    Console().print(table)
    if failed:
        raise typer.Exit(3)


def _packages() -> str:
    from importlib.metadata import version

    return ", ".join(
        f"{name} {version(name)}" for name in ("vssbench", "torch", "av", "numpy", "pandas", "scipy")
    )


def _encoders() -> str:
    from vssbench.codec import encoder_build

    return "; ".join(f"{codec}: {encoder_build(codec)}" for codec in ("hevc", "h264", "mpeg4"))


def _sample_motion(codec: str) -> str:
    import numpy as np

    from vssbench.codec import CodecSettings, encode, read_motion

    texture = (
        np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    )
    frames = [np.roll(texture, 4 * i, axis=1)[:96, :160] for i in range(4)]
    settings = CodecSettings.model_validate({"codec": codec, "qp": 24, "keyframe_interval": 4})
    fields = list(read_motion(encode(frames, settings, 25.0)))
    return f"works ({len(fields)} pictures, types {''.join(f.frame_type for f in fields)})"


def _devices() -> str:
    import torch

    from vssbench.runner.pool import available_cores

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{available_cores()} CPU cores; " + (f"CUDA: {', '.join(gpus)}" if gpus else "no CUDA device")


def _cache() -> str:
    import shutil

    from vssbench.codec import BitstreamCache

    root = BitstreamCache(None).root
    existing = next(p for p in (root, *root.parents) if p.exists())
    return f"{root}, {shutil.disk_usage(existing).free / 2**30:.1f} GiB free"
