"""Several sources: held against scikit-learn where it has the same, against the definition in float64 elsewhere, and every refusal."""
import json
import math

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut

from helpers import experiment
from helpers.adaptation import several_sources as several
from helpers.data import glyphs


def blobs(count: int = 3, size: int = 40, seed: int = 0) -> dict:
    """Sources of three classes in the plane that lie a little apart; source i has size + 10 i examples."""
    rng = np.random.default_rng(seed)
    sources = {}
    for i in range(count):
        labels = rng.permutation(np.arange(size + 10 * i) % 3)
        centres = np.array([[0, 0], [4, 0], [0, 4]])[labels] + 0.3 * i
        sources[f"s{i}"] = (centres + rng.normal(0, 0.5, (len(labels), 2)), labels)
    return sources


def test_the_combination_is_scikit_learns_soft_vote():
    inputs, labels = several.pool(blobs())[:2]
    members = [(str(c), LogisticRegression(C=c)) for c in (0.01, 1, 100)]
    vote = VotingClassifier(members, voting="soft", weights=[1, 2, 5]).fit(inputs, labels)
    probabilities = np.array([model.predict_proba(inputs) for model in vote.estimators_])
    assert np.allclose(several.combine(probabilities, [1, 2, 5]), vote.predict_proba(inputs))
    assert np.allclose(several.combine(probabilities), probabilities.mean(0))


def test_weights_by_input_are_a_weighted_mean_of_each_input():
    rng = np.random.default_rng(0)
    probabilities, weights = rng.dirichlet(np.ones(4), size=(3, 3)), rng.random((3, 3))
    expected = [np.average(probabilities[:, i], axis=0, weights=weights[:, i]) for i in range(3)]
    assert np.allclose(several.combine(probabilities, weights), expected)
    assert np.allclose(several.combine(probabilities, np.repeat([[1.0], [2.0], [5.0]], 3, 1)), several.combine(probabilities, [1, 2, 5]))


def test_no_weights_count_each_example_once_and_weights_each_source():
    sources = blobs()
    inputs, labels, each = several.pool(sources)
    assert np.allclose(each, 1) and len(inputs) == len(labels) == 40 + 50 + 60
    _, _, each = several.pool(sources, [2, 1, 1])
    sums = [part.sum() for part in np.split(each, [40, 90])]
    assert np.allclose(np.array(sums) / 150, [0.5, 0.25, 0.25]) and math.isclose(each.mean(), 1)


def test_a_source_of_weight_0_is_not_there():
    sources = blobs()
    two = {name: sources[name] for name in ("s0", "s2")}
    _, _, each = several.pool(two, [1, 1])
    some = several.train_linear(*several.pool(two)[:2], weights=each * 150 / 100)
    all_three = several.train_linear(*several.pool(sources, [1, 0, 1]))
    assert np.allclose(some.coef_, all_three.coef_, atol=1e-3)


def test_leaving_one_out_is_scikit_learns_leave_one_group_out():
    sources = blobs()
    inputs, _, _ = several.pool(sources)
    groups = np.repeat(list(sources), [len(labels) for _, labels in sources.values()])
    for (train, test), (name, others) in zip(LeaveOneGroupOut().split(inputs, groups=groups), several.leave_one_out(sources), strict=True):
        assert np.array_equal(inputs[train], several.pool(others)[0]) and np.array_equal(inputs[test], sources[name][0])


def test_a_source_split_in_two_keeps_its_class_shares_and_every_example():
    sources = blobs(size=60)
    train, validation = several.split_sources(sources, 0.5, seed=0)
    for name, (inputs, labels) in sources.items():
        assert sorted(np.concatenate([train[name][0], validation[name][0]]).tolist()) == sorted(inputs.tolist())
        assert abs(np.bincount(validation[name][1]) - np.bincount(labels) / 2).max() <= 1


