"""Sentences of film reviews, negative or positive (the Stanford Sentiment Treebank, SST-2), which the full profile downloads."""
from __future__ import annotations

import numpy as np

from helpers import config
from helpers.data.docstrings import TextSet
from helpers.errors import CourseError

URL = "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/master/data/SST2/{split}.tsv"
# Of each file's content; a file that differs is not used.
SHA256 = {
    "train": "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
    "dev": "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
    "test": "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
}
SECONDS = 30  # without an answer, after which a download has failed


def load_sst2(split: str) -> TextSet:
    """The sentences of "train" (6,920), "dev" (872) or "test" (1,821), labels 0 (negative) or 1 (positive).

    Needs COURSE_PROFILE=full. Lower case, with spaces around punctuation, whole sentences (the 67,000 of GLUE are mostly parts of
    these). Each is a group of its own: which film it is about is not recorded. The file is downloaded once into
    `config.cache_dir()`, gets its name there when it is complete, and its hash is verified at every call. (Socher et al. 2013,
    "Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank", EMNLP; sentences by Pang & Lee 2005,
    doi:10.3115/1219840.1219855.)
    Raises ValueError for another split, CourseError in the offline profile, or when the download fails or the file
    is another one.
    """
    if split not in SHA256:
        raise ValueError(f"no split called {split!r}: choose one of {', '.join(SHA256)}")
    if config.profile() == "offline":
        raise CourseError("the film reviews of SST-2 must be downloaded (1 MB), and this is the offline profile: set "
                          "COURSE_PROFILE=full before you start")
    try:
        import pooch
    except ImportError:
        raise CourseError("the package pooch is not installed: install what requirements.txt pins") from None

    pooch.get_logger().setLevel("ERROR")  # it reports each download on standard error
    loader = pooch.HTTPDownloader(timeout=SECONDS)
    folder, name = config.cache_dir() / "sst2", f"{split}.tsv"
    try:
        path = pooch.retrieve(URL.format(split=split), f"sha256:{SHA256[split]}", name, folder, downloader=loader)
    except Exception as error:  # of the network, the disk, or pooch about the hash
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CourseError(f"the film reviews of SST-2 ({name}) could not be downloaded: is there a network connection? Check it "
                          f"and run the cell again. (The download says: {reason})") from None
    with open(path, encoding="utf-8") as file:
        rows = [line.rstrip("\n").rpartition("\t") for line in file if line.strip()]
    texts = np.array([text for text, _, _ in rows], dtype=object)
    labels = np.array([int(label) for _, _, label in rows], np.int64)
    return TextSet(texts, labels, ("negative", "positive"), np.arange(len(rows)))
