"""Pieces of real photographs, tinted, turned or blurred, each with an exact English caption: pairs for training two encoders together."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from helpers.data import photos
from helpers.data.cache import cached

# For each photograph how its captions name it, and a name in other words, which no training caption contains.
SUBJECTS = {
    "astronaut": ("an astronaut in a space suit", "a woman who flies to space"),
    "brick": ("a brick wall", "masonry of a house"),
    "camera": ("a photographer with a camera", "a man taking pictures"),
    "chelsea": ("a cat with fur", "a kitten"),
    "china": ("a chinese temple", "a pagoda in asia"),
    "coffee": ("a cup of coffee", "espresso in a mug"),
    "coins": ("old metal coins", "ancient money"),
    "flower": ("a flower", "a blossom"),
    "grass": ("green grass", "a lawn"),
    "gravel": ("gravel and small stones", "pebbles on the ground"),
    "hubble_deep_field": ("galaxies and stars in space", "the distant universe"),
    "ihc": ("stained tissue under a microscope", "cells on a slide"),
    "moon": ("craters on the moon", "the lunar surface"),
    "motorcycle_left": ("a motorcycle in a garage", "a motorbike"),
    "page": ("a printed book page", "text on paper"),
    "retina": ("the blood vessels of an eye", "veins at the back of the eyeball"),
    "rocket": ("a rocket launch", "a spacecraft taking off"),
}
TINTS = {"red": "crimson", "green": "emerald", "blue": "azure", "gray": "colourless"}
TURNS = {"upright": "the right way up", "turned to the left": "rotated to the left", "upside down": "on its head",
         "turned to the right": "rotated to the right"}  # fmt: skip
FOCUS = {"sharp": "crisp", "blurred": "out of focus"}
FACTORS = {"red": (1.25, 0.75, 0.75), "green": (0.75, 1.2, 0.75), "blue": (0.75, 0.8, 1.3)}
TEMPLATES = (
    "a {focus} {tint} picture of {subject}, {turn}",
    "{subject}, {tint} tinted, {focus}, {turn}",
    "a photo of {subject} that is {focus}, {turn} and {tint}",
)
ATTRIBUTES = ("subject", "tint", "turn", "focus")
VALUES = (tuple(SUBJECTS), tuple(TINTS), tuple(TURNS), tuple(FOCUS))
SIDE = 64


class CaptionedSet(NamedTuple):
    """images: (n, 64, 64, 3) uint8. attributes: (n, 4) int64, for each of `ATTRIBUTES` the place in `VALUES`. groups: (n,) TRAIN or
    TEST of `photos`: the left or the right half of the photograph."""

    images: np.ndarray
    attributes: np.ndarray
    groups: np.ndarray


def caption(attributes: Sequence[int], template: int = 0, other_words: bool = False) -> str:
    """The caption of one image. template: 0, 1 or 2. other_words: synonyms, none of which stands in a usual caption.

    Raises ValueError for attributes that do not exist.
    """
    attributes = [int(value) for value in attributes]
    if len(attributes) != 4 or any(not 0 <= value < len(names) for value, names in zip(attributes, VALUES, strict=False)):
        raise ValueError(f"attributes are {attributes}: pass the places of {', '.join(ATTRIBUTES)} in VALUES, four whole numbers")
    if not 0 <= template < len(TEMPLATES):
        raise ValueError(f"no template {template}: choose 0 to {len(TEMPLATES) - 1}")
    subject, tint, turn, focus = (names[value] for value, names in zip(attributes, VALUES, strict=True))
    words = {"subject": SUBJECTS[subject][other_words], "tint": tint, "turn": turn, "focus": focus}
    if other_words:
        words |= {"tint": TINTS[tint], "turn": TURNS[turn], "focus": FOCUS[focus]}
    return TEMPLATES[template].format(**words)


def held_out(attributes: np.ndarray, seed: int) -> np.ndarray:
    """(n,) bool: one in five combinations of subject, tint and focus, another fifth for each seed."""
    attributes = np.asarray(attributes)
    return (attributes[:, 0] * 7 + attributes[:, 1] * 3 + attributes[:, 3] * 11 + seed) % 5 == 0


def _change(piece: np.ndarray, tint: str, turn: int, focus: str) -> np.ndarray:
    """One piece (64, 64, 3), its own colours made paler, with the three attributes that a caption names."""
    from PIL import Image, ImageFilter

    pixels = (piece - piece.mean()) / (piece.std() + 5) * 50 + 120
    grey = pixels.mean(2, keepdims=True)
    pixels = np.repeat(grey, 3, 2) if tint == "gray" else (0.6 * grey + 0.4 * pixels) * np.array(FACTORS[tint])
    image = Image.fromarray(np.clip(np.rot90(pixels, turn), 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(2.2)) if focus == "blurred" else image)


@cached
def _make(per_subject: tuple[int, int], seed: int) -> CaptionedSet:
    from PIL import Image

    rng = np.random.default_rng(seed)
    images, attributes, groups = [], [], []
    for half, count in zip((photos.TRAIN, photos.TEST), per_subject, strict=True):
        for subject, name in enumerate(SUBJECTS):
            photograph = photos.read_photograph(photos.photograph_path(name))
            width = photograph.shape[1] // 2
            photograph = photograph[:, : width - 4] if half == photos.TRAIN else photograph[:, width + 4 :]
            for _ in range(count):
                side = min(int(rng.integers(96, 140)), *photograph.shape[:2])
                top, left = (int(rng.integers(length - side + 1)) for length in photograph.shape[:2])
                piece = Image.fromarray(photograph[top : top + side, left : left + side]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                chosen = [int(rng.integers(len(names))) for names in VALUES[1:]]
                tint, turn, focus = chosen
                images.append(_change(np.asarray(piece, float), VALUES[1][tint], turn, VALUES[3][focus]))
                attributes.append([subject, *chosen])
                groups.append(half)
    return CaptionedSet(np.stack(images), np.array(attributes, np.int64), np.array(groups, np.int64))


def load_captioned_photos(train: int = 50, test: int = 20, seed: int = 0) -> CaptionedSet:
    """`train` pieces from the left half of each of 17 photographs, `test` from the right half: (17 * (train + test)) images.

    Attributes are drawn at random, one value of each. Cached on disk. Raises ValueError when train or test is less than 1.
    """
    if train < 1 or test < 1:
        raise ValueError(f"train and test are {train} and {test}: cut 1 or more pieces from each half")
    return CaptionedSet(*_make((train, test), seed))
