"""Dense prediction: an answer for every place of an image. A head on frozen maps, a small U-Net from scratch, how both are trained."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import experiment
from helpers.heads import FusedHead
from helpers.training import History, fit

if TYPE_CHECKING:
    import pandas as pd

MEASURED = Path(__file__).with_suffix(".json")
STRIDE = 4  # pixels of the image a cell of the output stands for
Inputs = torch.Tensor | Sequence[torch.Tensor]


class DenseHead(nn.Module):
    """Frozen maps of stride 8 and 16 -> `outputs` maps of stride 4: a `FusedHead` whose channels become cells (`pixel_shuffle`)."""

    def __init__(self, outputs: int, width: int = 64, channels: tuple[int, int] = (40, 112)):
        super().__init__()
        self.head = FusedHead(4 * outputs, width, channels)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return F.pixel_shuffle(self.head(tuple(maps)), 2)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """The opponent from scratch: down to stride 32 and up again, each step up sees the maps of the same size on the way down.

    Images (n, 3, h, w), sides a multiple of 32 -> (n, outputs, h / 4, w / 4). (Ronneberger et al. 2015, arXiv:1505.04597.)
    """

    def __init__(self, outputs: int):
        super().__init__()
        self.stem = nn.Sequential(_block(3, 12, 2), _block(12, 20, 2))
        self.down = nn.ModuleList([nn.Sequential(_block(a, b, 2), _block(b, b)) for a, b in ((20, 32), (32, 64), (64, 64))])
        self.up = nn.ModuleList([_block(128, 48), _block(80, 48)])
        self.out = nn.Conv2d(48, 4 * outputs, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = [self.stem(images)]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2), maps.pop()], 1))
        return F.pixel_shuffle(self.out(x), 2)


def take(inputs: Inputs, rows: torch.Tensor | slice) -> Inputs:
    """The rows of a tensor, or of each tensor of a sequence: images and pairs of maps are handled alike."""
    return inputs[rows] if isinstance(inputs, torch.Tensor) else tuple(part[rows] for part in inputs)


def train(
    model: nn.Module, inputs: Inputs, targets: torch.Tensor, *, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    steps: int, learning_rate: float, augment: Callable[..., tuple[Inputs, torch.Tensor]] | None = None, batch_size: int = 12,
    seed: int = 0,
) -> History:  # fmt: skip
    """Train `model` in place: loss(model(inputs), targets) on batches. inputs: (n, …), or several of them (maps). targets: (n, …).

    augment: (inputs, targets, generator) -> the batch changed. Raises ValueError when the lengths differ, and as `training.fit`.
    """
    count = len(inputs if isinstance(inputs, torch.Tensor) else inputs[0])
    if len(targets) != count:
        raise ValueError(f"{count} inputs and {len(targets)} targets: pass one target for each input")
    generator = torch.Generator().manual_seed(seed)

    def of_rows(net: nn.Module, rows: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        batch, wanted = take(inputs, rows), targets[rows]
        if augment:
            batch, wanted = augment(batch, wanted, generator)
        return loss(net(batch), wanted)

    rows = torch.arange(count)
    return fit(model, rows, np.zeros(count, int), steps=steps, learning_rate=learning_rate, batch_size=batch_size, weight_decay=0.01,
               loss=of_rows, seed=seed)  # fmt: skip


@torch.no_grad()
def predict(model: nn.Module, inputs: Inputs, batch_size: int = 60) -> torch.Tensor:
    """The model's maps for all inputs, in evaluation mode."""
    model.eval()
    count = len(inputs if isinstance(inputs, torch.Tensor) else inputs[0])
    return torch.cat([model(take(inputs, slice(start, start + batch_size))) for start in range(0, count, batch_size)])


def balanced_bce(logits: torch.Tensor, targets: torch.Tensor, weight: float = 5.0) -> torch.Tensor:
    """Binary cross-entropy in which what is there (1) counts `weight` times: most places of an image are empty, and a net that
    says "nothing" everywhere would be nearly right."""
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor(weight))


