"""Transferability scores: equal to float64 references, with the properties that their papers state, and clear about unusable input."""
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.model_selection import LeaveOneOut, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from helpers import transferability as scores
from helpers.features import linear_probe

FEATURE_SCORES = (scores.logme, scores.hscore, scores.nearest_neighbour, scores.nearest_class_mean, scores.probe)


def blobs(n=60, d=8, classes=3, apart=1.0, seed=0):
    """Features whose classes lie `apart` standard deviations from each other."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.standard_normal((n, d)) + apart * rng.standard_normal((classes, d))[labels], labels


def largest_evidence(features, target):
    """max over alpha, beta of log N(target; 0, I / beta + F F' / alpha), by a general optimiser and the dense covariance."""
    n = len(features)

    def minus(logs):
        covariance = np.eye(n) * np.exp(-logs[1]) + features @ features.T * np.exp(-logs[0])
        return -multivariate_normal.logpdf(target, np.zeros(n), covariance)

    starts = [(a, b) for a in (0.0, 4.0) for b in (0.0, 4.0)]
    return -min(minimize(minus, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).fun for start in starts)


@pytest.mark.parametrize("n, d", [(30, 5), (24, 40)])
def test_logme_is_the_largest_evidence_of_a_bayesian_linear_model(n, d):
    features, labels = blobs(n, d)
    expected = np.mean([largest_evidence(features, (labels == c).astype(float)) / n for c in range(3)])
    assert scores.logme(features, labels) == pytest.approx(expected, abs=1e-4)


def test_logme_does_not_change_with_rotation_or_one_scale():
    features, labels = blobs()
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    for other in (features @ turn, 1e4 * features, 1e-4 * features, np.hstack([features, np.zeros((60, 3))])):
        assert scores.logme(other, labels) == pytest.approx(scores.logme(features, labels), abs=2e-3)


def test_leep_equals_the_formula_written_as_loops():
    rng = np.random.default_rng(0)
    theta, labels = rng.dirichlet(np.ones(4), 30), rng.integers(0, 3, 30)
    joint = np.zeros((3, 4))
    for row, y in zip(theta, labels, strict=True):
        joint[y] += row / 30
    total = 0.0
    for row, y in zip(theta, labels, strict=True):
        total += np.log(sum(joint[y, z] / joint[:, z].sum() * row[z] for z in range(4)))
    assert scores.leep(theta, labels) == pytest.approx(total / 30, rel=1e-10)


def test_leep_is_0_for_a_source_that_knows_and_minus_the_entropy_for_one_that_says_nothing():
    labels = np.array([0, 1, 2, 2])
    assert scores.leep(np.eye(3)[labels], labels) == pytest.approx(0, abs=1e-9)
    shares = np.array([0.25, 0.25, 0.5])
    assert scores.leep(np.full((4, 7), 1 / 7), labels) == pytest.approx((shares * np.log(shares)).sum())


def test_hscore_equals_a_direct_computation_and_ignores_invertible_maps():
    features, labels = blobs()
    centred = features - features.mean(0)
    means = np.stack([centred[labels == y].mean(0) for y in labels])
    expected = np.trace(np.linalg.inv(np.cov(centred.T, bias=True)) @ np.cov(means.T, bias=True))
    assert scores.hscore(features, labels) == pytest.approx(expected)
    mixing = np.random.default_rng(1).standard_normal((8, 8)) + 3 * np.eye(8)
    assert scores.hscore(features @ mixing + 5, labels) == pytest.approx(expected)
    assert 0 <= expected <= 2


def test_hscore_of_noise_reaches_its_maximum_when_images_are_fewer_than_features_and_chance_explains_all_of_it():
    rng = np.random.default_rng(0)
    noise, labels = rng.standard_normal((30, 100)), np.arange(30) % 3
    assert scores.hscore(noise, labels) == pytest.approx(2, abs=1e-6)
    assert scores.above_chance(scores.hscore, noise, labels) == pytest.approx(0, abs=1e-6)
    assert abs(scores.above_chance(lambda f, y: scores.hscore(f, y, shrink=True), noise, labels, 20)) < 0.15
    assert scores.hscore(noise, labels, shrink=True) < 1


def test_neighbours_means_and_probe_equal_scikit_learn():
    features, labels = blobs(apart=0.8)
    for k in (1, 5):
        peer = cross_val_score(KNeighborsClassifier(k), features, labels, cv=LeaveOneOut()).mean()
        assert scores.nearest_neighbour(features, labels, k) == pytest.approx(peer, abs=0.02 if k > 1 else 1e-9)
    peer = cross_val_score(NearestCentroid(), features, labels, cv=LeaveOneOut()).mean()
    assert scores.nearest_class_mean(features, labels) == pytest.approx(peer)


@pytest.mark.parametrize("n, d", [(60, 8), (45, 300)])
def test_the_probe_equals_cross_validation_of_the_linear_probe(n, d):
    features, labels = blobs(n, d, apart=0.5)
    splits = StratifiedKFold(5, shuffle=True, random_state=0)
    peer = cross_val_score(linear_probe(features, labels), features, labels, cv=splits).mean()
    assert scores.probe(features, labels) == pytest.approx(peer, abs=1.5 / n)


@pytest.mark.parametrize("score", [*FEATURE_SCORES, lambda f, y: scores.hscore(f, y, shrink=True)])
def test_better_separated_classes_score_higher_and_edge_cases_stay_finite(score):
    values = [score(*blobs(apart=apart)) for apart in (0, 1, 4)]
    assert values[0] < values[1] <= values[2]
    features, labels = blobs()
    assert score(features, labels * 10 + 3) == pytest.approx(score(features, labels))  # only which images share a label matters
    order = np.random.default_rng(0).permutation(len(labels))
    if score is not scores.probe:
        assert score(features[order], labels[order]) == pytest.approx(score(features, labels))
    one_hot = np.eye(3)[labels]
    for odd in (np.ones((60, 4)), np.hstack([features, np.ones((60, 1))]), one_hot, np.repeat(features, 12, axis=1)):
        assert np.isfinite(score(odd, labels))
    assert score(one_hot, labels) > score(np.ones((60, 4)), labels)


def test_standardise_survives_constant_features():
    features = np.column_stack([np.arange(5.0), np.full(5, 0.1), np.full(5, 1e9)])
    found = scores.standardise(features)
    assert np.allclose(found.std(0), [1, 0, 0]) and np.allclose(found.mean(0), 0)


def test_above_chance_and_regret():
    features, labels = blobs(apart=0)
    chance = [scores.above_chance(scores.hscore, features, labels, seed=seed) for seed in range(20)]
    assert abs(np.mean(chance)) < 0.25
    reached = {"a": 0.9, "b": 0.8, "c": 0.6}
    assert scores.regret({"a": 1.0, "b": 2.0}, reached) == pytest.approx(0.1)
    assert scores.regret({"a": 2.0, "b": 2.0, "c": 0.0}, reached) == pytest.approx(0.05)


@pytest.mark.parametrize(
    "features, labels, says",
    [
        (np.zeros((4, 2, 2)), [0, 0, 1, 1], "pool or flatten"),
        (np.zeros((0, 3)), [], "shape"),
        (np.full((4, 2), np.nan), [0, 0, 1, 1], "NaN"),
        (np.zeros((4, 2)), [0, 1], "one label for each"),
        (np.zeros((4, 2)), [0.0, 0.5, 1, 1], "whole numbers"),
        (np.zeros((4, 2)), [1, 1, 1, 1], "one class"),
    ],
)
def test_unusable_input_is_refused_by_every_score(features, labels, says):
    for score in (*FEATURE_SCORES, scores.leep):
        with pytest.raises(ValueError, match=says):
            score(features, np.array(labels))


def test_what_else_is_refused():
    features, labels = blobs()
    with pytest.raises(ValueError, match="softmax"):
        scores.leep(features, labels)
    with pytest.raises(ValueError, match="softmax"):
        scores.leep(np.full((60, 3), 0.5), labels)
    with pytest.raises(ValueError, match="choose 1 to 59"):
        scores.nearest_neighbour(features, labels, 60)
    with pytest.raises(ValueError, match="single image"):
        scores.nearest_class_mean(features[:4], np.array([0, 0, 0, 1]))
    with pytest.raises(ValueError, match="choose 2 to 20"):
        scores.probe(features, labels, folds=21)
    with pytest.raises(ValueError, match="permutations"):
        scores.above_chance(scores.hscore, features, labels, permutations=0)
    for wrong in ({"d": 1.0}, {}):
        with pytest.raises(ValueError, match="names of the two tables"):
            scores.regret(wrong, {"a": 0.9})
