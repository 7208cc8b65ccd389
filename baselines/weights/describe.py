"""Writes what the packaged files say about themselves, and their checksums in manifest.json; tensors stay as they are.

    python -m vssbench.baselines.weights.describe

`vssbench train` writes the same for the weights it makes; the files here were trained before it did.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vssbench.dataset import IMAGENET
from vssbench.files import digest_file, write_atomically
from vssbench.networks.weights import read_metadata, write_file
from vssbench.records import Normalisation

LICENCE = "MIT, as vssbench, whose authors trained them"
CAMVID = Normalisation((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369))
SEEN: dict[str, dict[str, Any]] = {
    "camvid480": {"data": "camvid, train", "normalisation": CAMVID, "size": (360, 480)},
    "quickstart": {"data": "synthetic, train", "normalisation": IMAGENET, "size": (360, 480)},
}
"""Training experiment -> what its networks saw: the dataset's constants at the time."""


def describe(name: str, path: Path) -> dict[str, Any]:
    """Rewrite the header of one file; returns the entries of the manifest that follow from it."""
    before = read_metadata(path)
    assert before is not None
    scale = float(name.rpartition("-")[2]) if "-" in name else 1.0
    metadata = replace(before, licence=LICENCE, lr_scale=scale, **SEEN[name.split("/")[0]])
    with safe_open(str(path), framework="pt") as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  not a mapping
    write_file(path, tensors, metadata)
    return {"sha256": digest_file(path), "bytes": path.stat().st_size, "data": metadata.data}


def main() -> None:
    """Rewrite all files of the manifest."""
    folder = Path(str(files("vssbench.baselines.weights")))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in manifest["weights"].items():
        entry.update(describe(name, folder / entry["file"]))
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_atomically(folder / "manifest.json", text.encode())


if __name__ == "__main__":
    main()
