"""Judge a model once: an interval that knows of the groups, a paired gain, and a test set that opens only one time."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from helpers.errors import CourseError


class Estimate(NamedTuple):
    """value: the mean. low, high: the interval. groups: how many independent groups it rests on. effective: the number of independent
    items that would say as much (for a gain: 0)."""

    value: float
    low: float
    high: float
    groups: int
    effective: float = 0.0

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def class_weights(labels: np.ndarray) -> np.ndarray:
    """(n,) Weights of mean 1 with which an accuracy becomes the mean of the classes' recalls (the balanced accuracy)."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / len(counts) / counts)[places]


def _checked(
    values: np.ndarray, groups: np.ndarray | None, weights: np.ndarray | None, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"values have shape {values.shape}: pass one finite number for each of two or more test items")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: choose the share of intervals that are to hold the truth, such as 0.95")
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    if groups.shape != values.shape or weights.shape != values.shape:
        raise ValueError(f"{len(values)} values, {len(groups)} groups, {len(weights)} weights: pass one of each for each test item")
    if len(np.unique(groups)) < 2:
        raise ValueError("all test items are of one group: without a second group nothing can be said about a new one")
    return values, groups, weights


def _mean_and_variance(values: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> tuple[float, float, int]:
    """The weighted mean, its variance when whole groups are drawn (linearised), and the number of groups."""
    mean = np.average(values, weights=weights)
    _, places = np.unique(groups, return_inverse=True)
    scores = np.bincount(places, weights * (values - mean)) / weights.sum()
    count = len(scores)
    return float(mean), float(count / (count - 1) * (scores**2).sum()), count


def estimate(
    correct: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None, level: float = 0.95
) -> Estimate:
    """Accuracy on new groups with an interval that holds the truth in a share `level` of cases.

    correct: (n,) bool for each test item. groups: (n,) items of one group are right and wrong together, so they count as fewer
    independent ones (None: each by itself). weights: see `class_weights`.
    Wilson's interval (1927, doi:10.1080/01621459.1927.10502953) with the effective number of items, p (1 - p) / variance between groups,
    and Student's quantile for few groups, as for surveys (Dean & Pagano 2015, doi:10.1093/jssam/smv024). When all items are right, or
    all wrong, the variance shows nothing, and each group counts as one item. Raises ValueError for unusable input or one group.
    """
    from scipy import stats

    values, groups, weights = _checked(correct, groups, weights, level)
    if not np.isin(values, (0, 1)).all():
        raise ValueError("`correct` holds something else than True and False: pass predicted == labels")
    p, variance, count = _mean_and_variance(values, groups, weights)
    n = min(p * (1 - p) / variance, len(values)) if variance > 0 else float(count)
    t = float(stats.t.ppf(0.5 + level / 2, count - 1))
    middle, half = (p + t**2 / (2 * n)) / (1 + t**2 / n), t / (1 + t**2 / n) * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))
    return Estimate(p, max(0.0, float(middle - half)), min(1.0, float(middle + half)), count, float(n))


def gain(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None, level: float = 0.95
) -> Estimate:
    """How much more often `first` is right than `second` on the same items, with an interval over groups: both met the same luck.

    first, second: (n,) bool. Student's interval of the mean difference between groups, within -1 to 1. When all k groups say the same, as
    when the two agree on every item, that has no width: then it reaches as far to both sides as the largest share of groups that may be
    different although none of k is, 1 - 0.025^(1/k) for level 0.95 (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404; about 3.7/k),
    taking groups as equally heavy. Raises ValueError as `estimate`.
    """
    from scipy import stats

    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} and {len(second)} answers: compare two models on the same items")
    values, groups, weights = _checked(first - second, groups, weights, level)
    mean, variance, count = _mean_and_variance(values, groups, weights)
    half = float(stats.t.ppf(0.5 + level / 2, count - 1) * np.sqrt(variance))
    if half < 1e-9:
        half = 1 - (0.5 - level / 2) ** (1 / count)
    return Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half), count)


class Sealed:
    """The test set in an envelope: labels that can be asked once."""

    def __init__(self, labels: np.ndarray, groups: np.ndarray | None = None) -> None:
        self._labels, self._groups = np.asarray(labels).copy(), None if groups is None else np.asarray(groups).copy()
        self.opened = 0

    def __len__(self) -> int:
        return len(self._labels)

    def open(self, **predictions: np.ndarray) -> dict[str, np.ndarray]:
        """{name: (n,) bool, right or wrong} for each model's predictions (n,), given all at once. "labels" and "groups" are in it too.

        Raises CourseError when it has been opened before, ValueError when predictions have another length (it stays sealed then).
        """
        if self.opened:
            raise CourseError("the test set has been opened before: what you choose now has seen it; report the first result, or collect "
                              "new test data")
        wrong = {name: len(np.asarray(given)) for name, given in predictions.items() if np.asarray(given).shape != self._labels.shape}
        if wrong or not predictions:
            raise ValueError(f"{wrong or 'no predictions'} for {len(self._labels)} test items: pass one prediction for each item")
        self.opened += 1
        found = {name: np.asarray(given) == self._labels for name, given in predictions.items()}
        groups = np.arange(len(self._labels)) if self._groups is None else self._groups
        return found | {"labels": self._labels.copy(), "groups": groups.copy()}
