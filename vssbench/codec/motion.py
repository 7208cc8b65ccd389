"""Block motion composed into dense flow: towards the previous picture, towards the keyframe, and what it leaves over.

Displacements are kept in whole quarter luma samples while they are composed, so composing is exact integer
arithmetic; the result is divided by four once, at the end. Everything here works on whole 4x4 grids or pictures.

Two rules:
  paper  every hop is rounded to whole samples (half to even) and clipped to the picture; blocks without a vector,
         and blocks whose reference is more than three pictures back, stand still towards the picture before.
         This is how AR-Seg merges its vectors (spec section 3.2), every pixel counts as valid.
  exact  vectors keep their quarter samples; where the chain is looked up again the nearest sample is taken. Blocks
         without a vector have zero flow and are invalid, as is content from outside the picture, and so is
         everything that is predicted from invalid content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.codec import _flow_chain
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import NO_REFERENCE, UNKNOWN_REFERENCE, DecodedFrame, FlowField, MotionField

FlowRule = Literal["paper", "exact"]

PAPER_REFERENCES = 3
"""AR-Seg's merging knows the three pictures before; anything else stands still."""
_MOST_REFERENCES = 16
"""Largest decoded picture buffer of HEVC and H.264."""
_LARGEST_SIDE = 8160
"""Displacements across larger pictures would not fit in 16 bits of quarter samples."""
_INTRA, _KEY_SLOT = -1, 0


def flow_to_keyframe(
    fields: Sequence[MotionField], index: int, rule: FlowRule = "exact"
) -> NDArray[np.float32]:
    """Dense flow float32 [2, H, W] (pixels, x then y) of picture `index` towards its keyframe.

    fields: motion of consecutive pictures in display order. The keyframe is the last I picture at or before `index`
    (the first picture, if there is none); its own flow is zero. For all pictures of a clip use `flows_to_keyframe`,
    which costs one hop per picture.
    """
    return flow_field_to_keyframe(fields, index, rule).flow


def flow_field_to_keyframe(fields: Sequence[MotionField], index: int, rule: FlowRule = "exact") -> FlowField:
    """`flow_to_keyframe` together with where it is valid.

    Raises IndexError if `index` is outside `fields`, CapabilityError for B pictures under the rule "paper".
    """
    if not 0 <= index < len(fields):
        raise IndexError(f"picture {index} does not exist; expected 0 to {len(fields) - 1}")
    key = index
    while key > 0 and not _starts_group(fields[key], fields[key - 1]):
        key -= 1
    end = index + 1
    while end < len(fields) and not _starts_group(fields[end], fields[end - 1]):
        end += 1
    wanted = fields[index]
    chain = KeyframeFlow(rule)
    for field in [fields[key], *sorted(fields[key + 1 : end], key=lambda other: other.decode_order)]:
        if field is wanted or field is fields[key] or field.decode_order < wanted.decode_order:
            chain.advance(field)
        if field is wanted:
            break
    return chain.current()


def flows_to_keyframe(fields: Iterable[MotionField], rule: FlowRule = "exact") -> Iterator[FlowField]:
    """Flow of every picture towards its keyframe, display order in, display order out, one hop per picture.

    Memory is bounded: the maps of the pictures that may still be referred to. B pictures wait for the pictures they
    refer to, so the output may lag behind the input by a few pictures.
    """
    chain = KeyframeFlow(rule)
    waiting: dict[int, MotionField] = {}
    done: dict[int, FlowField] = {}
    following = 0
    previous: MotionField | None = None
    for position, field in enumerate(fields):
        if previous is not None and _starts_group(field, previous):
            _advance(chain, waiting, done, latest_poc=None)
        waiting[position] = field
        _advance(chain, waiting, done, latest_poc=field.poc)
        previous = field
        while following in done:
            yield done.pop(following)
            following += 1
    _advance(chain, waiting, done, latest_poc=None)
    for position in sorted(done):
        yield done[position]


