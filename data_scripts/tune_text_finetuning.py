"""Choose the learning rate of every arm of lesson 13, for both tasks, and store the whole sweep.

    python data_scripts/tune_text_finetuning.py [--to FILE]

Every arm gets the same number of candidates, judged on the training side alone, split once more by file or package: the texts that the
lesson tests on are not touched. About ten minutes on two cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

from helpers import experiment, text_finetuning

WEIGHTS, LORA = (3e-5, 1e-4, 3e-4, 1e-3), (1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = (0, 1, 2, 3, 4)


def validation_accuracy(task: str, arm: str, rate: float, seed: int) -> float:
    """Balanced accuracy on the validation part of the training side."""
    tail = text_finetuning.train(task, arm, rate, seed, inner=True)
    return text_finetuning.judge(tail, task, arm, seed, inner=True)


def sweep(arms=tuple(text_finetuning.ARMS), tasks=tuple(text_finetuning.TASKS), seeds=SEEDS) -> list[dict]:
    """A row for each task, arm and rate: the mean and standard deviation over the seeds."""
    rows = []
    for arm in arms:
        rates = LORA if text_finetuning.ARMS[arm][1] == "lora" else WEIGHTS
        table = experiment.repeat(validation_accuracy, {"task": tasks, "arm": [arm], "rate": rates}, seeds)
        rows += experiment.sweep_rows(table, "task", "arm")
    return rows


def main() -> int:
    judged_on = "the training side, split once more by file or package"
    name = Path(__file__).name
    return experiment.sweep_command(sweep, __doc__, text_finetuning.SWEEP, name, SEEDS, judged_on=judged_on)


if __name__ == "__main__":
    sys.exit(main())
