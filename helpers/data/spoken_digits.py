"""The ten digits spoken by 48 synthetic voices, as spectrograms that ship with the course; and real recordings for the full profile."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import audio
from helpers.data.cache import cached
from helpers.data.images import ImageSet
from helpers.downloads import registry, transfer
from helpers.errors import CourseError

BANK = Path(__file__).with_suffix(".npz")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Voices(NamedTuple):
    """images: (n, 64, 64) uint8 word spectrograms (`audio.word_image`), labels: (n,) the digit, groups: (n,) the voice's number,
    class_names: the ten words, voices: the name of each voice. waves: ten recordings (samples,) of voice 0, one for each digit, float
    in -1 to 1, 8,000 samples a second."""

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray
    voices: tuple[str, ...]
    waves: tuple[np.ndarray, ...]


def verified(path: Path | None = None) -> Path:
    """The path of the bank, after comparing its sha256 with the one noted when it was made. path: None for the bank of the course.

    Raises CourseError when the file is missing or damaged.
    """
    path = BANK if path is None else path
    if not path.is_file():
        raise CourseError(f"the spectrograms {path.name} are missing: download the course again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != json.loads(BANK.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]:
        raise CourseError(f"{path.name} is not the file that the course was written for: download the course again")
    return path


def load_spoken_digits() -> Voices:
    """480 words: the ten digits, each spoken once by each of 48 synthetic voices (eSpeak NG) of eight English accents.

    Made by data_scripts/make_spoken_digits.py; CC0. One program speaks with all these voices: they differ less than people do.
    Raises CourseError as `verified`.
    """
    with np.load(verified()) as bank:
        labels, groups = bank["labels"].astype(np.int64), bank["groups"].astype(np.int64)
        cuts = np.split(bank["waves"].astype(np.float64) / 32768, np.cumsum(bank["lengths"])[:-1])
        return Voices(bank["images"], labels, WORDS, groups, tuple(bank["voices"].tolist()), tuple(cuts))


def speaker_split(groups: np.ndarray, speakers: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train and to test on: all words of `speakers` random speakers, and all words of a half that none of them is in.

    With one seed, the speakers of a smaller number are among those of a larger one, and the test half is the same.
    Raises ValueError when the training half has fewer speakers.
    """
    names = np.unique(groups)
    if not 1 <= speakers <= len(names) // 2:
        raise ValueError(f"{speakers} training speakers of {len(names)}: choose 1 to {len(names) // 2}, the other half is for testing")
    order = np.random.default_rng(seed).permutation(names)
    return np.flatnonzero(np.isin(groups, order[:speakers])), np.flatnonzero(np.isin(groups, order[len(names) // 2 :]))


def recordings() -> tuple[str, ...]:
    """The file names of the 300 real recordings, "<digit>_<speaker>_<take>.wav"."""
    return tuple(file.name for file in registry.FILES["free_spoken_digits"].files)


def read_waves(folder: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """The recordings of a folder, at 8,000 samples a second. Raises ValueError as `audio.read_wav`."""
    return [audio.resample(*audio.read_wav(Path(folder) / name)) for name in names]


@cached
def _pictures(folder: str, names: tuple[str, ...], hashes: tuple[str, ...]) -> np.ndarray:
    return np.stack([audio.word_image(wave) for wave in read_waves(Path(folder), names)])


def read_recordings(folder: Path, names: tuple[str, ...]) -> ImageSet:
    """The recordings of a folder as word images; groups: the speaker's number, in alphabetical order. Raises ValueError as `audio`."""
    speakers = [name.split("_")[1] for name in names]
    numbers = {speaker: place for place, speaker in enumerate(sorted(set(speakers)))}
    hashes = tuple(hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest() for name in names)
    images = _pictures(str(folder), names, hashes)
    labels = np.array([int(name[0]) for name in names], np.int64)
    return ImageSet(images, labels, WORDS, np.array([numbers[speaker] for speaker in speakers], np.int64))


def load_real_digits() -> ImageSet:
    """300 real recordings as word images (300, 64, 64) uint8: six people, each digit five times; groups: the person.

    Free Spoken Digit Dataset (Jackson et al. 2018, doi:10.5281/zenodo.1342401, CC BY-SA 4.0); needs COURSE_PROFILE=full.
    Raises CourseError as `transfer.ensure`.
    """
    return read_recordings(transfer.ensure("free_spoken_digits"), recordings())


def load_real_waves() -> list[np.ndarray]:
    """The same 300 recordings, in the same order, as waves: float in about -1 to 1, 8,000 samples a second."""
    return read_waves(transfer.ensure("free_spoken_digits"), recordings())


def verify() -> str:
    """One line about the data. Raises CourseError when the bank is missing or damaged."""
    bank = load_spoken_digits()
    return f"{len(bank.images)} spoken words of {len(bank.voices)} synthetic voices"
