"""Augmentation of one labelled frame with its keyframe and the motion between them.

Flow rules: a flip negates x before mirroring; a scale by s multiplies both components by s; a crop slices. Frame,
keyframe, label and flow always share the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from vssbench.experiment.training import Augmentation
from vssbench.records import IGNORE_INDEX


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled frame on its way to a batch."""

    image: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    label: NDArray[np.uint8]
    """[H, W]."""
    reference: NDArray[np.uint8] | None = None
    """[H, W, 3] keyframe."""
    flow: NDArray[np.float32] | None = None
    """[2, H, W] pixels, from image towards reference."""
    others: tuple[NDArray[np.uint8], ...] = ()
    """[H, W, 3] frames around the image, in order."""
    other_flows: tuple[NDArray[np.float32], ...] = ()
    """[2, H, W] pixels, from each frame but the first (the image included) towards the frame before it."""


def augment(sample: Sample, settings: Augmentation, rng: np.random.Generator) -> Sample:
    """A changed copy of `sample` of the crop's size; the same numbers are drawn whether or not it has a keyframe."""
    size = settings.crop or (sample.label.shape[0], sample.label.shape[1])
    factors = rng.uniform(1 - settings.jitter, 1 + settings.jitter, 3)
    flipped = rng.random() < settings.flip
    scale = settings.scales[int(rng.integers(len(settings.scales)))]
    corner = rng.random(2)
    if settings.jitter and settings.rule == "paper":
        sample = _map_images(sample, lambda image: jitter(image, *factors))
    if flipped:
        sample = flip(sample)
    if scale != 1.0:
        sample = rescale(sample, scale)
    cut = crop(sample, size, (float(corner[0]), float(corner[1])), settings.rule)
    if settings.jitter and settings.rule == "corrected":  # fewer pixels to change than before the crop
        cut = _map_images(cut, lambda image: jitter(image, *factors))
    return replace(cut, label=thin(cut.label, settings.label_stride))


def thin(label: NDArray[np.uint8], stride: int) -> NDArray[np.uint8]:
    """Labels [H // stride, W // stride] at the nearest pixels to an even grid whose corners are the image's corners.

    6 columns, stride 2:  columns 0, 2.5 -> 2, 5
    """
    if stride == 1:
        return label
    rows, columns = (np.rint(np.linspace(0, n - 1, n // stride)).astype(np.intp) for n in label.shape)
    return label[rows[:, None], columns]


def jitter(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Brightness, contrast and saturation as Pillow's ImageEnhance applies them, in that order."""
    picture = ImageEnhance.Brightness(Image.fromarray(image)).enhance(brightness)
    picture = ImageEnhance.Contrast(picture).enhance(contrast)
    return np.asarray(ImageEnhance.Color(picture).enhance(saturation))


def flip(sample: Sample) -> Sample:
    """Mirror left and right; horizontal motion changes its sign."""
    sign = np.array([-1, 1], np.float32)[:, None, None]
    mirrored = _map_flows(sample, lambda flow: flow[:, :, ::-1] * sign)
    mirrored = _map_images(mirrored, lambda image: image[:, ::-1])
    return replace(mirrored, label=sample.label[:, ::-1])


def rescale(sample: Sample, scale: float, *, flow_scale: float | None = None) -> Sample:
    """Resize to (int(H*scale), int(W*scale)): images antialiased bilinear, label and flow nearest.

    Flow values are multiplied by `flow_scale` (default: `scale`).
    """
    height, width = sample.label.shape
    size = (int(height * scale), int(width * scale))
    return _resize(sample, size, scale if flow_scale is None else flow_scale)


def _resize(sample: Sample, size: tuple[int, int], flow_scale: float) -> Sample:
    def resize_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))

    height, width = sample.label.shape
    # source index floor(i * in / out): OpenCV's nearest, which the reference uses for flow
    rows = np.arange(size[0]) * height // size[0]
    columns = np.arange(size[1]) * width // size[1]
    sample = _map_flows(sample, lambda flow: flow[:, rows[:, None], columns] * np.float32(flow_scale))
    label = np.asarray(Image.fromarray(sample.label).resize(size[::-1], Image.Resampling.NEAREST))
    return replace(_map_images(sample, resize_image), label=label)


def crop(
    sample: Sample, size: tuple[int, int], corner: tuple[float, float], rule: Literal["corrected", "paper"]
) -> Sample:
    """Cut `size` (H, W) at the relative position `corner` (0..1 of the free range).

    A sample smaller than `size` is enlarged ('paper', flow values untouched) or padded ('corrected').
    """
    height, width = sample.label.shape
    if height < size[0] or width < size[1]:
        if rule == "paper":
            factor = size[1] / width if width < height else size[0] / height
            sample = _resize(sample, (int(factor * height + 1), int(factor * width + 1)), 1.0)
        else:
            sample = _pad(sample, (max(height, size[0]), max(width, size[1])), corner)
        height, width = sample.label.shape
    top, left = int(corner[0] * (height - size[0])), int(corner[1] * (width - size[1]))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    cut = _map_flows(sample, lambda flow: flow[:, rows, columns])
    cut = _map_images(cut, lambda image: image[rows, columns])
    return replace(cut, label=sample.label[rows, columns])


def _pad(sample: Sample, size: tuple[int, int], corner: tuple[float, float]) -> Sample:
    """Surround by mid grey and ignored labels; motion of the border is zero."""
    height, width = sample.label.shape
    top, left = int(corner[0] * (size[0] - height)), int(corner[1] * (size[1] - width))
    border = ((top, size[0] - height - top), (left, size[1] - width - left))

    def pad_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.pad(image, (*border, (0, 0)), constant_values=128)

    padded = _map_flows(sample, lambda flow: np.pad(flow, ((0, 0), *border)))
    label = np.pad(sample.label, border, constant_values=IGNORE_INDEX)
    return replace(_map_images(padded, pad_image), label=label)


def _map_images(sample: Sample, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Sample:

    reference = change(sample.reference) if sample.reference is not None else None
    others = tuple(change(image) for image in sample.others)
    return replace(sample, image=change(sample.image), reference=reference, others=others)


def _map_flows(sample: Sample, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Sample:
    flow = change(sample.flow) if sample.flow is not None else None
    return replace(sample, flow=flow, other_flows=tuple(change(flow) for flow in sample.other_flows))
