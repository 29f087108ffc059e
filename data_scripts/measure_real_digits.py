"""Measure on real recordings what lesson 20 measures on synthetic voices, and whether synthetic voices help; store it as a table.

    COURSE_PROFILE=full python data_scripts/measure_real_digits.py [--to FILE] [--folder RECORDINGS]

Reads the 300 recordings of the Free Spoken Digit Dataset from a folder or, without one, downloads them. About two minutes. Each of the
six people is the first training speaker once; tested on the people that were not trained on. It writes helpers/audio.json.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import audio, config, experiment, training
from helpers.data import spoken_digits
from helpers.data.images import ImageSet, to_tensor
from helpers.downloads import transfer
from helpers.errors import CourseError

PEOPLE = range(6)


def train_and_test(real: ImageSet, people: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the words of `people` persons, starting with `first`, and of the words of all others but `first`."""
    chosen = np.isin(real.groups, [(first + step) % len(PEOPLE) for step in range(people)])
    return np.flatnonzero(chosen), np.flatnonzero(~chosen & (real.groups != first))


def on_real(real: ImageSet, arm: str, people: int, seed: int) -> float:
    return audio.recognise(arm, real.images, real.labels, *train_and_test(real, people, seed), seed=seed)


def with_synthetic(real: ImageSet, arm: str, people: int, seed: int) -> float:
    """As `on_real`, with the 480 synthetic words beside the real ones (people: 0 for the synthetic ones alone)."""
    bank = spoken_digits.load_spoken_digits()
    train, test = train_and_test(real, people, seed)
    images, labels = np.concatenate([bank.images, real.images]), np.concatenate([bank.labels, real.labels])
    # A real word counts five times.
    train = np.concatenate([np.arange(len(bank.images)), np.tile(train, 5) + len(bank.images)])
    return audio.recognise(arm, images, labels, train, test + len(bank.images), seed=seed)


def fine_tuned(real: ImageSet, people: int, seed: int) -> float:
    """A net trained on the synthetic words, then on the real ones."""
    bank, (train, test) = spoken_digits.load_spoken_digits(), train_and_test(real, people, seed)
    source = audio.train_word_net(bank.images, bank.labels, seed)
    net = audio.train_word_net(real.images[train], real.labels[train], seed, start=source)
    return training.accuracy(net, to_tensor(audio.halved(real.images[test])), real.labels[test])


def rows_of(table: pd.DataFrame, trained_on: str) -> list[dict]:
    """One row for each arm, with the accuracy for each first person."""
    return [
        {"trained on": trained_on, "arm": arm, "accuracies": rows.sort_values("seed")["accuracy"].round(4).tolist()}
        for arm, rows in table.groupby("arm", sort=False)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path(audio.__file__).with_suffix(".json"), metavar="FILE")
    parser.add_argument("--folder", type=Path, metavar="RECORDINGS", help="where the WAV files lie (default: download them)")
    arguments = parser.parse_args()
    config.start(seed=0)
    try:
        folder = arguments.folder or transfer.ensure("free_spoken_digits")
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    real = spoken_digits.read_recordings(folder, spoken_digits.recordings())
    audio.describe(real.images, audio.ARMS[0]), audio.describe(real.images, audio.ARMS[2])  # into the cache, before the processes
    both = [audio.ARMS[0], *audio.ARMS[3:]]
    rows = []
    for people, name in ((1, "one real person"), (3, "three real people")):
        rows += rows_of(experiment.repeat(on_real, {"real": [real], "arm": audio.ARMS, "people": [people]}, PEOPLE), name)
    tables = {"480 synthetic words": 0, "480 synthetic words and one real person": 1}
    for name, people in tables.items():
        rows += rows_of(experiment.repeat(with_synthetic, {"real": [real], "arm": both, "people": [people]}, PEOPLE), name)
    tuned = experiment.repeat(fine_tuned, {"real": [real], "people": [1]}, PEOPLE).assign(arm="small net, fine-tuned")
    rows += rows_of(tuned, "480 synthetic words and one real person")
    experiment.store_sweep(rows, arguments.to, Path(__file__).name, PEOPLE, judged_on="the people who were not trained on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