def flows_to_picture(
    fields: Sequence[MotionField], key: int, rule: FlowRule = "exact"
) -> Iterator[FlowField]:
    """Flow of pictures `key`, `key + 1`, ... towards picture `key`, whatever its type.

    fields: motion of consecutive pictures in display order, those behind the last wanted one included that B pictures
    refer to. Groups of pictures may be open and I pictures may lie between: content is followed wherever vectors lead.
    Vectors to pictures before `key` end there, those to I pictures of the next group are reversed, in proportion to the
    time; what is predicted from nothing is invalid and stands still.
    """
    target, chain = fields[key], KeyframeFlow(rule)
    later = [f for f in fields[key + 1 :] if f.coded_sequence == target.coded_sequence]
    ends = [f.poc for f in later if f.frame_type == "I"]
    chain.begin(target)
    yield chain.current()
    done: dict[int, FlowField] = {}
    following = key + 1
    for position in sorted(range(key + 1, len(fields)), key=lambda at: fields[at].decode_order):
        field = fields[position]
        if field in later:
            reached = [f.poc for f in later if f.poc < field.poc and f.decode_order < field.decode_order]
            field = _redirected(field, target.poc, max([target.poc, *set(reached).difference(ends)]), ends)
        chain.follow(field)
        done[position] = chain.current()
        while following in done:
            yield done.pop(following)
            following += 1


def _redirected(field: MotionField, key: int, reached: int, ends: Sequence[int]) -> MotionField:
    """The field with vectors that lead nowhere shortened or reversed, in proportion to the time, to lead somewhere.

    POCs: those to pictures before `key` end at it; those to later I pictures (`ends`), from which nothing leads back, turn
    to `reached`, the last picture before this one that is decoded. Blocks of which one list leads somewhere keep it.
    """
    references = field.reference_poc[:, :, : len(_lists_used(field))]
    used = references > UNKNOWN_REFERENCE
    astray = used & ((references < key) | np.isin(references, ends))
    astray &= (astray == used).all(axis=2, keepdims=True)
    if not astray.any():
        return field
    nearest = np.where(astray, -abs(references.astype(np.int64) - field.poc), -(2**40)).argmax(axis=2)[
        :, :, None
    ]
    reference = np.take_along_axis(references, nearest, 2)[:, :, 0].astype(np.int64)
    vector = np.take_along_axis(field.vectors_qpel, nearest[..., None], 2)[:, :, 0]
    turned = astray.any(axis=2)
    target = np.where(reference < key, key, reached)
    share = (field.poc - target) / np.where(turned, field.poc - reference, 1)
    moved = np.clip(np.rint(vector * share[:, :, None]), -(2**15), 2**15 - 1).astype(np.int16)
    vectors, pocs = field.vectors_qpel.copy(), field.reference_poc.copy()
    vectors[turned, 0], pocs[turned, 0] = moved[turned], target[turned]
    return replace(field, vectors_qpel=vectors, reference_poc=pocs)


def _advance(
    chain: KeyframeFlow,
    waiting: dict[int, MotionField],
    done: dict[int, FlowField],
    latest_poc: int | None,
) -> None:
    """Compose waiting pictures in decoding order, as far as their references have arrived (all, if None)."""
    for position in sorted(waiting, key=lambda key: waiting[key].decode_order):
        field = waiting[position]
        if latest_poc is not None and field.frame_type == "B" and int(field.reference_poc.max()) > latest_poc:
            return
        chain.advance(waiting.pop(position))
        done[position] = chain.current()


def _starts_group(field: MotionField, previous: MotionField) -> bool:
    return field.frame_type == "I" or field.coded_sequence != previous.coded_sequence


