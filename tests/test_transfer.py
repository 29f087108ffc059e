"""Backbones, features, training, fine-tuning and experiments."""
import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from helpers import config, experiment, features, few_shot_digits, finetuning, plots, training
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.backbones import small_cnn
from helpers.data import augment
from helpers.errors import CourseError


@pytest.fixture(scope="module")
def backbone():
    return finetuning.freeze(lite0.load_efficientnet_lite0()).cpu()


def random_photos(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 40, 40, 3), dtype=np.uint8)


def test_the_backbone_is_the_publishers_and_its_maps_lead_to_its_logits(backbone):
    assert sum(p.numel() for p in backbone.parameters()) == 4_652_008
    batch = lite0.preprocess(random_photos(), 64)
    with torch.no_grad():
        maps = lite0.feature_maps(backbone, batch)
        assert torch.allclose(backbone._fc(maps["head"].mean((2, 3))), backbone(batch), atol=1e-4)
    assert tuple(maps) == lite0.LAYERS and maps["block 13"].shape == (3, 192, 2, 2)


def test_preprocessing_keeps_the_contract():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = (images.astype(np.float64) - 127) / 128
    assert np.allclose(lite0.preprocess(images, 32).numpy().transpose(0, 2, 3, 1), expected, atol=1e-5)
    with pytest.raises(ValueError, match="multiple of 32"):
        lite0.preprocess(images, 50)
    with pytest.raises(ValueError, match="uint8"):
        lite0.preprocess(images / 255, 32)


def test_a_weights_file_with_a_wrong_hash_is_refused(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(lite0.verify().read_bytes()[:-1] + b"x")
    with pytest.raises(CourseError, match="damaged"):
        lite0.verify(tmp_path / "w.pth")
    with pytest.raises(CourseError, match="missing"):
        lite0.verify(tmp_path / "none.pth")
    monkeypatch.setattr(small_cnn, "WEIGHTS", tmp_path)
    real = few_shot_digits.provenance("letters") if (tmp_path / "letters.json").exists() else None
    assert real is None
    (tmp_path / "letters.json").write_text('{"sha256": "0", "classes": 52}')
    with pytest.raises(CourseError, match="missing"):
        small_cnn.load_small_cnn("letters")
    (tmp_path / "letters.safetensors").write_bytes(b"half a file")
    with pytest.raises(CourseError, match="damaged"):
        small_cnn.load_small_cnn("letters")


def test_every_shipped_net_loads_and_an_unknown_one_is_refused():
    for source in small_cnn.SOURCES:
        record = small_cnn.provenance(source)
        assert small_cnn.load_small_cnn(source)(torch.rand(2, 1, 8, 8)).shape == (2, record["classes"])
        assert (small_cnn.WEIGHTS / f"{source}.safetensors").stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="choose one of"):
        small_cnn.load_small_cnn("hieroglyphs")


def test_extract_equals_the_backbone_and_complains_early(backbone, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    images = random_photos(5)
    with torch.no_grad():
        maps = lite0.feature_maps(backbone, lite0.preprocess(images, 32))["block 4"]
    for pooling in features.POOLINGS:
        found = features.extract(images, "block 4", 32, pooling)
        assert np.allclose(found, features.pool_map(maps, pooling).numpy(), atol=1e-3)
    for arguments in ({"layer": "block 99"}, {"pooling": "median"}, {"size": 33}):
        with pytest.raises(ValueError):
            features.extract(images, **arguments)


def test_the_probe_takes_its_statistics_from_the_training_images():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 5, (60, 4)), np.repeat([0, 1, 2], 20)
    x[:, 0] += 4 * y
    standard = (x - x.mean(0)) / x.std(0)
    peer = LogisticRegression(C=0.1, max_iter=500).fit(standard, y)
    assert np.allclose(features.linear_probe(x, y).predict_proba(x), peer.predict_proba(standard), atol=1e-4)
    with pytest.raises(ValueError, match="one class"):
        features.linear_probe(x, np.zeros(60, int))
    with pytest.raises(ValueError, match="choose 1 to 60"):
        features.nearest_neighbours(x, y, k=61)


def blobs(n: int = 60) -> tuple[torch.Tensor, np.ndarray]:
    labels = np.arange(n) % 3
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 5, generator=generator) + 3 * torch.eye(5)[labels], labels


def test_fit_learns_records_and_repeats():
    inputs, labels = blobs()
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
        history = training.fit(net, inputs, labels, steps=80, learning_rate=0.05, validation=(inputs, labels), validate_every=20)
        nets.append(net)
    assert training.accuracy(nets[0], inputs, labels) > 0.9 and torch.equal(nets[0].weight, nets[1].weight)
    assert len(history.loss) == 80 and [step for step, _ in history.validation] == [20, 40, 60, 80]
    assert max(history.learning_rate) == pytest.approx(0.05, rel=0.01) and history.learning_rate[-1] < 0.001


def test_fit_leaves_the_frozen_part_as_it_is_its_statistics_too():
    inputs, labels = blobs()
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    finetuning.freeze(net[:2])
    before = copy.deepcopy(net.state_dict())
    training.fit(net, inputs, labels, steps=5, validation=(inputs, labels), validate_every=2)
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"2.weight", "2.bias"}


