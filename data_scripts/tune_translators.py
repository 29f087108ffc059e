"""Tune the learning rate of every arm of lesson 15 for 50, 200 and 1,000 Portuguese pairs, and store the sweep in helpers/seq2seq.json.

    python data_scripts/tune_translators.py

About five minutes on two cores. It is judged on numbers that no net is trained or tested on, with seeds that no lesson uses.
"""
from __future__ import annotations

import sys

import numpy as np

from helpers import config, experiment, seq2seq
from helpers.data import number_words

SEEDS = (100, 101, 102)
PAIRS = (50, 200, 1000)
STEPS, SCRATCH_STEPS = 200, 400  # longer than the lesson trains: what a rate is worth should not hang on the last steps
RATES = {
    "scratch": (4e-3, 8e-3, 1.6e-2),
    "vocabulary only": (3e-2, 6e-2, 1.2e-1),
    "vocabulary and decoder": (8e-3, 1.6e-2, 3.2e-2),
    "all weights": (8e-3, 1.6e-2, 3.2e-2),
}


def tune(arm: str, pairs: int, rate: float, seed: int) -> float:
    """Exact match on 1,000 numbers that are neither trained on nor among the last 1,000, which lessons test on."""
    order = np.random.default_rng(seed).permutation(number_words.COUNT)
    language = number_words.load_language("Portuguese")
    model = seq2seq.transfer(arm, language, order[:pairs], rate=rate, steps=SCRATCH_STEPS if arm == "scratch" else STEPS, seed=seed)
    return seq2seq.exact_match(model, language, order[-2000:-1000])


def main() -> int:
    config.start(seed=0)
    rows = []
    for arm, rates in RATES.items():
        table = experiment.repeat(tune, {"arm": [arm], "pairs": PAIRS, "rate": rates}, SEEDS)
        for (pairs, rate), cell in table.groupby(["pairs", "rate"]).accuracy:
            rows.append({"arm": arm, "pairs": pairs, "rate": rate, "mean": round(cell.mean(), 4), "std": round(cell.std(), 4)})
            print(rows[-1], flush=True)
    experiment.store_sweep(rows, seq2seq.SWEEP, "tune_translators.py", SEEDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