class KeyframeFlow:
    """Accumulates the flow to the keyframe picture by picture: one gather per picture, whatever the distance.

    Push pictures in decoding order (for streams without B pictures that is display order); every I picture starts
    anew. `flows_to_keyframe` does this for any stream.
    """

    def __init__(self, rule: FlowRule = "exact") -> None:
        if rule not in ("paper", "exact"):
            raise ValueError(f"rule must be 'paper' or 'exact', got {rule!r}")
        self.rule: FlowRule = rule
        self._slots = 1 + (PAPER_REFERENCES if rule == "paper" else _MOST_REFERENCES) + 1
        self._grid: _Grid | None = None
        self._slot_of: dict[tuple[int, int], int] = {}
        """(coded sequence, POC) -> slot of the ring, oldest first; slot 0 is the keyframe and never leaves."""
        self._last = _KEY_SLOT
        self._sequence = -1

    def push(self, field: MotionField) -> FlowField:
        """`advance`, then `current`."""
        self.advance(field)
        return self.current()

    def advance(self, field: MotionField) -> None:
        """Compose one more picture. Raises CapabilityError for B pictures under the rule "paper"."""
        if self._grid is None or field.frame_type == "I" or field.coded_sequence != self._sequence:
            self.begin(field)
        else:
            self.follow(field)

    def follow(self, field: MotionField) -> None:
        """`advance` within the group that `begin` opened, also over I pictures. Raises as that."""
        grid = self._pushed_grid()
        if self.rule == "paper" and field.frame_type == "B":
            raise CapabilityError(
                f"picture {field.poc} is a B picture: the rule 'paper' is defined for P pictures only; "
                "set b_frames=0 or use the rule 'exact'"
            )
        grid.check(field)
        name = (field.coded_sequence, field.poc)
        slot = self._free_slot(name)
        grid.advance(
            field, self._reach(field.coded_sequence), self._still(), self._displacement, self._valid, slot
        )
        self._slot_of[name] = self._last = slot

    def current(self) -> FlowField:
        """Flow of the picture pushed last, and where it is valid."""
        grid = self._pushed_grid()
        valid = None if self._valid is None else self._valid[self._last]
        return grid.flow_field(self._displacement[self._last], valid)

    def current_qpel(self) -> NDArray[np.int16]:
        """Displacement int16 [H, W, 2] of the picture pushed last, quarter samples, x then y."""
        grid = self._pushed_grid()
        return np.array(grid.cropped(self._displacement[self._last]))

    def _pushed_grid(self) -> _Grid:
        if self._grid is None:
            raise ValueError("no picture has been pushed yet; expected at least the keyframe")
        return self._grid

    def begin(self, field: MotionField) -> None:
        """Take a picture for the keyframe, whatever its type: its flow is zero, and all that follows leads to it."""
        if self._grid is None or not self._grid.fits(field):
            self._grid = _Grid.of(field)
            shape = (self._slots, *self._grid.canvas)
            self._displacement = np.empty((*shape, 2), np.int16)  # untouched slots cost no memory
            self._displacement[_KEY_SLOT] = 0
            self._valid = np.empty(shape, np.bool_) if self.rule == "exact" else None
            if self._valid is not None:
                self._valid[_KEY_SLOT] = True
        self._slot_of = {(field.coded_sequence, field.poc): _KEY_SLOT}
        self._last, self._sequence = _KEY_SLOT, field.coded_sequence

    def _free_slot(self, name: tuple[int, int]) -> int:
        """A slot to write; damaged streams may repeat a POC, whose slot is then given up."""
        self._slot_of.pop(name, None)
        kept = {_KEY_SLOT, self._last}
        taken = kept.union(self._slot_of.values())
        free = next((slot for slot in range(self._slots) if slot not in taken), None)
        if free is not None:
            return free
        oldest = next(known for known, slot in self._slot_of.items() if slot not in kept)
        return self._slot_of.pop(oldest)

    def _reach(self, sequence: int) -> list[tuple[int, int]]:
        """(POC, slot) of the pictures that vectors are followed to."""
        known = [(poc, slot) for (of, poc), slot in self._slot_of.items() if of == sequence]
        return known[-PAPER_REFERENCES:] if self.rule == "paper" else known

    def _still(self) -> int:
        """Slot on which blocks without a vector to one of those stand still."""
        return self._last if self.rule == "paper" else _KEY_SLOT


def flow_to_previous(
    fields: Sequence[MotionField], index: int, rule: FlowRule = "exact"
) -> NDArray[np.float32]:
    """Dense flow float32 [2, H, W] (pixels, x then y) of picture `index` towards picture index-1."""
    return flow_field_to_previous(fields, index, rule).flow


