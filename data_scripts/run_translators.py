"""Run the later comparisons of lesson 15 with five seeds each, and store every accuracy in helpers/seq2seq_runs.json.

    python data_scripts/run_translators.py [--to FILE]

French and German from Spanish nets at 200 pairs, and Portuguese with a hole in the pairs. The lesson shows these rows and computes some of
them anew. Two minutes on two cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from helpers import experiment, seq2seq
from helpers.data import number_words

SEEDS = range(5)
PAIRS = 200
MERGES = 40
ARMS = ("scratch", "vocabulary only", "all weights")


def french(arm: str, seed: int) -> dict[str, float]:
    """Exact match on the last 1,000 numbers of the draw."""
    order = np.random.default_rng(seed).permutation(number_words.COUNT)
    language = number_words.load_language("French")
    model = seq2seq.transfer(arm, language, order[:PAIRS], seed=seed)
    return {"French": seq2seq.exact_match(model, language, order[-1000:])}


def german(arm: str, seed: int) -> dict[str, float]:
    """The same, with byte pairs of the training texts as units."""
    order = np.random.default_rng(seed).permutation(number_words.COUNT)
    texts = number_words.texts("German")
    merges = number_words.byte_pairs([texts[number] for number in order[:PAIRS]], MERGES)
    language = number_words.make_language("German", texts, number_words.reads(merges), joint="")
    model = seq2seq.transfer(arm, language, order[:PAIRS], seed=seed)
    return {"German": seq2seq.exact_match(model, language, order[-1000:])}


def hole(arm: str, seed: int) -> dict[str, float]:
    """Portuguese from pairs without 7,000 to 7,999: exact match on 1,000 other numbers, and on these."""
    order = np.random.default_rng(seed).permutation(number_words.COUNT)
    inside, language = order // 1000 == 7, number_words.load_language("Portuguese")
    model = seq2seq.transfer(arm, language, order[~inside][:PAIRS], seed=seed)
    places = {"like the pairs": order[~inside][-1000:], "in the hole": order[inside]}
    return {where: seq2seq.exact_match(model, language, numbers) for where, numbers in places.items()}


def run(seeds=SEEDS, arms=ARMS) -> list[dict]:
    """A row for each task, arm and seed."""
    rows = []
    for function in (french, german, hole):
        table = experiment.repeat(function, {"arm": [arm for arm in arms if function is not hole or arm != "vocabulary only"]}, seeds)
        for row in table.itertuples():
            rows += [{"task": task, "arm": row.arm, "seed": row.seed, "accuracy": accuracy} for task, accuracy in row.accuracy.items()]
    return rows


def main() -> int:
    return experiment.runs_command(run, __doc__, seq2seq.RUNS, Path(__file__).name)


if __name__ == "__main__":
    sys.exit(main())
