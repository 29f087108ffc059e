"""Label shift: the class shares have changed and nothing else. Estimate the new ones without target labels, and correct for them."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ClassShares(NamedTuple):
    """source, target: (classes,) shares that sum to 1. weights: (classes,) target / source, what each class counts in training."""

    source: np.ndarray
    target: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        return self.target / self.source


def _check_probabilities(probabilities: np.ndarray, name: str) -> np.ndarray:
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or not len(probabilities) or probabilities.shape[1] < 2:
        raise ValueError(f"the {name} probabilities have shape {probabilities.shape}: pass (n, classes), with 2 classes or more")
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or not np.allclose(probabilities.sum(1), 1, atol=1e-3):
        raise ValueError(f"the {name} rows are no probabilities (0 or more, sum 1): apply softmax to logits, one-hot coding to predictions")
    return probabilities


def _check_shares(shares: np.ndarray, classes: int, name: str) -> np.ndarray:
    shares = np.asarray(shares, np.float64)
    if shares.shape != (classes,) or not np.isfinite(shares).all() or shares.min() < 0 or abs(shares.sum() - 1) > 1e-3:
        raise ValueError(f"the {name} shares must be {classes} numbers of 0 or more that sum to 1: divide the counts by their sum")
    return shares


def black_box_shares(source_probabilities: np.ndarray, source_labels: np.ndarray, target_probabilities: np.ndarray) -> ClassShares:
    """The target's class shares from any classifier's predictions: black-box shift estimation (BBSE).

    source_probabilities: (n, classes) for labelled source images that the classifier was *not* trained on, source_labels: (n,) whole
    numbers; target_probabilities: (m, classes). One-hot rows give the paper's hard version, probabilities the soft one.
    If p(x | y) has stayed, the mean prediction on the target is C w, with C[i, j] = mean over the source of prediction_i [label = j]; w
    solves it by least squares with w >= 0. (Lipton et al. 2018, arXiv:1802.03916.) The answer means nothing when p(x | y) has changed too.
    Raises ValueError for unusable input, a class without source images, or a classifier that cannot tell some classes apart.
    """
    from scipy.optimize import nnls

    source, target = _check_probabilities(source_probabilities, "source"), _check_probabilities(target_probabilities, "target")
    labels, classes = np.asarray(source_labels), source.shape[1]
    if target.shape[1] != classes:
        raise ValueError(f"{classes} classes in the source and {target.shape[1]} in the target: use the same classifier for both")
    if labels.shape != (len(source),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"source labels have shape {labels.shape} and dtype {labels.dtype}: pass one whole number for each source image")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"source labels lie in {labels.min()} to {labels.max()}: with {classes} classes they go from 0 to {classes - 1}")
    one_hot = np.eye(classes)[labels]
    shares = one_hot.mean(0)
    if shares.min() == 0:
        raise ValueError(f"class {shares.argmin()} has no image in the source: nothing can be said about its share in the target")
    confusion = source.T @ one_hot / len(source)  # joint frequencies of prediction and label
    rates = confusion / shares  # of each class, how it is predicted: columns sum to 1
    if np.linalg.cond(rates) > 1e4:
        raise ValueError("the classifier cannot tell some classes apart (its confusions have no inverse): merge them or train a better one")
    weights = nnls(confusion, target.mean(0))[0]
    estimate = weights * shares
    return ClassShares(shares, estimate / estimate.sum())


def adjust(probabilities: np.ndarray, source_shares: np.ndarray, target_shares: np.ndarray) -> np.ndarray:
    """(n, classes) probabilities for the target: each class times target share / source share, rows again summing to 1 (Bayes' rule).

    No training is needed. Raises ValueError for unusable input or a source share of 0.
    """
    probabilities = _check_probabilities(probabilities, "given")
    source = _check_shares(source_shares, probabilities.shape[1], "source")
    target = _check_shares(target_shares, probabilities.shape[1], "target")
    if source.min() == 0:
        raise ValueError(f"class {source.argmin()} has a source share of 0: a classifier that never saw it cannot be corrected for it")
    weighted = probabilities * (target / source)
    total = weighted.sum(1, keepdims=True)
    # A row whose classes all have share 0 in the target says nothing: fall back on the shares.
    return np.where(total > 0, weighted / np.where(total > 0, total, 1), target)


def maximum_likelihood_shares(
    probabilities: np.ndarray, source_shares: np.ndarray, rounds: int = 1000, tolerance: float = 1e-8
) -> ClassShares:
    """The target's class shares under which its images (m, classes) are most likely, by expectation maximisation.

    Needs no labelled images but *calibrated* probabilities: start from the source's shares, correct the predictions, take their mean as
    the new shares, repeat. (Saerens et al. 2002, doi:10.1162/089976602753284446.) Raises ValueError for unusable input or rounds < 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: 1 or more is needed")
    probabilities = _check_probabilities(probabilities, "target")
    source = _check_shares(source_shares, probabilities.shape[1], "source")
    shares = source
    for _ in range(rounds):
        new = adjust(probabilities, source, shares).mean(0)
        if np.abs(new - shares).max() < tolerance:
            break
        shares = new
    return ClassShares(source, new)