def flow_field_to_previous(fields: Sequence[MotionField], index: int, rule: FlowRule = "exact") -> FlowField:
    """`flow_to_previous` together with where it is valid.

    fields: motion of consecutive pictures in display order. A vector over k times the distance (in
    POCs) to the picture before is taken as k equal steps, one towards a later picture (B) as steps backwards; of two
    vectors the one over the shorter distance counts. Blocks without a vector to one of `fields` stand still: valid under
    the rule "paper", invalid under "exact". I pictures and the first picture have no motion: zero, and invalid under
    "exact". Raises IndexError if `index` is outside `fields`.
    """
    if not 0 <= index < len(fields):
        raise IndexError(f"picture {index} does not exist; expected 0 to {len(fields) - 1}")
    field = fields[index]
    steps, vector = _nearest_reference(field, _steps(fields, index))
    known = steps != 0
    share = np.where(known, steps, 1)[:, :, None]
    if rule == "paper":
        vector = np.rint(vector / (4 * share)).astype(np.int32) * 4
    else:
        vector = np.rint(vector / share).astype(np.int32)
    vector[~known] = 0
    grid = _Grid.of(field)
    # Slot 0 is the end of this one-hop chain (never read), slot 1 takes the result.
    displacement = np.empty((2, *grid.canvas, 2), np.int16)
    valid = np.empty((2, *grid.canvas), np.bool_) if rule == "exact" else None
    slot = np.zeros(known.shape, np.int64)
    # beyond a picture's side every vector means the border, so the clip changes nothing but the type's range
    steps_qpel = np.clip(vector, -32768, 32764).astype(np.int16)
    grid.compose(_Hop(steps_qpel, slot, known if rule == "exact" else None), displacement, valid, 1)
    return grid.flow_field(displacement[1], None if valid is None else valid[1])


def _steps(fields: Sequence[MotionField], index: int) -> dict[int, float]:
    """POC -> how many steps, each to the picture shown before, lead to the pictures that vectors of `index` can point to.

    Counted in POCs, because pictures between may not be shown; in pictures where a new coded sequence begins.
    """
    field = fields[index]
    sequence, before = field.coded_sequence, fields[index - 1] if index else field
    step = field.poc - before.poc if before.coded_sequence == sequence else 0
    around = range(max(0, index - _MOST_REFERENCES), min(len(fields), index + _MOST_REFERENCES + 1))
    return {
        fields[at].poc: (field.poc - fields[at].poc) / step if step else index - at
        for at in around
        if at != index and fields[at].coded_sequence == sequence
    }


