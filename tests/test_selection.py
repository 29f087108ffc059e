"""Label-free scores: their definitions, their limits, and what they refuse."""
import numpy as np
import pytest

from helpers.adaptation import benchmark, selection

rng = np.random.default_rng(0)
SURE = np.eye(4)[np.arange(40) % 4]
ONE_CLASS = np.eye(4)[np.zeros(40, int)]
UNSURE = np.full((40, 4), 0.25)


def test_certainty_falls_for_the_collapsed_net_and_information_does_not():
    assert selection.certainty(SURE) == pytest.approx(0, abs=1e-6) == selection.certainty(ONE_CLASS)
    assert selection.certainty(UNSURE) == pytest.approx(-np.log(4))
    assert selection.information(SURE) == pytest.approx(np.log(4)) and selection.information(ONE_CLASS) == pytest.approx(0, abs=1e-6)


def test_the_nuclear_norm_is_the_sum_of_singular_values():
    guesses = rng.dirichlet(np.ones(4), 30)
    eigenvalues = np.linalg.eigvalsh(guesses.T @ guesses)
    assert selection.nuclear_norm(guesses) == pytest.approx(np.sqrt(eigenvalues).sum() / 30)
    assert selection.nuclear_norm(SURE) > selection.nuclear_norm(ONE_CLASS) > selection.nuclear_norm(UNSURE)


def test_neighbourhood_density_equals_a_loop():
    guesses = rng.dirichlet(np.ones(3), 12)
    unit = guesses / np.sqrt((guesses**2).sum(1))[:, None]
    total = 0.0
    for i in range(12):
        weights = np.array([np.exp(unit[i] @ unit[j] / 0.05) for j in range(12) if j != i])
        weights /= weights.sum()
        total -= (weights * np.log(weights)).sum()
    assert selection.neighbourhood_density(guesses) == pytest.approx(total / 12, abs=1e-5)
    assert selection.neighbourhood_density(ONE_CLASS) > selection.neighbourhood_density(SURE), "the known weakness"


def test_cluster_agreement_ignores_the_clusters_names_and_punishes_collapse():
    labels = rng.integers(0, 5, 100)
    assert selection.cluster_agreement(labels, (labels + 2) % 5) == 1
    assert selection.cluster_agreement(np.zeros(100, int), labels) == pytest.approx(np.bincount(labels).max() / 100)
    assert selection.cluster_agreement(labels, np.arange(100) % 10) <= 1, "more clusters than classes"
    with pytest.raises(ValueError, match="one of each"):
        selection.cluster_agreement(labels, labels[:5])


def test_agreements():
    assert selection.agreement([1, 2, 3, 4], [1, 2, 0, 0]) == 0.5
    near = np.array([[1], [0], [3], [2]])
    assert selection.neighbour_agreement(np.array([0, 0, 1, 1]), near, 2) == pytest.approx(1)
    assert selection.neighbour_agreement(np.zeros(4, int), near, 2) == pytest.approx(0, abs=1e-6), "one class for all earns nothing"
    with pytest.raises(ValueError, match="the same images"):
        selection.agreement([1], [1, 2])


def test_deep_embedded_validation_weights_what_looks_like_the_target():
    source, target = rng.normal(0, 1, (400, 1)), rng.normal(1.5, 1, (400, 1))
    validation = rng.normal(0, 1, (300, 1))
    on_the_targets_side = (validation[:, 0] > 1).astype(float)
    there = selection.importance_weighted_validation(on_the_targets_side, validation, source, target)
    elsewhere = selection.importance_weighted_validation(1 - on_the_targets_side, validation, source, target)
    assert there < elsewhere, "a loss where the target lies must count for more"
    equal = selection.importance_weighted_validation(np.full(300, 0.7), validation, source, target)
    assert equal == pytest.approx(-0.7, abs=1e-6), "the control variate makes the estimate of a constant exact"


def test_reverse_validation():
    centres = np.repeat([[-2.0], [2.0]], 50, 0)
    source, labels = centres + rng.normal(0, 0.3, (100, 1)), np.repeat([0, 1], 50)
    target = centres + rng.normal(0, 0.3, (100, 1))
    assert selection.reverse_validation(labels, target, source, labels) > 0.95
    assert selection.reverse_validation(1 - labels, target, source, labels) < 0.05
    assert selection.reverse_validation(np.zeros(100, int), target, source, labels) == 0


def test_ranks_and_regret():
    assert selection.rank_correlation([1, 2, 3], [10, 20, 25]) == pytest.approx(1)
    assert selection.regret([0.1, 0.9, 0.5], [0.7, 0.6, 0.8]) == pytest.approx(0.2)
    for bad in (([1], [1, 2]), ([], [])):
        with pytest.raises(ValueError, match="one score for each run"):
            selection.regret(*bad)


@pytest.mark.parametrize("score", [selection.certainty, selection.information, selection.nuclear_norm, selection.neighbourhood_density])
def test_logits_are_refused(score):
    with pytest.raises(ValueError, match="softmax the logits"):
        score(rng.normal(size=(10, 3)))
    with pytest.raises(ValueError, match="pass \\(n, classes\\)"):
        score(np.zeros((0, 3)))


def test_every_score_of_the_benchmark_is_a_finite_number():
    task = benchmark.make_task(0)
    task = task._replace(source=task.source[::10], labels=task.labels[::10], pool=task.pool[:80])
    references = benchmark.make_references(task, np.arange(0, 300, 3), rng.normal(size=(80, 16)))
    net, twin = benchmark.new_net(0).eval(), benchmark.new_net(1).eval()
    found = benchmark.scores(net, task, references, twin)
    assert set(found) == set(benchmark.score_names(benchmark.stored("selection"))) and all(np.isfinite(value) for value in found.values())
    assert "agreement with a twin" not in benchmark.scores(net, task, references)
