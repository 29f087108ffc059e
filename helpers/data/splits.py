"""Splits that do not leak: stratified halves, k labels per class, and groups kept whole."""
from __future__ import annotations

import numpy as np


def stratified_half(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint index arrays that cover all images, with equal class shares. The first is the pool, the second the test set.

    Raises ValueError when a class has fewer than two images.
    """
    from sklearn.model_selection import train_test_split

    labels = np.asarray(labels)
    values, counts = np.unique(labels, return_counts=True)
    if counts.min(initial=2) < 2:
        raise ValueError(f"class {values[counts.argmin()]} has one image: a class needs two or more to be in both halves")
    pool, test = train_test_split(np.arange(len(labels)), test_size=0.5, random_state=seed, stratify=labels)
    return pool, test


def k_shot(labels: np.ndarray, k: int, seed: int, pool: np.ndarray | None = None, classes: int | None = None) -> np.ndarray:
    """Indices of k images of every class, drawn without replacement from `pool` (indices; None: all).

    With the same seed, the images for a smaller k are among those for a larger k, so that a learning curve adds labels instead of
    changing them. classes: how many classes there should be (None: those that occur in `labels`).
    Raises ValueError when k < 1, when a class has no image in the pool, or fewer than k.
    """
    labels = np.asarray(labels)
    pool = np.arange(len(labels)) if pool is None else np.asarray(pool)
    if k < 1:
        raise ValueError(f"k is {k}: draw 1 or more images of each class")
    rng = np.random.default_rng(seed)
    chosen = []
    for c in range(classes) if classes is not None else np.unique(labels):
        members = pool[labels[pool] == c]
        if len(members) < k:
            held = "no image" if len(members) == 0 else f"only {len(members)} images"
            raise ValueError(f"class {c} has {held} in the pool, {k} were asked for: lower k or add images of this class")
        chosen.append(rng.permutation(members)[:k])
    return np.concatenate(chosen)


def group_split(groups: np.ndarray, test_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Train and test indices such that no group (writer, photograph, patient) stands on both sides.

    groups: (n,) the group of each image. test_fraction: share of the *groups* that go to the test side.
    Raises ValueError when there are fewer than two groups or a side would be empty.
    """
    from sklearn.model_selection import GroupShuffleSplit

    groups = np.asarray(groups)
    if len(np.unique(groups)) < 2:
        raise ValueError("all images are of one group: a split that keeps groups whole needs two or more")
    splitter = GroupShuffleSplit(n_splits=1, test_size=test_fraction, random_state=seed)
    train, test = next(splitter.split(groups, groups=groups))
    return train, test
