"""Cut the photograph patches that lessons classify, and verify that no pixel of a training patch is in a test patch.

    python data_scripts/make_photos.py [--per-half N]
"""
from __future__ import annotations

import argparse
import sys

import joblib
import numpy as np

from helpers.data import photos


def halves_overlap() -> bool:
    """True if a patch of one half could hold a pixel of the other: cut from a photograph whose pixels are their own column numbers."""
    columns = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3))
    width = columns.shape[1]
    rng = np.random.default_rng(0)
    left = [photos.patch_box(columns, photos.TRAIN, rng) for _ in range(500)]
    right = [photos.patch_box(columns, photos.TEST, rng) for _ in range(500)]
    return max(first + side for _, first, side in left) > width // 2 or min(first for _, first, _ in right) < width // 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-half", type=int, default=photos.PER_HALF, metavar="N")
    arguments = parser.parse_args()
    if arguments.per_half < 1:
        parser.error("--per-half takes a whole number from 1")
    if halves_overlap():
        raise RuntimeError("a training patch reaches into the test half: look at photos.patch_box")
    patches = photos.load_photos(arguments.per_half)
    print(
        f"photos: {len(patches.images):,} patches 64x64 of {len(patches.class_names)} photographs, "
        f"{arguments.per_half} from each half, no shared pixels, hash {joblib.hash(patches.images)[:8]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
