"""Super-resolution: shrink, enlarge, a small net that adds what bicubic enlargement lacks, and how to judge the result."""
from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers.backbones import shipped
from helpers.training import fit

FACTOR = 2
PRETRAINING_STEPS, TUNING_STEPS = 1500, 150
BORDER = 4  # pixels left out when an image is judged: there the enlargement has to guess what lies outside
WEIGHTS = Path(__file__).parent / "backbones" / "weights" / "upscalers.safetensors"
SCRIPT = "make_upscalers.py"  # in data_scripts/: what made them


def shrink(images: torch.Tensor, factor: int = FACTOR) -> torch.Tensor:
    """(n, 1, h, w) -> (n, 1, h / factor, w / factor), bicubic with antialiasing, kept in 0-1.

    Raises ValueError when height or width is no multiple of the factor.
    """
    if images.shape[-1] % factor or images.shape[-2] % factor:
        raise ValueError(f"{images.shape[-1]} x {images.shape[-2]} pixels cannot be divided by {factor}: cut off the rest first")
    return F.interpolate(images, scale_factor=1 / factor, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def enlarge(images: torch.Tensor, factor: int = FACTOR) -> torch.Tensor:
    """(n, 1, h, w) -> (n, 1, factor h, factor w), bicubic, kept in 0-1: the classical peer, and what the net starts from."""
    return F.interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False).clamp(0, 1)


class Upscaler(nn.Module):
    """Bicubic enlargement plus a correction: convolutions at low resolution, then the channels become pixels (Shi et al. 2016,
    arXiv:1609.05158). (n, 1, h, w) in 0-1 -> (n, 1, factor h, factor w).

    The correction sees what differs from the local mean: grey levels and slow shading do not matter to it. Its last layer starts
    near 0, so that an untrained net is close to bicubic.
    """

    def __init__(self, factor: int = FACTOR, width: int = 24, layers: int = 2):
        super().__init__()
        self.factor = factor
        parts: list[nn.Module] = [nn.Conv2d(1, width, 5, padding=2), nn.ReLU()]
        for _ in range(layers):
            parts += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.correct = nn.Sequential(*parts, nn.Conv2d(width, factor * factor, 3, padding=1))
        for part in self.correct:
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                nn.init.zeros_(part.bias)
        with torch.no_grad():
            self.correct[-1].weight.mul_(0.05)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        local_mean = F.avg_pool2d(F.pad(small, (2, 2, 2, 2), "replicate"), 5, stride=1)
        return enlarge(small, self.factor) + F.pixel_shuffle(self.correct(5 * (small - local_mean)), self.factor) / 5


def turn(patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The whole batch turned by 0, 90, 180 or 270 degrees and perhaps mirrored: text and texture have the same edges in every turn."""
    turns, mirror = torch.randint(0, 4, (1,), generator=generator), torch.randint(0, 2, (1,), generator=generator)
    patches = torch.rot90(patches, int(turns), (2, 3))
    return patches.flip(3) if mirror else patches


Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def train(
    model: nn.Module, patches: np.ndarray, *, steps: int, learning_rate: float, seed: int = 0, distance: Distance = F.l1_loss,
    batch_size: int = 8,
) -> nn.Module:  # fmt: skip
    """Train `model` in place to undo `shrink` on grey patches (n, h, w) in 0-1, turned and mirrored; returns it.

    distance: of the enlarged and the true patches, what is made small. Raises ValueError when there are no patches, and as `training.fit`.
    """
    if not len(patches):
        raise ValueError("there are no patches: pass at least one")
    inputs = torch.as_tensor(np.asarray(patches, np.float32))[:, None]

    def loss(net: nn.Module, batch: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return distance(net(shrink(batch)), batch)

    fit(model, inputs, np.zeros(len(inputs), int), steps=steps, learning_rate=learning_rate, batch_size=batch_size, augment=turn,
        weight_decay=1e-4, schedule="cosine", loss=loss, seed=seed)  # fmt: skip
    return model


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels of images in 0-1: 10 log10(1 / mean squared error); infinite when they are equal.

    Raises ValueError when the shapes differ.
    """
    image, reference = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    if image.shape != reference.shape:
        raise ValueError(f"the images have shapes {image.shape} and {reference.shape}: compare images of the same size")
    error = ((image - reference) ** 2).mean()
    return 10 * math.log10(1 / error) if error else math.inf


def crop(image: np.ndarray, factor: int = FACTOR) -> np.ndarray:
    """Cut off the last rows and columns, so that height and width are multiples of the factor."""
    return image[: image.shape[0] // factor * factor, : image.shape[1] // factor * factor]


@torch.no_grad()
def restore(model: Callable[[torch.Tensor], torch.Tensor], image: np.ndarray) -> np.ndarray:
    """Shrink a grey image (h, w) in 0-1 and enlarge it again by `model` (a net, or `enlarge`): (h, w) in 0-1, cropped as `crop`."""
    whole = torch.as_tensor(crop(image))[None, None].float()
    return model(shrink(whole)).clamp(0, 1)[0, 0].numpy()


def judge(model: Callable[[torch.Tensor], torch.Tensor], image: np.ndarray) -> float:
    """The PSNR of `restore`d against true, without the border. Raises ValueError when the image is smaller than 16 pixels."""
    if min(image.shape) < 16:
        raise ValueError(f"the image has {image.shape[1]} x {image.shape[0]} pixels: judge one of 16 or more")
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    return psnr(restore(model, image)[inside], crop(image)[inside])


def provenance() -> dict:
    """How the shipped nets were made: script, steps, seeds, versions, PSNR on other patches of their source, sha256."""
    return shipped.record(WEIGHTS)


def verify() -> Path:
    """The path of the shipped weights. Raises CourseError as `shipped.verified`."""
    return shipped.verified(WEIGHTS, provenance()["sha256"], SCRIPT)


def load_upscaler(source: str, number: int = 0) -> Upscaler:
    """A net pretrained on `source` ("photographs", "rendered text"), in evaluation mode. number: which of the three of each.

    Raises ValueError for a source or number that there is not, and as `verify`.
    """
    model = Upscaler()
    model.load_state_dict(shipped.net_of(WEIGHTS, SCRIPT, source, number))
    return model.eval()
