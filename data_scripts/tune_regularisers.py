"""Choose the learning rate of every arm of lesson 06, and store the whole sweep.

    python data_scripts/tune_regularisers.py [--to FILE]

Every arm gets the same candidates, judged on the part of the pool that has no labels in training, never on the test images, with
seeds that the lesson does not use. About three minutes on four cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

from helpers import experiment, regularization

CANDIDATES = {
    "scratch": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    "letters": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "photos": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
SEEDS = tuple(range(100, 108))


def validation_accuracy(start: str, name: str, rate: float, seed: int) -> float:
    """Accuracy on the pool's images that are not among the labelled ones."""
    return regularization.measure(start, name, seed, rate, on="rest")["accuracy"]


def sweep(start: str, names=None, rates=None, seeds=SEEDS) -> list[dict]:
    """A row for each treatment and rate: the mean and standard deviation over the seeds."""
    settings = {"start": [start], "name": names or list(regularization.TREATMENTS[start]), "rate": rates or CANDIDATES[start]}
    table = experiment.repeat(validation_accuracy, settings, seeds)
    return experiment.sweep_rows(table, "start", "name")


def main() -> int:
    def all_starts() -> list[dict]:
        return [row for start in CANDIDATES for row in sweep(start)]

    return experiment.sweep_command(all_starts, __doc__, regularization.RATES_FILE, Path(__file__).name, SEEDS)


if __name__ == "__main__":
    sys.exit(main())
