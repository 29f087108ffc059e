"""Train every arm of lesson 19 with three seeds, for longer than the lesson can, and store the scores in helpers/generative_runs.json.

    python data_scripts/measure_gan.py [--to FILE]

A net from scratch gets as many steps as a source and its transfer together, a moved one as many again. Five minutes on two cores.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from helpers import config, experiment, generative

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=generative.TABLE, metavar="FILE")
    path = parser.parse_args().to
    config.start(seed=0)
    runs = experiment.repeat(measure, {"digits": DIGITS, "arm": list(generative.ARMS)}, SEEDS)
    rows = [row for rows in runs.accuracy for row in rows]
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{{"script": "data_scripts/{Path(__file__).name}", "runs": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(rows)} rows -> {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
