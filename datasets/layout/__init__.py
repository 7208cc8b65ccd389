"""Any dataset of frames and label pictures whose paths follow a pattern, described by options alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from vssbench.class_tables import NAMED_TABLES, named_table, read_class_table
from vssbench.dataset import FileOptions, Split
from vssbench.picture_folders import inside
from vssbench.picture_layouts import LayoutDataset, PathPattern, PictureLayout, read_split_list
from vssbench.pictures import LABEL_SUFFIXES, PICTURE_SUFFIXES

__all__ = ["PatternDataset", "PatternOptions"]


class PatternOptions(FileOptions):
    """Where frames and labels lie below root, and what label pictures hold."""

    frames: str
    """Path of a frame, such as images/{split}/{sequence}/{frame:06d}.png; * stands for anything inside one name."""
    labels: str
    """Path of a label picture, with the same placeholders."""
    classes: str
    """camvid11, cityscapes19, vspw124, or a class table (CSV or JSON) below root."""
    frame_rate_hz: float = Field(gt=0, le=1000)
    """Pictures per second."""
    channel: Literal["R", "G", "B"] | None = None
    """Channel of a colour picture that holds the values; default: grey values, or colours of the class table."""
    void: tuple[int, ...] = (255,)
    """Values that are ignored."""
    void_colours: tuple[tuple[int, int, int], ...] = ()
    """Colours that are ignored, in label pictures of colours."""
    first_value: int = Field(default=0, ge=0, le=255)
    """Value of the first class."""
    splits: dict[Split, tuple[str, ...]] = Field(default_factory=dict)
    """Sequences of train, val and test, where the path does not tell."""
    split_list: str | None = None
    """Text file of the sequences of a split, one a line, such as {split}.txt, in place of splits."""
    every_frame_labelled: bool = False
    """Whether a frame without label is an error for `vssbench data verify`."""
    skip_damaged: bool = False
    """Leave out pictures of 0 bytes, which are an error otherwise."""

    @field_validator("splits")
    @classmethod
    def _filled(cls, splits: dict[Split, tuple[str, ...]]) -> dict[Split, tuple[str, ...]]:
        for split, names in splits.items():
            if not names or len(set(names)) < len(names):
                raise ValueError(f"{split}: expected sequences, each once, got {list(names)}")
        return splits


class PatternDataset(LayoutDataset):
    """Frames and label pictures by pattern; see the README for KITTI-STEP, VSPW, UAVid and others written so."""

    Options = PatternOptions

    def __init__(self, options: PatternOptions) -> None:
        self.options = options
        named = options.classes in NAMED_TABLES
        layout = PictureLayout(
            frames=PathPattern(options.frames, "frames", PICTURE_SUFFIXES),
            labels=PathPattern(options.labels, "labels", LABEL_SUFFIXES),
            classes=named_table(options.classes) if named else read_class_table(inside(options.root, options.classes)),
            splits=self._listed() if options.split_list else options.splits,
            **{
                key: getattr(options, key)
                for key in (
                    "frame_rate_hz", "channel", "void", "void_colours", "first_value", "every_frame_labelled", "skip_damaged",
                )
            },
        )  # fmt: skip
        super().__init__(options.root, layout, options.orientation)

    def _listed(self) -> dict[Split, tuple[str, ...]]:
        every: tuple[Split, ...] = ("train", "val", "test")
        names = {split: (self.options.split_list or "").replace("{split}", split) for split in every}
        there = {s: name for s, name in names.items() if inside(self.options.root, name).is_file()}
        return {split: read_split_list(self.options.root, name) for split, name in (there or names).items()}
