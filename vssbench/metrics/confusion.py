"""Pixel-pair counts and the ratios made of them: sum integers first, divide once.

A count matrix is int64 [classes, classes], row = truth, column = prediction. Every ratio here also takes a
stack of matrices [..., classes, classes] and returns one value (or one row of classes) per matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.records import IGNORE_INDEX, ClassTable

Counts = NDArray[np.int64]
Ratios = NDArray[np.float64]

BYTE_VALUES = 256


def count_pairs(
    truth: ArrayLike, predicted: ArrayLike, classes: int, ignore_index: int = IGNORE_INDEX
) -> Counts:
    """Count how often each predicted class meets each true class.

    truth, predicted: integer label maps of one shape (any rank, values 0..classes-1; `ignore_index` in truth
    marks pixels that are not scored). uint8 maps take the quick path.
    Returns int64 [classes, classes], row = truth, column = prediction; its sum is the number of scored pixels.
    Raises InputError naming the values if either map holds anything else; a prediction outside the classes is
    an error even under ignored pixels, because it means that the maps do not belong to this class table.
    Raises ConfigError if `ignore_index` is a class: counts cannot say that predicting it is neither right nor scored.

    >>> count_pairs([0, 0, 1, 255], [0, 1, 1, 0], classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    true_map, predicted_map = _label_map("truth", truth), _label_map("prediction", predicted)
    _check_request(true_map, predicted_map, classes)
    if 0 <= ignore_index < classes:
        raise ConfigError(
            f"ignore_index {ignore_index} is one of the {classes} classes and would be counted as always wrong; count all "
            "classes (ignore_index=-1) and give it to `iou` or `mean_iou`, or use KeyframeDistanceIoU"
        )
    if classes <= BYTE_VALUES:
        true_bytes, predicted_bytes = _as_bytes(true_map), _as_bytes(predicted_map)
        if true_bytes is not None and predicted_bytes is not None:
            return _count_bytes(true_bytes, predicted_bytes, classes, ignore_index)
    return _count_wide(true_map, predicted_map, classes, ignore_index)


def iou(counts: ArrayLike, ignore_index: int | None = None) -> Ratios:
    """Intersection over union per class, TP / (TP + FP + FN): [..., C, C] -> [..., C] in 0..1.

    A class that neither truth nor prediction holds is NaN, and so is the class `ignore_index` if there is one: its true
    pixels are not scored, and predicting it is a fault of the class that is missed (as torchmetrics has it). Source:
    Cityscapes' evaluation script (score of a label) and the PASCAL VOC definition.
    """
    matrix = as_counts(counts)
    ignored = ignore_index is not None and 0 <= ignore_index < matrix.shape[-1]
    if ignored:
        matrix = matrix.copy()
        matrix[..., ignore_index, :] = 0
    true_positive = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(-1) + matrix.sum(-2) - true_positive
    if ignored:
        union[..., ignore_index] = 0
    return _divide(true_positive, union)


def mean_iou(counts: ArrayLike, ignore_index: int | None = None) -> Ratios:
    """Plain mean of `iou` over the classes that exist: [..., C, C] -> [...]; absent classes are left out.

    NaN where no class exists at all (nothing was scored).
    """
    return mean_of_present(iou(counts, ignore_index))


def mean_of_present(ratios: ArrayLike) -> Ratios:
    """Mean over the last axis without the NaN entries; NaN where every entry is NaN."""
    values = np.asarray(ratios, dtype=np.float64)
    present = ~np.isnan(values)
    return _divide(np.where(present, values, 0.0).sum(-1), present.sum(-1))


def frequency_weighted_iou(counts: ArrayLike) -> Ratios:
    """Sum over classes of (share of true pixels) x IoU: [..., C, C] -> [...]; NaN where nothing was scored."""
    matrix = as_counts(counts)
    share = _divide(matrix.sum(-1), matrix.sum((-2, -1))[..., None])
    weighted = np.where(matrix.sum(-1) > 0, share * np.nan_to_num(iou(matrix)), 0.0).sum(-1)
    return np.asarray(np.where(matrix.sum((-2, -1)) > 0, weighted, np.nan))


def pixel_accuracy(counts: ArrayLike) -> Ratios:
    """Share of scored pixels with the right class: [..., C, C] -> [...]; NaN where nothing was scored."""
    matrix = as_counts(counts)
    return _divide(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-2, -1)))


def class_accuracy(counts: ArrayLike) -> Ratios:
    """Recall per class, TP / (TP + FN): [..., C, C] -> [..., C]; NaN where truth lacks the class."""
    matrix = as_counts(counts)
    return _divide(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1))


def absent_classes(counts: ArrayLike) -> tuple[int, ...]:
    """Classes that no matrix of the stack holds, neither as truth nor as prediction."""
    matrix = as_counts(counts)
    used = (matrix.sum(-1) + matrix.sum(-2)).reshape(-1, matrix.shape[-1]).sum(0)
    return tuple(int(index) for index in np.flatnonzero(used == 0))