def test_scores_find_the_source_with_other_labels_and_the_members_own_voice_does_not_count():
    sources = blobs(4)
    inputs, labels = sources["s3"]
    sources["s3"] = (inputs, (labels + 1) % 3)
    members = several.train_members(sources)
    crossed = several.cross_source_scores(members, sources)
    validated = several.validation_scores(members, sources)
    assert crossed[:3].min() > 0.9 and crossed[3] < 0.1
    assert 0.6 < validated[:3].min() and validated[:3].max() < 0.7 and validated[3] < 0.1  # right on two of the three others
    for own, score in zip(sources, validated, strict=True):
        others = [several.accuracy(members[own].predict_proba(x), y) for name, (x, y) in sources.items() if name != own]
        assert score == pytest.approx(np.mean(others))
    others = [members[name].predict_proba(inputs) for name in ("s0", "s1", "s2")]
    assert crossed[3] == several.accuracy(np.mean(others, 0), sources["s3"][1])


def test_a_sure_member_does_not_vouch_for_its_own_source():
    class Always:
        def __init__(self, *answer):
            self.predict_proba = lambda inputs: np.tile(answer, (len(inputs), 1))

    sources = {name: (np.zeros((4, 2)), np.full(4, label)) for name, label in (("own", 1), ("b", 0), ("c", 0))}
    members = {"own": Always(0, 1), "b": Always(0.6, 0.4), "c": Always(0.6, 0.4)}
    assert several.cross_source_scores(members, sources)[0] == 0  # with its own voice the mean would be 0.4 and 0.6


def test_similarity_is_higher_for_the_nearer_source():
    sources = blobs(2, size=100)
    target = sources["s0"][0] + np.random.default_rng(1).normal(0, 0.1, (100, 2))
    near, far = several.similarity_scores({"near": sources["s0"], "far": (sources["s0"][0] + 5, sources["s0"][1])}, target)
    assert near > far == pytest.approx(-2)


def test_a_large_temperature_is_fair_and_a_small_one_picks_the_best():
    scores = [0.2, 0.9, 0.4]
    assert np.allclose(several.softmax_weights(scores, 1e6), 1 / 3) and np.allclose(several.softmax_weights(scores, 1e-6), [0, 1, 0])
    weights = several.softmax_weights([0.5, 0.6], 0.1)
    assert weights[1] / weights[0] == pytest.approx(math.e) and weights.sum() == pytest.approx(1)


def test_domain_probabilities_know_where_inputs_come_from():
    sources = {name: (inputs + 20 * place, labels) for place, (name, (inputs, labels)) in enumerate(blobs().items())}
    found = several.domain_probabilities(sources, sources["s1"][0])
    assert found.shape == (3, 50) and np.allclose(found.sum(0), 1) and (found.argmax(0) == 1).all()


def test_ways_to_spoil():
    inputs, labels = several.load_sources(per_class=2)["sans"]
    kept = inputs.copy()
    mirrored, same = several.spoil(inputs, labels, "mirrored")
    assert np.array_equal(mirrored.reshape(-1, 8, 8)[:, :, ::-1], inputs.reshape(-1, 8, 8)) and np.array_equal(same, labels)
    assert ((several.spoil(inputs, labels, "labels shifted")[1] - labels) % 10 == 3).all()
    many, shifted = several.spoil(inputs, labels, "labels shifted, four times as large")
    assert many.shape == (80, 64) and 0 <= many.min() and many.max() <= 1 and np.array_equal(shifted[:20], (labels + 3) % 10)
    assert len(np.unique(several.spoil(inputs, np.zeros(20, int), "labels at random")[1])) > 3
    wrong = several.spoil(np.zeros((4000, 64)), np.zeros(4000, int), "one label in five at random")[1] != 0
    assert abs(wrong.mean() - 0.18) < 0.03  # one random label in ten is right
    assert np.array_equal(inputs, kept)


def test_families_share_no_face_and_cover_all():
    faces = [face for family in glyphs.FAMILIES.values() for face in family]
    assert sorted(faces) == list(range(glyphs.FACES))
    names = {family: {glyphs.faces()[face].name[:8] for face in members} for family, members in glyphs.FAMILIES.items()}
    assert names["times"] == {"STIXGene"} and all(name.startswith("cm") for name in names["modern"])
    assert all("Mono" in glyphs.faces()[face].name for face in glyphs.FAMILIES["mono"])
    images = glyphs.load_family("serif", per_class=3, seed=1)
    assert set(images.groups) <= set(glyphs.FAMILIES["serif"]) and len(images.images) == 30


