"""Alarms without labels: scores against lesson 08's, the rate of false alarms, what each change rings."""
import numpy as np
import pytest

from helpers import drift
from helpers.adaptation import selection


def stream(count, seed, shift=0.0, sharp=1.0, classes=4, favour=None):
    """(facts, guesses) of made-up images."""
    rng = np.random.default_rng(seed)
    facts = rng.normal([110 + shift, 40, 0.3], [20, 8, 0.05], (count, 3))
    labels = rng.integers(0, classes, count) if favour is None else np.full(count, favour)
    logits = rng.normal(0, 1, (count, classes))
    logits[np.arange(count), labels] += 4 * sharp
    shares = np.exp(logits)
    return facts, shares / shares.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def monitor():
    return drift.Monitor(*stream(4000, 0), window=50, false_alarms=0.05)


def test_scores_are_those_of_lesson_08():
    facts, guesses = stream(50, 1)
    shares = np.full(4, 0.25)
    found = dict(zip(drift.SCORES, drift.window_scores(facts, guesses, shares), strict=True))
    assert found["brightness"] == pytest.approx(facts[:, 0].mean())
    assert found["certainty"] == pytest.approx(selection.certainty(guesses))
    assert found["information"] == pytest.approx(selection.information(guesses))
    counts = np.bincount(guesses.argmax(1), minlength=4) / 50
    assert found["classes"] == pytest.approx(np.abs(counts - shares).sum() / 2)
    both = drift.window_scores(np.stack([facts, facts]), np.stack([guesses, guesses]), shares)
    assert np.allclose(both, list(found.values()))


def test_describe():
    flat = np.full((1, 8, 8, 3), 100, np.uint8)
    board = flat.copy()
    board[:, ::2] = 200
    found = drift.describe(np.concatenate([flat, board]))
    assert np.allclose(found[:, 0], [100, 150]) and np.allclose(found[:, 1], [0, 50])
    assert found[0, 2] == 0 and found[1, 2] == pytest.approx(1, abs=0.01)  # half of the steps are 100, in units of 50
    photos = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    before = drift.describe(photos)
    assert (drift.describe(drift.darken(photos))[:, 0] < 0.6 * before[:, 0]).all()
    assert (drift.describe(drift.blur(photos))[:, 2] < before[:, 2]).all()
    assert np.allclose(drift.describe(drift.grey(photos))[:, 0], before[:, 0], atol=1)
    quiet = np.full((2, 16, 16, 3), 128, np.uint8)
    assert drift.noise(quiet).std() > 10 and drift.noise(quiet).dtype == np.uint8
    with pytest.raises(ValueError, match=r"pass \(n, height, width, 3\)"):
        drift.describe(photos[0])


def test_false_alarms_come_at_about_the_rate_that_was_asked_for(monitor):
    rate = monitor.watch(*stream(50 * 1000, 2)).alarm.mean()
    assert 0.01 < rate < 0.12, rate  # 0.05; the bounds are estimated, and scores go together


@pytest.mark.parametrize(("change", "rings"), [({"shift": 20}, "brightness"), ({"sharp": 0.3}, "certainty"), ({"favour": 1}, "classes")])
def test_each_change_rings_its_score(monitor, change, rings):
    found = monitor.watch(*stream(50 * 40, 3, **change))
    assert found.alarm.mean() > 0.9 and (found[rings] > 0).mean() > 0.9
    if "shift" in change:
        assert (found.drop(columns=["alarm", "brightness"]) > 0).mean().max() < 0.15


def test_a_rest_is_not_judged_and_distances_are_zero_inside(monitor):
    found = monitor.watch(*stream(130, 4))
    assert len(found) == 2 and list(found) == [*drift.SCORES, "alarm"]
    assert ((found[drift.SCORES] > 0).any(axis=1) == found.alarm).all()


def test_persistent():
    alarms = [True, False, True, True, True, False]
    assert drift.persistent(alarms).tolist() == [False, False, False, True, True, False]
    assert drift.persistent(alarms, 1).tolist() == alarms
    assert drift.persistent(alarms, 3).tolist() == [False, False, False, False, True, False]
    with pytest.raises(ValueError, match="1 or more"):
        drift.persistent(alarms, 0)


def test_what_a_monitor_refuses(monitor):
    facts, guesses = stream(300, 5)
    with pytest.raises(ValueError, match="at least four windows"):
        drift.Monitor(facts[:199], guesses[:199])
    with pytest.raises(ValueError, match="between 0 and 0.5"):
        drift.Monitor(facts, guesses, false_alarms=0)
    with pytest.raises(ValueError, match="one row of probabilities"):
        drift.Monitor(facts, guesses[:10])
    with pytest.raises(ValueError, match="what drift.describe makes"):
        drift.Monitor(np.zeros((300, 8, 8, 3)), guesses)
    with pytest.raises(ValueError, match="windows of 50"):
        monitor.watch(facts[:10], guesses[:10])
