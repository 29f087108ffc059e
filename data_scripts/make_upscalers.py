"""Pretrain the super-resolution nets of lesson 17 and store their weights with their provenance.

    python data_scripts/make_upscalers.py [--to FOLDER]

Six nets, about 10 s each on a quiet core: three on patches of photographs, three on patches of rendered text. They differ in their random
start and in the patches that they saw. It writes upscalers.safetensors (16-bit floats) and upscalers.json; the same versions on the same
machine give the same bytes.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from helpers import super_resolution as sr
from helpers.backbones import shipped
from helpers.data import pages

STEPS, LEARNING_RATE, PATCHES, SEEDS = sr.PRETRAINING_STEPS, 3e-3, 600, 3


def pretrain(source: str, seed: int) -> tuple[dict[str, torch.Tensor], float]:
    """The weights as 16-bit floats, and the mean PSNR of these weights on 200 other patches of the same source."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = sr.train(sr.Upscaler(), pages.load_source(source, PATCHES, seed), steps=STEPS, learning_rate=LEARNING_RATE, seed=seed)
    weights = {part: tensor.half() for part, tensor in model.state_dict().items()}
    model.load_state_dict({part: tensor.float() for part, tensor in weights.items()})
    return weights, round(float(np.mean([sr.judge(model, patch) for patch in pages.load_source(source, 200, 100 + seed)])), 2)


def main() -> int:
    path = shipped.folder_command(__doc__, sr.WEIGHTS)
    tensors, scores = shipped.train_nets(pretrain, dict.fromkeys(pages.SOURCES, SEEDS))
    record = {
        "nets": scores,
        "the_numbers_behind_nets": "mean PSNR in dB on 200 other patches of the same source, seeds 0, 1, 2",
        "script": f"data_scripts/{Path(__file__).name}",
        "steps": STEPS,
        "learning_rate": LEARNING_RATE,
        "patches": PATCHES,
        "photographs": list(pages.PHOTOGRAPHS),
    }
    print(scores, shipped.store(path, tensors, record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
