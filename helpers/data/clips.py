"""Short clips made of real photographs: one object to follow while something changes, and many objects that move in four directions."""
from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from helpers.data import photos
from helpers.data.cache import cached
from helpers.data.scenes import TEST_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS

SIDE = 128  # pixels, of a clip to track in
FRAMES = 20
SIZE = 36  # pixels, the object's width in the first frame
NOISE = 6.0  # standard deviation of the camera's noise, in grey levels
CHANGES = ("rotation", "scale", "light", "turn", "other object", "twin", "screen")
# What is cut out and moved: photograph -> top, left, side in pixels. Choose a method's settings on the first list, test on the second.
TRAIN_OBJECTS = {"chelsea": (70, 110, 180), "china": (80, 180, 150), "coffee": (100, 200, 200), "flower": (120, 170, 230),
                 "motorcycle_left": (250, 450, 210)}  # fmt: skip
TEST_OBJECTS = {"astronaut": (40, 145, 160), "camera": (60, 175, 110), "coins": (27, 15, 54), "retina": (600, 100, 260),
                "rocket": (120, 270, 110)}  # fmt: skip
# The classes of the second kind of clip: photographs that are never a background.
MATERIALS = ("cell", "coins", "grass", "hubble_deep_field", "moon", "page", "retina", "text")
DIRECTIONS = ("left", "right", "up", "down")
STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SHORT, SMALL = 6, 64  # frames and pixels of the second kind of clip


class TrackingClip(NamedTuple):
    """frames: (t, h, w, 3) uint8. centres: (t, 2) x and y of the object's middle in pixels. size: its width in the first frame.
    name: the photograph it was cut from."""

    frames: np.ndarray
    centres: np.ndarray
    size: int
    name: str


class ClipSet(NamedTuple):
    """clips: (n, 6, 64, 64, 3) uint8. materials, directions: (n,) whole numbers, places in `MATERIALS` and `DIRECTIONS`."""

    clips: np.ndarray
    materials: np.ndarray
    directions: np.ndarray


@lru_cache
def _photograph(name: str) -> np.ndarray:
    return photos.read_photograph(photos.photograph_path(name))


def _background(rng: np.random.Generator, names: Collection[str], side: int) -> np.ndarray:
    """(side, side, 3) float: a random square piece of one of these photographs."""
    from PIL import Image

    photograph = _photograph(sorted(names)[rng.integers(len(names))])
    height, width = photograph.shape[:2]
    cut = int(rng.integers(side, min(height, width) + 1))
    top, left = int(rng.integers(height - cut + 1)), int(rng.integers(width - cut + 1))
    piece = Image.fromarray(photograph[top : top + cut, left : left + cut])
    return np.asarray(piece.resize((side, side), Image.Resampling.BILINEAR), float)


def _cut_out(name: str, box: tuple[int, int, int], size: int) -> np.ndarray:
    """(size, size, 4) float: a piece of a photograph and the mask of a disc with a soft edge."""
    from PIL import Image

    top, left, side = box
    piece = Image.fromarray(_photograph(name)[top : top + side, left : left + side]).resize((size, size), Image.Resampling.LANCZOS)
    down, across = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    mask = np.clip((1 - np.hypot(across, down)) * size / 4, 0, 1)
    return np.concatenate([np.asarray(piece, float), mask[..., None]], 2)


def paste(
    image: np.ndarray, cut_out: np.ndarray, centre: tuple[float, float], size: float, angle: float = 0, narrow: float = 1, light=1.0
) -> None:
    """Draw `cut_out` (n, n, 4) into `image` (h, w, 3) float, in place; what lies outside of the image is lost.

    centre: x and y of its middle in pixels. size: its width in pixels. angle: degrees, anticlockwise. narrow: the factor on its width
    after the rotation, below 1 as for something that turns away from us. light: factor on its colours, one or three.
    """
    from scipy.ndimage import map_coordinates

    reach = int(np.ceil(size / 2)) + 1
    x0, x1 = max(0, int(centre[0]) - reach), min(image.shape[1], int(centre[0]) + reach + 1)
    y0, y1 = max(0, int(centre[1]) - reach), min(image.shape[0], int(centre[1]) + reach + 1)
    if x0 >= x1 or y0 >= y1:
        return
    down, across = np.mgrid[y0:y1, x0:x1] + 0.5
    across, down = (across - centre[0]) / narrow, down - centre[1]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    scale = len(cut_out) / size
    middle = (len(cut_out) - 1) / 2
    places = [(sin * across + cos * down) * scale + middle, (cos * across - sin * down) * scale + middle]
    piece = np.stack([map_coordinates(channel, places, order=1) for channel in np.moveaxis(cut_out, 2, 0)], 2)
    mask = piece[..., 3:]
    image[y0:y1, x0:x1] = image[y0:y1, x0:x1] * (1 - mask) + piece[..., :3] * light * mask


