"""Clusters without labels: equal to references and to trying all cases, with the properties that papers state, clear about bad input."""
import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from helpers import clustering
from helpers.backbones.small_cnn import SmallCNN
from helpers.data.augment import jitter


def blobs(groups=4, each=40, d=6, seed=0):
    rng = np.random.default_rng(seed)
    centres = 8 * np.eye(groups, d)
    labels = np.repeat(np.arange(groups), each)
    return centres[labels] + rng.standard_normal((groups * each, d)), labels


def by_trying_all(clusters, labels):
    """The accuracy of the best one-to-one naming; -1 names a cluster that gets no class."""
    values, places = np.unique(clusters, return_inverse=True)
    names = [*np.unique(labels), *[-1] * len(values)]
    return max(np.mean(np.array(tried)[places] == labels) for tried in set(itertools.permutations(names, len(values))))


@pytest.mark.parametrize("k, classes", [(3, 3), (4, 2), (2, 4), (1, 3)])
def test_cluster_accuracy_is_that_of_the_best_naming(k, classes):
    rng = np.random.default_rng(k)
    for _ in range(5):
        clusters, labels = rng.integers(k, size=30) + 2, rng.integers(classes, size=30)
        assert clustering.cluster_accuracy(clusters, labels) == pytest.approx(by_trying_all(clusters, labels))
        renamed = np.array([9, 5, 0, 3, 7, 1])[clusters]
        assert clustering.cluster_accuracy(renamed, labels) == clustering.cluster_accuracy(clusters, labels)
        order = rng.permutation(30)
        assert clustering.cluster_accuracy(clusters[order], labels[order]) == clustering.cluster_accuracy(clusters, labels)


def test_best_match_is_one_to_one_and_leaves_superfluous_clusters_out():
    assert clustering.best_match(np.array([2, 2, 0, 0, 1]), np.array([0, 0, 1, 1, 1])) == {2: 0, 0: 1}
    assert clustering.cluster_accuracy(np.arange(6), np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(2 / 6)


@pytest.mark.parametrize("clusters, labels, words", [
    ([0, 1], [0, 1, 1], "2 clusters and 3 labels"),
    ([[0, 1]], [0, 1], "one whole number for each image"),
    ([], [], "one whole number for each image"),
    ([0.5, 1], [0, 1], "whole numbers from 0"),
    ([0, -1], [0, 1], "whole numbers from 0"),
])
def test_best_match_refuses(clusters, labels, words):
    with pytest.raises(ValueError, match=words):
        clustering.best_match(np.array(clusters), np.array(labels))


def test_k_means_finds_groups_and_does_not_mind_the_scale_of_a_feature():
    points, labels = blobs()
    model = clustering.k_means(points, 4)
    assert clustering.cluster_accuracy(model.predict(points), labels) == 1
    scaled = points * np.array([1000, 1, 1, 1, 1, 0.001])
    assert clustering.cluster_accuracy(clustering.k_means(scaled, 4).predict(scaled), model.predict(points)) == 1
    plain = clustering.k_means(points, 4, standardise=False)
    assert (plain.predict(points) == KMeans(4, n_init=10, random_state=0).fit_predict(points)).all()
    assert np.allclose(np.linalg.norm(clustering.angles().fit_transform(points), axis=1), 1)


@pytest.mark.parametrize("k", [0, 161])
def test_k_means_refuses_an_impossible_k(k):
    with pytest.raises(ValueError, match=f"k is {k} with 160 rows"):
        clustering.k_means(blobs()[0], k)


def test_scan_k_finds_the_number_of_groups_and_stability_is_about_0_for_noise():
    points, _ = blobs()
    table = clustering.scan_k(points, [2, 3, 4, 5, 8])
    assert table.k[table.silhouette.argmax()] == table.k[table.stability.argmax()] == 4
    assert clustering.stability(points, 4) == pytest.approx(1)
    noise = np.random.default_rng(0).standard_normal((200, 20))
    assert clustering.stability(noise, 8) < 0.2
    for k in (1, 81):
        with pytest.raises(ValueError, match=f"k is {k} with 160 rows"):
            clustering.stability(points, k)


def test_queries_asks_for_one_typical_image_of_each_group():
    points, labels = blobs(seed=1)
    chosen, model = clustering.queries(points, 4)
    assert sorted(labels[chosen]) == [0, 1, 2, 3]
    assert (labels[chosen][model.predict(points)] == labels).all()
    distances = model.transform(points)
    assert all(distances[row, place] == distances[:, place].min() for place, row in enumerate(chosen))


def test_sharpen_equals_loops_and_keeps_what_is_certain():
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.ones(4), 9)
    weight = np.array([[q[i, j] ** 2 / sum(q[:, j]) for j in range(4)] for i in range(9)])
    assert np.allclose(clustering.sharpen(torch.from_numpy(q)).numpy(), weight / weight.sum(1, keepdims=True))
    certain = torch.eye(3)
    assert torch.allclose(clustering.sharpen(certain), certain)
    equal = torch.full((6, 3), 1 / 3)
    assert torch.allclose(clustering.sharpen(equal), equal)
    for bad in (torch.rand(4, 3) + 1, torch.tensor([1.0]), torch.tensor([[1.5, -0.5]])):
        with pytest.raises(ValueError, match="apply softmax first"):
            clustering.sharpen(bad)


