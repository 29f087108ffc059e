"""The benchmark of the "Go bigger" sections: CIFAR-10 with few labels, where a net from scratch meets features of pretrained ones."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from helpers import config, features, training
from helpers.data import augment, cifar10
from helpers.data.images import to_tensor
from helpers.data.splits import k_shot

Augment = Callable | None
MILD = augment.jitter(scale=0.15, shift=0.15, noise=0, flip=True)
STEPS = {1: 150, 5: 300, 20: 500, 100: 1000}  # of training from scratch, by labels per class: more labels, more steps


class Task(NamedTuple):
    """images: (n, 32, 32, 3) uint8, those to learn from first. labels: (n,). pool and test: the indices of either."""

    images: np.ndarray
    labels: np.ndarray
    pool: np.ndarray
    test: np.ndarray


@lru_cache
def load_task(pool: int = 200, test: int = 100) -> Task:
    """So many images of each of the ten classes of CIFAR-10 to learn from, from its training part, and to be tested on, from its test part.

    Raises as `cifar10.load_cifar10`.
    """
    learn, judge = cifar10.load_cifar10("train", per_class=pool), cifar10.load_cifar10("test", per_class=test)
    images, labels = np.concatenate([learn.images, judge.images]), np.concatenate([learn.labels, judge.labels])
    return Task(images, labels, np.arange(len(learn.labels)), np.arange(len(learn.labels), len(labels)))


def pixels(images: np.ndarray) -> np.ndarray:
    """(n, 768): the means of 2 x 2 pixels of 32 x 32 colour images, in 0 to 1: the plainest opponent."""
    return images.reshape(len(images), 16, 2, 16, 2, 3).mean((2, 4)).reshape(len(images), -1) / 255


def probe(task: Task, vectors: np.ndarray, labels: int, seed: int) -> float:
    """The test accuracy of `features.linear_probe` on frozen vectors (n, d) of all images of the task, with so many labels of a class."""
    chosen = k_shot(task.labels, labels, seed, task.pool)
    classifier = features.linear_probe(vectors[chosen], task.labels[chosen])
    return float(classifier.score(vectors[task.test], task.labels[task.test]))


def train_scratch(task: Task, labels: int, seed: int, change: Augment = MILD, dropout: float = 0.0, steps: int | None = None) -> float:
    """The test accuracy of a small net trained on so many labels of a class, from scratch.

    change: of each batch (None: as it is). dropout: before the classifier. steps: None for what `STEPS` says.
    """
    from torch import nn

    from helpers.backbones.small_cnn import PhotoCNN

    chosen = k_shot(task.labels, labels, seed, task.pool)
    config.seed_all(seed)
    model = PhotoCNN(classes=10)
    model.classifier = nn.Sequential(nn.Dropout(dropout), model.classifier)
    steps = steps or next(count for most, count in STEPS.items() if labels <= most or most == max(STEPS))
    recipe = {"steps": steps, "batch_size": 32, "learning_rate": 3e-3, "augment": change, "seed": seed}
    training.fit(model, to_tensor(task.images[chosen]), task.labels[chosen], **recipe)
    return training.accuracy(model, to_tensor(task.images[task.test]), task.labels[task.test])
