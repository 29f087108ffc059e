"""Pretrain the GANs of lesson 19 on font digits, and the judge of their pictures, and store the weights with their provenance.

    python data_scripts/make_gan.py [--to FOLDER]

Five GANs of 1,000 steps, 15 to 30 s each on a quiet core, that differ in their random start, and one classifier of real digits. It writes
gan.safetensors (16-bit floats) and gan.json; the same versions on the same machine give the same bytes.
"""
from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import nn

from helpers import config, generative, training
from helpers.backbones import shipped
from helpers.backbones.small_cnn import SmallCNN
from helpers.data import augment, glyphs
from helpers.data.digits import load_digits
from helpers.data.images import to_tensor

NETS, STEPS, RATE, PER_CLASS = 5, 1000, 1e-3, 300
JUDGE_STEPS, JUDGE_RATE = 300, 3e-3


def halved(model: nn.Module, head: str) -> dict[str, torch.Tensor]:
    """The numbers of a net as 16-bit floats, their names with `head` in front; counters stay whole numbers."""
    return {head + name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}


def pretrain_judge() -> SmallCNN:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, digits, own = SmallCNN(generative.CLASSES), load_digits(), generative.JUDGES
    change = {"augment": augment.jitter(), "batch_size": 32}
    training.fit(model, to_tensor(digits.images[own]), digits.labels[own], steps=JUDGE_STEPS, learning_rate=JUDGE_RATE, **change)
    return model


def pretrain(seed: int) -> dict[str, torch.Tensor]:
    """The moving average of the generator, and the discriminator."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    source = glyphs.load_glyphs("digits", PER_CLASS, seed=0)
    discriminator = generative.Discriminator()
    run = generative.train_gan(
        generative.Generator(), discriminator, source.images, source.labels, steps=STEPS, rate=RATE, seed=seed
    )
    return halved(run.generator, f"generator.{seed}.") | halved(discriminator, f"discriminator.{seed}.")


def main() -> int:
    path = shipped.folder_command(__doc__, generative.WEIGHTS)
    judge = pretrain_judge()
    tensors = halved(judge, "judge.")
    judge.load_state_dict({name.removeprefix("judge."): t.float() for name, t in tensors.items()})
    made = joblib.Parallel(n_jobs=min(config.cores(), NETS))(joblib.delayed(pretrain)(seed) for seed in range(NETS))
    new = glyphs.load_glyphs("digits", 60, seed=1)
    features, labels = generative.judged(judge, new.images)[0], np.arange(600) % generative.CLASSES
    distances = []
    for seed, weights in enumerate(made):
        tensors |= weights
        generator, head = generative.Generator(), f"generator.{seed}."
        state = {name.removeprefix(head): t.float() if t.is_floating_point() else t for name, t in weights.items() if name.startswith(head)}
        generator.load_state_dict(state)
        drawn = generative.judged(judge, generative.sample(generator, labels))[0]
        distances.append(round(generative.frechet_distance(drawn, features), 3))
    record = {
        "distances": distances,
        "the_numbers": "Fréchet distance of 600 pictures of each net to 600 new font digits, in the judge's features; seeds 0, 1, 2, …",
        "script": f"data_scripts/{Path(__file__).name}",
        "steps": STEPS,
        "rate": RATE,
        "font_digits": PER_CLASS * generative.CLASSES,
        "judge": f"{JUDGE_STEPS} steps on {len(generative.JUDGES)} of scikit-learn's digits",
    }
    print(distances, shipped.store(path, tensors, record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
