"""Frozen records that travel between the parts of vssbench. Depends on numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FrameType = Literal["I", "P", "B"]

NO_REFERENCE = -(2**31)
"""Value of `MotionField.reference_poc` where a list is unused (intra blocks use neither list)."""

UNKNOWN_REFERENCE = NO_REFERENCE + 1
"""Value of `MotionField.reference_poc` where a damaged H.264 stream lacks the reference and does not name it."""

MODE_INTRA, MODE_INTER, MODE_SKIP = 0, 1, 2
"""Values of `MotionField.mode`."""

IGNORE_INDEX = 255
"""Label value of pixels that are never scored and never trained on."""


class Normalisation(NamedTuple):
    """How a network wants its pixels: (pixel - mean) / deviation for each channel."""

    mean: tuple[float, float, float]
    """Of pixels in 0..value_range, in `channel_order`."""
    deviation: tuple[float, float, float]
    value_range: Literal[1, 255] = 1
    """Largest pixel value before the mean is taken away."""
    channel_order: Literal["RGB", "BGR"] = "RGB"

    @property
    def problem(self) -> str:
        """Why no pixel can be normalised so; '' if all is well."""
        if not all(math.isfinite(value) for value in (*self.mean, *self.deviation)):
            return f"mean {self.mean} and deviation {self.deviation} must be finite numbers"
        return (
            "" if min(self.deviation) > 0 else f"deviation {self.deviation} must be positive in every channel"
        )

    def same_pixels(self, other: Normalisation) -> bool:
        """True if a network gets the same input either way, in whichever range the values are written."""
        ours, theirs = ([v / n.value_range for v in (*n.mean, *n.deviation)] for n in (self, other))
        return self.channel_order == other.channel_order and all(map(math.isclose, ours, theirs))

    def describe(self) -> str:
        """'mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225 of RGB in 0..1'."""
        mean, deviation = (" ".join(f"{value:g}" for value in values) for values in self[:2])
        return f"mean {mean}, deviation {deviation} of {self.channel_order} in 0..{self.value_range}"


def _freeze(array: NDArray[np.generic]) -> None:
    array.setflags(write=False)


def _check_shape(
    owner: str, name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type
) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{owner}.{name} must be {np.dtype(dtype).name} {shape}, got {array.dtype.name} {array.shape}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class BlockDetails:
    """Optional per-block by-products of parsing, all on the 4x4 luma grid [H4, W4] of the coded picture."""

    cu_log2: NDArray[np.uint8]
    """log2 of the side of the coding block that covers each 4x4 block."""
    part_mode: NDArray[np.uint8]
    """HEVC part_mode: 0 2Nx2N, 1 2NxN, 2 Nx2N, 3 NxN, 4 2NxnU, 5 2NxnD, 6 nLx2N, 7 nRx2N; of H.264 macroblocks 0 to 3."""
    qp: NDArray[np.int8]
    """Luma quantisation parameter of the coding block."""
    coded_bits: NDArray[np.uint32]
    """Bits of the coding block, stored at its first (top-left) 4x4 block and zero elsewhere."""
    nonzero_coefficients: NDArray[np.uint16]
    """Non-zero luma and chroma transform coefficients of the transform block, at its first 4x4 block."""
    macroblock_type: NDArray[np.uint8] | None = None
    """H.264: 0 I4x4, 1 I8x8, 2 I16x16, 3 I_PCM, 4 16x16, 5 16x8, 6 8x16, 7 8x8, 8 P_Skip, 9 B_Skip, 10 B_Direct_16x16."""
    sub_macroblock_type: NDArray[np.uint8] | None = None
    """H.264, of macroblocks of type 7: 0 8x8, 1 8x4, 2 4x8, 3 4x4, 4 direct; elsewhere 255."""
    transform_8x8: NDArray[np.bool_] | None = None
    """H.264: transform_size_8x8_flag."""


@dataclass(frozen=True, slots=True, eq=False)
class MotionField:
    """Block motion of one decoded picture on its 4x4 luma grid.

    H4 = coded height / 4 and W4 = coded width / 4; block (i, j) covers coded luma rows 4i..4i+3 and columns
    4j..4j+3. The content of a luma sample (x, y) comes from (x + vx/4, y + vy/4) of the reference picture.
    """

    poc: int
    """Picture order count; display order inside one coded video sequence."""
    frame_type: FrameType
    size: tuple[int, int]
    """(H, W) in luma samples after cropping."""
    vectors_qpel: NDArray[np.int16]
    """[H4, W4, 2 (list), 2 (x, y)] quarter luma samples; 0 where the list is unused."""
    reference_poc: NDArray[np.int32]
    """[H4, W4, 2 (list)] picture order count of the reference, NO_REFERENCE where the list is unused."""
    mode: NDArray[np.uint8]
    """[H4, W4] MODE_INTRA, MODE_INTER or MODE_SKIP."""
    crop_left_top: tuple[int, int] = (0, 0)
    """Columns and rows of the coded picture that are cut off at the left and top."""
    coded_sequence: int = 0
    """Index of the coded video sequence in decoding order; POCs are comparable inside one only."""
    decode_order: int = 0
    """Rank in decoding order among the pictures that are output."""
    decode_index: int = 0
    """Index of its access unit in decoding order, from 0; those without an output picture count, a field pair once."""
    coded_bits: int | None = None
    """Bits of the picture's slice data including headers, where the source tells."""
    details: BlockDetails | None = None
    lost: NDArray[np.bool_] | None = None
    """[H4, W4] True where the bitstream was damaged and nothing is known (mode is MODE_INTRA there); None if
    nothing is lost."""
    unreliable: bool = False
    """True if prediction drew on motion or references that a damaged stream lacks: outside `lost` the modes are right,
    but vectors and references may differ from those of the whole stream."""
    field_macroblocks: NDArray[np.bool_] | None = None
    """[H4 / 4, W4 / 4] True where the macroblock is one of a field (interlaced H.264); None if no macroblock is.

    Rows of macroblocks then lie in the order of addresses: of a pair of field macroblocks the upper one has the top
    field's lines, the lower one the bottom field's, and its vectors count lines of fields (docs/motion.md)."""
    reference_parity: NDArray[np.uint8] | None = None
    """[H4, W4, 2 (list)] 0 frame, 1 top, 2 bottom field is referred to; None for progressive sequences."""

    def __post_init__(self) -> None:
        rows, columns = self.mode.shape
        _check_shape("MotionField", "vectors_qpel", self.vectors_qpel, (rows, columns, 2, 2), np.int16)
        _check_shape("MotionField", "reference_poc", self.reference_poc, (rows, columns, 2), np.int32)
        _check_shape("MotionField", "mode", self.mode, (rows, columns), np.uint8)
        for array in (self.vectors_qpel, self.reference_poc, self.mode):
            _freeze(array)

    def __repr__(self) -> str:
        return (
            f"MotionField(poc={self.poc}, frame_type={self.frame_type!r}, size={self.size}, "
            f"grid={self.mode.shape}, intra={np.mean(self.mode == MODE_INTRA):.2f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """One decoded picture in display order."""

    index: int
    """Position in display order, from 0."""
    image: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    frame_type: FrameType
    coded_bytes: int | None = None
    """Bytes of the packet that carried the picture."""
    motion: MotionField | None = None
    """None if motion was not asked for."""
    qp: NDArray[np.int8] | None = None
    """[ceil(H/4), ceil(W/4)] luma quantisation parameter; None if it was not asked for."""
    decode_order: int = 0
    """Rank of the packet that carried the picture, from 0."""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f"DecodedFrame.image must be uint8 [H, W, 3], got {self.image.dtype} {self.image.shape}"
            )
        _freeze(self.image)

    def __repr__(self) -> str:
        return (
            f"DecodedFrame(index={self.index}, frame_type={self.frame_type!r}, size={self.image.shape[:2]})"
        )


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a dataset: what label values mean and how they are drawn."""

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB per class, 0..255."""
    ignore_index: int = IGNORE_INDEX
    """Label value of pixels that are not scored: no class, and at most 255."""
    categories: tuple[str, ...] | None = None
    """Coarser group of each class (Cityscapes categories), or None."""

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(f"ClassTable: {len(self.names)} names but {len(self.palette)} colours")
        if self.categories is not None and len(self.categories) != len(self.names):
            raise ValueError(f"ClassTable: {len(self.names)} names but {len(self.categories)} categories")
        if type(self.ignore_index) is not int or not 0 <= self.ignore_index <= 255:
            raise ValueError(
                f"ignore_index is {self.ignore_index!r}, which no label can hold; expected 0 to 255"
            )
        if self.ignore_index < len(self.names):
            raise ValueError(
                f"ignore_index {self.ignore_index} is class {self.names[self.ignore_index]!r}, which would be scored as "
                f"always wrong; expected {len(self.names)} to 255. Leave the class out of the table if it is the last "
                "one, or read the labels with `dataset: layout`, whose `void` and `first_value` say what is not scored"
            )

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class FlowField:
    """Dense motion of one frame towards an earlier one, with where it holds."""

    flow: NDArray[np.float32]
    """[2, H, W] pixels, x then y: content at (x, y) now was at (x + flow[0], y + flow[1]) in the reference."""
    valid: NDArray[np.bool_]
    """[H, W] False where no motion exists (intra block, occluded or out-of-frame content)."""

    def __post_init__(self) -> None:
        if self.flow.shape != (2, *self.valid.shape) or self.flow.dtype != np.float32:
            raise ValueError(
                f"FlowField: flow {self.flow.dtype} {self.flow.shape} does not fit valid {self.valid.shape}"
            )
        _freeze(self.flow)
        _freeze(self.valid)


@dataclass(frozen=True, slots=True)
class CodedQuality:
    """How close decoded luma is to the luma that was encoded: sums over pictures, so that parts can be pooled."""

    squared_error: int
    """Sum over all luma samples."""
    samples: int
    """Luma samples, padding of odd sides left out."""
    ssim_sum: float
    """Sum over the pictures of their mean SSIM."""
    pictures: int

    @property
    def psnr_db(self) -> float:
        """10 log10(255^2 / mean squared error); infinite where nothing was lost."""
        if self.squared_error == 0:
            return math.inf
        return 10 * math.log10(255**2 * self.samples / self.squared_error)

    @property
    def ssim(self) -> float:
        """Mean over the pictures, at most 1."""
        return self.ssim_sum / self.pictures

    @staticmethod
    def pooled(parts: Iterable[CodedQuality | None]) -> CodedQuality | None:
        """Of all parts together; None where that of any part is unknown, or there is none."""
        found = list(parts)
        known = [part for part in found if part is not None]
        if not known or len(known) < len(found):
            return None
        columns = zip(*((p.squared_error, p.samples, p.ssim_sum, p.pictures) for p in known), strict=True)
        error, samples, ssim, pictures = (list(column) for column in columns)
        return CodedQuality(int(sum(error)), int(sum(samples)), math.fsum(ssim), int(sum(pictures)))


BUSY_SHARE = 0.1
"""More of the processors' time in other hands than this, and times say little of what was timed."""


@dataclass(frozen=True, slots=True)
class HostConditions:
    """The machine from the first to the last timed call; None where it does not tell."""

    processors: int
    others_share: float | None
    """Share of all processors' time that other processes took, 0..1; what a hypervisor withheld is among it."""
    load_average: float | None
    """Of the minute before, this process included."""
    clock_mhz: tuple[float, float] | None
    """Mean over the processors, at the beginning and at the end."""

    @property
    def busy(self) -> str:
        """'other processes took 43 % of the processors' where that is too much, else ''."""
        if self.others_share is None or self.others_share <= BUSY_SHARE:
            return ""
        return f"other processes took {100 * self.others_share:.0f} % of the processors"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of checking a dataset: what was looked at and what is wrong with it."""

    level: Literal["ok", "warning", "error"]
    subject: str
    """File or folder, as the user knows it."""
    message: str
    remedy: str = ""
