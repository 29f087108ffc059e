"""How far apart two samples of inputs lie: a classifier that tells them apart, the proxy A-distance, and a test for each feature."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


def check_domains(source: np.ndarray, target: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Both samples as float64 (n, d) and (m, d). Raises ValueError for another shape, unequal d, NaN, or fewer than `least` rows."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    for name, sample in (("source", source), ("target", target)):
        if sample.ndim != 2 or not sample.shape[1]:
            raise ValueError(f"the {name} has shape {sample.shape}: pass (n, d), one row for each input; flatten images first")
        if len(sample) < least:
            raise ValueError(f"the {name} has {len(sample)} rows: pass {least} or more")
        if not np.isfinite(sample).all():
            raise ValueError(f"the {name} holds NaN or infinite values: mend or drop these rows first")
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"the source has {source.shape[1]} features and the target {target.shape[1]}: prepare both in the same way")
    return source, target


def default_classifier() -> ClassifierMixin:
    """Logistic regression on standardised features, which counts both domains alike whatever their sizes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, class_weight="balanced"))


class Separation(NamedTuple):
    """accuracy: mean of the two domains' shares that were recognised (0.5 is chance). auc: the chance that a target input looks more like
    the target than a source input does. target_probability: (n + m,), the source first, each by a classifier that has not seen it."""

    accuracy: float
    auc: float
    target_probability: np.ndarray

    @property
    def a_distance(self) -> float:
        """The proxy A-distance, 2 (1 - 2 error): 0 when nothing tells the domains apart, 2 when everything does; below 0 only by chance."""
        return 2 * (1 - 2 * (1 - self.accuracy))


def domain_classifier(
    source: np.ndarray, target: np.ndarray, model: ClassifierMixin | None = None, folds: int = 5, seed: int = 0
) -> Separation:
    """How well a classifier tells source (n, d) from target (m, d) inputs that it was not trained on, by cross-validation.

    model: any scikit-learn classifier with predict_proba (None: `default_classifier`, which sees linear differences only). The answer
    depends on it: domains that one classifier cannot tell apart another one can. (Ben-David et al. 2010, doi:10.1007/s10994-009-5152-4;
    Lopez-Paz & Oquab 2017, arXiv:1610.06545.)
    Raises ValueError for unusable samples, and when a domain has fewer rows than folds.
    """
    from sklearn.base import clone
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    source, target = check_domains(source, target)
    if not 2 <= folds <= min(len(source), len(target)):
        raise ValueError(f"folds is {folds}: choose 2 to {min(len(source), len(target))}, the size of the smaller domain")
    domain = np.repeat([0, 1], [len(source), len(target)])
    model = default_classifier() if model is None else clone(model)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    found = cross_val_predict(model, np.concatenate([source, target]), domain, cv=splits, method="predict_proba")[:, 1]
    recognised = [np.mean(found[domain == 0] < 0.5), np.mean(found[domain == 1] >= 0.5)]
    return Separation(float(np.mean(recognised)), float(roc_auc_score(domain, found)), found)


def proxy_a_distance(source: np.ndarray, target: np.ndarray, model: ClassifierMixin | None = None, seed: int = 0) -> float:
    """2 (1 - 2 error) of `domain_classifier`: about 0 for one domain, 2 for domains without overlap. Raises as it does."""
    return domain_classifier(source, target, model, seed=seed).a_distance


class FeatureTests(NamedTuple):
    """distance: (d,) largest gap between the two cumulative distributions, 0 to 1. p_value: (d,), corrected for d tests (Bonferroni)."""

    distance: np.ndarray
    p_value: np.ndarray


def feature_tests(source: np.ndarray, target: np.ndarray) -> FeatureTests:
    """Kolmogorov-Smirnov's test of every feature alone: which ones are distributed differently in source (n, d) and target (m, d)?

    A domain shift is found at level 0.05 when the smallest corrected p-value is below it. What no feature shows alone, such as a changed
    correlation, is not seen. For features with few different values the test is cautious. (Rabanser et al. 2019, arXiv:1810.11953.)
    Raises ValueError for unusable samples.
    """
    from scipy.stats import ks_2samp

    source, target = check_domains(source, target)
    # The exact p-value takes long with many equal values, as pixels have them, and the asymptotic one is close.
    results = [ks_2samp(a, b, method="asymp") for a, b in zip(source.T, target.T, strict=True)]
    p_values = np.array([result.pvalue for result in results])
    return FeatureTests(np.array([result.statistic for result in results]), np.minimum(1, p_values * len(p_values)))
