"""Choose the learning rates of lesson 10, of every method and of fine-tuning the best one, and store the whole sweep.

    python data_scripts/tune_selfsupervised.py [--to FILE]

Every method gets the same candidates, steps and views. A linear probe with five labels per class judges, on the rest of the pool whose
images were pretrained on, never on the test half, with seeds that the lesson does not use. About three minutes on two cores.
Fine-tuning of VICReg's net is judged in the same way, at each number of labels.
"""
from __future__ import annotations

import itertools
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from helpers import config, experiment, few_shot_digits, finetuning, selfsupervised, training
from helpers.adaptation.fit import embed
from helpers.backbones.small_cnn import SmallCNN
from helpers.data import augment

CANDIDATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FINE_TUNING_CANDIDATES = (1e-4, 3e-4, 1e-3)
METHODS = tuple(selfsupervised.objectives())
SEEDS = (100, 101, 102)


def pretrained(method: str, task: few_shot_digits.Task, rate: float, seed: int) -> SmallCNN:
    """A net trained without labels on the task's pool."""
    torch.manual_seed(seed)
    model, objective = SmallCNN(classes=2), selfsupervised.objectives()[method]()
    pool = np.sort(np.concatenate([task.train, task.rest]))  # whatever is labelled, the same order
    selfsupervised.pretrain(model, objective, task.images[pool], learning_rate=rate, seed=seed)
    return model


def validation_accuracy(method: str, labels: int, rate: float, seed: int) -> float:
    """Accuracy on the pool's images that are not among the labelled ones."""
    task = few_shot_digits.make_task(labels, seed)
    vectors = embed(pretrained(method, task, rate, seed), task.images)
    vectors = selfsupervised.scaled(vectors, np.concatenate([task.train, task.rest]))
    probe = LogisticRegression(max_iter=500).fit(vectors[task.train], task.labels[task.train])
    return probe.score(vectors[task.rest], task.labels[task.rest])


def fine_tuned(seed: int, pretraining_rate: float) -> list[dict]:
    """The same for VICReg's net, its body fine-tuned as in lesson 01 at every rate and number of labels."""
    net, rows = pretrained("VICReg", few_shot_digits.make_task(1, seed), pretraining_rate, seed), []
    for labels, rate in itertools.product((1, 5, 10), FINE_TUNING_CANDIDATES):
        task = few_shot_digits.make_task(labels, seed)
        recipe = {"classes": 10, "steps": few_shot_digits.FINE_TUNING_STEPS, "body_rate": rate, "augment": augment.jitter(), "seed": seed}
        model, _ = finetuning.head_then_body(net, task.images[task.train], task.labels[task.train], **recipe)
        accuracy = training.accuracy(model, task.images[task.rest], task.labels[task.rest])
        rows.append({"method": "VICReg, fine-tuned", "labels": labels, "rate": rate, "accuracy": accuracy})
    return rows


def sweep(methods=METHODS, rates=CANDIDATES, seeds=SEEDS) -> list[dict]:
    """A row for each method, number of labels and rate: the mean and standard deviation over the seeds."""
    table = experiment.repeat(validation_accuracy, {"method": methods, "labels": [5], "rate": rates}, seeds)
    best = table[table.method == "VICReg"].groupby("rate").accuracy.mean().idxmax()
    calls = joblib.Parallel(n_jobs=min(config.cores(), len(seeds)))(joblib.delayed(fine_tuned)(seed, best) for seed in seeds)
    table = pd.concat([table, pd.DataFrame([row for rows in calls for row in rows])])
    return experiment.sweep_rows(table, "method", "labels")


def main() -> int:
    return experiment.sweep_command(sweep, __doc__, selfsupervised.RATES_FILE, Path(__file__).name, SEEDS)


if __name__ == "__main__":
    sys.exit(main())
