"""Made-up scenes on real photographs, with the truth known: random crops as backgrounds, handwritten digits, crowds of pebbles."""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from helpers.data import photos
from helpers.data.cache import cached
from helpers.data.digits import load_digits

# No photograph is on both lists: a detector must not profit from knowing the place.
TRAIN_PHOTOGRAPHS = ("brick", "chelsea", "china", "coffee", "flower", "gravel", "motorcycle_left")
TEST_PHOTOGRAPHS = ("astronaut", "camera", "ihc", "rocket")
SIDE = 128  # pixels
DIGIT_SIDES = 24, 48  # pixels: the smallest and the largest square that a digit is drawn in
MOST_DIGITS, MOST_PEBBLES = 4, 40
TRAIN_DIGITS = 1200  # of the 1,797: no digit of a test scene has been seen in training


class Scenes(NamedTuple):
    """images (n, 128, 128, 3) uint8. boxes: for each image (k, 4) float32, left, top, right, bottom in pixels, right and bottom being
    the first column and row that do not belong to the object. labels: for each image (k,) int64."""

    images: np.ndarray
    boxes: list[np.ndarray]
    labels: list[np.ndarray]


class Crowds(NamedTuple):
    """images (n, 128, 128, 3) uint8. points: for each image (k, 2) float32, x and y of every centre in pixels."""

    images: np.ndarray
    points: list[np.ndarray]

    @property
    def counts(self) -> np.ndarray:
        """(n,) how many there are in each image."""
        return np.array([len(points) for points in self.points])


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


@lru_cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return digits.images, digits.labels


def _free_place(rng: np.random.Generator, taken: list[tuple[int, int, int]]) -> tuple[int, int, int] | None:
    """(left, top, side) of a square that touches none of those taken; None when 20 tries have found none."""
    for _ in range(20):
        side = int(rng.integers(*DIGIT_SIDES, endpoint=True))
        left, top = (int(v) for v in rng.integers(0, SIDE - side, 2, endpoint=True))
        if all(left + side < x or x + s < left or top + side < y or y + s < top for x, y, s in taken):
            return left, top, side
    return None


def _digit_scene(rng: np.random.Generator, train: bool, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from PIL import Image

    handwritten, values = _digits()
    image = background(rng, train).astype(float)
    taken, boxes, labels = [], [], []
    for _ in range(rng.integers(1, most, endpoint=True)):
        place = _free_place(rng, taken)
        if place is None:
            continue
        left, top, side = place
        number = int(rng.integers(0, TRAIN_DIGITS) if train else rng.integers(TRAIN_DIGITS, len(values)))
        drawn = Image.fromarray((handwritten[number] * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        ink = np.asarray(drawn, float) / 255
        patch = image[top : top + side, left : left + side]
        colour = rng.integers(0, 110, 3) if patch.mean() > 127 else rng.integers(150, 256, 3)  # dark on light, light on dark
        image[top : top + side, left : left + side] = patch * (1 - ink[..., None]) + colour * ink[..., None]
        rows, columns = np.nonzero(ink > 0.3)
        boxes.append((left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1))
        labels.append(values[number])
        taken.append(place)
    return image.astype(np.uint8), np.array(boxes, np.float32), np.array(labels, np.int64)


@cached
def _digit_scenes(count: int, seed: int, train: bool, most: int) -> tuple:
    rng = np.random.default_rng(seed)
    images, boxes, labels = zip(*(_digit_scene(rng, train, most) for _ in range(count)), strict=True)
    return np.stack(images), list(boxes), list(labels)


def digit_scenes(count: int, seed: int, train: bool, most: int = MOST_DIGITS) -> Scenes:
    """One to `most` handwritten digits of any size and colour on pieces of photographs; digits do not overlap. Cached on disk.

    train: which photographs and which digits. Raises ValueError when count or most is less than 1.
    """
    if count < 1 or most < 1:
        raise ValueError(f"count is {count} and most is {most}: ask for 1 or more scenes with 1 or more digits")
    return Scenes(*_digit_scenes(count, seed, train, most))


def _pebble(rng: np.random.Generator, texture: np.ndarray, colour: np.ndarray, size: int) -> np.ndarray:
    """A square of a photograph's texture in a colour, darker towards the upper left: (size, size, 3)."""
    top, left = (int(rng.integers(extent - size + 1)) for extent in texture.shape[:2])
    piece = texture[top : top + size, left : left + size].astype(float)
    shade = (np.add.outer(np.arange(size), np.arange(size)) / size - 1)[..., None] * 25
    return np.clip((piece - piece.mean()) * 0.8 + colour + shade, 0, 255)


def _crowd(rng: np.random.Generator, train: bool, most: int) -> tuple[np.ndarray, np.ndarray]:
    names = TRAIN_PHOTOGRAPHS if train else TEST_PHOTOGRAPHS
    image, texture = background(rng, train).astype(float), _photograph(names[rng.integers(len(names))])
    typical, colour, points = rng.uniform(4, 8), rng.integers(60, 256, 3), []
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    for _ in range(rng.integers(0, most, endpoint=True)):
        radius = typical * rng.uniform(0.85, 1.15)
        for _ in range(15):  # a place where it covers others only in part
            x, y = rng.uniform(radius, SIDE - radius, 2)
            if all((x - a) ** 2 + (y - b) ** 2 > (1.5 * radius) ** 2 for a, b in points):
                break
        else:
            continue
        size = int(np.ceil(2 * radius)) + 2
        left, top = max(0, int(x - size / 2)), max(0, int(y - size / 2))
        place = np.s_[top : top + size, left : left + size]
        inside = np.clip(radius + 0.5 - np.hypot(columns[place] - x, rows[place] - y), 0, 1)[..., None]
        height, width = inside.shape[:2]
        stone = _pebble(rng, texture, colour * rng.uniform(0.8, 1.1), size)[:height, :width]
        image[place] = image[place] * (1 - inside) + stone * inside
        points.append((x, y))
    if rng.random() < 0.3:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    return image.astype(np.uint8), np.array(points, np.float32).reshape(-1, 2)


@cached
def _crowds(count: int, seed: int, train: bool, most: int) -> tuple:
    rng = np.random.default_rng(seed)
    images, points = zip(*(_crowd(rng, train, most) for _ in range(count)), strict=True)
    return np.stack(images), list(points)


def crowds(count: int, seed: int, train: bool, most: int = MOST_PEBBLES) -> Crowds:
    """None to `most` pebbles on pieces of photographs, of one size and colour in each scene, partly behind each other. Cached on disk.

    train: which photographs. 30 % of the scenes are grey. Raises ValueError when count or most is less than 1.
    """
    if count < 1 or most < 1:
        raise ValueError(f"count is {count} and most is {most}: ask for 1 or more scenes with up to 1 or more pebbles")
    return Crowds(*_crowds(count, seed, train, most))
