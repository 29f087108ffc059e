"""Random changes of a batch of images: the strongest cheap regulariser that a net trained from scratch can have."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def jitter(
    rotation: float = 0.1, shear: float = 0.1, scale: float = 0.08, shift: float = 0.08,
    brightness: float = 0.15, noise: float = 0.05, flip: bool = False,
) -> Augment:  # fmt: skip
    """A function (images (n, c, h, w) in 0-1, generator) -> images that moves each image by a random affine map of its own.

    rotation and shear: standard deviations in radians. scale: of the logarithm of each side's zoom. shift: of the move, in half image
    sides. brightness: of the logarithm of a factor on all pixels. noise: of what is added to each pixel. flip: mirror left and right
    with probability 1/2. The defaults are mild: a digit stays the same digit.
    """

    def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n = len(images)

        def normal(deviation: float) -> torch.Tensor:
            return torch.randn(n, generator=generator) * deviation

        angle, slant = normal(rotation), normal(shear)
        zoom_x, zoom_y = normal(scale).exp(), normal(scale).exp()
        if flip:
            zoom_x = zoom_x * (1 - 2 * torch.randint(0, 2, (n,), generator=generator))
        first = torch.stack([angle.cos() * zoom_x, (slant - angle.sin()) * zoom_y, normal(shift)], 1)
        second = torch.stack([angle.sin() * zoom_x, angle.cos() * zoom_y, normal(shift)], 1)
        matrices = torch.stack([first, second], 1).to(images)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
        lit = moved * normal(brightness).exp()[:, None, None, None].to(images)
        if noise:  # a random number for every pixel takes longer than all else here
            lit = lit + noise * torch.randn(images.shape, generator=generator).to(images)
        return lit.clamp(0, 1)

    return augment


def photometric(contrast: float = 0.25, gamma: float = 0.3, noise: float = 0.06) -> Augment:
    """A function (images (n, c, h, w) in 0-1, generator) -> images with other light: every pixel changes its value, none its place.

    contrast: standard deviation of the logarithm of a factor on all pixels of an image. gamma: of the logarithm of an exponent, which
    darkens or lightens the middle greys. noise: of what is added to each pixel. Raises ValueError when one of them is negative.
    """
    if min(contrast, gamma, noise) < 0:
        raise ValueError(f"contrast, gamma and noise are {contrast}, {gamma}, {noise}: standard deviations are 0 or more")

    def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        def positive(deviation: float) -> torch.Tensor:
            return (torch.randn(len(images), 1, 1, 1, generator=generator) * deviation).exp().to(images)

        lit = (images * positive(contrast)).clamp(0, 1) ** positive(gamma)
        if noise:
            lit = lit + noise * torch.randn(images.shape, generator=generator).to(images)
        return lit.clamp(0, 1)

    return augment
