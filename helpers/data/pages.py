"""Pages of rendered text, and square patches of grey images: what the super-resolution nets learn from."""
from __future__ import annotations

import string

import numpy as np

from helpers.data import glyphs, photos
from helpers.data.cache import cached

SIDE = 400  # pixels of a rendered page
PATCH = 32  # pixels
# What the nets that are pretrained on photographs see: none of them shows text, a medical image or the page.
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "china", "coffee", "flower", "gravel", "motorcycle_left", "rocket")
SOURCES = ("photographs", "rendered text")


def grey(photograph: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 -> (height, width) float32 in 0-1, by the usual weights of red, green and blue (ITU-R 601)."""
    return (photograph @ np.array([0.299, 0.587, 0.114]) / 255).astype(np.float32)


def read_grey(name: str) -> np.ndarray:
    """The photograph called `name` of the course as a grey image (height, width) float32 in 0-1. Raises CourseError as `photos`."""
    return grey(photos.read_photograph(photos.photograph_path(name)))


def halves(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The left half, to learn from, and the right half, to test on."""
    middle = image.shape[1] // 2
    return image[:, :middle], image[:, middle:]


def render_page(rng: np.random.Generator, sizes: tuple[int, int] = (9, 16)) -> np.ndarray:
    """A page of random letters in lines of different fonts and sizes, slightly blurred and darkened: (400, 400) float32 in 0-1.

    sizes: the smallest font in pixels, and the first that is too large.
    """
    from PIL import Image, ImageDraw, ImageFont
    from scipy.ndimage import gaussian_filter

    page, letters = Image.new("L", (SIDE, SIDE), int(rng.integers(200, 256))), list(string.ascii_letters + " " * 12)
    pen, y = ImageDraw.Draw(page), 4
    while y < SIDE - 12:
        face = glyphs.faces()[rng.integers(len(glyphs.faces()))]
        font = ImageFont.truetype(str(face), int(rng.integers(*sizes)))
        pen.text((int(rng.integers(0, 10)), y), "".join(rng.choice(letters, 70)), int(rng.integers(0, 90)), font=font)
        y += int(rng.integers(12, 20)) + sizes[0] - 9
    return gaussian_filter(np.asarray(page, np.float32) / 255, rng.uniform(0.3, 0.8)) * np.float32(rng.uniform(0.7, 1))


def cut(image: np.ndarray, count: int, rng: np.random.Generator, side: int = PATCH, contrast: float = 0.03) -> np.ndarray:
    """`count` random square patches (count, side, side) float32 of a grey image in 0-1. Patches that are nearly flat (a standard
    deviation below `contrast`) have nothing to teach: most of them are drawn again.

    Raises ValueError when the image is no grey float image in 0-1, or is smaller than a patch.
    """
    image = np.asarray(image)
    if image.ndim != 2 or not np.issubdtype(image.dtype, np.floating) or not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"the image has shape {image.shape} and dtype {image.dtype}: pass a grey one (height, width), floats in 0-1")
    if min(image.shape) < side:
        raise ValueError(f"the image has {image.shape[1]} x {image.shape[0]} pixels: it is smaller than a patch of {side}")
    patches = []
    for _ in range(30 * count):
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape)
        patch = image[top : top + side, left : left + side]
        if patch.std() > contrast or rng.random() < 0.02:
            patches.append(patch)
        if len(patches) == count:
            break
    else:
        raise ValueError(f"the image is flat: only {len(patches)} patches of {count} were found, lower `contrast`")
    return np.stack(patches)


@cached
def _source(name: str, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = [read_grey(photo) for photo in PHOTOGRAPHS] if name == "photographs" else [render_page(rng) for _ in range(10)]
    return np.concatenate([cut(image, count // 10, rng) for image in images])


def load_source(name: str, count: int = 600, seed: int = 0) -> np.ndarray:
    """Patches (count, 32, 32) float32 of one of `SOURCES`, a tenth of them from each of 10 images, cached on disk.

    Raises ValueError for another name, or a count that is no multiple of 10.
    """
    if name not in SOURCES:
        raise ValueError(f"no source called {name!r}: choose one of {', '.join(SOURCES)}")
    if count < 10 or count % 10:
        raise ValueError(f"count is {count}: choose a multiple of 10")
    return _source(name, count, seed)
