"""Pretrain the small translators of lesson 15 and store their weights with their provenance.

    python data_scripts/make_translators.py [--to FOLDER]

Eleven nets, about 5 s each on a quiet core: five of Spanish, three of English, three of Spanish whose texts were dealt to wrong
numbers. They differ in their random start and in the 8,000 numbers that they saw. It writes translators.safetensors (16-bit floats) and
translators.json; the same versions on the same machine give the same bytes.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from helpers import seq2seq
from helpers.backbones import shipped
from helpers.data import number_words

NETS = {"Spanish": 5, "English": 3, "shuffled Spanish": 3}
STEPS, BATCH_SIZE, LEARNING_RATE, SEEN = 700, 32, 8e-3, 8000


def source(name: str, seed: int) -> number_words.Language:
    """The language that a net is trained on. "shuffled Spanish": the texts are right, but each belongs to another number."""
    language = number_words.load_language(name.removeprefix("shuffled "))
    if name.startswith("shuffled"):
        language = language._replace(targets=np.random.default_rng(seed).permutation(language.targets))
    return language


def pretrain(name: str, seed: int) -> tuple[dict[str, torch.Tensor], float]:
    """The weights as 16-bit floats, and the exact match of these weights on the 2,000 numbers that were held out."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    language = source(name, seed)
    order = np.random.default_rng(seed).permutation(number_words.COUNT)
    model = seq2seq.Translator(len(language.vocabulary))
    seq2seq.train(model, language, order[:SEEN], steps=STEPS, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE, seed=seed)
    weights = {part: tensor.half() for part, tensor in model.state_dict().items()}
    model.load_state_dict({part: tensor.float() for part, tensor in weights.items()})
    return weights, round(seq2seq.exact_match(model, language, order[SEEN:]), 4)


def main() -> int:
    path = shipped.folder_command(__doc__, seq2seq.WEIGHTS)
    tensors, scores = shipped.train_nets(pretrain, NETS)
    record = {
        "nets": scores,
        "the_numbers_behind_nets": "exact match on 2,000 numbers held out, seeds 0, 1, 2, …",
        "script": f"data_scripts/{Path(__file__).name}",
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
    }
    print(scores, shipped.store(path, tensors, record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
