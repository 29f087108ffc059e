"""Run the slower comparisons of lesson 10, and store every accuracy in helpers/selfsupervised_runs.json.

    python data_scripts/run_selfsupervised.py [--to FILE]

The opponents with 1 and 10 labels a class (the fine-tuned VICReg nets with the three seeds that there are nets of, the others with five),
VICReg with other views (two of them also with many more steps), and VICReg on a few photographs, five seeds each. The lesson shows
these rows and computes some of them anew. Four minutes on two cores.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn

from helpers import experiment, few_shot_digits, finetuning, selfsupervised, training
from helpers.adaptation.fit import embed
from helpers.backbones.small_cnn import convolution_block, load_small_cnn
from helpers.data import augment, digits, photos
from helpers.data.images import to_tensor
from helpers.data.splits import k_shot, stratified_half

SEEDS = range(5)
LONG_SEEDS = range(3)  # there is a long-trained net of each
LABELS = (1, 10)
ARMS = ("from scratch", "font digits, labelled", "VICReg long, fine-tuned")
VIEWS = {
    "noise and light only": {"rotation": 0, "shear": 0, "scale": 0, "shift": 0},
    "moved a little": {},
    "moved twice as far": {"rotation": 0.3, "shear": 0.3, "scale": 0.2, "shift": 0.2},
    "a little, on any side": {},
}
PATIENT = ", 1,000 steps"  # instead of 60
VIEWS |= {name + PATIENT: VIEWS[name] for name in ("moved a little", "moved twice as far")}


def opponents(arm: str, labels: int, seed: int) -> float:
    """Test accuracy of a net that was trained on `labels` handwritten digits a class, each arm at its own tuned rate."""
    task = few_shot_digits.make_task(labels, seed)
    if arm == "from scratch":
        model = few_shot_digits.train_scratch(task, few_shot_digits.tuned_rates()["scratch"][labels], seed)
    else:
        fonts = arm == "font digits, labelled"
        net = load_small_cnn("font_digits") if fonts else selfsupervised.load_vicreg(seed)
        rates = few_shot_digits.tuned_rates()["font_digits"] if fonts else selfsupervised.tuned_rates()["VICReg, fine-tuned"]
        recipe = {"classes": 10, "steps": 60, "body_rate": rates[labels], "augment": augment.jitter(), "seed": seed}
        model, _ = finetuning.head_then_body(net, task.images[task.train], task.labels[task.train], **recipe)
    return training.accuracy(model, task.images[task.test], task.labels[task.test])


def probe(vectors: np.ndarray, labels: np.ndarray, few: np.ndarray, test: np.ndarray) -> float:
    """Test accuracy of a logistic regression on the few labelled rows."""
    return LogisticRegression(max_iter=500).fit(vectors[few], labels[few]).score(vectors[test], labels[test])


def views(name: str, seed: int) -> dict[str, float]:
    """VICReg whose two views differ as VIEWS says, then a probe on five labels a class: on all digits, and on 6 against 9."""
    data, moved = digits.load_digits(), selfsupervised.views(**VIEWS[name])

    def any_side(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return selfsupervised.turn(moved(batch, generator), torch.randint(0, 4, (len(batch),), generator=generator))

    images, (pool, test) = to_tensor(data.images), stratified_half(data.labels, seed)
    steps, rate = 1000 if name.endswith(PATIENT) else 60, selfsupervised.tuned_rates()["VICReg"][5]
    recipe = {"steps": steps, "batch_size": 64, "learning_rate": rate, "seed": seed}
    net = selfsupervised.train_vicreg(images[pool], any_side if name == "a little, on any side" else moved, **recipe)
    vectors = selfsupervised.scaled(embed(net, images), pool)
    few = k_shot(data.labels, 5, seed, pool)
    pair = [rows[np.isin(data.labels[rows], (6, 9))] for rows in (few, test)]
    return {"all digits": probe(vectors, data.labels, few, test), "6 against 9": probe(vectors, data.labels, *pair)}


def photographs(seed: int) -> float:
    """VICReg on the 380 patches of one half of 19 photographs, a probe on five labels a class, tested on the other half."""
    patches = photos.load_photos(per_half=20)
    half, tested = (np.flatnonzero(patches.groups == group) for group in (photos.TRAIN, photos.TEST))
    small = F.avg_pool2d(torch.tensor(patches.images).permute(0, 3, 1, 2) / 255, 4)
    torch.manual_seed(seed)
    body = [*convolution_block(3, 16), nn.MaxPool2d(2), *convolution_block(16, 32), nn.MaxPool2d(2), *convolution_block(32, 64)]
    body += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 64), nn.BatchNorm1d(64), nn.ReLU()]
    net = nn.Module()
    net.features = nn.Sequential(*body)
    objective = selfsupervised.TwoViews(selfsupervised.views(), selfsupervised.vicreg_loss)
    rate = selfsupervised.tuned_rates()["VICReg"][5]
    selfsupervised.pretrain(net, objective, small[half], steps=100, batch_size=64, learning_rate=rate, seed=seed)
    with torch.no_grad():
        vectors = selfsupervised.scaled(net.features(small).numpy(), half)
    return probe(vectors, patches.labels, k_shot(patches.labels, 5, seed, half), tested)


def run(seeds=SEEDS) -> list[dict]:
    """A row for each task, method, number of labels and seed."""
    tables = [experiment.repeat(opponents, {"arm": ARMS[:2], "labels": LABELS}, seeds),
              experiment.repeat(opponents, {"arm": ARMS[2:], "labels": LABELS}, LONG_SEEDS)]
    rows = [{"task": "opponents", "method": row.arm, "labels": row.labels, "seed": row.seed, "accuracy": row.accuracy}
            for table in tables for row in table.itertuples()]
    for row in experiment.repeat(views, {"name": list(VIEWS)}, seeds).itertuples():
        given = {"method": row.name, "labels": 5, "seed": row.seed}
        rows += [{"task": task, **given, "accuracy": found} for task, found in row.accuracy.items()]
    return rows + [{"task": "photographs", "method": "VICReg", "labels": 5, "seed": row.seed, "accuracy": row.accuracy}
                   for row in experiment.repeat(photographs, {}, seeds).itertuples()]


def main() -> int:
    return experiment.runs_command(run, __doc__, selfsupervised.RUNS, Path(__file__).name)


if __name__ == "__main__":
    sys.exit(main())