def coarse_masks(masks: np.ndarray, stride: int = STRIDE) -> torch.Tensor:
    """Masks (n, h, w) bool -> (n, 1, h / stride, w / stride) float: the share of each cell that is covered.

    Raises ValueError for another shape, or sides that are no multiple of the stride.
    """
    masks = np.asarray(masks)
    if masks.ndim != 3 or masks.shape[1] % stride or masks.shape[2] % stride:
        raise ValueError(f"masks have shape {masks.shape}: pass (n, height, width), sides a multiple of {stride}")
    return F.avg_pool2d(torch.as_tensor(masks.astype(np.float32))[:, None], stride)


def fine_masks(logits: torch.Tensor, stride: int = STRIDE) -> np.ndarray:
    """Logits (n, 1, rows, columns) of cells -> (n, h, w) bool of pixels: enlarged bilinearly, then cut at 0."""
    return (F.interpolate(logits, scale_factor=stride, mode="bilinear") > 0)[:, 0].numpy()


def mask_iou(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each mask with the true one: (n, h, w) bool, twice -> (n,). Two empty masks agree: 1.

    Raises ValueError when the shapes differ or the masks are not boolean.
    """
    masks, truth = np.asarray(masks), np.asarray(truth)
    if masks.shape != truth.shape or masks.ndim != 3:
        raise ValueError(f"masks have shape {masks.shape}, the true ones {truth.shape}: pass (n, height, width) twice")
    if masks.dtype != bool or truth.dtype != bool:
        raise ValueError(f"masks have dtype {masks.dtype} and {truth.dtype}: pass booleans, say masks > 0.5")
    union = (masks | truth).sum((1, 2))
    return np.where(union, (masks & truth).sum((1, 2)) / np.maximum(union, 1), 1.0)


def recolour(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Preprocessed images (n, 3, h, w), each with its colour channels made stronger or weaker (by up to 30 %) and lighter or darker."""
    gain = 0.7 + 0.6 * torch.rand(len(images), 3, 1, 1, generator=generator)
    shift = 0.6 * torch.rand(len(images), 3, 1, 1, generator=generator) - 0.3
    return images * gain + shift


def augment_masks(images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """For `train`: images recoloured; half of them mirrored, and their masks (n, 1, rows, columns) with them."""
    mirrored = (torch.rand(len(images), generator=generator) < 0.5)[:, None, None, None]
    images, masks = (torch.where(mirrored, part.flip(3), part) for part in (images, masks))
    return recolour(images, generator), masks


def measured(task: str, tuning: bool = False) -> pd.DataFrame:
    """The stored runs of a task ("keypoints", "masks", "super-resolution"): columns arm, count, steps, rate, seed, score.

    tuning: those that the rates were chosen by instead. They were made by data_scripts/benchmark_dense.py. Raises ValueError for
    another task.
    """
    rows = experiment.stored_rows(MEASURED)
    if task not in set(rows.task):
        raise ValueError(f"no runs of {task!r} are stored: choose one of {', '.join(sorted(set(rows.task)))}")
    chosen = rows[(rows.task == task) & (rows.tuning.notna() == tuning)]
    return chosen.drop(columns=["task", "tuning"]).reset_index(drop=True)


def tuned_rate(task: str, arm: str, count: int, steps: int) -> float:
    """The learning rate with the best mean in the stored tuning runs. Raises ValueError when nothing was tuned for this setting."""
    rows = measured(task, tuning=True)
    rows = rows[(rows.arm == arm) & (rows["count"] == count) & (rows.steps == steps)]
    if rows.empty:
        raise ValueError(f"no rate was tuned for {task}, {arm}, {count} examples, {steps} steps: pass one yourself")
    return float(rows.groupby("rate").score.mean().idxmax())
