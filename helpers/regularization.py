"""Regularisers as losses and layers, the comparison of them that lesson 06 runs, and detectors for leaks between train and test."""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import experiment, few_shot_digits, finetuning, training
from helpers.backbones.small_cnn import SmallCNN, convolution_block, load_small_cnn
from helpers.data import augment
from helpers.training import Loss

RATES_FILE = Path(__file__).with_suffix(".json")
PHOTO_LAYER, PHOTO_SIZE = "block 13", 64


# ---- losses for training.fit(loss=...)
def label_smoothing(amount: float) -> Loss:
    """Cross-entropy against targets of which `amount` is spread evenly over all classes (Szegedy et al. 2016, arXiv:1512.00567).

    Raises ValueError unless 0 <= amount < 1.
    """
    if not 0 <= amount < 1:
        raise ValueError(f"amount is {amount}: the share of the target that is spread over all classes lies from 0 to below 1")
    return lambda model, batch, labels: F.cross_entropy(model(batch), labels, label_smoothing=amount)


def mixup(strength: float, seed: int = 0) -> Loss:
    """Cross-entropy on blends of two images against the same blend of their labels (Zhang et al. 2018, arXiv:1710.09412).

    strength: both parameters of the Beta distribution that the share is drawn from, one share a batch; 0.2 leaves most blends near one
    of the two images, 1 draws every share alike. seed: for the shares and partners; make a new loss for each training.
    Raises ValueError unless strength > 0.
    """
    if strength <= 0:
        raise ValueError(f"strength is {strength}: Beta(strength, strength) needs a number above 0")
    rng = np.random.default_rng(seed)

    def loss(model: nn.Module, batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        share = float(rng.beta(strength, strength))
        other = torch.as_tensor(rng.permutation(len(batch)), device=batch.device)
        logits = model(share * batch + (1 - share) * batch[other])
        return share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[other])

    return loss