def two_patterns(n=60, seed=0):
    rng = np.random.default_rng(seed)
    images = 0.1 * torch.from_numpy(rng.random((n, 1, 8, 8)).astype(np.float32))
    images[::2, :, 1:4], images[1::2, :, :, 5:7] = 0.9, 0.9
    return images, np.arange(n) % 2


def test_deep_cluster_starts_from_k_means_trains_a_copy_and_keeps_easy_groups():
    images, labels = two_patterns()
    torch.manual_seed(0)
    model = SmallCNN(classes=2).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = clustering.deep_cluster(model, images, 2, jitter(), steps=10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(found.model.features[0].weight, model.features[0].weight)
    assert clustering.cluster_accuracy(found.predict(images), labels) == 1
    soft = found(images)
    assert soft.shape == (60, 2) and torch.allclose(soft.sum(1), torch.ones(60), atol=1e-5)
    again = clustering.deep_cluster(model, images, 2, jitter(), steps=10)
    assert torch.equal(again.centres, found.centres)
    with pytest.raises(ValueError, match="k is 1"):
        clustering.deep_cluster(model, images, 1, jitter())


def test_seeded_k_means_keeps_labels_and_finds_new_groups():
    points, labels = blobs()
    given = np.where(np.isin(labels, [1, 3]) & (np.arange(len(labels)) % 2 == 0), labels, -1)
    found = clustering.seeded_k_means(points, given, 4)
    assert (found.clusters[given == 1] == 0).all() and (found.clusters[given == 3] == 1).all()  # in rising order of the labels
    assert clustering.cluster_accuracy(found.clusters, labels) == 1
    assert found.centres.shape == (4, 6)
    assert np.allclose(found.centres[0], points[labels == 1].mean(0))


def test_a_label_holds_even_where_another_centre_is_nearer():
    points = np.array([[0.0], [0.1], [10.0], [10.1], [9.9]])
    found = clustering.seeded_k_means(points, np.array([0, 0, 0, 1, -1]), 2)
    assert found.clusters.tolist()[:4] == [0, 0, 0, 1] and found.clusters[4] == 1


def test_seeded_k_means_with_one_seed_each_is_k_means():
    points, true = make_blobs(120, 3, centers=4, cluster_std=0.5, random_state=3)
    seeds = np.full(120, -1)
    for c in range(4):
        seeds[np.flatnonzero(true == c)[0]] = c
    plain = KMeans(4, n_init=10, random_state=0).fit_predict(points)
    assert clustering.cluster_accuracy(clustering.seeded_k_means(points, seeds, 4).clusters, plain) == 1


@pytest.mark.parametrize("labels, k, words", [
    (np.full(160, -1), 4, "no row has a label"),
    (np.arange(160) % 4, 4 + 1, "k is 5 with 4 labelled classes and 0 free rows"),
    (np.r_[np.arange(8), np.full(152, -1)], 4, "k is 4 with 8 labelled classes"),
    (np.zeros(3, int), 4, "one for each row"),
])
def test_seeded_k_means_refuses(labels, k, words):
    with pytest.raises(ValueError, match=words):
        clustering.seeded_k_means(blobs()[0], labels, k)


def test_strangeness_equals_loops_and_rises_with_the_distance():
    rng = np.random.default_rng(0)
    normal, new = rng.standard_normal((20, 3)), rng.standard_normal((6, 3))
    expected = [np.sort([np.sqrt(((row - other) ** 2).sum()) for other in normal])[:4].mean() for row in new]
    assert np.allclose(clustering.strangeness(normal, new, 4), expected)
    assert (clustering.strangeness(normal, new + 50) > clustering.strangeness(normal, new)).all()
    with pytest.raises(ValueError, match="use the same features for both"):
        clustering.strangeness(normal, new[:, :2])
    for neighbours in (0, 21):
        with pytest.raises(ValueError, match=f"neighbours is {neighbours} with 20 normal rows"):
            clustering.strangeness(normal, new, neighbours)
