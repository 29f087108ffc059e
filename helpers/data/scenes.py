"""Photographs as backgrounds of made-up scenes: one list for training, another for testing, and random crops of them."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from helpers.data import photos

# No photograph is on both lists: a detector must not profit from knowing the place.
TRAIN_PHOTOGRAPHS = ("brick", "chelsea", "china", "coffee", "flower", "gravel", "motorcycle_left")
TEST_PHOTOGRAPHS = ("astronaut", "camera", "ihc", "rocket")
SIDE = 128  # pixels


@lru_cache
def _photograph(name: str) -> np.ndarray:
    return photos.read_photograph(photos.photograph_path(name))


def background(rng: np.random.Generator, train: bool, side: int = SIDE) -> np.ndarray:
    """A random square piece of a random training or test photograph, resized: (side, side, 3) uint8."""
    from PIL import Image

    names = TRAIN_PHOTOGRAPHS if train else TEST_PHOTOGRAPHS
    photograph = _photograph(names[rng.integers(len(names))])
    height, width = photograph.shape[:2]
    cut = int(rng.integers(side, min(height, width) + 1))
    top, left = int(rng.integers(height - cut + 1)), int(rng.integers(width - cut + 1))
    piece = Image.fromarray(photograph[top : top + cut, left : left + cut])
    return np.asarray(piece.resize((side, side), Image.Resampling.BILINEAR))
