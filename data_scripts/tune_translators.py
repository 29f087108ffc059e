"""Tune the learning rate of every arm of lesson 15 for 50, 200 and 1,000 Portuguese pairs, and store the sweep in helpers/seq2seq.json.

    python data_scripts/tune_translators.py [--to FILE]

With the steps of the lesson, on numbers that no net is trained or tested on, with seeds that no lesson uses. Two minutes on two cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import experiment, seq2seq
from helpers.data import number_words

SEEDS = (100, 101, 102)
PAIRS = (50, 200, 1000)
RATES = {
    "scratch": (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
    "vocabulary only": (3e-2, 6e-2, 1.2e-1, 2.4e-1, 4.8e-1),
    "vocabulary and decoder": (8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
    "all weights": (8e-3, 1.6e-2, 3.2e-2, 6.4e-2),
}


def tune(arm: str, pairs: int, rate: float, seed: int) -> float:
    """Exact match on 1,000 numbers that are neither trained on nor among the last 1,000, which lessons test on."""
    order = np.random.default_rng(seed).permutation(number_words.COUNT)
    language = number_words.load_language("Portuguese")
    model = seq2seq.transfer(arm, language, order[:pairs], rate=rate, seed=seed)
    return seq2seq.exact_match(model, language, order[-2000:-1000])


def sweep(rates=RATES, pairs=PAIRS, seeds=SEEDS) -> list[dict]:
    """A row for each arm, number of pairs and rate: the mean and standard deviation over the seeds."""
    tables = [experiment.repeat(tune, {"arm": [arm], "pairs": pairs, "rate": tried}, seeds) for arm, tried in rates.items()]
    return experiment.sweep_rows(pd.concat(tables), "arm", "pairs")


def main() -> int:
    numbers = "1,000 numbers that nothing is trained or tested on"
    return experiment.sweep_command(sweep, __doc__, seq2seq.SWEEP, Path(__file__).name, SEEDS, judged_on=numbers)


if __name__ == "__main__":
    sys.exit(main())
