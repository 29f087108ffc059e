"""Choose the learning rates of the networks of lesson 09 by leaving one family of fonts out, and store the whole sweep.

    python data_scripts/tune_several_sources.py [--to FILE]

Handwriting, the target of the lesson, is never looked at, and the families are rendered with seeds that the lesson does not use.
About two minutes on four cores.
"""
from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers import config, experiment
from helpers.adaptation import several_sources

# One net on all sources, or one for each: with as many steps in all as the one has, or with as many each.
ARMS = (("pool", 300), ("ensemble", 60), ("ensemble", 300))
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SEEDS = (100, 101, 102)


def accuracy_on_families_left_out(arm: tuple[str, int], rate: float, seed: int) -> float:
    """The mean over the families: train on the others, test on the one left out. arm: the method, and the steps of each of its nets."""
    method, steps = arm
    sources = several_sources.load_sources(seed=seed)
    train = functools.partial(several_sources.train_net, steps=steps, rate=rate, seed=seed)
    members = {} if method == "pool" else several_sources.train_members(sources, train)
    reached = []
    for name, others in several_sources.leave_one_out(sources):
        inputs, labels = sources[name]
        if method == "pool":
            found = train(*several_sources.pool(others)[:2]).predict_proba(inputs)
        else:
            found = several_sources.combine(several_sources.predict_members({n: members[n] for n in others}, inputs))
        reached.append(several_sources.accuracy(found, labels))
    return float(np.mean(reached))


def sweep(arms: Sequence[tuple[str, int]] = ARMS, rates: Sequence[float] = RATES, seeds: Sequence[int] = SEEDS) -> list[dict]:
    """A row for each arm and rate: the mean and standard deviation over the seeds."""
    table = experiment.repeat(accuracy_on_families_left_out, {"arm": arms, "rate": rates}, seeds)
    cells = table.groupby(["arm", "rate"], sort=False)["accuracy"].agg(["mean", "std"]).round(4).reset_index()
    return [{"method": arm[0], "steps": arm[1], "rate": rate, "mean": mean, "std": std} for arm, rate, mean, std in cells.to_numpy()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=several_sources.RATES_FILE, metavar="FILE")
    arguments = parser.parse_args()
    config.start(seed=0)
    experiment.store_sweep(sweep(), arguments.to, Path(__file__).name, SEEDS, judged_on="the families left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
