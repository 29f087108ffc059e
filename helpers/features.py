"""Feature extraction: run a frozen backbone once over all images, keep the result on disk, and put cheap classifiers on top."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers import config
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.data.cache import cached

if TYPE_CHECKING:
    import torch
    from sklearn.pipeline import Pipeline
    from torch import nn

BATCH = 16  # small enough that a layer's maps stay in the processor's cache: half the time of 64 at 128 pixels, the same features
POOLINGS = ("mean", "max", "grid")
BACKBONE_THREADS = 2


def pool_map(maps: torch.Tensor, pooling: str) -> torch.Tensor:
    """(n, c, h, w) -> (n, d): "mean" or "max" over all places (d = c), or "grid", the means of 2 x 2 quarters (d = 4 c).

    Raises ValueError for another pooling.
    """
    import torch.nn.functional as F

    if pooling == "mean":
        return maps.mean((2, 3))
    if pooling == "max":
        return maps.amax((2, 3))
    if pooling == "grid":
        return F.adaptive_avg_pool2d(maps, 2).flatten(1)
    raise ValueError(f"no pooling called {pooling!r}: choose one of {', '.join(POOLINGS)}")


@cached
def _extract(images: np.ndarray, size: int, pooling: str, weights: str) -> dict[str, np.ndarray]:
    # `weights` is not used: it is the weights' hash, there so that other weights get a cache entry of their own.
    import torch

    model = lite0.load_efficientnet_lite0()
    device = next(model.parameters()).device
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in lite0.LAYERS}
    starts = range(0, len(images), BATCH)
    with torch.no_grad(), config.threads(min(BACKBONE_THREADS, config.cores())):
        for start in config.progress(starts, "extract features"):
            batch = lite0.preprocess(images[start : start + BATCH], size).to(device, memory_format=torch.channels_last)
            for layer, maps in lite0.feature_maps(model, batch).items():
                parts[layer].append(pool_map(maps, pooling).cpu().numpy())
    return {layer: np.concatenate(part) for layer, part in parts.items()}


def extract(images: np.ndarray, layer: str = "head", size: int = 96, pooling: str = "mean") -> np.ndarray:
    """Features (n, d) float32 of EfficientNet-Lite0 for uint8 images (n, h, w) or (n, h, w, 3), from the disk cache when it has them.

    layer: one of `LAYERS` of the backbone (the first call computes them all). size: images are resized to size x size pixels, a
    multiple of 32. Raises ValueError for unusable images, layer, size or pooling, CourseError when the weights cannot be verified.
    """
    if layer not in lite0.LAYERS:
        raise ValueError(f"no layer called {layer!r}: choose one of {', '.join(lite0.LAYERS)}")
    if pooling not in POOLINGS:
        raise ValueError(f"no pooling called {pooling!r}: choose one of {', '.join(POOLINGS)}")
    lite0.resize(images[:1], size)  # complain about the arguments before the long run
    lite0.verify()
    return _extract(np.asarray(images), size, pooling, lite0.SHA256)[layer]


def maps_of(model: nn.Module, images: np.ndarray, layers: Sequence[str], size: int | None) -> tuple[np.ndarray, ...]:
    """The maps (n, channels, height, width) float32 of `model` at each of the `layers`, for uint8 images; nothing is cached."""
    import torch

    device = next(model.parameters()).device
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    with torch.no_grad(), config.threads(min(BACKBONE_THREADS, config.cores())):
        for start in config.progress(range(0, len(images), BATCH), "extract maps"):
            batch = lite0.preprocess(images[start : start + BATCH], size).to(device, memory_format=torch.channels_last)
            for layer, maps in lite0.feature_maps(model, batch, layers).items():
                parts[layer].append(maps.contiguous().cpu().numpy())
    return tuple(np.concatenate(part) for part in parts.values())


@cached
def _extract_pyramid(images: np.ndarray, layers: tuple[str, ...], size: int | None, weights: str) -> tuple[np.ndarray, ...]:
    return maps_of(lite0.load_efficientnet_lite0(), images, layers, size)


def extract_pyramid(
    images: np.ndarray, layers: Sequence[str] = ("block 4", "block 10"), size: int | None = None, random_seed: int | None = None,
    calibrate_on: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """The whole maps (n, channels, height, width) float32 at several layers of EfficientNet-Lite0, fine and coarse, cached on disk.

    images: uint8. layers: block 4 has stride 8 and 40 channels, block 10 stride 16 and 112 channels. size: None keeps the images' own.
    random_seed: the same net with random weights instead (a control), its BatchNorm calibrated on `calibrate_on` (None: on `images`;
    for test images pass the training images, or test and training maps come from two different nets). Raises as `extract`.
    """
    lite0.resize(images[:1], size)  # complain about the arguments before the long run
    if random_seed is not None:
        calibration = np.asarray(images if calibrate_on is None else calibrate_on)
        return _random_pyramid(np.asarray(images), tuple(layers), size, random_seed, calibration)
    lite0.verify()
    return _extract_pyramid(np.asarray(images), tuple(layers), size, lite0.SHA256)


@cached
def _random_pyramid(
    images: np.ndarray, layers: tuple[str, ...], size: int | None, seed: int, calibrate_on: np.ndarray
) -> tuple[np.ndarray, ...]:
    return maps_of(lite0.load_random_lite0(calibrate_on, size, seed), images, layers, size)


def extract_maps(images: np.ndarray, layer: str = "block 10", size: int | None = 64) -> np.ndarray:
    """The whole maps (n, channels, height, width) float32 of EfficientNet-Lite0 at one layer, from the disk cache when it has them.

    As inputs of `lite0.tail(after=layer, …)` they make the rest of the net trainable on a CPU: what comes before is frozen, so it is
    run once. Nothing is pooled: 1,000 images take 7 MB at block 10 and size 64. Raises as `extract`.
    """
    return extract_pyramid(images, (layer,), size)[0]


def linear_probe(features: np.ndarray, labels: np.ndarray, strength: float = 0.1) -> Pipeline:
    """Logistic regression on standardised features (n, d), fitted. strength: scikit-learn's C, weaker regularisation when larger.

    The mean and deviation come from the features given here, so nothing of a test set leaks in. (Alain & Bengio 2016,
    arXiv:1610.01644.) Raises ValueError when there is only one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) < 2:
        raise ValueError("all labels are of one class: a classifier needs examples of two or more")
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500)).fit(features, labels)


def nearest_neighbours(features: np.ndarray, labels: np.ndarray, k: int = 1) -> Pipeline:
    """A k-nearest-neighbour classifier by cosine distance, fitted on (n, d) features. Nothing is trained, so it has no rate to tune.

    Raises ValueError when k is larger than the number of images.
    """
    from sklearn.neighbors import KNeighborsClassifier

    if not 1 <= k <= len(features):
        raise ValueError(f"k is {k} for {len(features)} images: choose 1 to {len(features)}")
    return KNeighborsClassifier(k, metric="cosine").fit(features, labels)
