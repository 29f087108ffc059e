"""CIFAR-10: small photographs of ten kinds of things, which the full profile downloads."""
from __future__ import annotations

import tarfile

import numpy as np

from helpers.data.images import ImageSet
from helpers.downloads import transfer
from helpers.errors import CourseError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = {"train": tuple(f"data_batch_{part}.bin" for part in range(1, 6)), "test": ("test_batch.bin",)}
SIDE = 32  # pixels
RECORD = 1 + 3 * SIDE * SIDE  # bytes of an image: its label, then its red, green and blue pixels


def load_cifar10(split: str, per_class: int | None = None, seed: int = 0) -> ImageSet:
    """The images (n, 32, 32, 3) uint8 of "train" (50,000) or "test" (10,000), labels 0 to 9; needs COURSE_PROFILE=full.

    per_class: as many of each class, drawn by `seed`, in the order of the file (None: all). From the publisher's file without pickles.
    (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".)
    Raises ValueError for another split or when a class has fewer images, CourseError as `transfer.ensure`.
    """
    if split not in FILES:
        raise ValueError(f"no split called {split!r}: choose one of {', '.join(FILES)}")
    (path,) = transfer.ensure("cifar10").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = {member.name.rpartition("/")[2]: member for member in archive.getmembers() if member.isfile()}
        missing = [name for name in FILES[split] if name not in members]
        if missing:
            raise CourseError(f"{path.name} holds no {missing[0]}: it is not the archive that the course was written for")
        content = b"".join(archive.extractfile(members[name]).read() for name in FILES[split])
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    kept = np.arange(len(labels))
    if per_class is not None:
        found = np.bincount(labels, minlength=len(CLASSES))
        if per_class < 1 or per_class > found.min():
            raise ValueError(f"per_class is {per_class}: choose 1 to {found.min()}, the images of the smallest class")
        order = np.random.default_rng(seed).permutation(len(labels))
        kept = np.sort(np.concatenate([order[labels[order] == c][:per_class] for c in range(len(CLASSES))]))
    return ImageSet(np.ascontiguousarray(images[kept]), labels[kept], CLASSES)
