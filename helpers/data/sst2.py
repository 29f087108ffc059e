"""Sentences of film reviews, negative or positive (the Stanford Sentiment Treebank, SST-2), which the full profile downloads."""
from __future__ import annotations

import numpy as np

from helpers.data.docstrings import TextSet
from helpers.downloads import transfer

SPLITS = ("train", "dev", "test")


def load_sst2(split: str) -> TextSet:
    """The sentences of "train" (6,920), "dev" (872) or "test" (1,821), labels 0 (negative) or 1 (positive).

    Needs COURSE_PROFILE=full. Lower case, with spaces around punctuation, whole sentences (the 67,000 of GLUE are mostly parts of
    these). Each is a group of its own: which film it is about is not recorded. (Socher et al. 2013, "Recursive Deep Models for Semantic
    Compositionality Over a Sentiment Treebank", EMNLP; sentences by Pang & Lee 2005, doi:10.3115/1219840.1219855.)
    Raises ValueError for another split, CourseError as `transfer.ensure`.
    """
    if split not in SPLITS:
        raise ValueError(f"no split called {split!r}: choose one of {', '.join(SPLITS)}")
    with open(transfer.ensure("sst2") / f"{split}.tsv", encoding="utf-8") as file:
        rows = [line.rstrip("\n").rpartition("\t") for line in file if line.strip()]
    texts = np.array([text for text, _, _ in rows], dtype=object)
    labels = np.array([int(label) for _, _, label in rows], np.int64)
    return TextSet(texts, labels, ("negative", "positive"), np.arange(len(rows)))
