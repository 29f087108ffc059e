"""Importance weights: let the source's images count as often as the target shows their like, and say how many images remain."""
from __future__ import annotations

import numpy as np

from helpers.adaptation.divergence import check_domains


def check_weights(weights: np.ndarray) -> np.ndarray:
    """The weights as float64 (n,). Raises ValueError for another shape, NaN, weights below 0, or a sum of 0."""
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 1 or not len(weights):
        raise ValueError(f"weights have shape {weights.shape}: pass one number for each source image, (n,)")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError("weights must be finite, 0 or more, and not all 0: a density ratio is never negative")
    return weights


def effective_sample_size(weights: np.ndarray) -> float:
    """(sum w)^2 / sum w^2: as many equally weighted images would give a mean of the same variance. From 1 to n. (Kish 1965.)

    Only ratios of the weights matter. Raises ValueError as `check_weights`.
    """
    weights = check_weights(weights)
    weights = weights / weights.max()  # squares of huge or tiny weights would leave the range of floats
    return float(weights.sum() ** 2 / (weights**2).sum())


def classifier_weights(
    source: np.ndarray, target: np.ndarray, strength: float = 1.0, largest: float | None = None
) -> np.ndarray:
    """(n,) weights with mean 1 for the source (n, d): p(target | x) / p(source | x) of a logistic regression that tells the domains apart.

    By Bayes' rule this is p_target(x) / p_source(x) up to a factor, the shares of the two samples. Each image is weighted by a
    classifier that has not seen it (5 folds). strength: scikit-learn's C on standardised features; a larger one follows the data more
    closely and leaves fewer effective images. largest: weights above that many times their mean are cut (None: none is).
    (Bickel et al. 2009, JMLR 10; Sugiyama et al. 2012, doi:10.1017/CBO9781139035613.) Raises ValueError for unusable samples, fewer than
    five rows, or a strength or largest that is not above 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    source, target = check_domains(source, target, least=5)
    if strength <= 0 or (largest is not None and largest <= 0):
        raise ValueError(f"strength is {strength} and largest {largest}: both must be above 0")
    domain = np.repeat([0, 1], [len(source), len(target)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
    splits = StratifiedKFold(5, shuffle=True, random_state=0)
    # The decision function is log p(target | x) - log p(source | x), and unlike the probabilities it never rounds to 0 or 1.
    logarithms = cross_val_predict(model, np.concatenate([source, target]), domain, cv=splits, method="decision_function")[: len(source)]
    weights = np.exp(logarithms - logarithms.max())  # the factor goes with the mean; the ratio itself could overflow
    if largest is not None:
        weights = np.minimum(weights, largest * weights.mean())
    return weights / weights.mean()


def kernel_mean_matching(
    source: np.ndarray, target: np.ndarray, width: float | None = None, bound: float = 20.0, ridge: float = 1e-3
) -> np.ndarray:
    """(n,) weights with mean 1 for the source (n, d), such that its weighted mean in kernel space meets the target's: MMD made small.

    Minimises w' K w / 2 - k' w over 0 <= w <= bound, K the Gaussian kernel of the source (+ ridge on the diagonal), k = n times the mean
    kernel to the target; a convex problem, solved by scipy's L-BFGS-B. The paper's second condition, |mean w - 1| small, is met by dividing
    by the mean afterwards. width: None for the median distance in the source. (Huang et al., NeurIPS 2006.)
    Raises ValueError for unusable samples, or a width, bound or ridge not above 0.
    """
    from scipy.optimize import minimize
    from scipy.spatial.distance import cdist

    source, target = check_domains(source, target)
    distances = cdist(source, source)
    width = float(np.median(distances[np.triu_indices(len(source), 1)])) if width is None else width
    if min(width, bound, ridge) <= 0:
        raise ValueError(f"width, bound and ridge are {width}, {bound}, {ridge}: all must be above 0 (equal rows have no median distance)")
    kernel = np.exp(-(distances**2) / (2 * width**2)) + ridge * np.eye(len(source))
    to_target = len(source) * np.exp(-(cdist(source, target) ** 2) / (2 * width**2)).mean(1)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        product = kernel @ w
        return float(w @ product / 2 - to_target @ w), product - to_target

    start = np.ones(len(source))
    options = {"maxiter": 500, "maxfun": 1000, "ftol": 1e-10}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, bound)] * len(source), options=options).x
    return found / found.mean() if found.sum() > 0 else start  # all 0: no source image is anywhere near the target
