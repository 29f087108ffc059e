"""The benchmark of lesson 01: few labelled handwritten digits, a net from scratch beside transferred ones, all tuned."""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from helpers import experiment, finetuning, training
from helpers.backbones.small_cnn import SOURCES, SmallCNN, load_small_cnn, provenance
from helpers.data import augment
from helpers.data.digits import load_digits
from helpers.data.images import to_tensor
from helpers.data.splits import k_shot, stratified_half

LABELS = (1, 5, 10, 20)  # per class
METHODS = ("scratch", *SOURCES)
FINE_TUNING_STEPS = 60
TOTAL_STEPS = provenance("letters")["steps"] + FINE_TUNING_STEPS  # what a transferred net has cost in all, and scratch gets at once
RATES_FILE = Path(__file__).with_suffix(".json")


class Task(NamedTuple):
    """All digits as a tensor (1797, 1, 8, 8) and labels (1797,); indices of the labelled images, the rest of the pool, the test half."""

    images: torch.Tensor
    labels: np.ndarray
    train: np.ndarray
    rest: np.ndarray
    test: np.ndarray


def make_task(labels: int, seed: int) -> Task:
    """`labels` images of each class from one half of the digits, drawn by `seed`; the other half is the test set."""
    digits = load_digits()
    pool, test = stratified_half(digits.labels, seed)
    train = k_shot(digits.labels, labels, seed, pool)
    return Task(to_tensor(digits.images), digits.labels, train, np.setdiff1d(pool, train), test)


def train_scratch(task: Task, rate: float, seed: int) -> SmallCNN:
    """A new net, augmentation, and as many steps as pretraining and fine-tuning have together."""
    torch.manual_seed(seed)
    model = SmallCNN(classes=10)
    images, labels = task.images[task.train], task.labels[task.train]
    training.fit(model, images, labels, steps=TOTAL_STEPS, learning_rate=rate, augment=augment.jitter(), seed=seed)
    return model


def train_transferred(source: str, task: Task, rate: float, seed: int) -> SmallCNN:
    """The net pretrained on `source`: the head on frozen features, then 60 steps for all weights (the body at `rate`)."""
    images, labels = task.images[task.train], task.labels[task.train]
    model, _ = finetuning.head_then_body(
        load_small_cnn(source), images, labels, classes=10, steps=FINE_TUNING_STEPS, body_rate=rate, augment=augment.jitter(), seed=seed
    )
    return model


def train(method: str, task: Task, rate: float, seed: int) -> SmallCNN:
    """`train_scratch` for "scratch", else `train_transferred` from that source."""
    return train_scratch(task, rate, seed) if method == "scratch" else train_transferred(method, task, rate, seed)


@lru_cache
def tuned_rates() -> dict[str, dict[int, float]]:
    """{method: {labels: rate}}: the best rate of each sweep stored by data_scripts/tune_learning_rates.py."""
    return experiment.best_rates(RATES_FILE, "method", "labels")
