"""Letters and digits rendered from the fonts that matplotlib ships, made to look like the handwritten digits' 8x8 images."""
from __future__ import annotations

import string
from functools import cache
from pathlib import Path

import numpy as np

from helpers.data.cache import cached
from helpers.data.images import ImageSet
from helpers.errors import CourseError

CHARACTERS = {"digits": string.digits, "letters": string.ascii_uppercase + string.ascii_lowercase}
# Symbol fonts, and cmmi10 with its old-style numerals, do not show the plain character.
LEFT_OUT = ("LastResort", "NonUni", "Siz", "cmex", "cmsy", "cmmi", "Display")
FACES = 21
# Which of `faces()`, in its alphabetical order: DejaVu Sans, DejaVu Sans Mono, DejaVu Serif, STIX General (a Times), Computer Modern.
FAMILIES = {"sans": (0, 1, 2, 3), "mono": (4, 5, 6, 7), "serif": (8, 9, 10, 11), "times": (12, 13, 14, 15), "modern": (16, 17, 18, 19, 20)}
CANVAS = 96  # pixels: room for a 48-point character after rotation and thickening


@cache
def faces() -> tuple[Path, ...]:
    """The font files, in alphabetical order. Raises CourseError when matplotlib ships other fonts than the course expects."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    found = tuple(sorted(f for f in folder.glob("*.ttf") if not any(word in f.name for word in LEFT_OUT)))
    if len(found) != FACES:
        raise CourseError(f"{len(found)} font faces found, {FACES} expected: install matplotlib as requirements.txt pins it")
    return found


@cache
def draw(face: Path, character: str) -> np.ndarray:
    """The character in the middle of a (96, 96) float32 canvas, white (1) on black (0)."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(image).text((CANVAS / 2, CANVAS / 2), character, 255, ImageFont.truetype(str(face), 48), anchor="mm")
    return np.asarray(image, np.float32) / 255


def distort(glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary stroke thickness (-1 to +3 pixels), rotation (sd .12 rad), shear (sd .2) and scale (sd 15 %) of a glyph."""
    from scipy import ndimage

    thickness = rng.integers(-1, 4)
    if thickness > 0:
        glyph = ndimage.grey_dilation(glyph, size=(thickness + 1, thickness + 1))
    elif thickness < 0:
        thinner = ndimage.grey_erosion(glyph, size=(2, 2))
        glyph = thinner if thinner.max() > 0.5 else glyph  # hairlines would vanish
    angle, shear = rng.normal(0, 0.12), rng.normal(0, 0.2)
    scale_x, scale_y = np.exp(rng.normal(0, 0.15, 2))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, 0], [shear, 1]]) @ np.diag([1 / scale_y, 1 / scale_x])
    centre = np.full(2, CANVAS / 2)
    return ndimage.affine_transform(glyph, matrix, centre - matrix @ centre, order=1)


def to_8x8(glyph: np.ndarray, gain: float) -> np.ndarray:
    """Fit the glyph in 30x22 of 32x32 pixels and average blocks of 4x4, as the handwritten digits were made; 17 grey levels."""
    from PIL import Image

    rows, columns = np.where(glyph > 0.15) if (glyph > 0.15).any() else np.where(glyph >= glyph.max() * 0.5)
    ink = glyph[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = min(30 / ink.shape[0], 22 / ink.shape[1])
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    resized = Image.fromarray((ink * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    box = np.zeros((32, 32), np.float32)
    top, left = (32 - height) // 2, (32 - width) // 2
    box[top : top + height, left : left + width] = np.asarray(resized, np.float32) / 255
    small = box.reshape(8, 4, 8, 4).mean((1, 3))
    return np.round(np.clip(small * gain, 0, 1) * 16) / 16


def render(characters: str, per_class: int, seed: int, only: tuple[int, ...] = tuple(range(FACES))) -> ImageSet:
    """`per_class` distorted renderings of each character: images (n, 8, 8) float32 in 0-1; groups: the font face of each.

    only: the faces to draw from, indices into `faces()`. About a millisecond an image. Raises ValueError when there is nothing to draw.
    """
    if not characters or per_class < 1 or not only:
        raise ValueError(f"nothing to draw: {len(characters)} characters, {per_class} of each, {len(only)} faces")
    rng = np.random.default_rng(seed)
    images, groups = [], []
    for character in characters:
        for face in np.asarray(only)[rng.integers(len(only), size=per_class)]:
            glyph = distort(draw(faces()[face], character), rng)
            images.append(to_8x8(glyph, gain=rng.uniform(0.9, 1.25)))
            groups.append(face)
    labels = np.repeat(np.arange(len(characters)), per_class)
    return ImageSet(np.asarray(images, np.float32), labels.astype(np.int64), tuple(characters), np.asarray(groups, np.int64))


_render_cached = cached(render)


def load_glyphs(kind: str, per_class: int = 100, seed: int = 0) -> ImageSet:
    """Rendered "digits" (10 classes) or "letters" (52 classes), cached on disk. Raises ValueError for another kind."""
    if kind not in CHARACTERS:
        raise ValueError(f"no glyphs called {kind!r}: choose one of {', '.join(CHARACTERS)}")
    return ImageSet(*_render_cached(CHARACTERS[kind], per_class, seed))


def load_family(name: str, per_class: int = 30, seed: int = 0) -> ImageSet:
    """Rendered digits of one family of fonts, a key of `FAMILIES`, cached on disk. Raises ValueError for another name."""
    if name not in FAMILIES:
        raise ValueError(f"no family called {name!r}: choose one of {', '.join(FAMILIES)}")
    return ImageSet(*_render_cached(CHARACTERS["digits"], per_class, seed, FAMILIES[name]))


def verify() -> str:
    """One line about the data. Raises CourseError when the fonts are not those the course was written for."""
    return f"{len(faces())} font faces for rendered letters and digits (matplotlib)"
