"""Importance weights and class shares: equal to known ratios, to a general optimiser and to scipy; clear about unusable input."""
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from helpers.adaptation import importance, label_shift

ESTIMATES = (importance.classifier_weights, importance.kernel_mean_matching)


def normal(n=300, d=1, move=0.0, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)) + move


def test_the_effective_sample_size_goes_from_1_to_n_and_ignores_the_scale():
    assert importance.effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert importance.effective_sample_size(np.array([0, 3.0, 0])) == pytest.approx(1)
    weights = np.random.default_rng(0).exponential(size=50)
    found = importance.effective_sample_size(weights)
    assert found == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    for scale in (1e-200, 1e200):
        assert importance.effective_sample_size(scale * weights) == pytest.approx(found)
    x = np.random.default_rng(0).standard_normal(200_000)
    assert importance.effective_sample_size(np.exp(x)) / len(x) == pytest.approx(np.exp(-1), abs=0.02)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_estimated_weights_follow_the_true_ratio_and_move_the_mean(estimate):
    source, target = normal(600), normal(400, move=0.8, seed=1)
    weights = estimate(source, target)
    assert weights.shape == (600,) and weights.min() >= 0 and weights.mean() == pytest.approx(1)
    true = np.exp(0.8 * source[:, 0])
    assert np.corrcoef(weights, true)[0, 1] > 0.75
    assert np.average(source[:, 0], weights=weights) == pytest.approx(0.8, abs=0.2)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_without_a_shift_most_images_remain_and_without_overlap_nothing_breaks(estimate):
    assert importance.effective_sample_size(estimate(normal(300, 2), normal(300, 2, seed=1))) > 200
    far = estimate(normal(50, 2), normal(50, 2, move=100, seed=1))
    assert np.isfinite(far).all() and far.mean() == pytest.approx(1)


def test_classifier_weights_can_be_cut():
    source, target = normal(200, 3), normal(200, 3, move=1, seed=1)
    free, cut = importance.classifier_weights(source, target), importance.classifier_weights(source, target, largest=2)
    assert cut.max() < free.max() and importance.effective_sample_size(cut) > importance.effective_sample_size(free)


def test_kernel_mean_matching_equals_a_general_solver():
    source, target, width, ridge = normal(25, 2), normal(20, 2, move=0.7, seed=1), 1.5, 1e-3
    kernel = np.exp(-(cdist(source, source) ** 2) / (2 * width**2)) + ridge * np.eye(25)
    pull = 25 * np.exp(-(cdist(source, target) ** 2) / (2 * width**2)).mean(1)
    peer = minimize(
        lambda w: w @ kernel @ w / 2 - pull @ w, np.ones(25), jac=lambda w: kernel @ w - pull, bounds=[(0, 3)] * 25, method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-14},
    ).x
    found = importance.kernel_mean_matching(source, target, width, bound=3, ridge=ridge)

    def value(w):
        w = w * peer.mean()
        return w @ kernel @ w / 2 - pull @ w

    assert found == pytest.approx(peer / peer.mean(), abs=0.05)
    assert value(found) == pytest.approx(value(peer / peer.mean()), rel=1e-4)


