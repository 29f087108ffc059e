"""scikit-learn's 1,797 real handwritten digits, 8x8 pixels, 17 grey levels."""
from __future__ import annotations

import numpy as np

from helpers.data.images import ImageSet
from helpers.errors import CourseError

COUNT = 1797


def load_digits() -> ImageSet:
    """images (1797, 8, 8) float32 in 0-1, labels 0-9.

    They ship with scikit-learn (Alpaydin & Kaynak 1998, UCI, CC BY 4.0). 43 people wrote them, and who wrote which is not recorded:
    every random split has the same writers on both sides, so accuracies near .99 are an easy ceiling.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    images = (digits.images / 16).astype(np.float32)
    return ImageSet(images, digits.target.astype(np.int64), tuple(str(d) for d in range(10)))


def verify() -> str:
    """One line about the data. Raises CourseError when they are not the data the course was written for."""
    digits = load_digits()
    if digits.images.shape != (COUNT, 8, 8) or len(np.unique(digits.labels)) != 10:
        raise CourseError("scikit-learn's digits are not the 1,797 expected: reinstall it with the version in requirements.txt")
    return f"{COUNT:,} handwritten digits, 8x8 (scikit-learn)"
