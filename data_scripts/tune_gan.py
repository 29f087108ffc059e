"""Tune the learning rate of every arm of lesson 19 for 50 and 200 digits, and store the sweep in helpers/generative.json.

    python data_scripts/tune_gan.py [--to FILE]

With the lesson's 200 steps, against digits that no net is trained or tested on, with seeds that no lesson uses. What is stored as mean and
std is 1 / Fréchet distance: more is better. Two minutes on two cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from helpers import experiment, generative

SEEDS = (100, 101)
DIGITS = (50, 200)
RATES = (1e-3, 2e-3)
LABELS = np.arange(600) % generative.CLASSES


def tune(arm: str, digits: int, rate: float, seed: int) -> float:
    """1 / Fréchet distance of 600 pictures to the real digits that are neither learned from nor tested on."""
    task, judge = generative.make_task(digits, seed), generative.load_judge()
    run = generative.transfer(arm, task, rate=rate, seed=seed)
    drawn, _ = generative.judged(judge, generative.sample(run.generator, LABELS))
    true, _ = generative.judged(judge, task.other)
    return 1 / generative.frechet_distance(drawn, true)


def sweep(arms=tuple(generative.ARMS), digits=DIGITS, rates=RATES, seeds=SEEDS) -> list[dict]:
    """A row for each arm, number of digits and rate: the mean and standard deviation over the seeds."""
    return experiment.sweep_rows(experiment.repeat(tune, {"arm": arms, "digits": digits, "rate": rates}, seeds), "arm", "digits")


def main() -> int:
    others = "1 / Fréchet distance to digits that nothing is trained or tested on"
    return experiment.sweep_command(sweep, __doc__, generative.SWEEP, Path(__file__).name, SEEDS, judged_on=others)


if __name__ == "__main__":
    sys.exit(main())
