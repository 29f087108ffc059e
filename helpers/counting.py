"""Counting by density maps on frozen maps: the map's sum is the count, wherever the objects are."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import experiment
from helpers.data.scenes import SIDE
from helpers.detection import Maps
from helpers.heads import FusedHead, gaussian_maps
from helpers.training import History, fit

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

STRIDE, SIGMA = 8, 6.0
COMPARISON = Path(__file__).with_suffix(".json")


def density_maps(points: Sequence[np.ndarray], side: int = SIDE, stride: int = STRIDE, sigma: float = SIGMA) -> torch.Tensor:
    """For each image a map (side / stride, side / stride) that sums to the number of its points: a Gaussian for each, scaled to sum to 1.

    points: for each image (k, 2), x and y in pixels; none gives a map of zeros. Result (n, cells, cells) float32. Because each bump is
    scaled after it was cut at the border, a point in a corner counts as much as any other (Lempitsky & Zisserman 2010, NeurIPS).
    Raises ValueError for another shape, or for a point that is not in the image.
    """
    cells = side // stride
    maps = torch.zeros(len(points), cells, cells)
    for number, of_image in enumerate(points):
        places = torch.as_tensor(of_image, dtype=torch.float32)
        if not places.numel():
            continue
        if places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(f"the points of image {number} have shape {tuple(places.shape)}: pass (k, 2), x and y")
        if not ((places >= 0) & (places <= side)).all():
            raise ValueError(f"a point of image {number} lies outside of its {side} x {side} pixels: drop it, it cannot be seen")
        bumps = gaussian_maps(places, cells, stride, sigma)
        maps[number] = (bumps / bumps.sum((1, 2), keepdim=True)).sum(0)
    return maps


class DensityHead(nn.Module):
    """Frozen maps of stride 8 and 16 -> a density map (n, cells, cells) that is never negative: `FusedHead` with a dilated convolution.

    (A pretrained front end and a dilated head: CSRNet, Li, Zhang & Chen 2018, arXiv:1802.10062.)
    """

    def __init__(self, width: int = 48):
        super().__init__()
        self.head = FusedHead(1, width, dilation=2)

    def forward(self, maps: Maps) -> torch.Tensor:
        return F.softplus(self.head(maps)[:, 0] - 3)  # begins near 0, as most cells are empty


class ScratchCounter(nn.Module):
    """The same idea without a source: images (n, 3, h, w) -> a density map of stride 8, from six convolutions (55,000 weights)."""

    def __init__(self, width: int = 48):
        super().__init__()
        layers: list[nn.Module] = []
        plan = ((3, 12, 2, 1), (12, 24, 2, 1), (24, width, 2, 1), (width, width, 1, 2), (width, width, 1, 2))
        for inputs, outputs, stride, dilation in plan:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))

    def forward(self, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        return F.softplus(self.layers(inputs[0])[:, 0] - 3)


def turn_and_mirror(inputs: tuple[torch.Tensor, ...], density: torch.Tensor, turn: int, mirror: bool) -> tuple:
    """The inputs and their density maps, turned by 90° as often as `turn` says, and mirrored: the count stays."""
    moved = [torch.rot90(tensor, turn, (-2, -1)) for tensor in (*inputs, density)]
    *inputs, density = [tensor.flip(-1) for tensor in moved] if mirror else moved
    return tuple(inputs), density


def train_counter(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], points: Sequence[np.ndarray], steps: int = 120, learning_rate: float = 4e-3,
    augment: bool = False, seed: int = 0,
) -> History:
    """Train a `DensityHead` (inputs: both maps) or a `ScratchCounter` (inputs: the images): squared error of the map, and a little of
    the count's absolute error. augment: turn and mirror each batch, for a net that sees pixels."""
    target, generator = density_maps(points), torch.Generator().manual_seed(seed)
    model.to(memory_format=torch.channels_last)

    def loss(model: nn.Module, _: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        batch, wanted = tuple(tensor[chosen] for tensor in inputs), target[chosen]
        if augment:
            turn, mirror = (int(torch.randint(high, (), generator=generator)) for high in (4, 2))
            batch, wanted = turn_and_mirror(batch, wanted, turn, bool(mirror))
        said = model(batch)
        by_count = (said.sum((1, 2)) - wanted.sum((1, 2))).abs().mean()
        return (said - wanted).square().sum((1, 2)).mean() + 0.02 * by_count

    places = np.arange(len(target))
    return fit(model, torch.zeros(len(places), 1), places, steps=steps, learning_rate=learning_rate, batch_size=16, weight_decay=1e-2,
               loss=loss, seed=seed)


@torch.inference_mode()
def count(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> np.ndarray:
    """How many the model sees in each image: the sum of its density map, (n,). It need not be a whole number."""
    model.eval()
    return model(inputs).sum((1, 2)).numpy()


def mean_absolute_error(said: np.ndarray, true: np.ndarray) -> float:
    """The mean of |said - true| over the images, in objects."""
    return float(np.abs(np.asarray(said) - np.asarray(true)).mean())


def pooled(maps: Sequence[torch.Tensor]) -> np.ndarray:
    """(n, channels of all maps): their means over all places, which forget where things are but not how much of each there is."""
    return torch.cat([of_layer.mean((2, 3)) for of_layer in maps], 1).numpy()


def ridge(maps: Sequence[torch.Tensor], counts: np.ndarray) -> Pipeline:
    """The simplest counter on frozen maps: ridge regression of the count on the pooled, standardised features; its strength is chosen
    by leaving one scene out."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 9))).fit(pooled(maps), counts)


def comparison() -> pd.DataFrame:
    """What data_scripts/compare_counters.py measured: a row for each arm, number of training `scenes` and seed, with the `error`."""
    return experiment.stored_rows(COMPARISON)
