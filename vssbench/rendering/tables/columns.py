"""The measured columns of the summary, defined once for page, files and terminal."""

from __future__ import annotations

from vssbench.rendering.tables.text_table import Column

MIOU = Column(
    "miou",
    "mIoU",
    "%",
    "higher",
    2,
    0,
    "Mean over the keyframe distances of mIoU_d, each from summed pixel counts.",
    100,
)
ACCURACY, COST, TIME, PUBLISHED, BD = "accuracy", "cost", "time", "published", "Bjontegaard"
INTERVAL = Column("interval", "interval", priority=1.5, small=True)
"""Of the mIoU, behind it."""
RATE = Column("kbps", "kb/s", digits=0, priority=1)
"""Achieved by the encoder."""
QUALITY = (
    Column(
        "psnr_db", "PSNR", "dB", priority=21, group="coding",
        meaning="Of the decoded luma against the frames that were encoded, from the mean squared error over all pictures.",
    ),
    Column(
        "ssim", "SSIM", digits=4, priority=22, group="coding",
        meaning="Structural similarity of the same luma, mean over windows of 8x8 samples and over pictures.",
    ),
)  # fmt: skip
"""Of what was coded; unknown for streams as they are."""
COLUMNS: tuple[Column, ...] = (
    MIOU,
    Column("miou_key", "mIoU d=0", "%", "higher", 2, 4, "mIoU of the keyframes.", 100, ACCURACY, short="d=0 %"),
    Column(
        "miou_last", "mIoU d=last", "%", "higher", 2, 2, "mIoU at the largest scored keyframe distance.", 100,
        short="d=last %", explained=True,
    ),
    Column(
        "rel_miou", "mIoU change", "%", "higher", 1, 10,
        "Relative change of mIoU against the same network at full resolution (constant), as in the paper's Table 2.",
        100, ACCURACY, signed=True,
    ),
    Column(
        "pub_miou", "mIoU published", "%", "neither", 2, 5, "The paper's mIoU of this row, not measured here.", 1,
        PUBLISHED,
    ),
    Column(
        "pub_miou_difference", "ours - published", "points", "neither", 2, 6,
        "Our mIoU minus the published one, in percentage points.", 1, PUBLISHED, signed=True,
    ),
    Column(
        "pub_inside", "published inside our interval", "", "neither", 0, 7,
        "Whether the published mIoU lies in our interval: yes or no.", 1, PUBLISHED, words=("no", "yes"),
    ),
    Column(
        "key_gmacs", "GMACs key", "", "lower", 2, 6, "Multiply-accumulates of a keyframe, in 1e9.", 1, COST,
    ),
    Column(
        "non_key_gmacs", "GMACs non-key", "", "lower", 2, 7,
        "Multiply-accumulates of a frame after the keyframe, in 1e9.", 1, COST,
    ),
    Column(
        "gop_mean_gmacs", "GMACs/frame", "", "lower", 2, 1,
        "Multiply-accumulates per frame, mean over one group of pictures, in 1e9.", 1, short="GMACs",
    ),
    Column(
        "gop_mean_thop_gmacs", "GMACs/frame thop", "", "lower", 2, 12,
        "The same by the rule of thop 0.0.31, the counter behind the paper's GFLOPs.", 1, COST,
    ),
    Column(
        "cost_share", "cost", "%", "lower", 1, 3,
        "GMACs per frame as a share of the most expensive constant-resolution method.", 100, explained=True,
    ),
    Column(
        "full_share", "full frames", "%", "neither", 1, 18,
        "Frames that ran the whole network, of a method that decides for itself.", 100, COST,
    ),
    Column(
        "executed_share", "executed", "%", "neither", 1, 19,
        "Mean share of the network's work that ran on a frame, of a method that decides for itself, as it reports it.",
        100, COST,
    ),
    Column(
        "delay_frames", "delay", "frames", "lower", 0, 20,
        "Frames that a method must see after a frame before it answers it.", 1, TIME,
    ),
    Column(
        "rel_gmacs", "GMACs change", "%", "lower", 1, 11,
        "Relative change of GMACs per frame against the same network at full resolution, as in the paper's Table 2.",
        100, COST, signed=True,
    ),
    Column(
        "pub_gflops", "GFLOPs published", "", "neither", 2, 13,
        "The paper's GFLOPs of this row: counts of thop 0.0.31, close to multiply-accumulates.", 1, PUBLISHED,
    ),
    Column(
        "key_ms", "key step", "ms", "lower", 1, 8, "Mean wall time of a keyframe, decoding and motion excluded.",
        1, TIME, short="key ms",
    ),
    Column(
        "non_key_ms", "non-key step", "ms", "lower", 1, 5,
        "Mean wall time of a frame after the keyframe, decoding and motion excluded.", 1, TIME, short="non-key ms",
    ),
    Column(
        "gop_ms", "ms/frame", "ms", "lower", 1, 14,
        "Mean wall time per frame over one group of pictures, decoding and motion excluded.", 1,
    ),
    Column(
        "watch_ms", "ms/frame timed", "ms", "lower", 1, 14,
        "Median time per frame over whole groups of pictures by stopwatch after the run (docs/latency.md), decoding and "
        "motion excluded.", 1, TIME,
    ),
    Column(
        "fps", "fps", "", "higher", 1, 15,
        "Frames per second at the stopwatch's time per frame, where there is none at the run's own.", 1, TIME,
    ),
    Column(
        "bd_flops", "BD-FLOPs", "%", "lower", 1, 16,
        "Mean relative change of MACs at equal mIoU against constant resolution, of the curve this method lies on.",
        100, BD, signed=True,
    ),
    Column(
        "bd_miou", "BD-mIoU", "points", "higher", 2, 17,
        "Mean change of mIoU at equal MACs against constant resolution, of the curve this method lies on.", 100, BD,
        signed=True,
    ),
    Column(
        "frames", "frames", "", "neither", 0, 9, "Scored frames, counted once per keyframe distance.", group=ACCURACY,
    ),
)  # fmt: skip
