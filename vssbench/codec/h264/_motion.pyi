"""H.264 motion syntax parser (Rec. ITU-T H.264)."""

from collections.abc import Sequence

class Picture:
    """
    One parsed picture; arrays lie on the 4x4 luma grid of the coded picture.
    """

    @property
    def poc(self) -> int:
        """Picture order count."""

    @property
    def coded_sequence(self) -> int:
        """Index of the coded video sequence."""

    @property
    def decode_order(self) -> int:
        """Rank in decoding order among output pictures."""

    @property
    def decode_index(self) -> int:
        """
        Index of its access unit in decoding order; pictures that are never output count.
        """

    @property
    def packet(self) -> int:
        """What push_unit was told with its first slice; -1 without."""

    @property
    def nal_type(self) -> int:
        """nal_unit_type of its slices."""

    @property
    def slice_type(self) -> int:
        """0 B, 1 P, 2 I: the most inter type of its slices."""

    @property
    def slices(self) -> int:
        """Independent slices."""

    @property
    def coded_bytes(self) -> int:
        """Bytes of its slice NAL units."""

    @property
    def bit_depth(self) -> int:
        """Luma bit depth."""

    @property
    def coded_size(self) -> tuple[int, int]:
        """(width, height) before cropping."""

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the cropping window in luma samples."""

    @property
    def vectors(self) -> object:
        """int16 [H4, W4, 2 (list), 2 (x, y)], quarter luma samples."""

    @property
    def reference_poc(self) -> object:
        """int32 [H4, W4, 2 (list)], -2^31 where the list is unused."""

    @property
    def mode(self) -> object:
        """uint8 [H4, W4]: 0 intra, 1 inter, 2 skip."""

    @property
    def lost(self) -> object:
        """uint8 [H4, W4], 1 where the bitstream was broken; None if it was not."""

    @property
    def unreliable(self) -> bool:
        """
        Whether prediction drew on motion that the stream lacks; only after defects.
        """

    @property
    def qp(self) -> object: ...
    @property
    def coded_bits(self) -> object: ...
    @property
    def nonzero(self) -> object: ...
    @property
    def reference(self) -> bool:
        """Whether nal_ref_idc is not 0."""

    @property
    def structure(self) -> int:
        """0 frame, 1 frame with field macroblocks allowed, 2 fields."""

    @property
    def first_field(self) -> int:
        """0 frame, 1 top, 2 bottom field."""

    @property
    def field_poc(self) -> tuple[int, int]:
        """Picture order counts of the top and the bottom field."""

    @property
    def list_references(self) -> tuple[list[tuple[int, bool, int]], list[tuple[int, bool, int]]]:
        """
        (picture order count, long-term, parity) per reference of the first slice, per list.
        """

    @property
    def reference_index(self) -> object: ...
    @property
    def reference_parity(self) -> object:
        """
        uint8 [H4, W4, 2 (list)]: 0 frame, 1 top, 2 bottom field; None for progressive sequences.
        """

    @property
    def mb_type(self) -> object: ...
    @property
    def sub_type(self) -> object: ...
    @property
    def transform_8x8(self) -> object: ...
    @property
    def field(self) -> object:
        """uint8 [H16, W16], 1 for field macroblocks and those of field pictures."""

    @property
    def slice(self) -> object: ...

class Decoder:
    """
    NAL units in, pictures in display order out. The GIL is released while parsing.
    """

    def __init__(self, threads: int = 1, strict: bool = True, details: bool = False) -> None: ...
    def push(self, data: bytes) -> None:
        """Appends bytes of an Annex B stream."""

    def push_unit(self, data: bytes, offset: int, packet: int = -1) -> None:
        """
        Appends one NAL unit that has no start code; `packet` comes back with the picture that it begins.
        """

    def finish(self) -> None:
        """No more data will come."""

    def next(self) -> Picture:
        """
        The next picture; None if more data is needed, at the end, or after a failure.
        """

    @property
    def failure(self) -> tuple[str, int, int] | None:
        """
        (message, byte offset, NAL type or -1) of what stopped the parser, or None.
        """

    @property
    def upper_layer_units(self) -> int:
        """NAL units of enhancement layers or views that were passed over."""

    @property
    def issues(self) -> list[tuple[str, int, int]]:
        """
        Defects passed over with strict=False, as (message, byte offset, NAL type or -1).
        """

class Visibility:
    """Which packets give a picture of their own, told from headers."""

    def __init__(self) -> None: ...
    def __call__(self, units: Sequence[bytes]) -> int:
        """
        Of the units of a packet: 0 shown; 1 the second field of a frame; 2 leads an I picture at which the stream is entered, and refers to what precedes it; 3 reference pictures are missing before it.
        """
