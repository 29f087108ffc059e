"""Zero- and few-shot scores against slow references and peers, and every refusal."""
import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from helpers import text, text_finetuning, training, zero_shot
from helpers.backbones import minilm
from helpers.data import docstrings

TEXTS = ["Return the mean of each column.", "A cat sits on the mat.", "word " * 200, "Smile \N{GRINNING FACE}!", "x", "Open the file."]


@pytest.fixture
def cosines():
    return np.random.default_rng(0).uniform(-0.1, 0.6, (40, 5))


def test_descriptions_are_means_of_length_one():
    sentences = {"one": TEXTS[:1], "three": TEXTS[1:4], "two": tuple(TEXTS[4:])}
    found = zero_shot.describe(sentences)
    for row, listed in zip(found, sentences.values(), strict=True):
        mean = text.embed(listed).mean(0)
        assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_the_sentences_are_about_the_topics():
    assert list(zero_shot.SENTENCES) == list(docstrings.SOURCE)
    everything = [sentence for listed in zero_shot.SENTENCES.values() for sentence in listed]
    assert len(set(everything)) == 54 and {len(listed) for listed in zero_shot.SENTENCES.values()} == {6}


def test_centring_makes_the_mean_over_the_reference_zero(cosines):
    assert np.allclose(zero_shot.centre(cosines, cosines).mean(0), 0)
    assert np.allclose(zero_shot.centre(cosines[:3], cosines), cosines[:3] - cosines.mean(0))


def test_evening_out_is_entropic_transport(cosines):
    ot = pytest.importorskip("ot")
    plan = ot.sinkhorn(np.full(40, 1 / 40), np.full(5, 1 / 5), -cosines, 1 / 20, numItermax=2000, stopThr=1e-12)
    found = zero_shot.even_out(cosines, sharpness=20, rounds=1000)
    assert np.allclose(found, 40 * plan, atol=1e-6)
    assert np.allclose(found.sum(1), 1) and np.allclose(found.mean(0), 0.2, atol=1e-6)


def test_evening_out_stays_finite_when_all_texts_are_nearest_to_one_class():
    found = zero_shot.even_out(np.array([[0.9, 0.1], [0.8, 0.1]]), sharpness=2000)
    assert np.allclose(found, np.eye(2), atol=0.02)


def test_combination(cosines):
    said = np.log(np.random.default_rng(1).dirichlet(np.ones(5), 40))
    assert np.allclose(zero_shot.combine(said, cosines, 0), said)
    assert np.allclose(zero_shot.combine(said, cosines, 7), said + 7 * cosines)
    said[0] = [0, -np.inf, -np.inf, -np.inf, -np.inf]
    assert zero_shot.combine(said, 10 * np.eye(5)[[3] * 40], 10)[0].argmax() == 3  # a class that was ruled out can come back


def test_prototypes_are_scaled_centroids():
    rng = np.random.default_rng(0)
    vectors, labels = rng.standard_normal((30, 6)), np.arange(30) % 3
    centroids = NearestCentroid().fit(vectors, labels).centroids_
    assert np.allclose(zero_shot.prototypes(vectors, labels, 3), centroids / np.linalg.norm(centroids, axis=1, keepdims=True))


def test_threshold_accepts_the_share():
    scores = np.random.default_rng(0).normal(size=1000)
    for accept in (0.5, 0.9, 0.99):
        assert abs((scores >= zero_shot.rejection_threshold(scores, accept)).mean() - accept) < 0.002


def test_pairs_are_learned_by_the_last_layer():
    states, labels = text_finetuning.hidden_states(TEXTS, layer=5), np.array([0, 1, 0, 1, 0, 1])
    tail = text_finetuning.Tail(minilm.load_minilm(), first=5, classes=2)

    def loss(model, batch, labels):
        return zero_shot.pair_loss(model.features(batch), labels)

    before = loss(tail, states, torch.from_numpy(labels)).item()
    training.fit(tail, states, labels, loss=loss, steps=5, learning_rate=1e-3, batch_size=6)
    assert loss(tail, states, torch.from_numpy(labels)).item() < before / 2


def test_pair_loss_against_a_loop():
    vectors = torch.nn.functional.normalize(torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.tensor([0, 0, 1, 2, 1, 0, 2])
    near, apart = [], []
    for i in range(7):
        for j in range(7):
            cosine = float(vectors[i] @ vectors[j])
            if i != j:
                (near.append((1 - cosine) ** 2) if labels[i] == labels[j] else apart.append(cosine**2))
    found = zero_shot.pair_loss(vectors, labels)
    assert np.isclose(found.item(), np.mean(near) + np.mean(apart), atol=1e-5)
    alone = zero_shot.pair_loss(vectors[:1], labels[:1])
    assert alone.item() == 0  # no pair at all


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: zero_shot.describe({}), "there are no classes"),
        (lambda: zero_shot.describe({"a": "one string"}), "pass a list"),
        (lambda: zero_shot.describe({"a": []}), "pass a list"),
        (lambda: zero_shot.describe({"a": [" "]}), "is empty"),
        (lambda: zero_shot.centre(np.ones((2, 3)), np.ones((2, 4))), "3 classes, and 4"),
        (lambda: zero_shot.centre(np.ones(3), np.ones((2, 3))), "pass .texts, classes."),
        (lambda: zero_shot.centre(np.ones((2, 3)), np.ones((0, 3))), "one text or more"),
        (lambda: zero_shot.even_out(np.full((2, 3), np.nan)), "NaN"),
        (lambda: zero_shot.even_out(np.ones((2, 3)), sharpness=0), "must be positive"),
        (lambda: zero_shot.even_out(np.ones((2, 3)), rounds=0), "must be positive"),
        (lambda: zero_shot.combine(np.ones((2, 3)), np.ones((2, 4)), 1), "for both"),
        (lambda: zero_shot.combine(np.ones((2, 3)), np.ones((2, 3)), -1), "weight is -1"),
        (lambda: zero_shot.combine(np.full((2, 3), np.nan), np.ones((2, 3)), 1), "NaN"),
        (lambda: zero_shot.prototypes(np.ones((2, 4)), np.array([0, 2]), 3), "class 1 has no labelled text"),
        (lambda: zero_shot.rejection_threshold(np.array([])), "one number for each text"),
        (lambda: zero_shot.rejection_threshold(np.array([0.1, np.nan])), "NaN"),
        (lambda: zero_shot.rejection_threshold(np.ones(3), accept=1), "between 0 and 1"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(ValueError, match=says):
        call()
