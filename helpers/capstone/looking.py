"""Look before you train: counts, copies, contradicting labels, groups; and a split through which nothing leaks."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from helpers.capstone.reading import Project
from helpers.errors import CourseError

if TYPE_CHECKING:
    import pandas as pd

ALIKE = {"images": 0.99, "texts": 0.8}  # cosine from which two items count as copies of each other
THUMBNAIL = 32  # pixels a side at which images are compared
IMBALANCE = 3.0  # largest class to smallest, from which plain accuracy hides the small ones


class Findings(NamedTuple):
    """classes: a row for each class with its items and groups. imbalance: largest class to smallest. copies: (m, 2) places of pairs that
    are copies of each other. conflicts: those of them with two labels. across: those of one label from two groups. alike: the smallest
    cosine that counted (None: `ALIKE`)."""

    classes: pd.DataFrame
    imbalance: float
    copies: np.ndarray
    conflicts: np.ndarray
    across: np.ndarray
    alike: float | None = None


def fingerprints(project: Project) -> np.ndarray:
    """(n, d) rows of length 1 whose products say how alike two items are: thumbnails without brightness and contrast, or word counts.

    Raises CourseError when no text holds a word.
    """
    if project.kind == "texts":
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            return TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").fit_transform(project.items)
        except ValueError:  # "empty vocabulary"
            raise CourseError("none of the texts holds a word: look at the column of the texts, or write signs as words") from None
    from PIL import Image

    rows = []
    for image in project.items:
        small = Image.fromarray(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
        row = np.asarray(small, np.float32).ravel()
        rows.append(row - row.mean())
    rows = np.stack(rows)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > 1, rows / np.maximum(length, 1), 0)  # an image of one colour resembles nothing


def copies(project: Project, alike: float | None = None) -> np.ndarray:
    """(m, 2) int: places of the pairs, the earlier item first, that are the same or nearly so.

    alike: the smallest cosine of their fingerprints that counts (None: `ALIKE`). Of images, brightness and contrast do not matter; a
    mirrored or cropped copy is not found. Raises ValueError when alike is not above 0, up to 1, and CourseError as `fingerprints`.
    """
    alike = ALIKE[project.kind] if alike is None else alike
    if not 0 < alike <= 1:
        raise ValueError(f"alike is {alike}: choose a cosine above 0, up to 1 (the same)")
    rows, found = fingerprints(project), []
    for start in range(0, rows.shape[0], 1000):  # in portions: all products of 50,000 items would not fit into memory
        products = rows[start : start + 1000] @ rows.T
        if project.kind == "texts":
            products = products.toarray()
        first, second = np.nonzero(products >= alike - 1e-5)
        first += start
        found.append(np.stack([first, second], 1)[first < second])
    return np.concatenate(found)


def look(project: Project, alike: float | None = None) -> Findings:
    """What to know before anything is trained.

    alike: as in `copies`; `clean` goes on with it. Texts of fewer than about ten words want a higher one than 0.8, such as 0.95: two
    short sentences that differ in one word are alike without being copies. Raises as `copies`.
    """
    import pandas as pd

    pairs = copies(project, alike)
    one, two = pairs.T
    contradict = project.labels[one] != project.labels[two]
    apart = project.groups[one] != project.groups[two]
    counts = np.bincount(project.labels, minlength=len(project.class_names))
    rows = [{"class": name, "items": counts[label], "groups": len(np.unique(project.groups[project.labels == label]))}
            for label, name in enumerate(project.class_names)]
    return Findings(pd.DataFrame(rows).set_index("class"), float(counts.max() / counts.min()), pairs, pairs[contradict],
                    pairs[apart & ~contradict], alike)


def clean(project: Project, findings: Findings) -> Project:
    """The project without the later of two copies, and without both where their labels contradict each other.

    What is left is looked at again, with the findings' `alike`, until nothing is found. Raises CourseError when a class is left empty.
    """
    cleaned = project
    while len(findings.copies) or len(findings.conflicts):
        drop = np.zeros(len(cleaned.labels), bool)
        drop[findings.conflicts.ravel()] = True
        for first, second in findings.copies:
            if not drop[first]:  # what resembles only a dropped item stays
                drop[second] = True
        cleaned = cleaned.take(~drop)
        empty = np.setdiff1d(project.labels, cleaned.labels)
        if len(empty):
            total = len(project.labels)
            raise CourseError(f"{total - len(cleaned.labels)} of {total} items are copies or contradictions, and the class "
                              f"{project.class_names[empty[0]]!r} is left empty: look at the pairs and the labels")
        # The words of fewer texts weigh differently, so that new pairs may be alike.
        findings = look(cleaned, findings.alike)
    return cleaned


def split(project: Project, seed: int = 0, parts: int = 5, test_parts: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train and to test on, with whole groups on one side and the classes' shares as equal as that allows.

    parts: the groups are dealt into so many parts, of which `test_parts` are for testing.
    Raises CourseError when there are fewer groups or items than parts, or a class would be missing on a side: it has too few groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if not 1 <= test_parts < parts:
        raise ValueError(f"test_parts is {test_parts} of {parts}: choose 1 to {parts - 1}")
    count = len(np.unique(project.groups))
    if count < parts:
        there = "there is 1 group" if count == 1 else f"there are {count} groups"
        raise CourseError(f"{there} for {parts} parts: collect more groups; or, if the groups are not what must be kept apart, read the "
                          "data without them")
    if np.bincount(project.labels).max() < parts:
        raise CourseError(f"no class has {parts} items for {parts} parts: collect more items")
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed).split(project.labels, project.labels, project.groups)
    test = np.sort(np.concatenate([held_out for _, held_out in list(folds)[:test_parts]]))
    train = np.setdiff1d(np.arange(len(project.labels)), test)
    for side, places in (("training", train), ("test", test)):
        missing = np.setdiff1d(np.arange(len(project.class_names)), project.labels[places])
        if len(missing):
            name = project.class_names[missing[0]]
            count = len(np.unique(project.groups[project.labels == missing[0]]))
            come = "come from 1 group" if count == 1 else f"come from {count} groups"
            raise CourseError(f"the class {name!r} is missing on the {side} side (its items {come}): collect it from more groups, or leave "
                              "it out")
    return train, test


def leaks(project: Project, train: np.ndarray, test: np.ndarray, alike: float | None = None) -> dict[str, np.ndarray]:
    """What of the test the training has seen: {"copies": places of test items with a copy in training, "groups": … whose group is there}.

    Both are empty for an honest split. Raises as `copies`, and ValueError when an item stands on both sides.
    """
    train, test = np.asarray(train), np.asarray(test)
    if len(np.intersect1d(train, test)):
        raise ValueError(f"{len(np.intersect1d(train, test))} items are on both sides: pass disjoint places")
    pairs = copies(project, alike)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    seen = pairs[np.isin(pairs[:, 0], train) & np.isin(pairs[:, 1], test), 1]
    return {"copies": np.unique(seen), "groups": test[np.isin(project.groups[test], project.groups[train])]}