def test_early_stopping_goes_back_to_the_best_weights():
    net, stopping = nn.Linear(1, 1), training.EarlyStopping(patience=2)
    for value, accuracy in enumerate((0.5, 0.8, 0.7, 0.6)):
        nn.init.constant_(net.weight, value)
        stop = stopping.should_stop(accuracy, net)
    assert stop and stopping.weights["weight"].item() == 1
    inputs, labels = blobs()
    net = nn.Linear(5, 3)
    stopping = training.EarlyStopping(patience=2)
    history = training.fit(
        net, inputs, labels, steps=400, learning_rate=0.05, validation=(inputs, labels), validate_every=5, early_stopping=stopping
    )
    assert history.stopped_at < 400 and training.accuracy(net, inputs, labels) == pytest.approx(stopping.best)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"labels": np.zeros(3, int)}, "one label for each"),
        ({"inputs": torch.full((60, 5), float("nan"))}, "NaN"),
        ({"schedule": "sawtooth"}, "choose one of"),
        ({"early_stopping": training.EarlyStopping()}, "validation"),
    ],
)
def test_fit_refuses_what_cannot_work(change, says):
    inputs, labels = blobs()
    arguments = {"inputs": inputs, "labels": labels, "steps": 3} | change
    with pytest.raises(ValueError, match=says):
        training.fit(nn.Linear(5, 3), **arguments)
    with pytest.raises(ValueError, match="frozen"):
        training.fit(finetuning.freeze(nn.Linear(5, 3)), inputs, labels, steps=1)


def test_a_new_classifier_keeps_the_rest_and_leaves_the_original_alone():
    source = small_cnn.load_small_cnn("letters")
    model = finetuning.replace_classifier(source, 10)
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(model.features(images), source.features(images)) and source.classifier.out_features == 52
    with pytest.raises(ValueError, match="classifier"):
        finetuning.replace_classifier(nn.Linear(2, 2), 3)


@pytest.mark.parametrize("classes", [2, 10])
def test_fit_classifier_is_the_logistic_regression(classes):
    from sklearn.linear_model import LogisticRegression

    task = few_shot_digits.make_task(5, 0)
    chosen = task.train[task.labels[task.train] < classes]
    model = finetuning.replace_classifier(small_cnn.load_small_cnn("letters"), classes)
    finetuning.fit_classifier(model, task.images[chosen], task.labels[chosen])
    with torch.no_grad():
        vectors = model.features(task.images[chosen]).numpy()
        found = model(task.images[chosen]).softmax(1).numpy()
    peer = LogisticRegression(C=1.0, max_iter=1000).fit(vectors, task.labels[chosen])
    assert np.allclose(found, peer.predict_proba(vectors), atol=1e-4)


def test_parameter_groups_hold_every_trainable_parameter_once():
    model = small_cnn.SmallCNN(10)
    finetuning.freeze(model.features[0])
    groups = finetuning.parameter_groups(model, 1e-4, 1e-2)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in model.classifier.parameters()} and groups[1]["lr"] == 1e-2
    frozen = finetuning.freeze_batchnorm(small_cnn.SmallCNN(10))
    assert not any(p.requires_grad for m in frozen.modules() if isinstance(m, finetuning.BATCHNORM) for p in m.parameters())


def test_head_then_body_transfers_and_leaves_the_source_alone():
    source = small_cnn.load_small_cnn("font_digits")
    before = copy.deepcopy(source.state_dict())
    task = few_shot_digits.make_task(1, 0)
    images, labels = task.images[task.train], task.labels[task.train]
    model, _ = finetuning.head_then_body(source, images, labels, classes=10, steps=20, augment=augment.jitter())
    assert training.accuracy(model, task.images[task.test], task.labels[task.test]) > 0.6
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items())


def noisy(method: str, seed: int) -> float:
    return np.random.default_rng(seed).normal() + {"a": 1.0, "b": 0.0}[method]


def test_repeat_runs_every_setting_and_seed_and_pairs_cancel_luck():
    from scipy.stats import ttest_rel

    table = experiment.repeat(noisy, {"method": ["a", "b"]}, range(4))
    assert len(table) == 8 and list(table.columns) == ["method", "seed", "accuracy", "seconds"]
    difference = experiment.paired_difference(table, "a", "b")
    assert difference.mean == pytest.approx(1) and difference.sd < 1e-9 and difference.beyond(2)
    table["accuracy"] += np.random.default_rng(0).normal(size=8)
    difference = experiment.paired_difference(table, "a", "b")
    a, b = (table[table.method == name].accuracy for name in "ab")
    assert difference.mean / (difference.sd / 2) == pytest.approx(ttest_rel(a, b).statistic)
    with pytest.raises(ValueError, match="different seeds"):
        experiment.paired_difference(table.iloc[:-1], "a", "b")
    with pytest.raises(ValueError, match="one row for each seed"):
        experiment.paired_difference(pd.concat([table, table]), "a", "b")


