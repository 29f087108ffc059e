"""Distances between domains: equal to peers and closed forms, tests that keep their level, and clear about unusable input."""
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, norm
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics.pairwise import rbf_kernel

from helpers.adaptation import divergence, mmd


def normal(n=200, d=3, move=0.0, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)) + move


def test_a_domain_classifier_reaches_the_best_possible_accuracy_whatever_the_sizes():
    for n, m in ((3000, 3000), (5000, 1000)):
        found = divergence.domain_classifier(normal(n, 1), normal(m, 1, move=1.5, seed=1))
        assert found.accuracy == pytest.approx(norm.cdf(0.75), abs=0.03)
        assert found.auc == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.03)
        assert found.target_probability.shape == (n + m,)
        assert found.a_distance == pytest.approx(4 * found.accuracy - 2)


def test_one_domain_has_distance_0_and_two_without_overlap_have_2():
    chance = [divergence.proxy_a_distance(normal(seed=seed), normal(seed=seed + 50)) for seed in range(10)]
    assert abs(np.mean(chance)) < 0.15
    assert divergence.proxy_a_distance(normal(), normal(move=20)) == 2


def test_the_distance_depends_on_the_classifier():
    wide = normal(seed=1) * 3
    forest = RandomForestClassifier(50, random_state=0)
    assert abs(divergence.proxy_a_distance(normal(), wide)) < 0.3 < divergence.proxy_a_distance(normal(), wide, forest)


def test_feature_tests_are_those_of_scipy_corrected_and_name_the_feature_that_moved():
    source, target = normal(d=4), normal(d=4, move=np.array([0, 0, 1, 0]), seed=1)
    found = divergence.feature_tests(source, target)
    assert found.distance.argmax() == 2 and found.p_value[2] < 1e-6 and found.p_value.max() <= 1
    peer = ks_2samp(source[:, 0], target[:, 0])
    assert found.distance[0] == pytest.approx(peer.statistic) and found.p_value[0] == pytest.approx(min(1, 4 * peer.pvalue), abs=0.05)
    alarms = [divergence.feature_tests(normal(100, 8, seed=s), normal(100, 8, seed=s + 1000)).p_value.min() <= 0.05 for s in range(100)]
    assert np.mean(alarms) <= 0.12
    constant = divergence.feature_tests(np.ones((20, 2)), np.ones((30, 2)))
    assert constant.p_value.tolist() == [1, 1]


def test_mmd_equals_scikit_learns_kernels_and_averages_widths():
    x, y = normal(30, 4), normal(20, 4, move=0.5, seed=1)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    values = []
    for width in (0.5, 2.0):
        def k(u, v, gamma=1 / (2 * width**2)):
            return rbf_kernel(u, v, gamma).mean()

        values.append(k(x, x) + k(y, y) - 2 * k(x, y))
        assert mmd.mmd2(a, b, [width]).item() == pytest.approx(values[-1], rel=1e-10)
    assert mmd.mmd2(a, b, [0.5, 2.0]).item() == pytest.approx(np.mean(values), rel=1e-10)


def test_mmd_has_its_invariances_limits_and_gradients():
    x, y = torch.from_numpy(normal(12, 3)), torch.from_numpy(normal(9, 3, move=1, seed=1))
    assert mmd.mmd2(x, x, [1.0]).item() == pytest.approx(0, abs=1e-12)
    assert mmd.mmd2(x, y, [1.0]).item() == pytest.approx(mmd.mmd2(y, x, [1.0]).item())
    assert mmd.mmd2(x + 5, y + 5, [1.0]).item() == pytest.approx(mmd.mmd2(x, y, [1.0]).item())
    assert mmd.mmd2(10 * x, 10 * y, [10.0]).item() == pytest.approx(mmd.mmd2(x, y, [1.0]).item())
    assert mmd.mmd2(x[:1], y[:1] + 100, [1.0]).item() == pytest.approx(2)  # one input each, far apart: the largest value
    assert torch.autograd.gradcheck(lambda a, b: mmd.mmd2(a, b, [0.7, 2.0]), (x.clone().requires_grad_(), y.clone().requires_grad_()))
    twice = x.clone().requires_grad_()
    mmd.mmd2(torch.cat([twice, twice]), y, [1.0]).backward()  # equal rows have a distance of 0, whose root has no gradient
    assert torch.isfinite(twice.grad).all()
    assert torch.isfinite(mmd.mmd2(x.float(), y.float(), [1e-3])) and mmd.mmd2(x.float(), y.float(), [1.0]).dtype == torch.float32


def test_the_median_width_is_the_median_distance():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])
    assert mmd.median_width(x, y) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="rows are equal"):
        mmd.median_width(torch.zeros(5, 2), torch.zeros(3, 2))


def test_a_permutation_test_keeps_its_level_and_finds_a_shift():
    level = [mmd.permutation_test(normal(20, 2, seed=s), normal(30, 2, seed=s + 1000), permutations=39).p_value for s in range(200)]
    assert 0.005 <= np.mean(np.array(level) <= 0.05) <= 0.11 and 0.42 < np.mean(level) < 0.6
    test = mmd.permutation_test(normal(), normal(move=1, seed=1), permutations=99)
    assert test.p_value == pytest.approx(0.01) and test.by_chance.shape == (99,) and test.by_chance.max() < test.mmd2
    pair = torch.from_numpy(normal()), torch.from_numpy(normal(move=1, seed=1))
    assert test.mmd2 == pytest.approx(mmd.mmd2(*pair, [mmd.median_width(*pair)]).item(), rel=1e-8)
    same = normal(10, 2)
    assert mmd.permutation_test(same, same, permutations=20).p_value == 1
    assert mmd.permutation_test(same, same + 1, seed=3).p_value == mmd.permutation_test(same, same + 1, seed=3).p_value


@pytest.mark.parametrize(
    "source, target, says",
    [
        (np.zeros((5, 2, 2)), np.zeros((5, 4)), "source has shape"),
        (normal(1), normal(), "source has 1 rows: pass 2 or more"),
        (normal(), np.full((5, 3), np.nan), "target holds NaN"),
        (normal(d=3), normal(d=4), "prepare both in the same way"),
    ],
)
def test_unusable_samples_are_refused_by_all(source, target, says):
    for function in (divergence.domain_classifier, divergence.proxy_a_distance, divergence.feature_tests, mmd.permutation_test):
        with pytest.raises(ValueError, match=says):
            function(source, target)


def test_what_else_is_refused():
    x = torch.zeros(3, 2)
    for bad, says in (((x[:0], x), "neither empty"), ((x[0], x), "neither empty"), ((x, torch.zeros(3, 4)), "must have the same")):
        with pytest.raises(ValueError, match=says):
            mmd.mmd2(*bad, [1.0])
    for widths in ([], [1.0, 0.0]):
        with pytest.raises(ValueError, match="widths are"):
            mmd.mmd2(x, x, widths)
    with pytest.raises(ValueError, match="permutations is 0"):
        mmd.permutation_test(normal(), normal(), permutations=0)
    with pytest.raises(ValueError, match="choose 2 to 4"):
        divergence.domain_classifier(normal(4), normal())