def group_counts(counts: ArrayLike, table: ClassTable) -> tuple[tuple[str, ...], Counts]:
    """Merge classes into the categories of `table`: (names, int64 [..., G, G]), in order of first appearance.

    Confusing two classes of one category is right at this level (Cityscapes' category IoU).
    Raises ConfigError if the table has no categories, InputError if it has another number of classes.
    """
    matrix = as_counts(counts)
    if table.categories is None:
        raise ConfigError(
            "the class table has no categories; give ClassTable(categories=...) to group classes"
        )
    if matrix.shape[-1] != len(table):
        raise InputError(f"counts have {matrix.shape[-1]} classes but the class table has {len(table)}")
    names = tuple(dict.fromkeys(table.categories))
    membership = np.array(
        [[category == name for category in table.categories] for name in names], dtype=np.int64
    )
    return names, membership @ matrix @ membership.T


def as_counts(counts: ArrayLike) -> Counts:
    """Check a stack of count matrices and return it as int64 [..., C, C].

    Raises InputError for a shape that is not square, values that are not integers, or negative counts.
    """
    matrix = np.asarray(counts)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise InputError(f"counts must be [..., classes, classes], got shape {matrix.shape}")
    if matrix.dtype.kind not in "iu":
        raise InputError(f"counts must be integers (divide once, at the end), got {matrix.dtype}")
    if matrix.size and matrix.min() < 0:
        raise InputError(f"counts must not be negative, smallest is {matrix.min()}")
    return matrix.astype(np.int64, copy=False)


def _label_map(role: str, labels: ArrayLike) -> NDArray[np.integer]:
    array = np.asarray(labels)
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{role} must be an integer label map, got {array.dtype}; take the argmax of scores first"
        )
    return array


def _check_request(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> None:
    if classes < 1:
        raise ConfigError(f"classes must be at least 1, got {classes}")
    if truth.shape != predicted.shape:
        raise InputError(
            f"truth has shape {truth.shape} but the prediction has {predicted.shape}; resize the prediction to the label"
        )


def _as_bytes(labels: NDArray[np.integer]) -> NDArray[np.uint8] | None:
    """The same values as uint8, or None if they do not fit."""
    if labels.dtype == np.uint8:
        return labels.astype(np.uint8, copy=False)
    if labels.size and (labels.min() < 0 or labels.max() >= BYTE_VALUES):
        return None
    return labels.astype(np.uint8)


def _count_bytes(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, ignore_index: int
) -> Counts:
    """One 16-bit code per pixel and one histogram of all 65536 codes; nothing is filtered before counting."""
    code = truth.astype(np.uint16)
    np.left_shift(code, 8, out=code)
    np.bitwise_or(code, predicted, out=code)
    table = np.bincount(code.reshape(-1), minlength=BYTE_VALUES**2).reshape(BYTE_VALUES, BYTE_VALUES)
    counts = table[:classes, :classes].astype(np.int64)
    ignored = int(table[ignore_index, :classes].sum()) if 0 <= ignore_index < BYTE_VALUES else 0
    if 0 <= ignore_index < classes:
        counts[ignore_index] = 0
    if int(counts.sum()) + ignored != truth.size:
        in_truth, in_prediction = table.sum(1), table.sum(0)
        allowed = {*range(classes), ignore_index}
        _refuse(
            "truth",
            {v: int(in_truth[v]) for v in range(BYTE_VALUES) if v not in allowed},
            classes,
            ignore_index,
        )
        _refuse("prediction", {v: int(in_prediction[v]) for v in range(classes, BYTE_VALUES)}, classes, None)
    return counts


def _count_wide(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, ignore_index: int
) -> Counts:
    """Any integer type and any number of classes."""
    scored = truth != ignore_index
    strange_truth = truth[scored & ((truth < 0) | (truth >= classes))]
    strange_prediction = predicted[(predicted < 0) | (predicted >= classes)]
    _refuse("truth", _tally(strange_truth), classes, ignore_index)
    _refuse("prediction", _tally(strange_prediction), classes, None)
    code = truth[scored].astype(np.int64) * classes + predicted[scored].astype(np.int64)
    return np.bincount(code, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _tally(values: NDArray[np.integer]) -> dict[int, int]:
    found, times = np.unique(values, return_counts=True)
    return {int(value): int(count) for value, count in zip(found, times, strict=True)}


def _refuse(role: str, strange: dict[int, int], classes: int, ignore_index: int | None) -> None:
    found = [f"{value} ({count} px)" for value, count in strange.items() if count]
    if not found:
        return
    shown = ", ".join(found[:8]) + (f" and {len(found) - 8} other values" if len(found) > 8 else "")
    allowed = f"0..{classes - 1}" + ("" if ignore_index is None else f" or {ignore_index} (ignored)")
    raise InputError(
        f"{role} holds {shown}; allowed is {allowed}. Check the class table and the ignore_index"
    )


def _divide(numerator: NDArray[np.generic], denominator: NDArray[np.generic]) -> Ratios:
    """Quotient with NaN, silently, where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)
    return out
