"""Scores that judge an adapted net without target labels: larger promises more. What each is worth, lesson 08 measures."""
from __future__ import annotations

import numpy as np

EPS = 1e-9


def _check(guesses: np.ndarray) -> np.ndarray:
    guesses = np.asarray(guesses, float)
    if guesses.ndim != 2 or not len(guesses):
        raise ValueError(f"guesses have shape {guesses.shape}: pass (n, classes) probabilities")
    if (guesses < 0).any() or not np.allclose(guesses.sum(1), 1, atol=1e-3):
        raise ValueError("guesses are not probabilities: rows must be 0 or more and add up to 1 (softmax the logits)")
    return guesses


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(shares + EPS)).sum(-1)


def certainty(guesses: np.ndarray) -> float:
    """Minus the mean entropy of the (n, classes) predictions, in nats. A net that says one class for everything gets the best score."""
    return float(-_entropy(_check(guesses)).mean())


def information(guesses: np.ndarray) -> float:
    """Entropy of the mean prediction minus mean entropy of the predictions: certain and diverse."""
    guesses = _check(guesses)
    return float(_entropy(guesses.mean(0)) - _entropy(guesses).mean())


def nuclear_norm(guesses: np.ndarray) -> float:
    """Sum of the singular values of the (n, classes) predictions, divided by n (Cui et al. 2020, arXiv:2003.12237)."""
    guesses = _check(guesses)
    return float(np.linalg.svd(guesses, compute_uv=False).sum() / len(guesses))


def neighbourhood_density(guesses: np.ndarray, temperature: float = 0.05) -> float:
    """Soft neighbourhood density: mean entropy of each prediction's similarities to the others (Saito et al. 2021, arXiv:2108.10860)."""
    guesses = _check(guesses)
    unit = guesses / np.linalg.norm(guesses, axis=1, keepdims=True)
    logits = unit @ unit.T / temperature
    np.fill_diagonal(logits, -np.inf)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return float(_entropy(shares / shares.sum(1, keepdims=True)).mean())


def cluster_agreement(predicted: np.ndarray, clusters: np.ndarray) -> float:
    """Share of images whose predicted class is the one matched to their cluster, in the best one-to-one match of classes and clusters.

    predicted, clusters: (n,) whole numbers from 0. Raises ValueError for unequal lengths.
    """
    from scipy.optimize import linear_sum_assignment

    predicted, clusters = np.asarray(predicted), np.asarray(clusters)
    if predicted.shape != clusters.shape or predicted.ndim != 1 or not len(predicted):
        raise ValueError(f"predictions have shape {predicted.shape}, clusters {clusters.shape}: pass one of each for each image")
    table = np.zeros((clusters.max() + 1, predicted.max() + 1))
    np.add.at(table, (clusters, predicted), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(predicted))


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of images to which two pipelines give the same class. Raises ValueError for unequal lengths."""
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or not len(first):
        raise ValueError(f"predictions have shapes {first.shape} and {second.shape}: compare them on the same images")
    return float((first == second).mean())


def neighbour_agreement(predicted: np.ndarray, neighbours: np.ndarray, classes: int) -> float:
    """Share of neighbours (n, k indices) with the same predicted class, plus the normalised entropy of the class shares, minus 1."""
    predicted = np.asarray(predicted)
    shares = np.bincount(predicted, minlength=classes) / len(predicted)
    return float((predicted[neighbours] == predicted[:, None]).mean() + _entropy(shares) / np.log(classes) - 1)


def importance_weighted_validation(
    losses: np.ndarray, validation: np.ndarray, source: np.ndarray, target: np.ndarray
) -> float:
    """Deep embedded validation: minus the source's validation loss, weighted to look like the target (You et al., ICML 2019).

    losses: (v,) of the validation images of the source. validation (v, d), source (n, d), target (m, d): the net's features, from which
    a logistic regression estimates the density ratio; a control variate lowers the variance.
    """
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([source, target])
    mean, scale = both.mean(0), both.std(0) + 0.05
    is_target = np.r_[np.zeros(len(source)), np.ones(len(target))]
    domain = LogisticRegression(C=0.1, max_iter=200).fit((both - mean) / scale, is_target)
    odds = domain.predict_proba((validation - mean) / scale)
    weights = odds[:, 1] / (odds[:, 0] + 1e-6) * len(source) / len(target)
    weighted = weights * np.asarray(losses, float)
    covariance = np.cov(weighted, weights)
    control = -covariance[0, 1] / (covariance[1, 1] + 1e-12)
    return float(-(weighted.mean() + control * (weights.mean() - 1)))


def reverse_validation(predicted: np.ndarray, target: np.ndarray, validation: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on labelled source features (v, d) of a logistic regression trained on the target's features with predicted labels.

    (After Zhong et al. 2010 and Ganin et al. 2016, with a linear model in place of a second training.) 0 when only one class is predicted.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(predicted)) < 2:
        return 0.0
    back = LogisticRegression(C=0.1, max_iter=200).fit(target, predicted)
    return float(back.score(validation, labels))


def rank_correlation(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Spearman's: 1 when the score orders the runs as the accuracy does, 0 when it knows nothing."""
    from scipy.stats import spearmanr

    return float(spearmanr(scores, accuracies)[0])


def regret(scores: np.ndarray, accuracies: np.ndarray) -> float:
    """Accuracy lost by taking the run with the best score instead of the best run. Raises ValueError for unequal lengths."""
    scores, accuracies = np.asarray(scores, float), np.asarray(accuracies, float)
    if scores.shape != accuracies.shape or not len(scores):
        raise ValueError(f"{len(scores)} scores for {len(accuracies)} accuracies: pass one score for each run")
    return float(accuracies.max() - accuracies[scores.argmax()])