def tracking_clip(seed: int, changes: Collection[str] = (), train: bool = False, frames: int = FRAMES) -> TrackingClip:
    """An object cut from one photograph moves along half a circle over a piece of another one.

    changes: what else happens, any of `CHANGES`. "rotation" (by 50-90 degrees in the end), "scale" (to 0.6 or 1.6 of its size),
    "light" (it goes into a coloured shadow), "turn" (it turns away from us: half as wide), "other object" and "twin" (a second object, or
    the same again, stands still in the picture), "screen" (it passes behind one). train: objects and backgrounds of
    `TRAIN_OBJECTS` and `TRAIN_PHOTOGRAPHS` instead of the test ones; nothing is on both lists. The same seed gives the same object,
    path and background whatever the changes. Raises ValueError for an unknown change, or less than one frame.
    """
    if unknown := set(changes) - set(CHANGES):
        raise ValueError(f"no change called {sorted(unknown)[0]!r}: choose from {', '.join(CHANGES)}")
    if frames < 1:
        raise ValueError(f"frames is {frames}: a clip has 1 or more")
    rng = np.random.default_rng([seed, train])
    objects = TRAIN_OBJECTS if train else TEST_OBJECTS
    name, other = (str(choice) for choice in rng.choice(sorted(objects), 2, replace=False))
    scenery = set(TRAIN_PHOTOGRAPHS if train else TEST_PHOTOGRAPHS) - {name}
    still = _background(rng, scenery, SIDE)
    object_, second = _cut_out(name, objects[name], 2 * SIZE), _cut_out(other, objects[other], 2 * SIZE)
    phase, way = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    angle, scale, tint = rng.choice([-1, 1]) * rng.uniform(50, 90), rng.choice([0.6, 1.6]), rng.uniform(0.6, 1.4, 3)
    screen, noise = _background(rng, scenery, SIDE)[:, ::-1], np.random.default_rng([seed, train, 1])
    done = np.linspace(0, 1, frames)  # how much of the clip is over
    turns = phase + way * 3.5 * done
    centres = SIDE / 2 + 0.28 * SIDE * np.stack([np.cos(turns), np.sin(turns)], 1)
    apart = SIDE / 2 + 0.28 * SIDE * np.array([np.cos(phase - way * 1.4), np.sin(phase - way * 1.4)])
    if "twin" in changes or "other object" in changes:
        paste(still, object_ if "twin" in changes else second, tuple(apart), SIZE)
    pictures = []
    for share, centre in zip(done, centres, strict=True):
        picture = still.copy()
        width = SIZE * (scale**share if "scale" in changes else 1)
        light = (1 + share * (tint - 1)) * (1 - 0.6 * share) if "light" in changes else 1.0
        narrow = 1 - 0.5 * share if "turn" in changes else 1
        paste(picture, object_, tuple(centre), width, angle * share if "rotation" in changes else 0, narrow, light)
        if "screen" in changes:
            middle = SIDE / 2 + 0.28 * SIDE * np.array([np.cos(phase + way * 1.75), np.sin(phase + way * 1.75)])
            paste(picture, np.dstack([screen, np.ones((SIDE, SIDE))]), tuple(middle), 1.3 * SIZE)
        pictures.append(np.clip(picture + noise.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8))
    return TrackingClip(np.stack(pictures), centres, SIZE, name)


def _short_clip(rng: np.random.Generator, material: str, direction: str, train: bool) -> np.ndarray:
    still = _background(rng, TRAIN_PHOTOGRAPHS if train else TEST_PHOTOGRAPHS, SMALL)
    patch = photos.cut_patches(_photograph(material), 1, photos.TRAIN if train else photos.TEST, rng)[0]
    down, across = np.mgrid[:photos.PATCH, :photos.PATCH] / (photos.PATCH - 1) * 2 - 1
    mask = np.clip((1 - np.hypot(across, down)) * photos.PATCH / 4, 0, 1)
    disc = np.concatenate([patch.astype(float), mask[..., None]], 2)
    size, travel = rng.uniform(34, 42), rng.uniform(14, 20)
    # The middle of the path is anywhere: where the object is says nothing about where it goes.
    middle = rng.uniform(24, SMALL - 24, 2)
    pictures = []
    for share in np.linspace(-0.5, 0.5, SHORT):
        picture = still.copy()
        paste(picture, disc, tuple(middle + travel * share * np.array(STEPS[direction])), size)
        pictures.append(np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8))
    return np.stack(pictures)


@cached
def _moving_clips(each: int, train: bool, seed: int) -> ClipSet:
    rng = np.random.default_rng([seed, train])
    rows = [
        (_short_clip(rng, material, direction, train), m, d)
        for m, material in enumerate(MATERIALS)
        for d, direction in enumerate(DIRECTIONS)
        for _ in range(each)
    ]
    frames, materials, directions = zip(*rows, strict=True)
    return ClipSet(np.stack(frames), np.array(materials, np.int64), np.array(directions, np.int64))


def moving_clips(each: int, train: bool, seed: int = 0) -> ClipSet:
    """`each` clips of every material moving in every direction, 32 * each in all: a disc cut from one photograph over another one.

    train: materials from the left halves of their photographs over `TRAIN_PHOTOGRAPHS`; otherwise from the right halves over
    `TEST_PHOTOGRAPHS`. Every patch has the same mean and contrast in each channel, so colour and brightness are no shortcut. Cached on
    disk. Raises ValueError when each < 1.
    """
    if each < 1:
        raise ValueError(f"each is {each}: make 1 or more clips of each material and direction")
    return ClipSet(*_moving_clips(each, train, seed))