def test_a_net_learns_a_family_and_weights_choose_what_it_sees():
    sources = several.load_sources(per_class=10)
    pair = {"sans": sources["sans"], "bad": several.spoil(*sources["sans"], "labels shifted")}
    inputs, labels, each = several.pool(pair, [1, 0])
    net = several.train_net(inputs, labels, each, steps=80, rate=0.01)
    probabilities = net.predict_proba(sources["sans"][0])
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5) and several.accuracy(probabilities, sources["sans"][1]) > 0.9


def test_one_of_the_stored_rates_can_be_measured_again():
    from data_scripts import tune_several_sources as script

    record = json.loads(several.RATES_FILE.read_text(encoding="utf-8"))
    stored = {((row["method"], row["steps"]), row["rate"]): row["mean"] for row in record["sweep"]}
    assert set(stored) == {(arm, rate) for arm in script.ARMS for rate in script.RATES}
    assert not set(record["seeds"]) & set(range(5)) and record["judged_on"] == "the families left out"
    best = experiment.best_rates(several.RATES_FILE, "method", "steps")
    assert all(stored[(method, steps), best[method][steps]] == max(stored[(method, steps), rate] for rate in script.RATES)
               for method, steps in script.ARMS)
    (found,) = script.sweep([("ensemble", 60)], [0.01], seeds=record["seeds"][:2])
    assert found["mean"] == pytest.approx(stored[("ensemble", 60), 0.01], abs=0.03)


def test_the_script_stores_one_row_a_line(tmp_path, monkeypatch, capsys):
    from data_scripts import tune_several_sources as script

    monkeypatch.setattr(script, "sweep", lambda: [{"method": "pool", "steps": 300, "rate": 0.1, "mean": 0.5, "std": 0.1}])
    monkeypatch.setattr("sys.argv", ["script", "--to", str(tmp_path / "out.json")])
    assert script.main() == 0 and "1 settings" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["sweep"][0]["mean"] == 0.5


GOOD = np.full((2, 3, 4), 0.25)


@pytest.mark.parametrize("call, message", [
    (lambda: several.combine(GOOD[0]), r"pass \(members, inputs, classes\)"),
    (lambda: several.combine(GOOD, [1, 2, 3]), r"pass \(2,\) or \(2, 3\)"),
    (lambda: several.combine(GOOD, [1, -1]), "0 or more"),
    (lambda: several.combine(GOOD, [[1, 0, 1], [1, 0, 1]]), "not all 0"),
    (lambda: several.pool({}), "no sources"),
    (lambda: several.pool(blobs(), [1, 2]), "one for each"),
    (lambda: several.pool(blobs(), [0, 0, 0]), "not all 0"),
    (lambda: several.pool({"a": (np.zeros((0, 2)), np.zeros(0, int))}), "'a' have shape"),
    (lambda: several.pool({"a": (np.zeros((2, 2)), [0, 1]), "b": (np.zeros((2, 3)), [0, 1])}), "different numbers of features"),
    (lambda: several.train_members({"a": (np.zeros((2, 2)), [0])}), "one label for each"),
    (lambda: several.cross_source_scores({}, blobs()), "train one on each"),
    (lambda: several.cross_source_scores(several.train_members(blobs(2)), blobs(2)), "from three on"),
    (lambda: several.validation_scores({}, blobs()), "train one on each"),
    (lambda: several.validation_scores(several.train_members(blobs(2)), blobs(2)), "from three on"),
    (lambda: several.softmax_weights([1, 2], 0), "temperature is 0"),
    (lambda: several.softmax_weights([1, np.nan], 1), "one finite number"),
    (lambda: list(several.leave_one_out(blobs(1))), "one source cannot be left out"),
    (lambda: several.split_sources(blobs(), 1.0, 0), "between 0 and 1"),
    (lambda: several.spoil(np.zeros((3, 9)), [0, 1, 2], "mirrored"), "8x8 images"),
    (lambda: several.spoil(np.zeros((3, 64)), [0, 1, 2], "burnt"), "'burnt'"),
    (lambda: glyphs.load_family("gothic"), "no family called 'gothic'"),
    (lambda: glyphs.render("0", 1, 0, only=()), "0 faces"),
])
def test_refusals_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
