"""Patches of 19 real photographs that scikit-image and scikit-learn ship; the class is the photograph."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers import inference
from helpers.data.cache import cached
from helpers.data.images import ImageSet
from helpers.errors import CourseError

# In the public domain, CC0 or without known restrictions, as scikit-image's documentation of each says; scikit-learn's two: CC BY 2.0.
SKIMAGE_FILES = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
SKLEARN_FILES = ("china.jpg", "flower.jpg")
# Pillow knows more, such as EPS, which it hands to another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
TRAIN, TEST = 0, 1  # values of `groups`: the left and the right half of a photograph
PATCH = 64  # pixels
PER_HALF = 40


def photograph_path(name: str) -> Path:
    """The file of the photograph called `name` ("coffee"). Raises CourseError when it is not installed."""
    import skimage
    import sklearn.datasets

    folders = {Path(skimage.__file__).parent / "data": SKIMAGE_FILES, Path(sklearn.datasets.__file__).parent / "images": SKLEARN_FILES}
    for folder, files in folders.items():
        for file in files:
            if Path(file).stem == name and (folder / file).is_file():
                return folder / file
    raise CourseError(f"no photograph called {name!r} is installed: choose one of {', '.join(names())}")


def names() -> tuple[str, ...]:
    """The 19 class names, in alphabetical order."""
    return tuple(sorted(Path(file).stem for file in SKIMAGE_FILES + SKLEARN_FILES))


def read_photograph(path: str | Path) -> np.ndarray:
    """An image file of one of the `FORMATS` as (height, width, 3) uint8. Raises CourseError when it cannot be read as an image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.format in ("JPEG", "MPO") and inference.too_many_scans(Path(path).read_bytes()):
                raise CourseError(f"{Path(path).name} is stored in more than {inference.SCANS} scans: save it again as an ordinary JPEG")
            return np.asarray(inference.rgb(image))
    except FileNotFoundError:
        raise CourseError(f"there is no file {path}: check the path, or leave it out to use a bundled photograph") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise CourseError(f"{Path(path).name} cannot be read as an image ({error}): open and save it again as PNG or JPEG") from None


def read_folder(path: str | Path) -> list[tuple[str, np.ndarray]]:
    """(name, image) of the image file, or of every image in the folder, sorted by name.

    Files of a folder that are not readable as images are named in a printed line and left out. Raises CourseError when the path does
    not exist or nothing in it can be read.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return [(path.name, read_photograph(path))]
    endings = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in endings)
    if not files:
        raise CourseError(f"the folder {path} holds no images ({', '.join(endings)}): point to the folder that holds them")
    images = []
    for file in files:
        try:
            images.append((file.name, read_photograph(file)))
        except CourseError as error:
            print(f"left out: {error}")
    if not images:
        raise CourseError(f"none of the {len(files)} images in {path} can be read: open and save one again as PNG or JPEG")
    return images


def patch_box(photograph: np.ndarray, half: int | None, rng: np.random.Generator) -> tuple[int, int, int]:
    """(top, left, side) in pixels of a random square of 45-96 pixels: in one half, or anywhere (None).

    Eight columns between the halves are left out. Raises ValueError for a photograph that is too small.
    """
    height, width = photograph.shape[:2]
    first, last = {TRAIN: (0, width // 2 - 4), TEST: (width // 2 + 4, width), None: (0, width)}[half]
    if min(height, last - first) < 8:
        raise ValueError(f"the photograph has {width} x {height} pixels: use one that is at least 32 pixels wide and high")
    side = int(min(PATCH * rng.uniform(0.7, 1.5), last - first - 1, height - 1))
    return int(rng.integers(height - side)), int(rng.integers(first, last - side)), side


def cut_raw_patches(photograph: np.ndarray, count: int, half: int | None, rng: np.random.Generator) -> np.ndarray:
    """`count` random square patches from one half of a photograph (None: from all of it): (count, 64, 64, 3) uint8, as they are."""
    from PIL import Image

    patches = []
    for _ in range(count):
        top, left, side = patch_box(photograph, half, rng)
        patch = Image.fromarray(photograph[top : top + side, left : left + side])
        patches.append(np.asarray(patch.resize((PATCH, PATCH), Image.Resampling.BILINEAR)))
    return np.stack(patches)


def cut_patches(photograph: np.ndarray, count: int, half: int | None, rng: np.random.Generator) -> np.ndarray:
    """`count` random square patches from one half of a photograph (None: from all of it): (count, 64, 64, 3) uint8, contrast normalised.

    Each channel of each patch gets mean 127 and standard deviation 48: brightness and colour cast are no shortcut to the class.
    """
    patches = []
    for patch in cut_raw_patches(photograph, count, half, rng):
        pixels = patch.astype(np.float32)
        normal = (pixels - pixels.mean((0, 1))) / (pixels.std((0, 1)) + 1e-3)
        patches.append(np.clip(normal * 48 + 127, 0, 255).astype(np.uint8))
    return np.stack(patches)


@cached
def _cut_all(per_half: int, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    images, labels, groups = [], [], []
    for label, name in enumerate(names()):
        photograph = read_photograph(photograph_path(name))
        for half in (TRAIN, TEST):
            images.append(cut_patches(photograph, per_half, half, rng))
            labels += [label] * per_half
            groups += [half] * per_half
    return ImageSet(np.concatenate(images), np.array(labels, np.int64), names(), np.array(groups, np.int64))


@cached
def _cut_all_raw(per_half: int, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    halves = [(label, half) for label in range(len(names())) for half in (TRAIN, TEST)]
    photographs = [read_photograph(photograph_path(name)) for name in names()]
    images = [cut_raw_patches(photographs[label], per_half, half, rng) for label, half in halves]
    labels, groups = np.repeat(np.array(halves, np.int64), per_half, axis=0).T
    return ImageSet(np.concatenate(images), labels, names(), groups)


def load_raw_photos(per_half: int = PER_HALF, seed: int = 0) -> ImageSet:
    """`load_photos` before the contrast is normalised: what a camera would send. The same patches for the same seed."""
    if per_half < 1:
        raise ValueError(f"per_half is {per_half}: cut 1 or more patches from each half")
    return ImageSet(*_cut_all_raw(per_half, seed))


def load_photos(per_half: int = PER_HALF, seed: int = 0) -> ImageSet:
    """Patches of 19 photographs: images (19 * 2 * per_half, 64, 64, 3) uint8; groups: `TRAIN` (left half) or `TEST` (right half).

    Train on the left halves and test on the right ones: random patches of one half overlap and would leak. Cached on disk.
    """
    if per_half < 1:
        raise ValueError(f"per_half is {per_half}: cut 1 or more patches from each half")
    return ImageSet(*_cut_all(per_half, seed))


def verify() -> str:
    """One line about the data. Raises CourseError when a photograph is missing or cannot be read."""
    for name in names():
        read_photograph(photograph_path(name))
    return f"{len(names())} photographs (scikit-image, scikit-learn)"
