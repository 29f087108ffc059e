"""Keypoints: heat maps as targets, coordinates read off by a soft-argmax, and the share of joints that are found."""
from __future__ import annotations

import numpy as np
import torch

from helpers.data.figures import SIDE
from helpers.dense import STRIDE, balanced_bce, recolour
from helpers.heads import cell_centres, gaussian_maps

SIGMA = 5.0  # pixels, width of the peaks that a net is trained on
WINDOW = 10.0  # pixels around the highest cell that the soft-argmax looks at
MIRRORED = [0, 1, 2, 4, 3, 6, 5]  # whose place a joint of `figures.JOINTS` takes in the mirror: left is right
FOUND = 8.0  # pixels: a joint counts as found when it is closer than this


def heat_maps(joints: torch.Tensor, cells: int = 32) -> torch.Tensor:
    """The target (n, joints, cells, cells) with a peak at each joint (n, joints, 2), in pixels."""
    return gaussian_maps(joints, cells, STRIDE, SIGMA)


def soft_argmax(weights: torch.Tensor, stride: int = STRIDE) -> torch.Tensor:
    """The centre of mass of each map: non-negative weights (…, rows, columns) -> (…, 2), x and y in pixels of the image.

    Finer than a cell, and differentiable (Sun et al. 2018, arXiv:1711.08229). Of two peaks it names the middle, where nothing is.
    A map of zeros gives the middle of the image. Raises ValueError for negative weights.
    """
    if (weights < 0).any():
        raise ValueError("a weight is negative: pass probabilities, such as the sigmoid or softmax of the logits")
    # A map of zeros has no centre: so little, the same everywhere, changes no other map.
    weights = weights + 1e-12
    total = weights.sum((-2, -1))
    across = (weights.sum(-2) * cell_centres(weights.shape[-1], stride)).sum(-1)
    down = (weights.sum(-1) * cell_centres(weights.shape[-2], stride)).sum(-1)
    return torch.stack([across, down], -1) / total[..., None]


def decode(logits: torch.Tensor, stride: int = STRIDE, window: float = WINDOW) -> torch.Tensor:
    """One place for each map (n, joints, rows, columns): the soft-argmax of the probabilities less than `window` pixels from the
    highest cell -> (n, joints, 2), x and y in pixels."""
    rows, columns = logits.shape[-2:]
    highest = logits.flatten(-2).argmax(-1)
    x, y = cell_centres(columns, stride), cell_centres(rows, stride)
    near_x = (x - x[highest % columns][..., None]).abs() < window
    near_y = (y - y[highest // columns][..., None]).abs() < window
    return soft_argmax(torch.sigmoid(logits) * (near_y[..., :, None] & near_x[..., None, :]), stride)


def loss(logits: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
    """Of logits (n, joints, cells, cells) against the heat maps of the joints (n, joints, 2)."""
    return 10 * balanced_bce(logits, heat_maps(joints, logits.shape[-1]))


def augment(images: torch.Tensor, joints: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """For `dense.train`: images (n, 3, 128, 128) recoloured; half of them mirrored, and their joints (n, 7, 2) with them, left and
    right exchanged."""
    mirrored = (torch.rand(len(images), generator=generator) < 0.5)[:, None, None]
    exchanged = joints[:, MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([SIDE - 1.0, 0.0])
    images = torch.where(mirrored[..., None], images.flip(3), images)
    return recolour(images, generator), torch.where(mirrored, exchanged, joints)


def distances(found: np.ndarray | torch.Tensor, joints: np.ndarray) -> np.ndarray:
    """(n, joints) distances in pixels between found and true places (n, joints, 2).

    Raises ValueError when the shapes differ or a place is NaN.
    """
    found, joints = np.asarray(found, float), np.asarray(joints, float)
    if found.shape != joints.shape or found.shape[-1:] != (2,):
        raise ValueError(f"found places have shape {found.shape}, the true ones {joints.shape}: pass (n, joints, 2) twice")
    if np.isnan(found).any() or np.isnan(joints).any():
        raise ValueError("a place is NaN: leave out joints without a place, or give them one")
    return np.hypot(*np.moveaxis(found - joints, -1, 0))


def pck(found: np.ndarray | torch.Tensor, joints: np.ndarray, within: float = FOUND) -> float:
    """Percentage of correct keypoints, as a share: of all joints, those found less than `within` pixels from their place.

    (Yang & Ramanan 2013, doi:10.1109/TPAMI.2012.261.) Raises ValueError as `distances`, and when there are no joints.
    """
    gaps = distances(found, joints)
    if not gaps.size:
        raise ValueError("there are no joints: pass at least one figure")
    return float((gaps < within).mean())
