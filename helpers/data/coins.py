"""A real photograph of 24 coins with a mask found by a classical recipe; crops to learn from, and the same coins in another light."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from helpers.data import photos

MIDDLE = 192  # pixels: crops to learn from lie left of it, what is judged lies right of it
SIDE = 128  # pixels of a crop


def classical_mask(photograph: np.ndarray) -> np.ndarray:
    """Where the coins are, as (h, w) bool: grey levels below 30 are background and above 150 coin, and from these markers the edges
    are flooded (a watershed; the recipe of scikit-image's tutorial on region-based segmentation). Tuned by hand for this photograph.
    """
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    markers = np.where(photograph < 30, 1, np.where(photograph > 150, 2, 0))
    if not (markers == 2).any() or not (markers == 1).any():
        return markers == 2  # nothing to flood from
    found = ndimage.binary_fill_holes(watershed(sobel(photograph), markers) == 2)
    pieces, _ = ndimage.label(found)
    return found & (np.bincount(pieces.ravel()) > 60)[pieces]  # specks are no coins


@lru_cache
def load_coins() -> tuple[np.ndarray, np.ndarray]:
    """The photograph (303, 384) uint8, grey, and its `classical_mask`. Raises CourseError when it is not installed."""
    photograph = photos.read_photograph(photos.photograph_path("coins"))[..., 0]
    return photograph, classical_mask(photograph)


def crops(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random crops of the left part: images (count, 128, 128) uint8 and masks (count, 128, 128) bool. Raises ValueError if count < 1."""
    if count < 1:
        raise ValueError(f"count is {count}: cut 1 or more crops")
    photograph, mask = load_coins()
    rng = np.random.default_rng(seed)
    corners = [(int(rng.integers(len(mask) - SIDE + 1)), int(rng.integers(MIDDLE - SIDE + 1))) for _ in range(count)]
    boxes = [(slice(top, top + SIDE), slice(left, left + SIDE)) for top, left in corners]
    return np.stack([photograph[box] for box in boxes]), np.stack([mask[box] for box in boxes])


def right_half() -> tuple[np.ndarray, np.ndarray]:
    """What is judged, never learned from: the right part of the photograph (288, 192) and its mask; sides are multiples of 32."""
    photograph, mask = load_coins()
    inside = (slice(8, 296), slice(MIDDLE, None))
    return photograph[inside], mask[inside]


def lamp_from_the_left(photograph: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same in another light: from 1.2 times as bright on the left to 0.4 times on the right, with the noise of a dark picture
    (standard deviation 10 grey levels)."""
    light = np.linspace(1.2, 0.4, photograph.shape[1])
    noise = np.random.default_rng(seed).normal(0, 10, photograph.shape)
    return np.clip(photograph * light + noise, 0, 255).astype(np.uint8)
