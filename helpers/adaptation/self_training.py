"""Self-training: the net labels the target images that it is surest about, and learns from them."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from helpers.adaptation.fit import adapt, constant, probabilities, pseudo_labels
from helpers.data.augment import Augment

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def confident_by_class(guesses: np.ndarray, share: float) -> np.ndarray:
    """Indices of the surest `share` of the images *of each predicted class*, at least one of each, in increasing order.

    guesses: (n, classes) probabilities. Taking the surest of all together would take easy classes only (Zou et al. 2018,
    arXiv:1810.07911). Raises ValueError for a share outside 0 to 1 or an empty array.
    """
    guesses = np.asarray(guesses)
    if guesses.ndim != 2 or not len(guesses):
        raise ValueError(f"guesses have shape {guesses.shape}: pass (n, classes) probabilities")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}: the part of each class to keep lies above 0, up to 1")
    predicted, sure = guesses.argmax(1), guesses.max(1)
    kept = []
    for c in np.unique(predicted):
        members = np.flatnonzero(predicted == c)
        kept.append(members[np.argsort(-sure[members], kind="stable")][: max(1, int(len(members) * share))])
    return np.sort(np.concatenate(kept))


def self_train(
    model: nn.Module,
    source: Tensor,
    labels: np.ndarray,
    target: Tensor,
    *,
    rounds: int = 3,
    steps: int = 150,
    learning_rate: float = 5e-4,
    augment: Augment | None = None,
    seed: int = 0,
) -> nn.Module:
    """A copy of `model`, trained for `rounds` rounds of `steps` steps on the source and its own surest target labels.

    Round r keeps the share r/rounds of each predicted class, so the last round uses all of them. Raises ValueError for fewer than one
    round, or as `adapt` does.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: train for one round or more")
    model = copy.deepcopy(model)
    for turn in range(1, rounds + 1):
        guesses = probabilities(model, target)
        kept = confident_by_class(guesses, turn / rounds)
        recipe = {"steps": steps, "learning_rate": learning_rate, "rising": constant, "schedule": "constant", "augment": augment}
        adapt(model, source, labels, target[kept], pseudo_labels, target_labels=guesses[kept].argmax(1), seed=seed + turn, **recipe)
    return model


def self_train_probe(
    inputs: np.ndarray, labels: np.ndarray, target: np.ndarray, shares: Sequence[float] = (0.2, 0.4, 0.6, 0.8), strength: float = 0.1
) -> Pipeline:
    """`features.linear_probe` on labelled features (n, d), then again for each share, each time with the share of the target features
    (m, d) that it is surest about, class by class (`confident_by_class`), under the labels it gives them. No share: the first probe.

    strength: scikit-learn's C. Raises ValueError for a share outside 0 to 1.
    """
    from helpers.features import linear_probe

    probe = linear_probe(inputs, labels, strength)
    for share in shares:
        sure = confident_by_class(probe.predict_proba(target), share)
        guessed = probe.predict(target[sure])
        probe = linear_probe(np.concatenate([inputs, target[sure]]), np.concatenate([labels, guessed]), strength)
    return probe
