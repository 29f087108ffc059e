"""A small convolutional net for 8x8 images, and its weights pretrained on several sources."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from helpers.backbones import shipped

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = ("noise", "shuffled_letters", "letters", "font_digits")
WEIGHTS = Path(__file__).parent / "weights"


def convolution_block(inputs: int, outputs: int, stride: int = 1) -> Sequence[nn.Module]:
    """A 3x3 convolution, BatchNorm (which has a bias of its own, so the convolution needs none) and ReLU."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


class SmallCNN(nn.Module):
    """Three convolutions and one dense layer (`features`: 64 numbers an image), then a linear `classifier`.

    Input (n, 1, 8, 8) in 0-1, output logits (n, classes).
    """

    def __init__(self, classes: int):
        super().__init__()
        self.features = nn.Sequential(
            *convolution_block(1, 16), *convolution_block(16, 32), nn.MaxPool2d(2), *convolution_block(32, 64), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 2 * 2, 64), nn.BatchNorm1d(64), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Linear(64, classes)
        self.to(memory_format=torch.channels_last)  # a quarter faster on a CPU

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))


def provenance(source: str) -> dict:
    """How the shipped weights were made: script, seed, versions, accuracy on their own task, sha256.

    Raises ValueError for a source that is not in `SOURCES`.
    """
    if source not in SOURCES:
        raise ValueError(f"no weights pretrained on {source!r}: choose one of {', '.join(SOURCES)}")
    return shipped.record(WEIGHTS / f"{source}.json")


def verify(source: str) -> Path:
    """The path of the weights. Raises as `provenance`, and CourseError as `shipped.verified`."""
    return shipped.verified(WEIGHTS / f"{source}.safetensors", provenance(source)["sha256"], "make_small_cnn_weights.py")


def load_small_cnn(source: str) -> SmallCNN:
    """The net pretrained on `source`, with that source's classifier, in evaluation mode. Raises as `verify` does."""
    from safetensors.torch import load_file

    path = verify(source)
    model = SmallCNN(provenance(source)["classes"])
    model.load_state_dict(load_file(path))
    return model.eval()


class PhotoCNN(nn.Module):
    """Three convolutions for 64x64 colour patches, made to be trained from scratch: the opponent of pretrained features.

    Input (n, 3, 64, 64) in 0-1, output logits (n, classes). It halves the patch first: of the nets we tried at equal time this one,
    which can take more steps, was the most accurate.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.AvgPool2d(2), *convolution_block(3, 24, stride=2), nn.MaxPool2d(2), *convolution_block(24, 48), nn.MaxPool2d(2),
            *convolution_block(48, 96), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(96, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))