def _nearest_reference(
    field: MotionField, steps: dict[int, float]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Per block: steps back to the reference (negative: forwards; 0: no vector) and the vector, quarter samples."""
    count, vector = _of_list(field, steps, 0)
    if field.frame_type == "B":
        other, other_vector = _of_list(field, steps, 1)
        closer = (other != 0) & ((count == 0) | (np.abs(other) < np.abs(count)))
        count[closer] = other[closer]
        vector[closer] = other_vector[closer]
    return count, vector


def _of_list(
    field: MotionField, steps: dict[int, float], which: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    count = _lookup(field.reference_poc[:, :, which], steps, absent=0.0)
    return count, field.vectors_qpel[:, :, which].astype(np.int32)


def prediction_residual(decoded: Sequence[DecodedFrame], index: int) -> NDArray[np.int16]:
    """What motion compensation leaves over: picture minus prediction, int16 [3, H, W], -255..255, RGB.

    The prediction takes each block's own reference picture at whole-sample positions (half to even), clipped to the
    picture; two vectors are averaged; blocks without a vector are predicted from the same place in the picture
    before. I pictures have no prediction: zero. This is the residual of the compressed-video loaders behind TapLab
    and CoViAR, computed from decoded pictures, not the coefficients of the stream.

    decoded: consecutive pictures in display order with motion, back to the oldest reference of picture `index`.
    Raises ValueError if motion is absent, BitstreamError if a reference picture is not among `decoded`.
    """
    fields = [frame.motion for frame in decoded]
    field = fields[index]
    if field is None:
        raise ValueError(f"picture {index} was decoded without motion; decode with motion=True")
    image = decoded[index].image
    if index == 0 or decoded[index].frame_type == "I":
        return np.zeros((3, *image.shape[:2]), np.int16)
    sequence = field.coded_sequence
    positions = {
        other.poc: position
        for position, other in enumerate(fields)
        if other is not None and other.coded_sequence == sequence and position != index
    }
    grid = _Grid.of(field)
    predictions = [_predicted(decoded, field, grid, positions, which, index) for which in _lists_used(field)]
    prediction = predictions[0][0]
    if len(predictions) == 2:
        (first, has_first), (second, has_second) = predictions
        both = has_first & has_second
        prediction = np.where((has_second & ~has_first)[:, :, None], second, first)
        prediction[both] = (first[both] + second[both] + 1) >> 1
    residual: NDArray[np.int16] = image.astype(np.int16) - prediction
    return np.ascontiguousarray(residual.transpose(2, 0, 1))


def _lists_used(field: MotionField) -> tuple[int, ...]:
    return (0, 1) if field.frame_type == "B" else (0,)


def _predicted(
    decoded: Sequence[DecodedFrame],
    field: MotionField,
    grid: _Grid,
    positions: dict[int, int],
    which: int,
    index: int,
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Prediction int16 [H, W, 3] from one list, and where that list is used; elsewhere the picture before."""
    references = field.reference_poc[:, :, which]
    position = _lookup(references, positions)
    used = references != NO_REFERENCE
    if (used & (position == _INTRA)).any():
        missing = int(references[used & (position == _INTRA)][0])
        raise BitstreamError(
            f"picture {index} refers to picture order count {missing}, which is not among the decoded pictures; "
            "keep as many pictures as the stream has references"
        )
    vector = np.where(used[:, :, None], _whole(field.vectors_qpel[:, :, which]), 0)
    position = np.where(used, position, index - 1)
    x, y = grid.targets(vector)
    dense_position = grid.dense(position)
    prediction = np.empty((*grid.size, 3), np.int16)
    for source in np.unique(position):
        chosen = dense_position == source
        prediction[chosen] = decoded[int(source)].image[y[chosen], x[chosen]]
    return prediction, grid.dense(used)


def _whole(vectors_qpel: NDArray[np.int16]) -> NDArray[np.int32]:
    """Quarter samples to whole samples, half to even: 2 -> 0, 6 -> 2, 7 -> 2, -2 -> 0, -6 -> -2."""
    vectors = vectors_qpel.astype(np.int32)
    whole: NDArray[np.int32] = (vectors + 1 + ((vectors >> 2) & 1)) >> 2
    return whole


def _lookup(pocs: NDArray[np.int32], values: Mapping[int, float], absent: float = _INTRA) -> NDArray[Any]:
    """values[poc] for every element, `absent` where there is none; a table, because the POCs are few and close."""
    low, high = min(values, default=0), max(values, default=0)
    table = np.full(high - low + 3, absent)
    for poc, value in values.items():
        table[poc - low + 1] = value
    return table[np.clip(pocs, low - 1, high + 1) - (low - 1)]


def _refuse_fields(field: MotionField) -> None:
    if field.field_macroblocks is not None:
        raise CapabilityError(
            f"picture {field.poc} has macroblocks of single fields (interlaced), whose motion is not composed; "
            "deinterlace the video and encode it again"
        )


@dataclass(frozen=True, slots=True)
class _Hop:
    """One step of every 4x4 block."""

    vector: NDArray[np.int16]
    """[H4, W4, 2] quarter samples, x then y, contiguous."""
    slot: NDArray[np.int64]
    """[H4, W4] whose accumulated displacement continues the chain."""
    known: NDArray[np.bool_] | None
    """[H4, W4] False where there is no vector; None if every pixel counts as valid."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """The coded picture, its 4x4 blocks, and the window that is left after cropping."""

    blocks: tuple[int, int]
    size: tuple[int, int]
    left_top: tuple[int, int]

    @staticmethod
    def of(field: MotionField) -> _Grid:
        rows, columns = field.mode.shape
        _refuse_fields(field)
        if max(rows, columns) * 4 > _LARGEST_SIDE:
            raise CapabilityError(
                f"pictures of {columns * 4}x{rows * 4}: flow is composed up to a side of {_LARGEST_SIDE}; scale down"
            )
        left, top = field.crop_left_top
        height, width = field.size
        if left < 0 or top < 0 or left + width > columns * 4 or top + height > rows * 4:
            raise BitstreamError(
                f"window {width}x{height} at ({left}, {top}) is outside the coded picture {columns * 4}x{rows * 4}"
            )
        return _Grid((rows, columns), field.size, field.crop_left_top)

    @property
    def canvas(self) -> tuple[int, int]:
        """(H, W) of the coded picture."""
        return (self.blocks[0] * 4, self.blocks[1] * 4)

    def fits(self, field: MotionField) -> bool:
        """Whether a field has this geometry."""
        return (field.mode.shape, field.size, field.crop_left_top) == (self.blocks, self.size, self.left_top)

    def check(self, field: MotionField) -> None:
        """Raise BitstreamError if the picture size changes inside a group of pictures, CapabilityError if interlaced."""
        _refuse_fields(field)
        if not self.fits(field):
            raise BitstreamError(
                f"picture {field.poc} is {field.size[1]}x{field.size[0]} after pictures of "
                f"{self.size[1]}x{self.size[0]}; expected one size up to the next keyframe"
            )

    def cropped(self, canvas: NDArray[Any]) -> NDArray[Any]:
        """The window of [Hc, Wc, ...]."""
        (left, top), (height, width) = self.left_top, self.size
        return canvas[top : top + height, left : left + width]

    def dense(self, per_block: NDArray[Any]) -> NDArray[Any]:
        """[H4, W4] repeated for every sample of the window."""
        return self.cropped(per_block.repeat(4, axis=0).repeat(4, axis=1))

    def targets(self, whole: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Window coordinates x, y [H, W] that whole-sample vectors [H4, W4, 2] point to, clipped to the window."""
        height, width = self.size
        x = np.arange(width) + self.dense(whole[:, :, 0])
        y = np.arange(height)[:, None] + self.dense(whole[:, :, 1])
        return np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)

    def compose(
        self,
        hop: _Hop,
        displacement: NDArray[np.int16],
        valid: NDArray[np.bool_] | None,
        into: int,
    ) -> None:
        """Write slot `into` of the ring: each sample's vector plus what its target accumulated.

        displacement: int16 [slots, Hc, Wc, 2], quarter samples; valid: bool [slots, Hc, Wc]. A target outside the
        window is moved to its border and is invalid. No block may refer to slot `into`; slot 0 ends every chain: it
        counts as zero and valid whatever it holds.
        """
        (left, top), (height, width) = self.left_top, self.size
        _flow_chain.compose(
            hop.vector,
            np.ascontiguousarray(hop.slot, np.int16),
            None if valid is None else np.ascontiguousarray(hop.known),
            displacement,
            valid,
            into,
            left,
            top,
            height,
            width,
        )

    def advance(
        self,
        field: MotionField,
        reach: list[tuple[int, int]],
        still: int,
        displacement: NDArray[np.int16],
        valid: NDArray[np.bool_] | None,
        into: int,
    ) -> None:
        """`compose` straight from a field: list 0, else list 1 of a B picture, of the pictures (POC, slot) in reach.

        Without `valid` vectors are rounded to whole samples, half to even: the rule "paper". Other blocks stand
        still on slot `still` and are invalid.
        """
        second_list, whole_samples = field.frame_type == "B", valid is None
        window = (*self.left_top, *self.size)
        vectors, pocs = field.vectors_qpel, field.reference_poc
        _flow_chain.advance(
            vectors, pocs, reach, second_list, whole_samples, still, displacement, valid, into, *window
        )

    def flow_field(self, displacement: NDArray[np.int16], valid: NDArray[np.bool_] | None) -> FlowField:
        """Pixels of the window from quarter samples [Hc, Wc, 2]."""
        flow = np.empty((2, *self.size), np.float32)
        _flow_chain.to_pixels(displacement, *self.left_top, flow)
        window = np.ones(self.size, np.bool_) if valid is None else self.cropped(valid).copy()
        return FlowField(flow, window)
