"""Scores that say how well frozen features suit a few labelled images, before anything is fine-tuned.

All take the features (n, d) of the labelled images and their labels (n,); higher is better. They compute in float64.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Score = Callable[[np.ndarray, np.ndarray], float]


def check(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features as float64 (n, d) and the labels renumbered 0 … classes-1.

    Raises ValueError for another shape, NaN, a wrong number of labels, labels that are not whole numbers, or a single class.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or not features.size:
        raise ValueError(f"features have shape {features.shape}: pass (images, numbers for each image); pool or flatten feature maps first")
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite values: check the preprocessing of the images")
    if labels.shape != (len(features),):
        raise ValueError(f"labels have shape {labels.shape} for {len(features)} images: pass one label for each image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels have dtype {labels.dtype}: pass whole numbers, one for each class")
    names, numbers = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError("all labels are of one class: a score needs examples of two or more")
    return features, numbers


def standardise(features: np.ndarray) -> np.ndarray:
    """Each of the d features to mean 0 and standard deviation 1; a feature that is constant becomes 0."""
    features = np.asarray(features, np.float64)
    centred, deviation = features - features.mean(0), features.std(0)
    varies = deviation > 1e-10 * (1 + np.abs(features).max(0))
    return np.where(varies, centred / np.where(varies, deviation, 1), 0)


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Logarithm of maximum evidence: how probable the labels are under the best Bayesian linear model of the features, per image.

    For each class the 0/1 labels t are modelled as t ~ N(0, I / beta + F F' / alpha), weights N(0, 1/alpha), noise 1/beta; the
    evidence p(t) is maximised over alpha and beta; the mean of log p(t) / n over the classes is returned, in nats. For a given
    alpha / beta the best beta is known, so one number remains to be searched. (You et al. 2021, arXiv:2102.11005.)
    Unchanged by rotating the features or by one factor for all; changed by scaling each on its own, so `standardise` first.
    """
    features, labels = check(features, labels)
    n, classes = len(features), labels.max() + 1
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    power = singular**2
    unit = power.mean() or 1.0  # all features 0: any unit will do
    targets = np.eye(classes)[labels]
    inside = (left.T @ targets) ** 2  # of each class, how much lies along each direction of the features
    outside = np.maximum((targets**2).sum(0) - inside.sum(0), 0)  # what no linear model of the features can reach

    def evidence(ratios: np.ndarray) -> np.ndarray:
        """log p(t) / n at the best beta for each alpha / beta: (ratios, classes)."""
        gain = 1 + power / (ratios[:, None] * unit)
        misfit = np.maximum((1 / gain) @ inside + outside, 1e-12)
        return -0.5 * (np.log(2 * np.pi * misfit / n) + 1 + np.log(gain).sum(1, keepdims=True) / n)

    coarse = np.logspace(-8, 8, 161)
    best = coarse[evidence(coarse).argmax(0)]
    fine = best * np.logspace(-0.1, 0.1, 201)[:, None]
    return float(np.mean([evidence(fine[:, c])[:, c].max() for c in range(classes)]))


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Log expected empirical prediction: how well the source's own classifier predicts the target's labels, in nats, at most 0.

    probabilities: (n, source classes), each row sums to 1 (the softmax, not the logits). The joint frequencies of target label and
    source class give P(label | source class); each image is then predicted by averaging over the source classes.
    (Nguyen et al. 2020, arXiv:2002.12462.) Raises ValueError as `check`, and when rows are no probabilities.
    """
    probabilities, labels = check(probabilities, labels)
    if probabilities.min() < 0 or not np.allclose(probabilities.sum(1), 1, atol=1e-3):
        raise ValueError("the rows are no probabilities (0 or more, sum 1): apply softmax to the logits first")
    joint = np.eye(labels.max() + 1)[labels].T @ probabilities / len(labels)  # (classes, source classes)
    conditional = joint / np.maximum(joint.sum(0), 1e-300)
    predicted = (probabilities @ conditional.T)[np.arange(len(labels)), labels]
    return float(np.log(np.maximum(predicted, 1e-300)).mean())


def hscore(features: np.ndarray, labels: np.ndarray, shrink: bool = False) -> float:
    """H-score: the share of the features' variance that lies between the classes, trace(C^-1 B), from 0 to classes - 1.

    C: covariance of the features. B: covariance of the class means, each image counted. (Bao et al. 2019.) With fewer images than features
    C cannot be inverted and the pseudo-inverse gives nearly classes - 1 for any features, noise too. shrink: estimate C by Ledoit & Wolf
    instead, and B from as much (Ibrahim et al. 2021, arXiv:2110.06893).
    """
    features, labels = check(features, labels)
    n, d = features.shape
    centred = features - features.mean(0)
    if not centred.any():
        return 0.0
    # In the coordinates of the singular value decomposition C is diagonal, and there are at most n of them.
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    weights = np.eye(labels.max() + 1)[labels]
    counts = weights.sum(0)
    means = (weights.T @ left) * singular / counts[:, None]
    between, variances = counts / n @ means**2, singular**2 / n
    if not shrink:
        kept = variances > 1e-10 * variances.max()
        return float((between[kept] / variances[kept]).sum())
    from sklearn.covariance import ledoit_wolf_shrinkage

    share = ledoit_wolf_shrinkage(centred, assume_centered=True)
    shrunk = (1 - share) * variances + share * variances.sum() / d
    return float((1 - share) * (between / np.maximum(shrunk, 1e-300)).sum())


def above_chance(score: Score, features: np.ndarray, labels: np.ndarray, permutations: int = 5, seed: int = 0) -> float:
    """`score` minus its mean over shuffled labels: what remains is due to the labels, not to the number of features.

    Raises ValueError when permutations < 1.
    """
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}: shuffle the labels 1 time or more")
    rng = np.random.default_rng(seed)
    by_chance = [score(features, rng.permutation(labels)) for _ in range(permutations)]
    return score(features, labels) - float(np.mean(by_chance))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (len(a), len(b))."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


def nearest_neighbour(features: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Share of images whose k nearest *other* images vote for their class (leave one out; a tie goes to the class of the nearest).

    Raises ValueError when k is not 1 to n-1.
    """
    features, labels = check(features, labels)
    if not 1 <= k < len(features):
        raise ValueError(f"k is {k} for {len(features)} images: choose 1 to {len(features) - 1}")
    distances = _distances(features, features)
    np.fill_diagonal(distances, np.inf)
    neighbours = labels[distances.argsort(1, kind="stable")[:, :k]]
    votes = np.eye(labels.max() + 1)[neighbours].sum(1)
    votes[np.arange(len(labels)), neighbours[:, 0]] += 0.5
    return float((votes.argmax(1) == labels).mean())