def test_the_tuned_rates_are_the_best_of_the_stored_sweep_and_hold_when_run_again():
    import json

    from data_scripts import tune_learning_rates

    rows = json.loads(few_shot_digits.RATES_FILE.read_text())["sweep"]
    assert len(rows) == len(few_shot_digits.METHODS) * len(few_shot_digits.LABELS) * len(tune_learning_rates.CANDIDATES)
    # A best rate at the edge of the sweep would mean that a better one may lie outside.
    edges = {tune_learning_rates.CANDIDATES[0], tune_learning_rates.CANDIDATES[-1]}
    assert not any(edges.intersection(rates.values()) for rates in few_shot_digits.tuned_rates().values())
    best = few_shot_digits.tuned_rates()["font_digits"][1]
    stored = {row["rate"]: row["mean"] for row in rows if row["method"] == "font_digits" and row["labels"] == 1}
    assert stored[best] == max(stored.values())
    again = tune_learning_rates.sweep(("font_digits",), (1,), (best,))
    assert again[0]["mean"] == pytest.approx(stored[best], abs=0.05)


def test_weights_can_be_made_again(tmp_path):
    from data_scripts import make_small_cnn_weights

    record = make_small_cnn_weights.write("font_digits", tmp_path)
    key = "accuracy_on_new_images_of_the_source"
    assert record[key] == pytest.approx(small_cnn.provenance("font_digits")[key], abs=0.02)
    with pytest.raises(ValueError, match="no source"):
        make_small_cnn_weights.source_data("runes")


def test_the_glyph_and_photo_scripts_verify_what_they_make(monkeypatch):
    from data_scripts import make_glyphs, make_photos
    from helpers.data import photos

    assert make_glyphs.make("digits", 2).startswith("digits: 20 images")
    assert not make_photos.halves_overlap()
    monkeypatch.setattr(photos, "patch_box", lambda photograph, half, rng: (0, 100, 60))
    assert make_photos.halves_overlap()


def test_start_and_settings(monkeypatch, capsys):
    config.start(seed=3)
    first = torch.rand(1), np.random.rand()
    config.start(seed=3)
    assert (torch.rand(1), np.random.rand()) == first and "offline" in capsys.readouterr().out
    with config.threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1
    for name, value in (("COURSE_PROFILE", "fast"), ("COURSE_CORES", "many")):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=name):
            config.profile(), config.cores()
        monkeypatch.delenv(name)
    with pytest.raises(ValueError):
        config.seed_all(-1)


def test_plots_draw_what_they_are_given():
    import matplotlib

    matplotlib.use("Agg")
    rows = [(m, n, s, 0.1 * n) for m in "ab" for n in (1, 5) for s in (0, 1)]
    table = pd.DataFrame(rows, columns=["method", "labels", "seed", "accuracy"])
    assert [line.get_label() for line in plots.learning_curves(table, "t").get_lines()] == ["a", "b"]
    assert len(plots.bars(table, "t", by="method").patches) == 2
    with pytest.raises(ValueError, match="one title"):
        plots.image_grid(np.zeros((2, 8, 8)), ["a"])
    assert experiment.mean_and_sd(table, "method", "labels").loc["a", 5] == "0.500 ± 0.000"


def test_a_sweep_is_stored_a_row_a_line_and_gives_the_best_rate_of_every_arm(tmp_path):
    means = {("a", 0.1): 0.5, ("a", 0.2): 0.7, ("a", 0.3): 0.6, ("b", 0.1): 0.9, ("b", 0.2): 0.9, ("b", 0.3): 0.1}
    rows = [{"arm": arm, "labels": 5, "rate": rate, "mean": mean, "std": 0.1} for (arm, rate), mean in means.items()]
    experiment.store_sweep(rows, tmp_path / "sweep.json", "tune.py", range(2))
    stored = json.loads((tmp_path / "sweep.json").read_text())
    assert stored["sweep"] == rows and stored["seeds"] == [0, 1] and stored["script"] == "data_scripts/tune.py"
    assert len((tmp_path / "sweep.json").read_text().splitlines()) == len(rows) + 2
    assert experiment.best_rates(tmp_path / "sweep.json", "arm", "labels") == {"a": {5: 0.2}, "b": {5: 0.2}}


def test_runs_are_stored_where_the_command_says_and_read_as_a_table(tmp_path, monkeypatch, capsys):
    rows = [{"arm": "scratch", "seed": seed, "accuracy": seed / 4} for seed in range(3)]
    monkeypatch.setattr("sys.argv", ["run.py", "--to", str(tmp_path / "runs.json")])
    assert experiment.runs_command(lambda: rows, "about", tmp_path / "not here.json", "run.py") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs.json"] and "3 rows -> runs.json" in capsys.readouterr().out
    assert json.loads((tmp_path / "runs.json").read_text())["script"] == "data_scripts/run.py"
    assert experiment.stored_rows(tmp_path / "runs.json").to_dict("records") == rows
    assert list(experiment.stored_rows(few_shot_digits.RATES_FILE).columns)[-2:] == ["mean", "std"]  # a sweep too
