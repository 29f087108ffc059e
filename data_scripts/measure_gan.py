"""Train every arm of lesson 19 with three seeds, for longer than the lesson can, and store the scores in helpers/generative_runs.json.

    python data_scripts/measure_gan.py [--to FILE]

A net from scratch gets as many steps as a source and its transfer together, a moved one as many again. Five minutes on two cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from helpers import experiment, generative

SEEDS = range(3)
DIGITS = (50, 200)
AFTER = (25, 50, 100, 200)
LONG = (400, 800, 1200)
LONG_ARMS = ("scratch", "both moved")
LABELS = np.arange(600) % generative.CLASSES


def measure(arm: str, digits: int, seed: int, after=AFTER, long=LONG) -> list[dict]:
    """The scores of the moving average after so many steps, a row each."""
    task, judge = generative.make_task(digits, seed), generative.load_judge()
    keep = (*after, *long) if arm in LONG_ARMS else after
    run = generative.transfer(arm, task, steps=keep[-1], seed=seed, keep=keep)
    rows = []
    for step in keep:
        figures = generative.score(judge, generative.sample(run.kept[step], LABELS, seed), LABELS, task)
        rows.append({"arm": arm, "digits": digits, "seed": seed, "steps": step} | {name: round(v, 4) for name, v in figures.items()})
    return rows


def run() -> list[dict]:
    """A row for each arm, number of digits, seed and number of steps."""
    runs = experiment.repeat(measure, {"digits": DIGITS, "arm": list(generative.ARMS)}, SEEDS)
    return [row for rows in runs.accuracy for row in rows]


def main() -> int:
    return experiment.runs_command(run, __doc__, generative.TABLE, Path(__file__).name)


if __name__ == "__main__":
    sys.exit(main())
