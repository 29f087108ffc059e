"""The benchmark of lesson 02: what is stored can be made again, nothing leaks, and the tuned rates lie inside their sweep."""
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from helpers import features
from helpers import source_choice as choice


@pytest.mark.parametrize("target", choice.TARGETS)
def test_labelled_images_come_from_the_pool_and_never_from_the_test(target):
    task = choice.make_target(target, 0)
    assert set(task.labelled) <= set(task.pool) and not set(task.pool) & set(task.test)
    assert set(np.bincount(task.labels[task.labelled])) == {choice.LABELS[target]}
    assert task.images.dtype == np.uint8


def test_the_stored_table_is_complete_and_no_best_rate_is_the_largest_that_was_tried():
    record = json.loads(choice.RESULTS_FILE.read_text(encoding="utf-8"))
    reached = {(row["target"], row["source"], row["seed"]) for row in record["reached"]}
    assert reached == {(t, s, seed) for t in choice.TARGETS for s in choice.SOURCES for seed in range(5)}
    assert not set(record["tuning_seeds"]) & set(range(5))
    for target in choice.TARGETS:
        for source in choice.SOURCES:
            tried = choice.LITE0_RATES if source in choice.LAYERS else choice.SMALL_RATES
            rows = [row["rate"] for row in record["sweep"] if (row["source"], row["target"]) == (source, target)]
            assert rows == list(tried)
            if source in choice.SMALL:
                assert choice.tuned_rate(source, target) < max(tried)


@pytest.mark.parametrize("source, target", [("letters", "digits"), ("block 2", "faces"), ("turned_letters", "faces")])
def test_a_slice_of_the_stored_accuracies_can_be_made_again(source, target):
    from data_scripts import fine_tune_sources

    rate = choice.tuned_rate(source, target)
    stored = {row["seed"]: row["accuracy"] for row in choice.stored()["reached"] if (row["source"], row["target"]) == (source, target)}
    found = fine_tune_sources.reach(source, target, rate, seeds=(0, 1))
    assert [row["accuracy"] for row in found] == pytest.approx([stored[0], stored[1]], abs=0.05)


def test_rate_0_is_the_linear_probe_on_the_extracted_features():
    for source, target in (("block 4", "faces"), ("noise", "digits")):
        task, vectors = choice.make_target(target, 0), choice.features_of(source, target)
        probe = features.linear_probe(vectors[task.labelled], task.labels[task.labelled])
        expected = accuracy_score(task.labels[task.test], probe.predict(vectors[task.test]))
        assert choice.accuracy(source, target, 0.0, 0) == pytest.approx(expected, abs=0.01)


def test_the_cut_network_computes_what_feature_extraction_stores():
    inputs, vectors = choice.inputs_for("block 7", "faces")[:4], choice.features_of("block 7", "faces")[:4]
    with torch.no_grad():
        assert np.allclose(choice.Lite0Part("block 7").eval().features(inputs).numpy(), vectors, atol=1e-3)


def test_sources_have_features_and_probabilities_of_every_image():
    for source in ("letters", "untrained", "turned_letters"):
        assert choice.features_of(source, "faces").shape == (200, 64)
        assert np.allclose(choice.probabilities_of(source, "faces").sum(1), 1, atol=1e-4)
    assert np.array_equal(choice.probabilities_of("block 2", "faces"), choice.probabilities_of("head", "faces"))
    assert not np.array_equal(choice.features_of("untrained", "faces", 0), choice.features_of("untrained", "faces", 1))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no source called 'VGG'"):
        choice.load_source("VGG", "digits")
    with pytest.raises(ValueError, match="no target called 'cats'"):
        choice.make_target("cats", 0)
    with pytest.raises(ValueError, match="no layer called 'block 99'"):
        choice.Lite0Part("block 99")


def test_the_script_stores_one_row_a_line(tmp_path):
    from data_scripts import fine_tune_sources

    rows = [{"source": "a", "target": "b", "rate": 0.0, "mean": 0.5}]
    fine_tune_sources.write(tmp_path / "out.json", rows, [{"source": "a", "target": "b", "seed": 0, "accuracy": 0.5}])
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["sweep"] == rows and record["reached"][0]["accuracy"] == 0.5 and "torch" in record["versions"]
