"""Regularisers, the comparison of lesson 06, early stopping's optimism and the detectors of leaks."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import regularization, training
from helpers.data import augment


@pytest.fixture
def toy():
    torch.manual_seed(0)
    return nn.Linear(6, 10), torch.randn(16, 6), torch.randint(0, 10, (16,))


def test_label_smoothing_equals_a_float64_reference(toy):
    model, batch, labels = toy
    log = model(batch).double().log_softmax(1)
    target = torch.full((16, 10), 0.02, dtype=torch.float64)
    target[torch.arange(16), labels] += 0.8
    assert regularization.label_smoothing(0.2)(model, batch, labels).item() == pytest.approx(-(target * log).sum(1).mean().item(), rel=1e-5)
    assert torch.equal(regularization.label_smoothing(0)(model, batch, labels), F.cross_entropy(model(batch), labels))
    for amount in (-0.1, 1):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            regularization.label_smoothing(amount)


def test_mixup_equals_cross_entropy_with_blended_targets(toy):
    model, batch, labels = toy
    rng = np.random.default_rng(3)
    share, other = float(rng.beta(0.4, 0.4)), torch.as_tensor(rng.permutation(16))
    one_hot = F.one_hot(labels, 10).double()
    target = share * one_hot + (1 - share) * one_hot[other]
    log = model(share * batch + (1 - share) * batch[other]).double().log_softmax(1)
    loss = regularization.mixup(0.4, seed=3)
    assert loss(model, batch, labels).item() == pytest.approx(-(target * log).sum(1).mean().item(), rel=1e-5)
    assert loss(model, batch, labels) != regularization.mixup(0.4, seed=3)(model, batch, labels), "every batch has a share of its own"
    with pytest.raises(ValueError, match="above 0"):
        regularization.mixup(0)


def test_photometric_changes_values_keeps_places_and_repeats():
    images = torch.rand(5, 3, 8, 8)
    change = augment.photometric(noise=0)
    lit = change(images, torch.Generator().manual_seed(1))
    assert torch.equal(lit, change(images, torch.Generator().manual_seed(1))) and not torch.allclose(lit, images)
    for before, after in zip(images.flatten(1), lit.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= 0).all()
    noisy = augment.photometric()(images, torch.Generator().manual_seed(1))
    assert noisy.shape == images.shape and 0 <= noisy.min() and noisy.max() <= 1
    assert torch.equal(augment.photometric(0, 0, 0)(images, torch.Generator()), images)
    with pytest.raises(ValueError, match="0 or more"):
        augment.photometric(gamma=-1)


def test_dropout_is_added_to_a_copy(toy):
    model = nn.Sequential()
    model.classifier = nn.Linear(4, 3)
    dropped = regularization.with_dropout(model, 0.5)
    assert isinstance(model.classifier, nn.Linear) and isinstance(dropped.classifier[0], nn.Dropout)
    assert torch.equal(dropped.classifier[1].weight, model.classifier.weight)
    with pytest.raises(ValueError, match="from 0 to below 1"):
        regularization.with_dropout(model, 1)


def test_every_arm_has_a_tuned_rate_and_every_sweep_is_complete():
    from data_scripts import tune_regularisers

    rates = regularization.tuned_rates()
    assert {start: set(arms) for start, arms in regularization.TREATMENTS.items()} == {s: set(r) for s, r in rates.items()}
    for start, arms in rates.items():
        assert set(arms.values()) <= set(tune_regularisers.CANDIDATES[start])


def test_an_arm_is_measured_and_a_wrong_name_is_refused():
    found = regularization.measure("scratch", "a quarter of the width", seed=0)
    assert set(found) == {"accuracy", "nll", "training accuracy", "training nll"} and 0.5 < found["accuracy"] < 0.95
    assert sum(p.numel() for p in regularization.narrow_cnn(10).parameters()) == 2774
    for held_out in ("early stopping on 1 of 5 labels", "freeze all but the head", "L2-SP 0.1", "photometric"):
        model, task = regularization.train("letters", held_out, seed=1, rate=1e-3)
        assert training.accuracy(model, task.images[task.train], task.labels[task.train]) > 0.7
    with pytest.raises(ValueError, match="choose one of scratch"):
        regularization.measure("words", "nothing", seed=0)
    with pytest.raises(ValueError, match="choose one of nothing"):
        regularization.measure("letters", "prayer", seed=0)


def test_a_linear_head_is_linear_and_a_deep_one_is_not():
    vectors = torch.randn(2, 5)
    for hidden, linear in ((0, True), (8, False)):
        head = regularization.Head(5, hidden, 3)
        middle = (head(vectors[:1]) + head(vectors[1:])) / 2
        assert torch.allclose(head(vectors.mean(0, keepdim=True)), middle, atol=1e-6) == linear


def test_the_score_of_a_net_is_its_accuracy_and_cross_entropy(toy):
    model, batch, labels = toy
    accuracy, nll = regularization.score(model, batch, labels.numpy())
    assert accuracy == pytest.approx((model(batch).argmax(1) == labels).float().mean().item())
    assert nll == pytest.approx(F.cross_entropy(model(batch), labels).item(), rel=1e-5)


def test_choosing_the_best_of_equal_checks_is_optimistic_and_less_so_with_more_images():
    rng = np.random.default_rng(0)
    correct, test = rng.random((20, 2000)) < 0.8, np.full(20, 0.8)
    found = [regularization.stopping_optimism(correct, test, size) for size in (10, 50, 200)]
    assert found[0].optimism > found[1].optimism > found[2].optimism > 0
    assert all(stop.gain == 0 for stop in found)
    assert found[1] == regularization.stopping_optimism(correct, test, 50), "the same seed draws the same images"
    # Twenty maxima of independent means: about 1.87 standard deviations.
    assert found[1].optimism == pytest.approx(1.87 * np.sqrt(0.16 / 50), rel=0.35)
    rising = np.arange(2000)[None] < np.array([500, 1500, 1000])[:, None]
    assert regularization.stopping_optimism(rising, [0.25, 0.75, 0.5], 2000).gain == pytest.approx(0.25)
    with pytest.raises(ValueError, match="a row for each check"):
        regularization.stopping_optimism(correct, test[:5], 10)
    with pytest.raises(ValueError, match="draw from 1 to 2000"):
        regularization.stopping_optimism(correct, test, 2001)


def test_labels_are_dealt_to_whole_groups():
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(30) * 7, 4))
    labels = (groups // 7) % 5
    dealt = [regularization.shuffle_by_group(labels, groups, seed) for seed in range(200)]
    for new in dealt[:10]:
        one_each = [np.unique(new[groups == group]) for group in np.unique(groups)]
        assert all(len(values) == 1 for values in one_each)
        assert sorted(int(values[0]) for values in one_each) == sorted(int(g // 7 % 5) for g in np.unique(groups))
    assert np.mean([(new == labels).mean() for new in dealt]) == pytest.approx(0.2, abs=0.03)
    with pytest.raises(ValueError, match="one label and one group"):
        regularization.shuffle_by_group(labels, groups[:-1], 0)
    with pytest.raises(ValueError, match="two different labels"):
        regularization.shuffle_by_group(np.arange(120), groups, 0)


def test_the_shuffled_label_test_finds_copies_on_both_sides_and_clears_an_honest_split():
    rng = np.random.default_rng(0)
    origin = np.repeat(np.arange(60), 3)
    vectors = rng.standard_normal((60, 20))[origin] + 0.01 * rng.standard_normal((180, 20))
    labels = origin % 3

    def pipeline(y, seed, honest):
        order = np.random.default_rng(seed).permutation(60 if honest else 180)
        test = np.isin(origin if honest else np.arange(180), order[: len(order) // 4])
        _, nearest = regularization.nearest_in_training(vectors[~test], vectors[test])
        return (y[~test][nearest] == y[test]).mean()

    honest, leaky = (
        regularization.shuffled_label_test(lambda y, s, h=h: pipeline(y, s, h), labels, origin, range(6)) for h in (True, False)
    )
    assert honest.shape == (6,) and honest.mean() < 0.45 and leaky.mean() > 0.9


def test_the_nearest_training_vector_is_scikit_learns():
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((40, 6)), rng.standard_normal((15, 6))
    distance, index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(train).kneighbors(test)
    similarity, nearest = regularization.nearest_in_training(train, test)
    assert np.array_equal(nearest, index[:, 0]) and np.allclose(similarity, 1 - distance[:, 0])
    with pytest.raises(ValueError, match="at least one row"):
        regularization.nearest_in_training(train, test[:, :3])
    with pytest.raises(ValueError, match="all zero"):
        regularization.nearest_in_training(train, np.zeros((1, 6)))
