"""Stick figures drawn on photographs, with the places of seven joints and the mask of the figure."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from helpers.data import photos, scenes
from helpers.data.cache import cached

SIDE = scenes.SIDE
# A second test: photographs on neither list of `scenes`, with more edges of their own than the list for testing.
BUSY_PHOTOGRAPHS = ("coins", "grass", "hubble_deep_field", "page")
# "Left" and "right" as the viewer sees them: of two hands the left one has the smaller x.
JOINTS = ("head", "neck", "hip", "left hand", "right hand", "left foot", "right foot")
BONES = ((0, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6))  # pairs of joints to connect in a picture; elbows and knees have no label


class Figures(NamedTuple):
    """images: (n, 128, 128, 3) uint8. joints: (n, 7, 2) float32, x and y in pixels, in the order of `JOINTS`. masks: (n, 128, 128)
    bool, True where the figure is."""

    images: np.ndarray
    joints: np.ndarray
    masks: np.ndarray


def _limb(rng: np.random.Generator, start: np.ndarray, angle: float, length: float) -> list[np.ndarray]:
    """A bent limb: its start, the elbow or knee, its end. angle: of the first half, 0 is down, in radians."""
    bent = angle + rng.normal(0, 0.6)
    middle = start + length * np.array([np.sin(angle), np.cos(angle)])
    return [start, middle, middle + length * np.array([np.sin(bent), np.cos(bent)])]


def _busy_background(rng: np.random.Generator) -> np.ndarray:
    photograph = photos.read_photograph(photos.photograph_path(BUSY_PHOTOGRAPHS[rng.integers(len(BUSY_PHOTOGRAPHS))]))
    top, left = (int(rng.integers(length - SIDE + 1)) for length in photograph.shape[:2])
    return photograph[top : top + SIDE, left : left + SIDE]


def draw_figure(rng: np.random.Generator, train: bool, busy: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One figure of a random pose, size, colour and thickness on a training or test photograph: image, joints, mask as in `Figures`.

    busy: on one of `BUSY_PHOTOGRAPHS` instead.
    """
    from PIL import Image, ImageDraw

    background = _busy_background(rng) if busy else scenes.background(rng, train)
    picture, mask = Image.fromarray(background), Image.new("1", (SIDE, SIDE))
    size, thickness, tilt = rng.uniform(14, 22), int(rng.integers(3, 6)), rng.normal(0, 0.25)
    hip = np.array([rng.uniform(40, 88), rng.uniform(58, 84)])
    up = np.array([np.sin(tilt), -np.cos(tilt)])
    neck, head = hip + 1.5 * size * up, hip + 2.1 * size * up
    arms = [_limb(rng, neck, side * rng.uniform(0.3, 2.6), 0.75 * size) for side in (-1, 1)]
    legs = [_limb(rng, hip, side * rng.uniform(0.1, 0.9), 0.9 * size) for side in (-1, 1)]
    radius = 0.42 * size
    for canvas, colour in ((picture, tuple(int(value) for value in rng.integers(0, 256, 3))), (mask, 1)):
        pen = ImageDraw.Draw(canvas)
        for limb in arms + legs:
            pen.line([tuple(point) for point in limb], fill=colour, width=thickness, joint="curve")
        pen.line([tuple(hip), tuple(neck)], fill=colour, width=thickness + 2)
        pen.ellipse([*(head - radius), *(head + radius)], fill=colour)
    ends = [point for limbs in (arms, legs) for point in sorted((limb[-1] for limb in limbs), key=lambda point: point[0])]
    joints = np.clip(np.array([head, neck, hip, *ends]), 0, SIDE - 1)
    return np.array(picture), joints.astype(np.float32), np.array(mask)


@cached
def _draw_all(count: int, train: bool, seed: int, busy: bool) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng([seed, train])
    drawn = [draw_figure(rng, train, busy) for _ in range(count)]
    return tuple(np.stack(part) for part in zip(*drawn, strict=True))


def load_figures(count: int, train: bool, seed: int = 0, busy: bool = False) -> Figures:
    """`count` figures on training or on test photographs (none is on both lists), cached on disk.

    busy: test figures on `BUSY_PHOTOGRAPHS` instead. Raises ValueError when count < 1, or for busy training figures.
    """
    if count < 1:
        raise ValueError(f"count is {count}: draw 1 or more figures")
    if busy and train:
        raise ValueError("the busy photographs are for testing: pass train=False")
    return Figures(*_draw_all(count, train, seed, busy))