def shifted_predictions(shares, n=20_000, seed=0, classes=3):
    """Labels drawn with these shares, and calibrated-enough probabilities of a noisy classifier for them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=shares)
    logits = 2 * np.eye(classes)[labels] + rng.standard_normal((n, classes))
    odds = np.exp(2 * logits)  # the exact posterior for equal shares: classes differ by 2 in the mean, with variance 1
    return odds / odds.sum(1, keepdims=True), labels


def test_all_estimates_find_the_class_shares_and_correcting_raises_the_accuracy():
    equal, true = np.full(3, 1 / 3), np.array([0.7, 0.25, 0.05])
    source, labels = shifted_predictions(equal)
    target, hidden = shifted_predictions(true, seed=1)
    soft = label_shift.black_box_shares(source, labels, target)
    hard = label_shift.black_box_shares(np.eye(3)[source.argmax(1)], labels, np.eye(3)[target.argmax(1)])
    likely = label_shift.maximum_likelihood_shares(target, equal)
    for found in (soft, hard, likely):
        assert found.target == pytest.approx(true, abs=0.02) and found.source == pytest.approx(equal, abs=0.02)
        assert found.weights == pytest.approx(found.target / found.source)
    before = np.mean(target.argmax(1) == hidden)
    after = np.mean(label_shift.adjust(target, equal, soft.target).argmax(1) == hidden)
    assert after > before + 0.02


def test_shares_are_exact_where_the_confusion_is_known_and_never_negative():
    labels = np.repeat([0, 1], [150, 50])
    source = np.eye(2)[np.concatenate([np.repeat([0, 1], [135, 15]), np.repeat([0, 1], [20, 30])])]
    found = label_shift.black_box_shares(source, labels, np.eye(2)[np.repeat([0, 1], [50, 50])])  # 0.9 * 0.2 + 0.4 * 0.8 = 0.5
    assert found.target == pytest.approx([0.2, 0.8]) and found.source == pytest.approx([0.75, 0.25])
    assert label_shift.black_box_shares(source, labels, np.eye(2)[np.zeros(10, int)]).target == pytest.approx([1, 0])


def test_adjusting_is_bayes_rule():
    given = np.array([[0.6, 0.4], [0.1, 0.9], [0.0, 1.0]])
    found = label_shift.adjust(given, [0.5, 0.5], [0.2, 0.8])
    assert found[0] == pytest.approx([0.12 / 0.44, 0.32 / 0.44]) and found.sum(1) == pytest.approx(np.ones(3))
    assert label_shift.adjust(given, [0.3, 0.7], [0.3, 0.7]) == pytest.approx(given)
    assert label_shift.adjust(given, [0.5, 0.5], [1.0, 0.0])[2] == pytest.approx([1, 0])


@pytest.mark.parametrize("weights, says", [([[1.0]], "one number for each"), ([], "one number for each"), ([1, -1], "never negative"),
                                           ([0, 0], "not all 0"), ([1, np.nan], "finite")])
def test_unusable_weights_are_refused(weights, says):
    with pytest.raises(ValueError, match=says):
        importance.effective_sample_size(np.array(weights))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_unusable_domains_are_refused(estimate):
    with pytest.raises(ValueError, match="prepare both in the same way"):
        estimate(normal(d=2), normal(d=3))


def test_unusable_settings_are_refused():
    with pytest.raises(ValueError, match="pass 5 or more"):
        importance.classifier_weights(normal(4), normal())
    for setting in ({"strength": 0}, {"largest": -1.0}):
        with pytest.raises(ValueError, match="must be above 0"):
            importance.classifier_weights(normal(), normal(), **setting)
    for setting in ({"width": 0.0}, {"bound": 0.0}, {"ridge": 0.0}):
        with pytest.raises(ValueError, match="all must be above 0"):
            importance.kernel_mean_matching(normal(), normal(), **setting)
    with pytest.raises(ValueError, match="no median distance"):
        importance.kernel_mean_matching(np.ones((5, 2)), normal(5, 2))


def test_unusable_predictions_are_refused():
    good, labels = np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])
    cases = [
        ((np.zeros((4, 2)), labels, good), "no probabilities"), ((good[:, :1], labels, good), "2 classes or more"),
        ((good, labels, np.eye(3)), "same classifier for both"), ((good, labels[:2], good), "one whole number for each"),
        ((good, labels / 2, good), "one whole number for each"), ((good, labels + 1, good), "from 0 to 1"),
        ((good, labels * 0, good), "class 1 has no image"), ((np.full((4, 2), 0.5), labels, good), "cannot tell some classes apart"),
    ]
    for arguments, says in cases:
        with pytest.raises(ValueError, match=says):
            label_shift.black_box_shares(*arguments)
    for shares in ([0.5, 0.6], [1.0], [1.5, -0.5]):
        with pytest.raises(ValueError, match="sum to 1"):
            label_shift.adjust(good, shares, [0.5, 0.5])
    with pytest.raises(ValueError, match="source share of 0"):
        label_shift.adjust(good, [0.0, 1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="rounds is 0"):
        label_shift.maximum_likelihood_shares(good, [0.5, 0.5], rounds=0)
