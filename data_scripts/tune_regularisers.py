"""Choose the learning rate of every arm of lesson 06, and store the whole sweep.

    python data_scripts/tune_regularisers.py [--to FILE]

Every arm gets the same candidates, judged on the part of the pool that has no labels in training, never on the test images, with
seeds that the lesson does not use. About three minutes on four cores.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helpers import config, experiment, regularization

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
    cells = table.groupby(["start", "name", "rate"], sort=False)["accuracy"].agg(["mean", "std"]).round(4)
    return cells.reset_index().to_dict("records")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=regularization.RATES_FILE, metavar="FILE")
    arguments = parser.parse_args()
    config.start(seed=0)
    experiment.store_sweep([row for start in CANDIDATES for row in sweep(start)], arguments.to, Path(__file__).name, SEEDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