def nearest_class_mean(features: np.ndarray, labels: np.ndarray) -> float:
    """Share of images nearer to the mean of their class's *other* images than to any other class's mean.

    Raises ValueError when a class has a single image.
    """
    features, labels = check(features, labels)
    counts = np.bincount(labels)
    if counts.min() < 2:
        raise ValueError("a class has a single image: its mean without that image is empty; pass 2 or more of each class")
    means = np.eye(len(counts))[labels].T @ features / counts[:, None]
    distances = _distances(features, means)
    own = counts[labels][:, None]
    others = (means[labels] * own - features) / (own - 1)
    distances[np.arange(len(labels)), labels] = ((features - others) ** 2).sum(1)
    return float((distances.argmin(1) == labels).mean())


def probe(features: np.ndarray, labels: np.ndarray, folds: int = 5) -> float:
    """Accuracy of `helpers.features.linear_probe` by cross-validation: each image is predicted by a probe that has not seen it.

    Raises ValueError when a class has fewer images than folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    features, labels = check(features, labels)
    if np.bincount(labels).min() < folds or folds < 2:
        raise ValueError(f"folds is {folds}: choose 2 to {np.bincount(labels).min()}, the size of the smallest class")
    right = 0.0
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(features, labels):
        mean, deviation = features[train].mean(0), features[train].std(0)
        deviation[deviation < 1e-10 * (1 + np.abs(mean))] = 1
        known, new = (features[train] - mean) / deviation, (features[test] - mean) / deviation
        # A probe is a combination of its training images: their directions are all it can use, and far fewer than the features.
        directions = np.linalg.svd(known, full_matrices=False)[2]
        fitted = LogisticRegression(C=0.1, max_iter=500, tol=1e-3).fit(known @ directions.T, labels[train])
        right += fitted.score(new @ directions.T, labels[test]) / folds
    return right


def regret(scores: Mapping[str, float], reached: Mapping[str, float]) -> float:
    """How much accuracy is lost by taking the source with the highest score instead of the best one; ties count by their mean.

    scores and reached: a number for each source. Raises ValueError when a source has a score but no accuracy, or there is none.
    """
    scores, reached = dict(scores), dict(reached)  # a pandas Series will do as well
    if not scores or set(scores) - set(reached):
        raise ValueError("every scored source needs the accuracy that it reaches: check the names of the two tables")
    top = max(scores.values())
    picked = [reached[source] for source, score in scores.items() if np.isclose(score, top, rtol=1e-9, atol=0)]
    return float(max(reached[source] for source in scores) - np.mean(picked))
