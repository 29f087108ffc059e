"""Choose the learning rate of every arm of lesson 01, for every number of labels, and store the whole sweep.

    python data_scripts/tune_learning_rates.py [--to FILE]

Every arm gets the same candidates, judged on the unlabelled rest of the pool, never on the test half, with seeds that the lesson does
not use. About six minutes on four cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

from helpers import experiment, few_shot_digits, training

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
    return experiment.sweep_rows(table, "method", "labels")


def main() -> int:
    return experiment.sweep_command(sweep, __doc__, few_shot_digits.RATES_FILE, Path(__file__).name, SEEDS)


if __name__ == "__main__":
    sys.exit(main())
