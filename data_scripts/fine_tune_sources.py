"""Fine-tune all twelve sources of lesson 02 on its three targets, each with its best learning rate, and store what they reach.

    python data_scripts/fine_tune_sources.py [--to FILE]

The rate is chosen for each source and target on the pool's images that are not among the labelled ones, with seeds that the lesson does
not use; the accuracies are those on the test images, with the lesson's seeds. About half an hour on two cores.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from helpers import config, experiment, source_choice

TUNING_SEEDS, SEEDS = (100, 101), (0, 1, 2, 3, 4)


def sweep(source: str, target: str, seeds: tuple[int, ...] = TUNING_SEEDS) -> list[dict]:
    """A row for each rate: the mean accuracy on the rest of the pool."""
    rates = source_choice.LITE0_RATES if source in source_choice.LAYERS else source_choice.SMALL_RATES
    settings = {"source": [source], "target": [target], "rate": rates, "on": ["rest"]}
    table = experiment.repeat(source_choice.accuracy, settings, seeds)
    means = table.groupby("rate").accuracy.mean().round(4)
    return [{"source": source, "target": target, "rate": rate, "mean": mean} for rate, mean in means.items()]


def reach(source: str, target: str, rate: float, seeds: tuple[int, ...] = SEEDS) -> list[dict]:
    """A row for each seed: the accuracy on the test images."""
    table = experiment.repeat(source_choice.accuracy, {"source": [source], "target": [target], "rate": [rate]}, seeds)
    return [{"source": source, "target": target, "seed": row.seed, "accuracy": round(row.accuracy, 4)} for row in table.itertuples()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=source_choice.RESULTS_FILE, metavar="FILE")
    arguments = parser.parse_args()
    config.start(seed=0)
    sweeps, reached = [], []
    for target in source_choice.TARGETS:
        for source in source_choice.SOURCES:
            rows = sweep(source, target)
            best = max(rows, key=lambda row: row["mean"])
            found = reach(source, target, best["rate"])
            mean = np.mean([row["accuracy"] for row in found])
            print(f"{target}, {source}: rate {best['rate']:g}, accuracy {mean:.3f}", flush=True)
            sweeps, reached = sweeps + rows, reached + found
            write(arguments.to, sweeps, reached)
    return 0


def write(path: Path, sweeps: list[dict], reached: list[dict]) -> None:
    """Store both tables with how they were made, one row a line: a change of one figure shows as one line."""
    about = {
        "script": f"data_scripts/{Path(__file__).name}",
        "tuning_seeds": TUNING_SEEDS,
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
    }
    parts = [f'"{name}": [\n' + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]"
             for name, rows in (("sweep", sweeps), ("reached", reached))]
    path.write_text(json.dumps(about)[:-1] + ", " + ", ".join(parts) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
