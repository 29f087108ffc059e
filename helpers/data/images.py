"""A set of labelled images, and the checks that every image passes before a model sees it."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


class ImageSet(NamedTuple):
    """images: (n, height, width) grey or (n, height, width, 3) colour; uint8 in 0-255 or float32 in 0-1. labels: (n,) int64.
    class_names: one name for each label value. groups: (n,) int64, what must not stand on both sides of a split (None: nothing).
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray | None = None


def check_images(images: np.ndarray) -> np.ndarray:
    """The images, unchanged, when they are usable. Raises ValueError that names the wrong shape, dtype, range or NaN."""
    images = np.asarray(images)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        raise ValueError(
            f"images have shape {images.shape}: pass (n, height, width) for grey or (n, height, width, 3) for colour. "
            "One image alone needs a first axis: image[None]"
        )
    if not len(images):
        raise ValueError("there are no images: the first axis has length 0")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images have dtype {images.dtype}: pass uint8 in 0-255 or float32 in 0-1")
    if not np.isfinite(images).all():
        raise ValueError(f"{(~np.isfinite(images)).sum()} pixels are NaN or infinite: mend or drop these images first")
    if images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"float images lie in {images.min():.3g} to {images.max():.3g}, expected 0 to 1: divide by 255, or pass uint8"
        )
    return images


def check_labels(labels: np.ndarray, count: int) -> np.ndarray:
    """The labels as int64 (count,). Raises ValueError for another length, fractions or negative labels."""
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"labels have shape {labels.shape} for {count} images: pass one label for each image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels have dtype {labels.dtype}: pass whole numbers 0, 1, 2, … (an index into class_names)")
    if labels.min() < 0:
        raise ValueError(f"a label is {labels.min()}: labels count from 0")
    return labels.astype(np.int64)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """(n, h, w) or (n, h, w, 3) images -> float32 tensor (n, channels, h, w) in 0-1. Raises ValueError as `check_images`."""
    import torch

    images = check_images(images)
    scaled = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images.astype(np.float32)
    # PyTorch wants channels before height and width.
    channels_first = scaled[:, None] if scaled.ndim == 3 else scaled.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(channels_first))
