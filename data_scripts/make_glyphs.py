"""Render the letters and digits that lessons pretrain on, and verify that the cached images are what a new rendering gives.

    python data_scripts/make_glyphs.py [digits] [letters] [--per-class N]
"""
from __future__ import annotations

import argparse
import sys

import joblib
import numpy as np

from helpers.data import glyphs


def make(kind: str, per_class: int) -> str:
    """Render and cache; compare with a second rendering. Returns one line about the images. Raises RuntimeError when they differ."""
    cached = glyphs.load_glyphs(kind, per_class)
    fresh = glyphs.render(glyphs.CHARACTERS[kind], per_class, seed=0)
    if not np.array_equal(cached.images, fresh.images):
        raise RuntimeError(f"the cached {kind} are not what a new rendering gives: delete the cache folder and run this again")
    faces = len(np.unique(cached.groups))
    count = f"{len(cached.images):,} images 8x8, {len(cached.class_names)} classes, {faces} faces"
    return f"{kind}: {count}, hash {joblib.hash(cached.images)[:8]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="digits, letters (default: both)")
    parser.add_argument("--per-class", type=int, default=100, metavar="N")
    arguments = parser.parse_args()
    try:
        for kind in arguments.kinds or glyphs.CHARACTERS:
            print(make(kind, arguments.per_class))
    except (KeyError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
