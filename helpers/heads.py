"""Small trainable heads on frozen maps: one that fuses a fine and a coarse map, and the places its cells stand for."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def cell_centres(cells: int, stride: int) -> torch.Tensor:
    """(cells,) the image coordinate, in pixels, of the middle of each cell of a map: stride/2, 3 stride/2, …"""
    return torch.arange(cells) * stride + stride / 2


def gaussian_maps(points: torch.Tensor, cells: int, stride: int, sigma: float) -> torch.Tensor:
    """One heat map with a peak of about 1 for each point: (…, 2) x and y in pixels -> (…, cells, cells). sigma: width in pixels."""
    centres = cell_centres(cells, stride)
    across = (centres - points[..., :1]) ** 2
    down = (centres - points[..., 1:]) ** 2
    return torch.exp(-(down[..., :, None] + across[..., None, :]) / (2 * sigma**2))


class FusedHead(nn.Module):
    """Frozen maps of stride 8 and 16 -> `outputs` maps of stride 8, as in a feature pyramid (Lin et al. 2017, arXiv:1612.03144).

    The fine map knows where, the coarse one knows what: each is projected to `width` channels, the coarse one is doubled in height and
    width, both are added. channels: of the two maps (40 and 112 are blocks 4 and 10 of EfficientNet-Lite0). dilation: above 1 each
    output sees further (Yu & Koltun 2016, arXiv:1511.07122).
    """

    def __init__(self, outputs: int, width: int = 48, channels: tuple[int, int] = (40, 112), dilation: int = 1):
        super().__init__()
        fine, coarse = channels
        self.fine = nn.Sequential(nn.BatchNorm2d(fine), nn.Conv2d(fine, width, 1))
        self.coarse = nn.Sequential(nn.BatchNorm2d(coarse), nn.Conv2d(coarse, width, 1))
        middle = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.out = nn.Sequential(nn.ReLU(), middle, nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, outputs, 1))

    def forward(self, maps: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        fine, coarse = self.fine(maps[0]), self.coarse(maps[1])
        return self.out(fine + F.interpolate(coarse, size=fine.shape[-2:]))