# ---- parts of nets
def with_dropout(model: nn.Module, rate: float) -> nn.Module:
    """A copy of `model` with dropout before its `classifier` (Srivastava et al. 2014). Raises ValueError unless 0 <= rate < 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}: the share of features that dropout sets to 0 lies from 0 to below 1")
    model = copy.deepcopy(model)
    model.classifier = nn.Sequential(nn.Dropout(rate), model.classifier)
    return model


def narrow_cnn(classes: int) -> SmallCNN:
    """`SmallCNN` with a quarter of the channels in every layer: 2,774 parameters with ten classes instead of 40,634."""
    model = SmallCNN(classes)
    model.features = nn.Sequential(
        *convolution_block(1, 4), *convolution_block(4, 8), nn.MaxPool2d(2), *convolution_block(8, 16), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 2 * 2, 16), nn.BatchNorm1d(16), nn.ReLU(),
    )  # fmt: skip
    model.classifier = nn.Linear(16, classes)
    return model.to(memory_format=torch.channels_last)


class Head(nn.Module):
    """A classifier for frozen features: one hidden layer of `hidden` units, or none (0), which is plain logistic regression."""

    def __init__(self, inputs: int, hidden: int, classes: int):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU()) if hidden else nn.Sequential()
        self.classifier = nn.Linear(hidden or inputs, classes)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(vectors))


# ---- the comparison
@dataclass(frozen=True)
class Treatment:
    """One arm of the comparison. The defaults are "nothing"; each field turns one regulariser on.

    augment: a change of each batch. dropout: its rate before the classifier. weight_decay: AdamW's. loss: makes a loss from a seed.
    labels: labelled images per class. held_out: how many of them are kept out of training for early stopping. narrow: a quarter of the
    channels. hidden: units of the head on frozen features. frozen: how many of the leading modules of `features` are not trained.
    l2_sp: strength of the pull towards the pretrained weights.
    """

    augment: augment.Augment | None = None
    dropout: float = 0.0
    weight_decay: float = 0.0
    loss: Callable[[int], Loss] | None = None
    labels: int = 5
    held_out: int = 0
    narrow: bool = False
    hidden: int = 128
    frozen: int = 0
    l2_sp: float = 0.0


MILD = augment.jitter(brightness=0, noise=0)
HUGE = augment.jitter(rotation=0.6, shear=0.6, scale=0.4, shift=0.35, brightness=0, noise=0)
_EVERYWHERE = {
    "nothing": Treatment(),
    "dropout 0.3": Treatment(dropout=0.3),
    "weight decay 1": Treatment(weight_decay=1.0),
    "label smoothing 0.1": Treatment(loss=lambda seed: label_smoothing(0.1)),
    "mixup 0.2": Treatment(loss=lambda seed: mixup(0.2, seed)),
    "early stopping on 1 of 5 labels": Treatment(held_out=1),
    "more data: 10 labels": Treatment(labels=10),
}
TREATMENTS: Mapping[str, Mapping[str, Treatment]] = {
    "scratch": {
        **{name: arm for name, arm in _EVERYWHERE.items() if arm.loss is None},
        "affine": Treatment(augment=MILD),
        "huge affine": Treatment(augment=HUGE),
        "a quarter of the width": Treatment(narrow=True),
    },
    "letters": {
        **{name: arm for name, arm in _EVERYWHERE.items() if arm.loss is None and not arm.weight_decay and not arm.dropout},
        "affine": Treatment(augment=MILD),
        "photometric": Treatment(augment=augment.photometric()),
        "freeze two convolutions": Treatment(frozen=7),
        "freeze all but the head": Treatment(frozen=15),
        "L2-SP 0.1": Treatment(l2_sp=0.1),
    },
    "photos": {**_EVERYWHERE, "narrow head: 16 units": Treatment(hidden=16), "no hidden layer: linear": Treatment(hidden=0)},
}
STEPS = {"scratch": 150, "letters": 60, "photos": 100}
BATCH = {"scratch": 32, "letters": 16, "photos": 16}


@lru_cache(maxsize=4)
def _photo_features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from helpers import features
    from helpers.data.photos import load_photos

    data = load_photos()
    return features.extract(data.images, PHOTO_LAYER, PHOTO_SIZE), data.labels, data.groups


def make_task(start: str, labels: int, seed: int) -> few_shot_digits.Task:
    """Few labelled images, the rest of their pool, and a test set: digits for "scratch" and "letters", else photograph patches.

    The photos' inputs are frozen features, standardised by the labelled ones; they are tested on the other half of each photograph.
    Raises ValueError for another start.
    """
    from helpers.data.photos import TEST, TRAIN
    from helpers.data.splits import k_shot

    if start not in TREATMENTS:
        raise ValueError(f"no start called {start!r}: choose one of {', '.join(TREATMENTS)}")
    if start != "photos":
        return few_shot_digits.make_task(labels, seed)
    vectors, classes, groups = _photo_features()
    pool = np.flatnonzero(groups == TRAIN)
    train = k_shot(classes, labels, seed, pool)
    inputs = (vectors - vectors[train].mean(0)) / (vectors[train].std(0) + 1e-6)
    return few_shot_digits.Task(torch.from_numpy(inputs), classes, train, np.setdiff1d(pool, train), np.flatnonzero(groups == TEST))


def train(start: str, name: str, seed: int, rate: float | None = None) -> tuple[nn.Module, few_shot_digits.Task]:
    """Train one arm of `TREATMENTS[start]`; returns the net and its task.

    start: "scratch" (digits, new weights), "letters" (digits, pretrained on letters, the head fitted first) or "photos" (a head on
    frozen features). rate: the peak learning rate (None: the arm's own, tuned by data_scripts/tune_regularisers.py).
    Raises ValueError for an unknown start or name.
    """
    task, arm = _arm(start, name, seed)
    rate = tuned_rates()[start][name] if rate is None else rate
    torch.manual_seed(seed)
    fitted, validation, stopping = task.train, None, None
    if arm.held_out:
        by_class = task.train.reshape(-1, arm.labels)
        held, fitted = by_class[:, : arm.held_out].ravel(), by_class[:, arm.held_out :].ravel()
        validation, stopping = (task.images[held], task.labels[held]), training.EarlyStopping(patience=5)
    inputs, labels = task.images[fitted], task.labels[fitted]
    model = _new_model(start, arm, inputs, labels)
    groups = finetuning.parameter_groups(model, rate, 1e-3) if start == "letters" else None
    loss = arm.loss(seed) if arm.loss else None
    if arm.l2_sp:
        loss = finetuning.l2_sp(finetuning.snapshot(model), arm.l2_sp)
    training.fit(
        model, inputs, labels, steps=STEPS[start], learning_rate=rate, groups=groups, batch_size=BATCH[start],
        weight_decay=arm.weight_decay, schedule="cosine" if start == "letters" else "one-cycle", augment=arm.augment, loss=loss,
        validation=validation, validate_every=10, early_stopping=stopping, seed=seed,
    )  # fmt: skip
    return model, task


def _arm(start: str, name: str, seed: int) -> tuple[few_shot_digits.Task, Treatment]:
    arms = TREATMENTS.get(start, {})
    if arms and name not in arms:
        raise ValueError(f"no treatment called {name!r} for {start}: choose one of {', '.join(arms)}")
    return make_task(start, arms[name].labels if arms else 1, seed), arms[name]


def _new_model(start: str, arm: Treatment, inputs: torch.Tensor, labels: np.ndarray) -> nn.Module:
    if start == "photos":
        model: nn.Module = Head(inputs.shape[1], arm.hidden, classes=19)
    elif start == "scratch":
        model = narrow_cnn(10) if arm.narrow else SmallCNN(10)
    else:
        model = finetuning.unfreeze(finetuning.replace_classifier(load_small_cnn("letters"), 10))
        finetuning.fit_classifier(model, inputs, labels)
        finetuning.freeze(model.features[: arm.frozen])
    return with_dropout(model, arm.dropout) if arm.dropout else model


def measure(start: str, name: str, seed: int, rate: float | None = None, on: str = "test") -> dict[str, float]:
    """Train one arm and measure it: "accuracy" and "nll" on the test images, "training accuracy" and "training nll" on the labelled ones.

    nll: the mean negative log-likelihood of the right class, in nats. on: "test", or "rest", the part of the pool without labels in
    training, to tune on. Raises what `train` raises.
    """
    model, task = train(start, name, seed, rate)
    unseen = task.rest if on == "rest" else task.test
    (accuracy, nll), (training_accuracy, training_nll) = (score(model, task.images[i], task.labels[i]) for i in (unseen, task.train))
    return {"accuracy": accuracy, "nll": nll, "training accuracy": training_accuracy, "training nll": training_nll}


def score(model: nn.Module, inputs: torch.Tensor, labels: np.ndarray) -> tuple[float, float]:
    """(accuracy, mean negative log-likelihood in nats) of a classifier, in evaluation mode."""
    logits = torch.from_numpy(training.predict(model, inputs))
    targets = torch.as_tensor(np.asarray(labels))
    return float((logits.argmax(1) == targets).float().mean()), float(F.cross_entropy(logits, targets))


@lru_cache
def tuned_rates() -> dict[str, dict[str, float]]:
    """{start: {treatment: rate}}: the best rate of each sweep stored by data_scripts/tune_regularisers.py."""
    return experiment.best_rates(RATES_FILE, "start", "name")


# ---- early stopping's optimism
class Stopping(NamedTuple):
    """optimism: best validation accuracy minus test accuracy at that step, beyond what the last step would show. gain: test accuracy at
    the chosen step minus at the last. Both are means over draws."""

    optimism: float
    gain: float


def stopping_optimism(correct: np.ndarray, test_accuracy: np.ndarray, size: int, draws: int = 200, seed: int = 0) -> Stopping:
    """What early stopping promises and what it keeps, when its validation set has `size` images.

    correct: (checks, n) bool, whether each of n images that were not trained on was right at each check of one training.
    test_accuracy: (checks,). Each draw takes `size` of the n images, stops at the check with the most right (the first of equals), and
    compares its validation accuracy there with the test accuracy. The difference that the two sets have anyway, at the last check, is
    taken off. Raises ValueError when the shapes disagree or size is not from 1 to n.
    """
    correct, test_accuracy = np.asarray(correct, float), np.asarray(test_accuracy, float)
    if correct.ndim != 2 or len(correct) != len(test_accuracy):
        raise ValueError(f"correct has shape {correct.shape} for {len(test_accuracy)} test accuracies: pass a row for each check")
    if not 1 <= size <= correct.shape[1]:
        raise ValueError(f"size is {size}: draw from 1 to {correct.shape[1]} validation images")
    rng = np.random.default_rng(seed)
    offset = correct.mean(1)[-1] - test_accuracy[-1]
    optimism, gain = [], []
    for _ in range(draws):
        validation = correct[:, rng.permutation(correct.shape[1])[:size]].mean(1)
        best = int(validation.argmax())
        optimism.append(validation[best] - test_accuracy[best] - offset)
        gain.append(test_accuracy[best] - test_accuracy[-1])
    return Stopping(float(np.mean(optimism)), float(np.mean(gain)))


# ---- leaks
def shuffle_by_group(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Labels (n,) dealt out anew to whole groups: all members of a group get one label, drawn without replacement from the groups' own.

    groups: (n,) what a member came from: the photograph, the writer, the image that a copy was made of. A group of each member
    alone (`np.arange(n)`) shuffles member by member. Raises ValueError for other lengths and for a group with two labels.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    if labels.shape != groups.shape or labels.ndim != 1:
        raise ValueError(f"labels have shape {labels.shape}, groups {groups.shape}: pass one label and one group for each image")
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    if not np.array_equal(labels[first][member], labels):
        raise ValueError("a group holds two different labels: shuffling whole groups needs groups of one class each")
    return np.random.default_rng(seed).permutation(labels[first])[member]


def shuffled_label_test(
    pipeline: Callable[[np.ndarray, int], float], labels: np.ndarray, groups: np.ndarray, seeds: Sequence[int]
) -> np.ndarray:
    """Accuracies (seeds,) of a whole pipeline on labels that mean nothing: above chance, something leaks from train to test.

    pipeline: (labels, seed) -> test accuracy; it must do everything that the real one does, the split and the augmentation too.
    labels, groups: see `shuffle_by_group`. (A permutation test: Ojala & Garriga, JMLR 11, 2010.) Raises as `shuffle_by_group`.
    """
    return np.array([pipeline(shuffle_by_group(labels, groups, seed), seed) for seed in seeds])


def nearest_in_training(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each test vector (m, d): the cosine similarity (m,) to its nearest training vector (n, d), and that one's index (m,).

    Near-duplicates stand at the top; look at them. Raises ValueError when the sizes differ, a side is empty, or a vector is all zero.
    """
    train, test = np.asarray(train, float), np.asarray(test, float)
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1] or not len(train) or not len(test):
        raise ValueError(f"train has shape {train.shape}, test {test.shape}: pass (n, d) and (m, d) with at least one row each")
    lengths = [np.linalg.norm(side, axis=1, keepdims=True) for side in (train, test)]
    if min(length.min() for length in lengths) == 0:
        raise ValueError("a vector is all zero and has no direction: leave it out, or look at how it was made")
    similarity = (test / lengths[1]) @ (train / lengths[0]).T
    nearest = similarity.argmax(1)
    return similarity[np.arange(len(test)), nearest], nearest
