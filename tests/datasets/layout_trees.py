"""Small made-up trees in the layouts of public datasets; every pixel's class is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from vssbench.class_tables import named_table

SIZES = {"0002": (64, 96), "0006": (80, 64)}
"""Sizes that differ between sequences."""


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def picture(size: tuple[int, int], t: int) -> np.ndarray:
    texture = np.random.default_rng(5).integers(0, 255, (*size, 3), dtype=np.uint8)
    return np.roll(texture, 2 * t, axis=1)


def classes_at(size: tuple[int, int], t: int, count: int) -> np.ndarray:
    """Vertical stripes of all classes, moving by two pixels a frame; the first two rows are ignored."""
    stripes = (np.arange(size[1])[None] - 2 * t) // 4 % count
    labels = np.repeat(stripes, size[0], axis=0).astype(np.uint8)
    labels[:2] = 255
    return labels


def kitti_step(root: Path, *, frames: int = 6, unmoved: bool = False) -> Path:
    """The validation sequences; instances in green and blue."""
    from vssbench.datasets.kitti_step import SPLITS

    for name in SPLITS["val"]:
        size = SIZES.get(name, (64, 64))
        for t in range(frames):
            folder = root / (f"training/image_02/{name}" if unmoved else f"images/val/{name}")
            save(folder / f"{t:06d}.png", picture(size, t))
            red = classes_at(size, t, 19)
            green, blue = np.zeros_like(red), np.where(red == 13, 40 + t, 0).astype(np.uint8)
            save(root / f"panoptic_maps/val/{name}/{t:06d}.png", np.stack([red, green, blue], -1))
    return root


def vspw(
    root: Path, *, videos: tuple[str, ...] = ("1_aB", "2_cD"), frames: int = 18, names: bool = True
) -> Path:
    """Values 0 (others), 1..124, 254 and 255."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "val.txt").write_text("\n".join(videos) + "\n")
    (root / "train.txt").write_text("9_zZ\n")
    if names:
        numbered = {name: str(i + 1) for i, name in enumerate(named_table("vspw124").names)}
        (root / "label_num_dic_final.json").write_text(json.dumps({"others": "0", **numbered}))
    for video in videos:
        for t in range(frames):
            origin = root / f"data/{video}/origin/{t + 1:08d}.jpg"
            origin.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture((64, 64), t)).save(origin, quality=95)
            mask = classes_at((64, 64), t, 124) + 1
            mask[0], mask[1], mask[2] = 0, 254, 255
            save(root / f"data/{video}/mask/{t + 1:08d}.png", mask)
    return root


def cityscapes_vps(root: Path, *, all_frames: str = "img_all", videos: int = 2) -> Path:
    """Snippets of 30 frames around official frames; every fifth is labelled in Cityscapes' colours."""
    table = named_table("cityscapes19")
    palette = np.array([*table.palette, *[(0, 0, 0)] * (256 - len(table.palette))], np.uint8)
    for video in range(videos):
        first = 1736 + 500 * video - 4
        for t in range(30):
            name = f"frankfurt_000000_{first + t:06d}"
            folder = (
                root / f"val/{all_frames}"
                if all_frames == "img_all"
                else root.parent / all_frames / "frankfurt"
            )
            save(folder / f"{name}_leftImg8bit.png", picture((64, 128), t))
            if t % 5 == 4:
                kind = "gtFine_color" if t == 19 else "final_mask"
                number = 6 * video + t // 5 + 1
                labels = palette[classes_at((64, 128), t, 19)]
                save(root / f"val/cls/{video + 1:04d}_{number:04d}_{name}_{kind}.png", labels)
    return root
