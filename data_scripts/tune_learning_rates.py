"""Choose the learning rate of every arm of lesson 01, for every number of labels, and store the whole sweep.

    python data_scripts/tune_learning_rates.py [--to FILE]

Every arm gets the same candidates, judged on the unlabelled rest of the pool, never on the test half, with seeds that the lesson does
not use. About six minutes on four cores.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helpers import config, experiment, few_shot_digits, training

CANDIDATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SEEDS = (100, 101, 102, 103)


def validation_accuracy(method: str, labels: int, rate: float, seed: int) -> float:
    """Accuracy on the pool's images that are not among the labelled ones."""
    task = few_shot_digits.make_task(labels, seed)
    model = few_shot_digits.train(method, task, rate, seed)
    return training.accuracy(model, task.images[task.rest], task.labels[task.rest])


def sweep(methods=few_shot_digits.METHODS, labels=few_shot_digits.LABELS, rates=CANDIDATES, seeds=SEEDS) -> list[dict]:
    """A row for each method, number of labels and rate: the mean and standard deviation over the seeds."""
    table = experiment.repeat(validation_accuracy, {"method": methods, "labels": labels, "rate": rates}, seeds)
    cells = table.groupby(["method", "labels", "rate"], sort=False)["accuracy"].agg(["mean", "std"]).round(4)
    return cells.reset_index().to_dict("records")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=few_shot_digits.RATES_FILE, metavar="FILE")
    arguments = parser.parse_args()
    config.start(seed=0)
    experiment.store_sweep(sweep(), arguments.to, Path(__file__).name, SEEDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
