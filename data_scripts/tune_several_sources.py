"""Choose the learning rates of the networks of lesson 09 by leaving one family of fonts out, and store the whole sweep.

    python data_scripts/tune_several_sources.py [--to FILE]

Handwriting, the target of the lesson, is never looked at, and the families are rendered with seeds that the lesson does not use.
About two minutes on four cores.
"""
from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers import experiment
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
    rows = experiment.sweep_rows(table, "arm")
    return [dict(zip(("method", "steps"), row.pop("arm"), strict=True)) | row for row in rows]


def main() -> int:
    path, script = several_sources.RATES_FILE, Path(__file__).name
    return experiment.sweep_command(sweep, __doc__, path, script, SEEDS, judged_on="the families left out")


if __name__ == "__main__":
    sys.exit(main())
